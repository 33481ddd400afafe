from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.atc.alternating import ACCELERATED, ADMM
from market.atc.anderson import Anderson
from market.atc.clearing import AtcClearing
from market.pricing.admission import ClearingFailed, HubError
from market.pricing.certificate import certificate, check
from market.pricing.conditions import Devices, Hub
from market.pricing.socp import SocpClearing
from tests.market.pricing_cases import CASES, case, draw, price_error, usual
from tests.market.trading_day import midsummer

PRICE_ERROR = 1e-4
"""The promise for ATC's DLMPs against the central solve, of max(|λ|, 1); 1e-5 is usual."""
ROUNDS = 30


def assert_central(feeder, conditions, solution) -> None:
    """The prices of the central solve, and a certificate that holds."""
    assert price_error(solution, SocpClearing(feeder)(feeder, conditions)) <= PRICE_ERROR
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()


def test_a_day_has_the_central_prices_in_every_hour():
    feeder, hours = midsummer()
    clearing, reference, warm = AtcClearing(feeder), SocpClearing(feeder), None
    hub_prices = []
    for conditions in (hour.conditions for hour in hours):
        warm = clearing(feeder, conditions, warm)
        assert warm.status == "optimal"
        assert warm.method == "atc"
        assert warm.iterations == len(clearing.trace[0]) <= ROUNDS
        assert price_error(warm, reference(feeder, conditions)) <= PRICE_ERROR
        assert check(certificate(warm, feeder, conditions), feeder, conditions) == ()
        hub_prices.append(float(warm.duals.price[0, 0]))
    # the day must visit all three regimes of the hub, or it shows nothing
    assert 160.0 in hub_prices and 70.0 in hub_prices
    assert any(70.5 < price < 159.5 for price in hub_prices)


@pytest.mark.parametrize("seed", range(36))
def test_random_cases_settle_in_few_rounds(seed):
    feeder, conditions = usual(seed)
    solution = AtcClearing(feeder)(feeder, conditions)
    assert solution.iterations <= ROUNDS
    assert_central(feeder, conditions, solution)


@pytest.mark.parametrize("name", sorted(CASES))
def test_named_cases_settle_however_hard(name):
    # voltage floors, ratings, shedding at prices beyond VOLL, linear devices: slower, never wrong
    feeder, conditions = case(name)
    clearing = AtcClearing(feeder)
    solution = clearing(feeder, conditions)
    assert all(rounds[-1].settled for rounds in clearing.trace)
    assert_central(feeder, conditions, solution)


def test_admm_reaches_the_same_prices_in_more_rounds():
    feeder, conditions = draw(5, linear=0.0, scale=0.7)
    atc, admm = AtcClearing(feeder)(feeder, conditions), AtcClearing(feeder, ADMM)(feeder, conditions)
    assert admm.method == "admm"
    assert price_error(admm, atc) <= PRICE_ERROR
    assert admm.iterations > atc.iterations


def test_a_warm_start_from_the_answer_needs_almost_nothing():
    feeder, conditions = draw(5, linear=0.0, scale=0.7)
    clearing = AtcClearing(feeder)
    cold = clearing(feeder, conditions)
    warm = clearing(feeder, conditions, cold)
    assert warm.iterations <= cold.iterations // 2
    assert price_error(warm, cold) <= PRICE_ERROR


def test_the_kept_solver_carries_nothing_from_slot_to_slot():
    feeder, hours = midsummer()
    kept = AtcClearing(feeder)
    for hour in (3, 12, 19, 12):
        again = kept(feeder, hours[hour].conditions)
    fresh = AtcClearing(feeder)(feeder, hours[12].conditions)
    assert again.duals.price.tobytes() == fresh.duals.price.tobytes()


def test_runs_repeat_to_the_bit():
    feeder, hours = midsummer()
    runs = [
        [AtcClearing(feeder)(feeder, hour.conditions).duals.price.tobytes() for hour in hours[8:12]]
        for _ in "ab"
    ]
    assert runs[0] == runs[1]


def test_periods_clear_as_one_by_one():
    feeder, conditions = draw(9, periods=3, linear=0.0, scale=0.6)
    together = AtcClearing(feeder)(feeder, conditions)
    for period in range(3):
        at = slice(period, period + 1)
        d = conditions.devices
        names = ("gen_cost", "gen_slope", "gen_max", "load_value", "load_slope", "load_min", "load_max")
        alone = replace(
            conditions,
            fixed_p=conditions.fixed_p[at],
            fixed_q=conditions.fixed_q[at],
            hub=Hub(conditions.hub.import_price[at], conditions.hub.export_price[at]),
            devices=Devices(d.bus, **{name: getattr(d, name)[at] for name in names}),
        )
        one = AtcClearing(feeder)(feeder, alone)
        np.testing.assert_allclose(together.duals.price[at], one.duals.price, rtol=2e-5)


def test_unfinished_rounds_are_no_answer():
    feeder, conditions = draw(5)
    with pytest.raises(ClearingFailed, match="no agreement after 2 rounds"):
        AtcClearing(feeder, replace(ACCELERATED, max_rounds=2))(feeder, conditions)


def test_what_cannot_be_priced_is_refused():
    feeder, conditions = draw(5)
    with pytest.raises(HubError):
        AtcClearing(feeder)(feeder, replace(conditions, hub=Hub(np.array([10.0]), np.array([20.0]))))
    other = replace(feeder, name="another")
    with pytest.raises(ValueError, match="made for feeder"):
        AtcClearing(feeder)(other, conditions)


def test_acceleration_solves_what_plain_steps_crawl_to():
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    contraction = basis @ np.diag([0.99, 0.95, 0.5, -0.6, 0.1, 0.0]) @ basis.T
    goal = rng.normal(size=6)

    def residual(state):
        return contraction @ (state - goal) + goal - state

    plain = accelerated = np.zeros(6)
    memory = Anderson(5, np.ones(6))
    for _ in range(12):
        plain = plain + residual(plain)
        accelerated = memory.advance(accelerated, residual(accelerated))
    assert np.linalg.norm(accelerated - goal) < 1e-8 < np.linalg.norm(plain - goal)


def test_acceleration_restarts_from_its_best_state_when_residuals_explode():
    memory = Anderson(5, np.ones(2))
    good = memory.advance(np.zeros(2), np.array([1.0, 0.0]))
    np.testing.assert_array_equal(good, [1.0, 0.0])
    np.testing.assert_array_equal(memory.advance(good, np.array([50.0, 0.0])), good)
