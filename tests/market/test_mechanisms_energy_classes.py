"""Prices of classes by hand, answers against other energies, and who never agrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.mechanisms.energy_classes import ClassesError, Traders, answer, clear

deterministic = settings(derandomize=True, deadline=None, max_examples=25)
PLAIN, SOLAR = 0, 1
NOT_ITS_OWN = -np.inf


def three(solar_limit: float, omega: float) -> Traders:
    """Who would use up to 12 at v = 200, β = 10; some solar energy for nothing; plain energy at 100."""
    return Traders(
        side=np.array([1.0, -1.0, -1.0]),
        value=np.array([200.0, 0.0, -100.0]),
        slope=np.array([10.0, 0.0, 0.0]),
        limit=np.array([12.0, solar_limit, np.inf]),
        worth=np.array([[0.0, omega], [0.0, 0.0], [0.0, NOT_ITS_OWN]]),
    )


def prices(traders: Traders) -> tuple[float, float]:
    found = clear(traders, np.full(2, 100.0), 5.0, 1e-8)
    assert np.abs(found.energy.sum(axis=0)).max() < 1e-7
    return float(found.price[PLAIN]), float(found.price[SOLAR])


def test_the_premium_is_what_solar_energy_is_worth_where_it_is_scarce():
    """The buyer takes both, so that its margin is the same in both: λ_solar − λ_plain = ω."""
    assert prices(three(4.0, 25.0)) == pytest.approx((100.0, 125.0), abs=1e-5)


def test_without_preference_there_is_one_price():
    assert prices(three(4.0, 0.0)) == pytest.approx((100.0, 100.0), abs=1e-5)


def test_solar_energy_is_never_cheaper_since_it_can_be_sold_as_plain():
    """More than enough: v + ω − β·y is its price at y = 12, where the buyer wants no more."""
    plain, solar = prices(three(30.0, 25.0))
    assert solar >= plain - 1e-5


@deterministic
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_an_answer_is_better_than_others(seed, classes):
    rng = np.random.default_rng(seed)
    count, rho = 5, float(rng.uniform(0.5, 20))
    worth = np.where(
        rng.uniform(size=(count, classes)) < 0.3, NOT_ITS_OWN, rng.uniform(0, 40, (count, classes))
    )
    worth[:, 0] = 0.0
    side = rng.choice([-1.0, 1.0], count)
    traders = Traders(
        side, side * rng.uniform(50, 250, count), rng.uniform(0, 20, count), rng.uniform(0.5, 9, count), worth
    )
    price, near = rng.uniform(60, 200, classes), rng.uniform(-5, 5, (count, classes))

    def kept(energy):
        return traders.gain(price, energy) - 0.5 * rho * ((energy - near) ** 2).sum(axis=1)

    found = answer(traders, price, near, rho)
    y = side[:, None] * found
    assert np.all(y >= 0) and np.all(y.sum(axis=1) <= traders.limit + 1e-9)
    assert np.all(y[~np.isfinite(worth)] == 0)
    for _ in range(20):
        other = np.where(np.isfinite(worth), rng.uniform(0, 9, worth.shape), 0.0)
        other *= np.minimum(1.0, traders.limit / np.maximum(other.sum(axis=1), 1e-12))[:, None]
        other = y + rng.choice([1.0, 0.01]) * (other - y)
        assert np.all(kept(side[:, None] * other) <= kept(found) + 1e-8)


def test_who_never_agrees():
    """Energy at 100 for who would pay 200 for any amount of it."""
    endless = Traders(
        np.array([1.0, -1.0]), np.array([200.0, -100.0]), np.zeros(2), np.full(2, np.inf), np.zeros((2, 1))
    )
    with pytest.raises(ClassesError, match="from agreement after 50 rounds"):
        clear(endless, np.full(1, 150.0), 5.0, 1e-8, rounds_max=50)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"side": np.array([1.0, -1.0, 0.0])}, "trader 2: a side of 0"),
        ({"value": np.array([200.0, np.nan, -100.0])}, "trader 1: a value of nan"),
        ({"slope": np.array([-1.0, 0.0, 0.0])}, "trader 0: a slope of -1"),
        ({"limit": np.array([12.0, np.nan, np.inf])}, "trader 1: a limit of nan"),
        ({"worth": np.array([[0.0, np.nan], [0.0, 0.0], [0.0, 0.0]])}, "trader 0: a worth of nan"),
        ({"worth": np.zeros((2, 2))}, "several lengths"),
    ],
)
def test_traders_that_cannot_be(change, says):
    with pytest.raises(ClassesError, match=says):
        replace(three(5.0, 20.0), **change)


@pytest.mark.parametrize(("traders", "classes"), [(0, 2), (2, 0)])
def test_nobody_and_nothing_to_trade(traders, classes):
    with pytest.raises(ClassesError, match="at least one of each"):
        Traders(*(np.ones(traders) for _ in range(4)), np.zeros((traders, classes)))


@pytest.mark.parametrize(
    ("start", "rho", "tolerance", "says"),
    [
        (np.full(1, 100.0), 5.0, 1e-8, "is no price of each of 2 classes"),
        (np.full(2, np.nan), 5.0, 1e-8, "is no price of each of 2 classes"),
        (np.full(2, 100.0), 0.0, 1e-8, "both above 0"),
        (np.full(2, 100.0), 5.0, np.nan, "both above 0"),
    ],
)
def test_clearings_that_cannot_be(start, rho, tolerance, says):
    with pytest.raises(ClassesError, match=says):
        clear(three(5.0, 20.0), start, rho, tolerance)
