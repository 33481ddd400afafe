from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.atc.prosumers import Prosumers, cost
from market.pricing.conditions import Devices

COLUMNS = 50
KKT_EUR_PER_MWH = 1e-7
"""Rounding of prices of up to 1e3 €/MWh with weights up to 1e4, in double precision."""


def devices(seed: int) -> Devices:
    """Random devices, a third each linear, rigid or absent on either side; few distinct prices: many ties."""
    rng = np.random.default_rng(seed)

    def some(share: float) -> np.ndarray:
        return rng.random((1, COLUMNS)) < share

    load_min = rng.uniform(0, 1, (1, COLUMNS)) * some(0.7)
    return Devices(
        bus=np.ones(COLUMNS, dtype=np.int64),
        gen_cost=rng.choice([10.0, 20.0, 30.0], (1, COLUMNS)),
        gen_slope=rng.uniform(1, 50, (1, COLUMNS)) * some(0.7),
        gen_max=rng.uniform(0, 1, (1, COLUMNS)) * some(0.7),
        load_value=rng.choice([20.0, 30.0, 80.0], (1, COLUMNS)),
        load_slope=rng.uniform(1, 50, (1, COLUMNS)) * some(0.7),
        load_min=load_min,
        load_max=load_min + rng.uniform(0, 1, (1, COLUMNS)) * some(0.7),
    )


def assert_best_at(d: Devices, gen, load, price) -> None:
    """Marginal cost below the price only at the upper bound, above it only at the lower one."""
    gain = price - (d.gen_cost[0] + d.gen_slope[0] * gen)
    worth = (d.load_value[0] - d.load_slope[0] * load) - price
    for more, value, low, high in (
        (gain, gen, 0.0, d.gen_max[0]),
        (worth, load, d.load_min[0], d.load_max[0]),
    ):
        assert np.all(value >= low) and np.all(value <= high)
        assert np.all((more <= KKT_EUR_PER_MWH) | (value >= high - 1e-12))
        assert np.all((more >= -KKT_EUR_PER_MWH) | (value <= low + 1e-12))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), weight=st.floats(1e-1, 1e4), spread=st.floats(0.01, 5.0))
def test_the_proximal_step_is_optimal(seed, weight, spread):
    d = devices(seed)
    rho = weight * np.random.default_rng(seed + 1).uniform(0.5, 2.0, COLUMNS)
    target = np.random.default_rng(seed + 2).normal(0, spread, COLUMNS)
    answer = Prosumers(d).respond(target, rho)
    np.testing.assert_allclose(answer.power, answer.gen - answer.load, atol=1e-12)
    np.testing.assert_allclose(answer.price, rho * (target - answer.power), rtol=1e-9, atol=1e-6)
    assert_best_at(d, answer.gen, answer.load, answer.price)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), price=st.sampled_from([-50.0, 10.0, 20.0, 25.0, 30.0, 80.0, 400.0]))
def test_the_response_to_a_price_is_best(seed, price):
    d = devices(seed)
    answer = Prosumers(d).at_price(np.full(COLUMNS, price))
    np.testing.assert_allclose(answer.price, price, atol=1e-9)
    assert_best_at(d, answer.gen, answer.load, price)


def test_no_schedule_beats_the_proximal_step():
    d = devices(3)
    rng = np.random.default_rng(4)
    target, rho = rng.normal(0, 1, COLUMNS), rng.uniform(1, 100, COLUMNS)
    answer = Prosumers(d).respond(target, rho)

    def objective(gen, load):
        own = cost(d, gen, load)
        return own[0] + 0.5 * np.sum(rho * (gen - load - target) ** 2)

    best = objective(answer.gen[None], answer.load[None])
    for _ in range(200):
        gen = rng.uniform(0, 1, (1, COLUMNS)) * d.gen_max
        load = d.load_min + rng.uniform(0, 1, (1, COLUMNS)) * (d.load_max - d.load_min)
        assert objective(gen, load) >= best


def test_power_rises_with_price_and_slope_says_how_fast():
    prosumers = Prosumers(devices(5))
    prices = np.linspace(-20, 120, 281) + 0.3
    powers = np.array([prosumers.at_price(np.full(COLUMNS, price)).power for price in prices])
    assert np.all(np.diff(powers, axis=0) >= -1e-12)
    step = 1e-6
    for price in (12.3, 47.9):
        here = prosumers.at_price(np.full(COLUMNS, price))
        there = prosumers.at_price(np.full(COLUMNS, price + step))
        np.testing.assert_allclose((there.power - here.power) / step, here.slope, atol=1e-6)


def test_elasticity_is_bounded_for_linear_and_zero_for_rigid_devices():
    d = devices(6)
    elasticity = Prosumers(d).elasticity(100.0)
    span = d.load_max[0] - d.load_min[0]
    assert np.all(elasticity <= (d.gen_max[0] + span) / 100.0 + 1e-15)
    assert np.all((elasticity == 0.0) == (d.gen_max[0] + span == 0.0))


def test_an_indifferent_linear_device_splits_as_asked():
    one = np.ones((1, 1))
    d = Devices(np.ones(1, dtype=np.int64), 30 * one, 0 * one, one, 0 * one, 0 * one, 0 * one, 0 * one)
    answer = Prosumers(d).respond(np.array([0.4 + 30.0 / 50.0]), np.array([50.0]))
    assert answer.power[0] == pytest.approx(0.4)
    assert answer.price[0] == pytest.approx(30.0)
    assert np.isinf(answer.slope[0])
