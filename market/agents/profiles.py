"""Profiles of sun and load by delivery slot, and forecasts of them; pure functions of their arguments.

Times are aware datetimes, `seconds` is the length of a slot and `count` their number. A profile is
a share of a peak: multiply it by the installed power. All that is random comes from `rng`.
"""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta
from functools import lru_cache
from typing import cast

import numpy as np

from market.units import Floats

LINKE_TURBIDITY = 3.0
"""Clear mid-latitude air over land (Ineichen & Perez 2002); a constant, so no climatology is needed."""
STANDARD_IRRADIANCE_W_PER_M2 = 1_000.0
"""Irradiance at which a module gives its rated power."""
ALBEDO = 0.2
SUN_STEP_SECONDS = 300
"""The sun is sampled at the middle of steps no longer than this, and averaged over the slot."""
CLOUD_MEMORY_SECONDS = 3 * 3_600
"""After this time the correlation of the cloud cover has fallen to 1/e."""
CLOUD_SPREAD = 2.0
"""Concentration of the beta distribution of the cover: small is either clear or overcast."""
ERROR_MEMORY = 0.8
"""Correlation of the forecast error from one period to the next."""
QUARTER_SECONDS = 900
"""Standard load profiles come in quarters of an hour."""


def pv_output(
    start: datetime,
    seconds: int,
    count: int,
    *,
    latitude: float,
    longitude: float,
    tilt_deg: float,
    azimuth_deg: float,
    clouds: float,
    rng: np.random.Generator,
) -> Floats:
    """Mean PV output by slot as a share of the rated peak, between 0 and 1.

    Clear-sky irradiance (Ineichen) on the tilted plane (isotropic sky), dimmed by seeded clouds of
    mean cover `clouds` in 0..1. Azimuth is degrees clockwise from north, 180 is south. The draws do
    not depend on the plane: roofs given equal streams stand under the same clouds.
    """
    clear = _clear_sky(
        start, seconds, count, place_deg=(latitude, longitude), plane_deg=(tilt_deg, azimuth_deg)
    )
    index = clear_sky_index(cloud_cover(count, seconds, clouds, rng))
    return np.clip(clear / STANDARD_IRRADIANCE_W_PER_M2 * index, 0.0, 1.0)


def cloud_cover(count: int, seconds: int, mean: float, rng: np.random.Generator) -> Floats:
    """Cloud cover by slot in 0..1: a beta distribution of the given mean, correlated in time as AR(1).

    Raises ValueError for a mean outside 0..1.
    """
    if not 0.0 <= mean <= 1.0:
        raise ValueError(f"mean cloud cover {mean} is outside 0..1")
    from scipy.special import betaincinv, ndtr  # noqa: PLC0415 - keeps commands fast

    noise = autoregressive((count,), float(np.exp(-seconds / CLOUD_MEMORY_SECONDS)), rng)
    if mean in (0.0, 1.0):
        return np.full(count, mean)
    rank = ndtr(noise)
    return betaincinv(CLOUD_SPREAD * mean, CLOUD_SPREAD * (1.0 - mean), rank)


def clear_sky_index(cover: Floats) -> Floats:
    """Share of the clear-sky irradiance left under cloud cover N: 1 − 0.75·N^3.4 (Kasten & Czeplak 1980)."""
    return 1.0 - 0.75 * cover**3.4


def standard_load(name: str, start: datetime, seconds: int, count: int) -> Floats:
    """Mean load by slot of a BDEW standard load profile, as a share of its highest quarter of the year.

    `name` is h0 (households, with the dynamisation BDEW prescribes), g0 to g6 (trade) or l0 to l2
    (farms). The profile follows the wall clock of `start`. Raises ValueError for an unknown profile.
    """
    first = datetime(start.year, 1, 1, tzinfo=start.tzinfo)
    end = start + timedelta(seconds=seconds * count)
    years = [_load_year(name, year) for year in range(start.year, end.year + 1)]
    power = np.concatenate(years) / years[0].max()
    # Averages over slots are differences of the running energy: exact for slots of any length.
    energy = np.concatenate([[0.0], np.cumsum(power)]) * QUARTER_SECONDS
    offset = (start - first).total_seconds()
    edges = offset + seconds * np.arange(count + 1)
    running = np.interp(edges, QUARTER_SECONDS * np.arange(len(energy)), energy)
    return cast(Floats, np.diff(running) / seconds)


def forecast(actual: Floats, rng: np.random.Generator, error: float) -> Floats:
    """A forecast of `actual` (periods first): the truth times a positive error correlated in time.

    `error` is the relative standard deviation of the factor, whose mean is 1 (log-normal, AR(1) over
    periods). With `error` 0 the forecast is exactly the truth; the draws taken are the same. Raises
    ValueError for a negative error.
    """
    if not error >= 0.0:
        raise ValueError(f"forecast error {error} is negative")
    noise = autoregressive(actual.shape, ERROR_MEMORY, rng)
    sigma = float(np.sqrt(np.log1p(error**2)))
    return actual * np.exp(sigma * noise - 0.5 * sigma**2)


def autoregressive(shape: tuple[int, ...], correlation: float, rng: np.random.Generator) -> Floats:
    """A stationary AR(1) along the first axis: mean 0, variance 1, the given lag-one correlation."""
    draws = rng.standard_normal(shape)
    step = np.sqrt(1.0 - correlation**2)
    for t in range(1, len(draws)):
        draws[t] = correlation * draws[t - 1] + step * draws[t]
    return draws


def _clear_sky(
    start: datetime,
    seconds: int,
    count: int,
    *,
    place_deg: tuple[float, float],
    plane_deg: tuple[float, float],
) -> Floats:
    """Mean clear-sky irradiance in the plane of the modules by slot, W/m²."""
    import pandas as pd  # noqa: PLC0415 - slow to import
    from pvlib import atmosphere, clearsky, irradiance, solarposition  # noqa: PLC0415

    steps = -(-seconds // SUN_STEP_SECONDS)
    middle_s = start.timestamp() + (np.arange(count * steps) + 0.5) * (seconds / steps)
    times = pd.to_datetime(np.round(middle_s * 1e9).astype(np.int64), unit="ns", utc=True)
    sun = solarposition.spa_python(times, *place_deg)
    zenith, azimuth = sun["apparent_zenith"], sun["azimuth"]
    airmass = atmosphere.get_absolute_airmass(atmosphere.get_relative_airmass(zenith))
    extra = irradiance.get_extra_radiation(times)
    sky = clearsky.ineichen(zenith, airmass, LINKE_TURBIDITY, dni_extra=extra)
    plane = irradiance.get_total_irradiance(
        *plane_deg, zenith, azimuth, sky["dni"], sky["ghi"], sky["dhi"], albedo=ALBEDO
    )["poa_global"]
    by_step = np.nan_to_num(np.asarray(plane, dtype=np.float64), nan=0.0)
    return cast(Floats, np.maximum(by_step, 0.0).reshape(count, steps).mean(axis=1))


@lru_cache(maxsize=16)
def _load_year(name: str, year: int) -> Floats:
    """A year of quarters of a standard load profile, read-only, in arbitrary units."""
    with warnings.catch_warnings():  # demandlib turns every warning of the process into an error
        from demandlib.bdew import ElecSlp  # noqa: PLC0415 - slow to import

        frame = ElecSlp(year).slp_frame
    column = "h0_dyn" if name == "h0" else name
    if column not in frame:
        raise ValueError(f"unknown standard load profile {name}: {', '.join(sorted(frame))}")
    values = np.array(frame[column], dtype=np.float64)
    values.flags.writeable = False
    return values
