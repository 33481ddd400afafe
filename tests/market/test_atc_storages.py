"""Batteries and vehicles in ATC: proximal steps against cvxpy, days against the central clearing."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from market.atc.clearing import AtcClearing
from market.atc.finished import ATC
from market.atc.storages import StorageLevel
from market.feeder import load
from market.pricing.certificate import certificate, check
from market.pricing.conditions import Storages
from market.pricing.direct import clear
from market.units import Floats
from tests.market.pricing_cases import draw
from tests.market.storage_cases import batteries, vehicles, with_storages

PERIODS, COUNT = 24, 10
SOLVER_PU = 2e-6
"""Where Clarabel's answer to a hundred storages at once stops, of powers around 0.01 pu."""


def prices(seed: int) -> Floats:
    """Two peaks a day, and noise of each storage's own."""
    rng = np.random.default_rng(seed)
    wave = 90 + 60 * np.sin(np.arange(PERIODS) / PERIODS * 4 * np.pi)
    return wave[:, None] + rng.normal(0, 12, (PERIODS, COUNT))


def best(storages: Storages, target: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """The proximal step by cvxpy: charge and discharge."""
    charge, discharge = (cp.Variable(target.shape, nonneg=True) for _ in range(2))
    ones = np.ones_like(target)
    gained = cp.multiply(ones * storages.charge_efficiency, charge) - cp.multiply(
        ones / storages.discharge_efficiency, discharge
    )
    state = storages.energy_start[None] + cp.cumsum(gained, axis=0) - np.cumsum(storages.drain, axis=0)
    moved = cp.multiply(ones * storages.wear, charge + discharge)
    squares = cp.multiply(ones * storages.wear_slope / 2, cp.square(charge) + cp.square(discharge))
    pull = cp.multiply(weight / 2, cp.square(discharge - charge - target))
    objective = cp.sum(moved + squares + pull) - storages.final_value @ state[-1]
    bounds = [
        charge <= storages.charge_max,
        discharge <= storages.discharge_max,
        state >= storages.energy_min,
        state <= storages.energy_max,
    ]
    tight = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    cp.Problem(cp.Minimize(objective), bounds).solve(solver="CLARABEL", **tight)
    return charge.value, discharge.value


@pytest.mark.parametrize("make", [batteries, vehicles])
def test_the_proximal_step_of_every_storage_is_best(make) -> None:
    storages = make(load("ieee33"), PERIODS, COUNT)
    level = StorageLevel(storages, hours=1.0)
    weight = np.random.default_rng(1).uniform(20, 500, COUNT) * np.ones((PERIODS, 1))
    for seed in range(3):
        # the second and third step start from what the one before found at its bounds
        target = prices(seed) / weight
        answer = level.respond(target, weight)
        charge, discharge = best(storages, target, weight)
        np.testing.assert_allclose(answer.load, charge, atol=SOLVER_PU)
        np.testing.assert_allclose(answer.gen, discharge, atol=SOLVER_PU)


def test_an_answer_depends_on_no_earlier_one() -> None:
    storages = batteries(load("ieee33"), PERIODS, COUNT)
    weight = np.full((PERIODS, COUNT), 100.0)
    fresh, used = (StorageLevel(storages, hours=1.0) for _ in range(2))
    used.respond(prices(3) / weight, weight)
    target = prices(4) / weight
    # the same pieces, found from another side: only rounding differs
    np.testing.assert_allclose(
        used.respond(target, weight).power, fresh.respond(target, weight).power, atol=1e-12
    )


def test_states_stay_within_bounds_and_values_move_only_across_full_and_empty_ones() -> None:
    storages = batteries(load("ieee33"), PERIODS, COUNT)
    level = StorageLevel(storages, hours=1.0)
    weight = np.full((PERIODS, COUNT), 60.0)
    answer = level.respond(prices(5) / weight, weight)
    gained = storages.charge_efficiency * answer.load - answer.gen / storages.discharge_efficiency
    state = storages.energy_start + np.cumsum(gained, axis=0)
    assert (state >= storages.energy_min - 1e-11).all()
    assert (state <= storages.energy_max + 1e-11).all()
    rise = np.diff(np.concatenate([level.value, storages.final_value[None]]), axis=0)
    full, empty = state >= storages.energy_max - 1e-9, state <= storages.energy_min + 1e-9
    assert (np.abs(rise)[~full & ~empty] <= 1e-6).all()
    assert (rise[full & ~empty] >= -1e-6).all()
    assert (rise[empty & ~full] <= 1e-6).all()
    # both happen, or the test shows nothing
    assert full.any() and empty.any()


@pytest.mark.parametrize("make", [batteries, vehicles])
def test_a_day_with_storages_has_the_central_prices(make) -> None:
    feeder, conditions = draw(4, periods=8, linear=0.0, scale=0.7)
    feeder, conditions = with_storages((feeder, conditions), make(feeder, 8, 5))
    solution, central = AtcClearing(feeder, ATC)(feeder, conditions), clear(feeder, conditions)
    error = np.abs(solution.duals.price - central.duals.price) / np.maximum(np.abs(central.duals.price), 1.0)
    assert error.max() <= 1e-4
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
