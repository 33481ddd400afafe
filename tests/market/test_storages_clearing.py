"""Periods that storages couple: prices, what storing is worth, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from market.atc.clearing import AtcClearing
from market.feeder import Feeder
from market.pricing import central, direct, socp
from market.pricing.admission import ConditionsError, Infeasible, StorageError, admit
from market.pricing.certificate import certificate, check
from market.pricing.components import total
from market.pricing.conditions import Conditions, Devices, Hub, Storages
from market.pricing.lindistflow import LinDistFlowClearing
from market.pricing.newton import NewtonClearing
from market.pricing.polish import stationary
from market.pricing.socp import SocpClearing
from market.pricing.storages import overlap_pays, overlap_price, states, window
from market.pricing.surplus import surplus
from market.units import Floats
from tests.market.pricing_cases import add_load, draw
from tests.market.storage_cases import (
    CASES,
    batteries,
    beside,
    case,
    negative,
    reverse_flow,
    vehicles,
    with_storages,
)

EXACT = 1e-11
"""A polished point meets its conditions to about 1e-15 of their scale; two assemblies then agree."""
STEP = 1e-4
"""pu, or pu·h: cost is polished to 1e-13, so a central difference of it is right to STEP² of curvature."""
SLOPE = 2e-5
"""Of the price: the curvature over a step."""


@pytest.mark.parametrize("name", CASES)
def test_two_assemblies_agree_and_the_certificate_holds(name: str) -> None:
    feeder, conditions = case(name)
    one, other = SocpClearing(feeder)(feeder, conditions), direct.clear(feeder, conditions)
    for solution in (one, other):
        assert solution.status == "optimal"
        assert solution.residual <= EXACT
        assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
    np.testing.assert_allclose(one.duals.price, other.duals.price, rtol=1e-9)
    np.testing.assert_allclose(one.primal.energy, other.primal.energy, atol=1e-9)
    np.testing.assert_allclose(total(other.components), other.duals.price, rtol=1e-9)
    assert np.minimum(other.primal.charge, other.primal.discharge).max() == 0.0
    moved = states(conditions.storages, other.primal.charge, other.primal.discharge, conditions.hours)
    np.testing.assert_allclose(moved, other.primal.energy, atol=1e-14)
    money = surplus(feeder, conditions, other.primal, other.duals)
    np.testing.assert_allclose(money.sources, money.merchandising, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "bus"),
    [("batteries", 5), ("vehicles", 17), ("quarter hours", 17), ("voltage low", 5), ("export", 17)],
)
def test_a_price_is_what_one_more_unit_in_its_period_costs_the_day(name: str, bus: int) -> None:
    feeder, conditions = case(name)
    price = direct.clear(feeder, conditions).duals.price
    for period in range(0, conditions.periods, 3):
        up, down = (_one_more(conditions, period, bus, step) for step in (STEP, -STEP))
        slope = (direct.clear(feeder, up).cost - direct.clear(feeder, down).cost) / (2 * STEP)
        assert slope == pytest.approx(price[period, bus], rel=SLOPE)


def _one_more(conditions: Conditions, period: int, bus: int, step: float) -> Conditions:
    """More firm load at a bus in one period."""
    power = conditions.fixed_p.copy()
    power[period, bus] += step
    return replace(conditions, fixed_p=power)


@pytest.mark.parametrize("name", ["batteries", "quarter hours"])
def test_stored_energy_is_worth_what_it_saves(name: str) -> None:
    """θ of the first period against the cost of starting with a little more."""
    feeder, conditions = case(name)
    solution = direct.clear(feeder, conditions)
    for column in range(3):
        costs = []
        for step in (STEP, -STEP):
            start = conditions.storages.energy_start.copy()
            start[column] += step
            storages = replace(conditions.storages, energy_start=start)
            costs.append(direct.clear(feeder, replace(conditions, storages=storages)).cost)
        saved = (costs[1] - costs[0]) / (2 * STEP) * conditions.hours
        assert saved == pytest.approx(solution.duals.stored[0, column], rel=1e-3)


def test_storages_earn_the_most_that_the_prices_allow() -> None:
    """Against a linear programme of each battery alone, taking the prices as given."""
    feeder, conditions = case("batteries")
    straight = replace(conditions.storages, wear_slope=0 * conditions.storages.wear_slope)
    conditions = replace(conditions, storages=straight)
    solution = direct.clear(feeder, conditions)
    assert solution.status == "optimal"
    price, storages = solution.duals.price[:, straight.bus], straight
    flow = solution.primal.discharge - solution.primal.charge
    worn = storages.wear * (solution.primal.charge + solution.primal.discharge)
    left = storages.final_value * solution.primal.energy[-1]
    earned = (price * flow - worn).sum(axis=0) * conditions.hours + left
    for k in range(storages.count):
        assert earned[k] == pytest.approx(_best_alone(price[:, k], storages, k, conditions.hours), rel=1e-7)


def _best_alone(price: Floats, storages: Storages, k: int, hours: float) -> float:
    """Most that one storage can earn at given prices: variables are c and d of each period."""
    periods = len(price)
    sums = np.tril(np.ones((periods, periods))) * hours
    into, out = storages.charge_efficiency[k], 1 / storages.discharge_efficiency[k]
    state = np.hstack([into * sums, -out * sums])
    gain = (
        np.r_[-(price + storages.wear[k]), price - storages.wear[k]] * hours
        + storages.final_value[k] * state[-1]
    )
    start = storages.energy_start[k] - np.cumsum(storages.drain[:, k])
    bounds = [
        *((0, top) for top in storages.charge_max[:, k]),
        *((0, top) for top in storages.discharge_max[:, k]),
    ]
    found = linprog(
        -gain,
        A_ub=np.vstack([state, -state]),
        b_ub=np.r_[storages.energy_max[:, k] - start, start - storages.energy_min[:, k]],
        bounds=bounds,
    )
    return float(-found.fun + storages.final_value[k] * start[-1])


def test_storages_that_can_do_nothing_change_nothing() -> None:
    feeder, conditions = draw(1, periods=3, scale=0.5)
    alone = direct.clear(feeder, conditions)
    storages = batteries(feeder, 3, 4)
    dead = replace(storages, charge_max=0 * storages.charge_max, discharge_max=0 * storages.discharge_max)
    together = direct.clear(*with_storages((feeder, conditions), dead))
    np.testing.assert_allclose(together.duals.price, alone.duals.price, rtol=1e-12)
    np.testing.assert_array_equal(together.primal.energy, np.tile(storages.energy_start, (3, 1)))
    assert together.cost == pytest.approx(
        alone.cost - (storages.final_value * storages.energy_start).sum(), rel=1e-12
    )


def test_what_is_left_of_a_day_has_the_prices_of_the_whole_day() -> None:
    """Rolling on without news changes nothing: the tie-break makes prices unique."""
    feeder, conditions = case("both")
    whole = direct.clear(feeder, conditions)
    for first in (1, 3):
        at = slice(first, None)
        devices = conditions.devices
        rest = replace(
            conditions,
            fixed_p=conditions.fixed_p[at],
            fixed_q=conditions.fixed_q[at],
            hub=Hub(conditions.hub.import_price[at], conditions.hub.export_price[at]),
            devices=Devices(devices.bus, *(getattr(devices, name)[at] for name in list(vars(devices))[1:])),
            storages=window(conditions.storages, first, conditions.periods, whole.primal.energy[first - 1]),
        )
        rolled = direct.clear(feeder, rest)
        np.testing.assert_allclose(rolled.duals.price, whole.duals.price[at], rtol=1e-9)
        np.testing.assert_allclose(rolled.primal.energy, whole.primal.energy[at], atol=1e-9)


def test_a_departure_is_met_and_costs_what_it_must() -> None:
    feeder, conditions = case("vehicles")
    solution = direct.clear(feeder, conditions)
    storages, leaves = conditions.storages, conditions.periods // 3
    energy = solution.primal.energy
    np.testing.assert_allclose(energy[leaves - 1], storages.energy_min[leaves - 1], atol=1e-12)
    away = storages.charge_max == 0
    assert away.any() and solution.primal.charge[away].max() == 0.0
    easier = replace(storages, energy_min=0.9 * storages.energy_min)
    assert direct.clear(feeder, replace(conditions, storages=easier)).cost < solution.cost


# --- where the clearing is not convex -----------------------------------------------------------


@pytest.mark.parametrize("clear", [direct.clear, socp.clear], ids=["direct", "socp"])
def test_a_departure_that_the_lines_cannot_serve_is_proven_infeasible(clear) -> None:
    feeder, conditions = draw(1, periods=6, scale=0.5, count=10)

    def rated(rating_pu: float) -> Feeder:
        return replace(feeder, limits=replace(feeder.limits, i_max=np.full(feeder.buses, rating_pu)))

    conditions = replace(conditions, storages=vehicles(feeder, 6, 5))
    # the largest car takes 3 % of the feeder's load for an hour or two
    assert clear(rated(0.1), conditions).status == "optimal"
    with pytest.raises(Infeasible, match=r"(direct|socp): no schedule brings the storages what they need"):
        clear(rated(0.001), conditions)


def test_nothing_is_burnt_in_storages_at_negative_prices() -> None:
    feeder, conditions = negative()
    solution = direct.clear(feeder, conditions)
    assert solution.status == "local"
    assert solution.residual <= EXACT
    assert overlap_pays(conditions.storages, solution.duals.price).all()
    assert np.minimum(solution.primal.charge, solution.primal.discharge).max() == 0.0
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
    claimed = certificate(replace(solution, status="optimal"), feeder, conditions)
    assert claimed == certificate(solution, feeder, conditions), "the writer claims what holds, and no more"


def test_overlap_pays_below_its_price_and_not_above() -> None:
    """Both directions at once gain exactly below −ω(1 + η²)/(1 − η²)."""
    feeder, _ = case("batteries")
    storages = batteries(feeder, 2, 4)
    both = storages.charge_efficiency * storages.discharge_efficiency
    threshold = overlap_price(storages)
    np.testing.assert_allclose(threshold, -storages.wear * (1 + both) / (1 - both))
    for offset, pays in ((-0.01, True), (0.01, False)):
        price = threshold + offset
        # one unit in, η² out again at once: what is kept of it is nothing
        gain = -price * (1 - both) - storages.wear * (1 + both)
        assert ((gain > 0) == pays).all()
        by_bus = np.zeros((1, feeder.buses))
        for k, bus in enumerate(storages.bus):
            by_bus[0, bus] = price[k]
            assert overlap_pays(storages, by_bus)[0, k] == pays
    lossless = replace(storages, charge_efficiency=np.ones(4), discharge_efficiency=np.ones(4))
    assert np.isneginf(overlap_price(lossless)).all()


def test_the_true_power_flow_is_priced_where_the_relaxation_is_not_exact() -> None:
    feeder, conditions = reverse_flow()
    relaxed, _, _ = central.solve(feeder, conditions)
    slack = relaxed.l * relaxed.v[:, feeder.parent] - relaxed.p**2 - relaxed.q**2
    assert slack[:, 1:].max() > 1e-3
    solution = direct.clear(feeder, conditions)
    assert solution.status == "local"
    assert solution.residual <= EXACT
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
    assert solution.duals.v_high.max() > 1.0


# --- robustness ---------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=12)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(0, 6), st.integers(0, 4))
def test_drawn_days_are_proven(seed: int, periods: int, count: int, cars: int) -> None:
    """Idle ones, full ones, always away: whatever is drawn ends polished and certified."""
    feeder, conditions = draw(seed, periods=periods, scale=0.6, linear=0.3)
    kinds = [batteries(feeder, periods, count + 1, seed)]
    kinds += [vehicles(feeder, periods, cars, seed + 1)] * (cars > 0 and periods >= 3)
    conditions = replace(conditions, storages=beside(*kinds))
    solution = direct.clear(feeder, conditions)
    assert solution.residual <= EXACT
    assert solution.status == "optimal"
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()


def test_a_storage_that_idles_at_its_bound_keeps_its_worth_within_the_range_that_prices_leave() -> None:
    """Nothing free determines θ of an empty battery that waits; the polished point still has one."""
    feeder, conditions = draw(1, periods=4, scale=0.5, import_price=80.0, export_price=80.0)
    storages = batteries(feeder, 4, 3)
    empty = replace(storages, energy_start=storages.energy_min[0], final_value=np.zeros(3))
    conditions = replace(conditions, storages=empty)
    primal, duals, _ = central.solve(feeder, conditions)
    point = stationary(central.network_problem(feeder, conditions), conditions, primal, duals)
    assert point is not None
    assert point[0].charge.max() == 0.0
    theta, price = point[1].stored, point[1].price[:, empty.bus]
    assert (theta * empty.charge_efficiency <= price + empty.wear).all()
    assert (theta >= (price - empty.wear) * empty.discharge_efficiency).all()


def test_lindistflow_clears_days_too() -> None:
    feeder, conditions = case("both")
    lossless = LinDistFlowClearing(feeder)(feeder, conditions)
    exact = direct.clear(feeder, conditions)
    np.testing.assert_allclose(lossless.primal.energy, exact.primal.energy, atol=0.05)
    assert lossless.cost < exact.cost


def _degenerate(good: Storages) -> dict[str, Storages]:
    """Storages for whom something does not matter: what they do is not unique, prices are."""
    none, every, count = np.zeros_like(good.energy_max), np.ones(good.count), good.count
    ideal = {"charge_efficiency": every, "discharge_efficiency": every}
    free = replace(good, wear=np.zeros(count), wear_slope=np.zeros(count), **ideal)
    holds_nothing = {"energy_min": none, "energy_max": none, "energy_start": np.zeros(count)}
    does_nothing = {"charge_max": none, "discharge_max": none}
    return {
        "neither wear nor losses": free,
        "and nothing is worth keeping": replace(free, final_value=np.zeros(count)),
        "and twins": beside(free, free),
        "linear wear, no losses": replace(good, wear_slope=np.zeros(count), **ideal),
        "no capacity": replace(free, **holds_nothing),
        "no power": replace(free, **does_nothing),
        "neither": replace(good, **holds_nothing, **does_nothing),
    }


@pytest.mark.parametrize("name", _degenerate(case("batteries")[1].storages))
def test_every_solver_clears_degenerate_storages_alike(name: str) -> None:
    feeder, conditions = case("batteries")
    conditions = replace(conditions, storages=_degenerate(conditions.storages)[name])
    one, other = SocpClearing(feeder)(feeder, conditions), direct.clear(feeder, conditions)
    for solution in (one, other, LinDistFlowClearing(feeder)(feeder, conditions)):
        assert np.minimum(solution.primal.charge, solution.primal.discharge).max() <= 1e-6
    for solution in (one, other):
        assert (solution.status, solution.residual <= EXACT) == ("optimal", True)
        assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
    np.testing.assert_allclose(one.duals.price, other.duals.price, rtol=1e-9)
    atc = AtcClearing(feeder)(feeder, conditions)
    # ATC stops when marginal costs are within 1e-5 of prices, and theirs within as much of the optimum's
    np.testing.assert_allclose(atc.duals.price, one.duals.price, rtol=2e-5)


# --- refused ------------------------------------------------------------------------------------


def test_methods_of_single_periods_refuse_storages() -> None:
    feeder, conditions = case("batteries")
    with pytest.raises(StorageError, match="newton clears one period at a time"):
        NewtonClearing(feeder)(feeder, conditions)


def test_impossible_storages_are_refused_by_name() -> None:
    feeder, conditions = case("batteries")
    good = conditions.storages
    admit(feeder, conditions)
    every = np.ones_like(good.energy_max)
    refused = {
        "shape": replace(good, wear=good.wear[:2]),
        "finite": replace(good, drain=np.nan * every),
        "storage . has bus .*, outside 0 to 32": replace(good, bus=good.bus + feeder.buses),
        r"has charge_efficiency 1\.1, outside": replace(good, charge_efficiency=1.1 * np.ones(8)),
        "has discharge_efficiency 0, outside": replace(good, discharge_efficiency=np.zeros(8)),
        "wear -.* €/MWh, below 0": replace(good, wear=-good.wear),
        "charge_max -.* pu, below 0": replace(good, charge_max=-good.charge_max),
        "in period 0 has drain -1 pu·h, below 0": replace(good, drain=-every),
        "energy_max .* pu·h, below energy_min, .* pu·h": replace(good, energy_max=0.5 * good.energy_min),
        "storage 0 starts with 0 pu·h and cannot meet .* that takes .* pu·h": _hungry(good),
        "cannot get rid of it in time: at most .* pu·h": replace(good, energy_start=50 * good.energy_start),
        r"no bounds from period 2 on: its power or capacity is 0\.\d+ pu·h too small": _jumping(good),
    }
    for name, storages in refused.items():
        with pytest.raises(ConditionsError, match=name):
            admit(feeder, replace(conditions, storages=storages))


def _hungry(good: Storages) -> Storages:
    """Full by the first period, from nothing."""
    least = good.energy_min.copy()
    least[0] = good.energy_max[0]
    return replace(good, energy_start=0 * good.energy_start, energy_min=least)


def _jumping(good: Storages) -> Storages:
    """Almost empty in one period, full in the next."""
    least, most = good.energy_min.copy(), good.energy_max.copy()
    most[1], least[2] = good.energy_min[1], good.energy_max[2]
    return replace(good, energy_min=least, energy_max=most)


def test_a_need_that_charging_just_meets_is_admitted() -> None:
    feeder, conditions = case("batteries")
    good = conditions.storages
    reach = good.energy_start + good.charge_efficiency * good.charge_max[0]
    least = good.energy_min.copy()
    least[0] = np.minimum(reach, good.energy_max[0])
    exactly = replace(conditions, storages=replace(good, energy_min=least))
    solution = direct.clear(feeder, exactly)
    assert check(certificate(solution, feeder, exactly), feeder, exactly) == ()
    np.testing.assert_allclose(solution.primal.energy[0], least[0], atol=1e-9)


def test_more_load_in_every_period_still_costs_its_price() -> None:
    feeder, conditions = case("both")
    price = direct.clear(feeder, conditions).duals.price[:, 9].sum()
    costs = [direct.clear(feeder, add_load(conditions, 9, step)).cost for step in (STEP, -STEP)]
    assert (costs[0] - costs[1]) / (2 * STEP) == pytest.approx(price, rel=SLOPE)
