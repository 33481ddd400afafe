from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from market.agents.profiles import (
    autoregressive,
    clear_sky_index,
    cloud_cover,
    forecast,
    pv_output,
    standard_load,
)

MIDSUMMER = datetime(2026, 6, 21, tzinfo=UTC)
MIDWINTER = datetime(2026, 12, 21, tzinfo=UTC)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def sun(start=MIDSUMMER, seconds=3_600, count=24, *, azimuth_deg=180.0, clouds=0.0, seed=1, latitude=51.5):
    return pv_output(
        start,
        seconds,
        count,
        latitude=latitude,
        longitude=7.5,
        tilt_deg=30.0,
        azimuth_deg=azimuth_deg,
        clouds=clouds,
        rng=rng(seed),
    )


# load


def test_household_load_peaks_at_noon_on_a_sunday_and_sleeps_at_night():
    load = standard_load("h0", MIDSUMMER, 3_600, 24)
    assert load.shape == (24,)
    assert 10 <= load.argmax() <= 13
    assert 2 <= load.argmin() <= 6
    assert 0.0 < load.min() < load.max() <= 1.0


def test_the_year_reaches_its_peak_once_normalised():
    year = standard_load("g0", datetime(2026, 1, 1, tzinfo=UTC), 900, 365 * 96)
    assert year.max() == pytest.approx(1.0)


def test_a_slot_is_the_mean_of_its_parts_whatever_its_length():
    quarters = standard_load("h0", MIDSUMMER, 900, 96)
    np.testing.assert_allclose(
        standard_load("h0", MIDSUMMER, 3_600, 24), quarters.reshape(24, 4).mean(axis=1)
    )
    np.testing.assert_allclose(standard_load("h0", MIDSUMMER, 300, 288), np.repeat(quarters, 3))


def test_slots_run_on_into_the_next_year():
    eve = standard_load("h0", datetime(2026, 12, 31, 22, tzinfo=UTC), 3_600, 6)
    new_year = standard_load("h0", datetime(2027, 1, 1, tzinfo=UTC), 3_600, 4)
    # each year is scaled by its own first day's peak; the shapes agree
    np.testing.assert_allclose(eve[2:] / eve[2], new_year / new_year[0], rtol=1e-6)


def test_the_profile_follows_the_wall_clock_of_the_start():
    berlin = timezone(timedelta(hours=2))
    there = standard_load("h0", datetime(2026, 6, 21, tzinfo=berlin), 3_600, 24)
    np.testing.assert_array_equal(there, standard_load("h0", MIDSUMMER, 3_600, 24))


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown standard load profile x9: .*g0.*h0"):
        standard_load("x9", MIDSUMMER, 3_600, 24)


def test_reading_profiles_leaves_the_warning_filters_alone():
    before = list(warnings.filters)
    standard_load("l0", datetime(2031, 3, 1, tzinfo=UTC), 3_600, 1)
    assert list(warnings.filters) == before


# sun


def test_the_sun_shines_by_day_and_more_in_summer():
    summer, winter = sun(), sun(MIDWINTER)
    assert summer[[0, 1, 22, 23]].max() == 0.0
    assert 0.7 < summer.max() <= 1.0
    assert 11 <= summer.argmax() <= 12
    assert winter.sum() < 0.4 * summer.sum()
    assert sun(MIDWINTER, latitude=75.0).max() == 0.0


def test_roofs_to_the_east_peak_before_roofs_to_the_west():
    assert sun(azimuth_deg=100.0).argmax() < sun().argmax() < sun(azimuth_deg=260.0).argmax()


def test_an_hour_is_the_mean_of_its_quarters():
    np.testing.assert_allclose(sun(), sun(seconds=900, count=96).reshape(24, 4).mean(axis=1), atol=1e-9)


def test_roofs_with_one_stream_stand_under_the_same_clouds():
    clear, cloudy = sun(), sun(clouds=0.5, seed=4)
    west_clear, west = sun(azimuth_deg=260.0), sun(azimuth_deg=260.0, clouds=0.5, seed=4)
    lit = (clear > 0.01) & (west_clear > 0.01)
    np.testing.assert_allclose(cloudy[lit] / clear[lit], west[lit] / west_clear[lit])
    assert np.all(cloudy[lit] < clear[lit])
    np.testing.assert_array_equal(cloudy, sun(clouds=0.5, seed=4))
    assert np.any(cloudy != sun(clouds=0.5, seed=5))


def test_cover_has_its_mean_stays_in_bounds_and_remembers():
    cover = cloud_cover(20_000, 3_600, 0.3, rng())
    assert cover.min() >= 0.0 and cover.max() <= 1.0
    # 20 000 hours of memory 3 h are about 3 000 independent ones of deviation 0.27: 0.005 each way
    assert cover.mean() == pytest.approx(0.3, abs=0.02)
    assert 0.5 < np.corrcoef(cover[1:], cover[:-1])[0, 1] < 0.85
    assert np.all(cloud_cover(5, 3_600, 0.0, rng()) == 0.0)
    assert np.all(cloud_cover(5, 3_600, 1.0, rng()) == 1.0)
    np.testing.assert_allclose(clear_sky_index(np.array([0.0, 1.0])), [1.0, 0.25])


@pytest.mark.parametrize("mean", [-0.1, 1.1, float("nan")])
def test_an_impossible_cover_is_refused(mean):
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        cloud_cover(5, 3_600, mean, rng())


# forecasts


def test_without_error_the_forecast_is_the_truth_to_the_bit():
    actual = rng().random((24, 3))
    np.testing.assert_array_equal(forecast(actual, rng(2), 0.0), actual)


def test_errors_have_the_size_asked_for_are_positive_and_correlated():
    factor = forecast(np.ones((40_000, 2)), rng(3), 0.2)
    assert factor.min() > 0.0
    # 40 000 periods of correlation 0.8 are about 4 400 independent ones: 0.003 on the mean
    np.testing.assert_allclose(factor.mean(axis=0), 1.0, atol=0.015)
    np.testing.assert_allclose(factor.std(axis=0), 0.2, rtol=0.1)
    assert np.corrcoef(factor[1:, 0], factor[:-1, 0])[0, 1] == pytest.approx(0.8, abs=0.03)
    assert abs(np.corrcoef(factor.T)[0, 1]) < 0.05


def test_a_forecast_takes_the_same_draws_whatever_its_error():
    one, other = rng(4), rng(4)
    forecast(np.ones(10), one, 0.0)
    forecast(np.ones(10), other, 0.3)
    assert one.random() == other.random()


def test_a_negative_error_is_refused():
    with pytest.raises(ValueError, match="negative"):
        forecast(np.ones(3), rng(), -0.1)


def test_autoregression_is_stationary_from_its_first_value():
    paths = autoregressive((4, 50_000), 0.9, rng(5))
    np.testing.assert_allclose(paths.std(axis=1), 1.0, atol=0.02)
