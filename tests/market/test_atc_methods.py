"""Every way of coordination on the same problem: who gets to the central prices, how, and who does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.atc.alternating import ACCELERATED, AL_AD
from market.atc.clearing import AtcClearing
from market.atc.finished import ATC
from market.atc.methods import DEEPER, METHODS
from market.atc.penalties import Augmented, Exponential, Quadratic
from market.atc.prosumers import Prosumers, Response
from market.atc.second_order import SECOND_ORDER
from market.pricing.admission import ClearingFailed, StorageError
from market.pricing.certificate import certificate, check
from market.pricing.conditions import Devices, Hub
from market.units import Floats
from tests.market.atc_cases import EXACT, RESIDUAL_STOP, cleared, spread
from tests.market.pricing_cases import CASES, case, draw, stressed, usual
from tests.market.storage_cases import batteries, with_storages

NEVER = {"quadratic", "lagrangian"}
"""Penalties without a multiplier, and multipliers without a penalty: near, and never there."""


@pytest.mark.parametrize("name", sorted(set(METHODS) - NEVER))
def test_methods_settle_at_the_central_prices(name: str) -> None:
    feeder, conditions = draw(5, count=32, linear=0.0, scale=0.7)
    solution, error = cleared(feeder, conditions, METHODS[name])
    assert error <= RESIDUAL_STOP
    assert solution.method == name
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()


def test_a_relaxed_network_that_is_no_network_is_refused() -> None:
    """Below 0 the relaxation burns energy: cuts settle there, at prices of no power flow."""
    feeder, conditions = draw(5, count=20, linear=0.0, scale=0.7)
    below = replace(conditions, hub=Hub(np.array([-10.0]), np.array([-60.0])))
    with pytest.raises(ClearingFailed, match="benders: settled, but on no power flow"):
        AtcClearing(feeder, METHODS["benders"])(feeder, below)
    assert cleared(feeder, below, ATC)[1] <= EXACT


@pytest.mark.parametrize("name", sorted(NEVER))
def test_neither_a_penalty_nor_a_multiplier_is_enough_alone(name: str) -> None:
    feeder, conditions = draw(5, count=10, linear=0.0, scale=0.7)
    patient = replace(METHODS[name], max_rounds=100)
    with pytest.raises(ClearingFailed, match=f"{name}: period 0: no agreement after"):
        AtcClearing(feeder, patient)(feeder, conditions)


@pytest.mark.parametrize("seed", range(24))
def test_the_default_is_exact_in_few_rounds_however_hard(seed: int) -> None:
    feeder, conditions = stressed(seed)
    solution, error = cleared(feeder, conditions, ATC)
    assert error <= EXACT
    assert solution.iterations <= 30


@pytest.mark.parametrize("name", sorted(CASES))
def test_second_order_ends_exactly_where_newton_does(name: str) -> None:
    feeder, conditions = case(name)
    solution, error = cleared(feeder, conditions, SECOND_ORDER)
    assert error <= EXACT
    assert solution.iterations <= 12


@pytest.mark.parametrize("seed", range(20))
def test_second_order_finds_the_corners_of_linear_devices(seed: int) -> None:
    # half of the devices jump at their price: a slope says nothing about them
    feeder, conditions = draw(seed, count=100, linear=0.5, v_min=0.92)
    solution, error = cleared(feeder, conditions, SECOND_ORDER)
    assert error <= EXACT
    assert solution.iterations <= 12


@pytest.mark.parametrize("name", sorted(DEEPER))
@pytest.mark.parametrize("count", [10, 32, 100])
def test_regions_between_utility_and_prosumers_change_no_price(name: str, count: int) -> None:
    feeder, conditions = draw(7, count=count, linear=0.0, scale=0.7)
    _, error = cleared(feeder, conditions, METHODS[name])
    assert error <= RESIDUAL_STOP


def test_every_round_counts_what_was_said() -> None:
    feeder, conditions = draw(5, count=32, linear=0.0, scale=0.7)
    asked: list[str] = []

    class Counted(Prosumers):
        def at_price(self, price: Floats) -> Response:
            asked.append("at a price")
            return super().at_price(price)

        def respond(self, target: Floats, weight: Floats) -> Response:
            asked.append("at a target")
            return super().respond(target, weight)

    for name in ("al-ad", "accelerated", "tdqa", "augmented", "admm", "app"):
        asked.clear()
        found = AtcClearing(feeder, METHODS[name], Counted).agreement(conditions)
        asked_for_a_guess = 2  # of the first price, alike for all methods, and not counted
        assert found.messages == found.numbers == 2 * 32 * (len(asked) - asked_for_a_guess), name
    two, three = (
        AtcClearing(feeder, METHODS[name]).agreement(conditions) for name in ("al-ad", "three-levels")
    )
    assert two.messages == two.numbers == 2 * 32 * (len(two.rounds) + 1)
    buses = len(np.unique(conditions.devices.bus))
    assert three.messages == three.numbers == 2 * 32 + 2 * (32 + buses) * len(three.rounds)


@pytest.mark.parametrize("name", ["second-order", "lagrangian", "benders"])
def test_methods_of_one_period_refuse_storages_by_name(name: str) -> None:
    feeder, conditions = draw(4, periods=3, linear=0.0, scale=0.7)
    feeder, conditions = with_storages((feeder, conditions), batteries(feeder, 3, 4))
    with pytest.raises(StorageError, match=f"{name} clears one period at a time"):
        AtcClearing(feeder, METHODS[name])(feeder, conditions)


def test_benders_asks_what_nobody_tells_it() -> None:
    feeder, conditions = draw(5, count=10, linear=0.0, scale=0.7)

    class Discreet:
        """Answers like the devices, and keeps its costs to itself."""

        def __init__(self, devices: Devices) -> None:
            whole = Prosumers(devices)
            self.bus = whole.bus
            for name in ("elasticity", "respond", "at_price", "range"):
                setattr(self, name, getattr(whole, name))

    assert AtcClearing(feeder, AL_AD, Discreet)(feeder, conditions).status == "optimal"
    with pytest.raises(TypeError, match="do not tell what a power costs"):
        AtcClearing(feeder, METHODS["benders"], Discreet)(feeder, conditions)


# --- penalties --------------------------------------------------------------------------------------

PENALTIES = [
    Augmented(np.array([40.0]), np.array([25.0]), growth=1.1),
    Quadratic(np.array([0.0]), np.array([25.0]), growth=2.0),
    Exponential.at(np.array([40.0]), np.array([25.0]), growth=1.0),
    Exponential.at(np.array([-40.0]), np.array([25.0]), growth=1.0),
]


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
@settings(derandomize=True, deadline=None, max_examples=60)
@given(price=st.floats(-3e3, 3e3))
def test_a_gap_and_its_marginal_price_are_inverse(penalty, price: float) -> None:
    at = np.array([price])
    assert penalty.price(penalty.gap(at))[0] == pytest.approx(price, rel=1e-9, abs=1e-9)
    step = 1e-4 * max(1.0, abs(price))
    rise = (penalty.gap(at + step) - penalty.gap(at - step))[0] / (2 * step)
    # central differences of a smooth curve: third order in the step
    assert penalty.stretch(at)[0] == pytest.approx(rise, rel=1e-6)


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
def test_the_next_penalty_has_learnt_the_price_of_the_gap(penalty) -> None:
    gap = np.array([0.3])
    after = penalty.after(gap).price(np.zeros(1))[0]
    learnt = 0.0 if isinstance(penalty, Quadratic) else penalty.price(gap)[0]
    assert after == pytest.approx(learnt)


def test_small_residuals_are_not_believed_where_hardly_anybody_flexes() -> None:
    """Four of 32 buses flex, by 2e-5 pu per €/MWh: balances within 1e-6 pu leave prices 0.2 €/MWh off."""
    feeder, conditions = usual(53)
    assert cleared(feeder, conditions, replace(ACCELERATED, probes=0))[1] > 10 * RESIDUAL_STOP
    assert cleared(feeder, conditions, ACCELERATED)[1] <= RESIDUAL_STOP


# --- distributions ----------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("hard", [False, True], ids=["usual", "stressed"])
def test_200_random_slots_by_the_residual_stop_and_exactly(
    hard: bool, record_property: Callable[[str, object], None]
) -> None:
    """By the residual stop alone all usual slots settle, and most stressed ones: the others need slopes."""
    rounds: list[int] = []
    without: list[int] = []
    for seed in range(200):
        feeder, conditions = stressed(seed) if hard else usual(seed)
        solution, error = cleared(feeder, conditions, ATC)
        assert error <= EXACT, seed
        rounds.append(solution.iterations)
        try:
            plain, error = cleared(feeder, conditions, ACCELERATED)
        except ClearingFailed:
            assert hard, seed
            continue
        assert error <= RESIDUAL_STOP, seed
        without.append(plain.iterations)
    assert max(rounds) <= 30
    record_property("rounds of atc, median, 95 %, most", spread(rounds))
    assert len(without) >= 190
    assert hard or np.percentile(without, 95) <= 25
    record_property("settled by the residual stop", len(without))
    record_property("rounds by the residual stop, median, 95 %, most", spread(without))
