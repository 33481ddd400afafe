"""The fast clearing against the reference: the same prices, the same status, the same certificate."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from market.feeder import Feeder, load
from market.feeder.powerflow import power_flow, violations
from market.pricing import central, direct, finish, interior, local, newton, single
from market.pricing.admission import ClearingFailed, ConditionsError, StorageError
from market.pricing.certificate import certificate, check
from market.pricing.components import components, total
from market.pricing.conditions import Conditions, Devices, Solution
from market.pricing.newton import NewtonClearing
from market.pricing.single import SinglePeriod
from tests.market.pricing_cases import CASES, add_load, bare, case, consumption, draw, firm
from tests.market.storage_cases import batteries, with_storages

EXACT = 1e-11
"""Largest optimality residual of Newton's point: 1e-14 is usual, HELD·ε of a limit that holds the rest."""
AGREE = 1e-6
"""Two solvers, both finished by Newton, of the largest price."""


@pytest.fixture(scope="module")
def cleared() -> dict[str, Solution]:
    return {name: NewtonClearing(case(name)[0])(*case(name)) for name in CASES}


def price_difference(one: Solution, other: Solution) -> float:
    scale = max(1.0, float(np.abs(other.duals.price).max()))
    return float(np.abs(one.duals.price - other.duals.price).max()) / scale


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_polished_clarabel(cleared, name):
    feeder, conditions = case(name)
    found, reference = cleared[name], direct.clear(feeder, conditions)
    assert found.status == reference.status == "optimal"
    assert found.residual < EXACT
    assert price_difference(found, reference) < AGREE
    for field in fields(found.primal):
        difference = getattr(found.primal, field.name) - getattr(reference.primal, field.name)
        assert np.abs(difference).max(initial=0.0) < AGREE, field.name
    assert found.cost == pytest.approx(reference.cost, rel=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_certificate_holds(cleared, name):
    feeder, conditions = case(name)
    assert check(certificate(cleared[name], feeder, conditions), feeder, conditions) == ()


@pytest.mark.parametrize("name", CASES)
def test_components_are_those_of_the_whole_jacobian(cleared, name):
    feeder, _ = case(name)
    found = cleared[name]
    whole = components(feeder, found.primal, found.duals)
    scale = max(1.0, float(np.abs(found.duals.price).max()))
    for field in fields(whole):
        difference = getattr(found.components, field.name) - getattr(whole, field.name)
        assert np.abs(difference).max() < 1e-8 * scale, field.name
    np.testing.assert_allclose(total(found.components), found.duals.price, rtol=1e-12)


def later(conditions: Conditions, seed: int) -> Conditions:
    """The same feeder a quarter of an hour later: loads, sun and the hub's prices have moved."""
    rng = np.random.default_rng(seed)
    devices, hub = conditions.devices, conditions.hub
    return replace(
        conditions,
        fixed_p=conditions.fixed_p * rng.uniform(0.95, 1.05, conditions.fixed_p.shape),
        devices=replace(devices, gen_max=devices.gen_max * rng.uniform(0.9, 1.1, devices.gen_max.shape)),
        hub=replace(hub, import_price=hub.import_price * 1.02, export_price=hub.export_price * 0.98),
    )


@pytest.mark.parametrize("name", CASES)
def test_an_earlier_solution_changes_the_way_and_not_the_answer(cleared, name):
    feeder, conditions = case(name)
    clearing = NewtonClearing(feeder)
    for seed in range(3):
        moved = later(conditions, seed)
        warm, cold = clearing(feeder, moved, cleared[name]), clearing(feeder, moved)
        assert warm.status == cold.status
        assert price_difference(warm, cold) < 1e-9


def test_an_earlier_solution_saves_steps(cleared):
    for name in ("plenty", "export", "voltage high", "rated"):
        feeder, conditions = case(name)
        again = NewtonClearing(feeder)(feeder, conditions, cleared[name])
        assert again.iterations < cleared[name].iterations / 2, name


def test_a_solution_of_another_shape_is_not_started_from(cleared):
    feeder, conditions = draw(seed=3, count=7)
    clearing = NewtonClearing(feeder)
    other = clearing(feeder, conditions, cleared["plenty"])
    assert np.array_equal(other.duals.price, clearing(feeder, conditions).duals.price)


def test_the_same_clearing_answers_the_same_after_others():
    feeder, first = draw(seed=3, scale=0.5)
    _, second = draw(seed=4, scale=2.0)
    kept = NewtonClearing(feeder)
    before = kept(feeder, first)
    kept(feeder, second)
    assert np.array_equal(kept(feeder, first).duals.price, before.duals.price)


def test_another_feeder_is_refused():
    feeder, conditions = draw(seed=3)
    narrower, _ = draw(seed=3, v_min=0.97)
    with pytest.raises(ConditionsError, match="compiled for feeder"):
        NewtonClearing(feeder)(narrower, conditions)


def test_storages_are_refused_by_name():
    feeder, drawn = case("four periods")
    feeder, conditions = with_storages((feeder, drawn), batteries(feeder, drawn.periods, 3))
    with pytest.raises(StorageError, match="newton clears one period at a time"):
        NewtonClearing(feeder)(feeder, conditions)


# where the relaxation is not exact, and where load must be shed


def test_negative_prices_end_at_a_power_flow_that_burns_nothing():
    feeder, conditions = draw(9, import_price=-10.0, export_price=-20.0, generation=1.0)
    solution = NewtonClearing(feeder)(feeder, conditions)
    assert (solution.status, solution.residual < EXACT) == ("local", True)
    primal = solution.primal
    slack = primal.l * primal.v[:, feeder.parent] - primal.p**2 - primal.q**2
    assert np.abs(slack[:, 1:]).max() < 1e-12
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
    assert price_difference(solution, direct.clear(feeder, conditions)) < AGREE


def test_reverse_flow_at_the_upper_voltage_limit_is_a_local_optimum():
    feeder, conditions = draw(4, scale=0.2, generation=1.0, v_max=1.01, linear=0.3)
    devices = conditions.devices
    devices = replace(devices, gen_cost=0.2 * devices.gen_cost, gen_max=5 * devices.gen_max)
    conditions = replace(conditions, devices=devices)
    solution = NewtonClearing(feeder)(feeder, conditions)
    assert (solution.status, solution.residual < EXACT) == ("local", True)
    assert solution.duals.cone.max() > 0.0
    assert (solution.duals.v_high > 1e-3).any()
    assert violations(feeder, power_flow(feeder, *consumption(feeder, conditions, solution.primal))) == ()
    assert price_difference(solution, direct.clear(feeder, conditions)) < AGREE


@pytest.mark.parametrize(("loads", "reactive"), [(50.0, 1.0), (1.0, 2.5), (50.0, 2.5)])
def test_too_much_load_is_shed(loads, reactive):
    feeder, conditions = draw(1, scale=loads, v_min=0.97)
    conditions = replace(conditions, fixed_q=reactive * conditions.fixed_q)
    solution = NewtonClearing(feeder)(feeder, conditions)
    assert (solution.status, solution.residual < EXACT) == ("optimal", True)
    assert solution.primal.shed.max() > 0.0
    assert violations(feeder, power_flow(feeder, *consumption(feeder, conditions, solution.primal))) == ()


def test_a_feeder_that_balances_itself_has_a_price_in_between():
    feeder, conditions = draw(7, import_price=3000.0, export_price=-500.0)
    solution = NewtonClearing(feeder)(feeder, conditions)
    assert solution.primal.net_import[0] == 0.0
    assert -500.0 < solution.duals.price[0, 0] < 3000.0


def tiny(rating_pu: float, seed: int) -> tuple[Feeder, Conditions]:
    """Lines that carry next to nothing: every bus is nearly on its own."""
    feeder, conditions = draw(seed, scale=0.7, generation=1.0, linear=0.3)
    limits = replace(feeder.limits, i_max=np.full(feeder.buses, rating_pu))
    return replace(feeder, limits=limits), conditions


@pytest.mark.parametrize("rating_pu", [1e-3, 5e-3])
@pytest.mark.parametrize("seed", [1, 4])
def test_tiny_ratings_shed_and_curtail_what_the_lines_cannot_carry(rating_pu, seed):
    feeder, conditions = tiny(rating_pu, seed)
    solution, reference = NewtonClearing(feeder)(feeder, conditions), direct.clear(feeder, conditions)
    for each in (solution, reference):
        assert (each.status, each.residual < EXACT) == ("optimal", True)
        assert check(certificate(each, feeder, conditions), feeder, conditions) == ()
    assert price_difference(solution, reference) < AGREE
    assert solution.primal.shed.max() > 0.5
    loading = np.sqrt(solution.primal.l[0, 1:]) / rating_pu
    assert loading.max() == pytest.approx(1.0, abs=1e-9)
    assert violations(feeder, power_flow(feeder, *consumption(feeder, conditions, solution.primal))) == ()


@pytest.mark.parametrize(("rating_pu", "seed"), [(1e-4, 3), (3e-5, 9)])
def test_ratings_that_leave_no_digits_are_priced_as_near_as_the_interior_point_gets(rating_pu, seed):
    feeder, conditions = tiny(rating_pu, seed)
    with pytest.raises(ClearingFailed):
        direct.clear(feeder, conditions)
    solution = NewtonClearing(feeder)(feeder, conditions)
    assert (solution.method, solution.status) == ("newton", "optimal")
    assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()


@pytest.mark.parametrize("clear", [newton.clear, direct.clear], ids=["newton", "direct"])
def test_what_is_not_solved_is_said_and_not_priced(clear, monkeypatch):
    # a solver that ends anywhere, and a polish that mends nothing
    monkeypatch.setattr(single, "settle", lambda *given: None)
    monkeypatch.setattr(interior, "approach", lambda *given: False)
    monkeypatch.setattr(direct, "solve", lambda *given: half_way(*central.solve(*given)))
    monkeypatch.setattr(finish, "stationary", lambda *given, patient=False: None)
    monkeypatch.setattr(local, "tangents", lambda *given: None)
    with pytest.raises(ClearingFailed, match=r"direct: not solved, residual \S+ pu, or share of a price$"):
        clear(*case("plenty"))


def half_way(primal, duals, rounds):
    return primal, replace(duals, price=duals.price / 2), rounds


# prices are derivatives of the optimal cost

STEP_PU = 1e-7


def one_sided(clearing, feeder, conditions, bus: int, *, reactive: bool) -> tuple[float, float]:
    """Cost of a little less and of a little more load at a bus, per unit of it."""
    less, same, more = (
        clearing(feeder, add_load(conditions, bus, step, reactive=reactive)).cost
        for step in (-STEP_PU, 0.0, STEP_PU)
    )
    return (same - less) / STEP_PU, (more - same) / STEP_PU


def marginal(solution: Solution, conditions: Conditions, bus: int, *, reactive: bool) -> float:
    """Cost of one more unit of firm load: served at its price, and the share that is shed at VOLL."""
    active = firm(conditions)
    own, load = ("reactive", conditions.fixed_q) if reactive else ("price", active)
    whole = float(np.hypot(active, conditions.fixed_q)[0, bus])
    shed = float(solution.primal.shed[0, bus])
    lost = conditions.voll * float(load[0, bus]) / whole if shed > 0 else 0.0
    return float(getattr(solution.duals, own)[0, bus]) * (1 - shed) + lost * shed


@pytest.mark.parametrize("name", [name for name in CASES if name != "four periods"])
def test_price_is_the_cost_of_one_more_unit(cleared, name):
    feeder, conditions = case(name)
    clearing, solution = NewtonClearing(feeder), cleared[name]
    # a cost is known to about 4e-16 of itself and of what it is summed from: so much is left over 1e-7 pu
    rounding = 4e-16 * max(1.0, abs(solution.cost)) / STEP_PU
    for bus, reactive in (
        (0, False),
        (1, False),
        (17, False),
        (24, False),
        (32, False),
        (17, True),
        (24, True),
    ):
        expected = marginal(solution, conditions, bus, reactive=reactive)
        down, up = one_sided(clearing, feeder, conditions, bus, reactive=reactive)
        assert (down + up) / 2 == pytest.approx(expected, rel=1e-6, abs=rounding), f"bus {bus}"


def test_where_newton_ends_nowhere_the_direct_clearing_answers(monkeypatch):
    feeder, conditions = case("four periods")
    clearing = NewtonClearing(feeder)
    reference = clearing(feeder, conditions)
    cold = SinglePeriod.from_nothing
    answers = iter([False, True, False, True])
    monkeypatch.setattr(SinglePeriod, "from_nothing", lambda *given: cold(*given) if next(answers) else None)
    mixed = clearing(feeder, conditions)
    assert mixed.status == reference.status
    assert price_difference(mixed, reference) < AGREE


@pytest.mark.parametrize("seed", [2, 4])
def test_a_pivot_that_cancels_is_shifted_away(seed: int) -> None:
    # round numbers leave a zero where the factorisation wants a sign
    feeder = load("pandapower:kerber-landnetz-freileitung-1", 0.8, 1.1, rated=True)
    rng, count = np.random.default_rng(seed), 20
    every = np.ones((1, count))
    devices = Devices(
        bus=rng.integers(1, feeder.buses, count),
        gen_cost=30 * every * rng.uniform(0.5, 2, count),
        gen_slope=100 * every,
        gen_max=0.02 * every * rng.uniform(0, 2, count),
        load_value=100 * every,
        load_slope=500 * every,
        load_min=0 * every,
        load_max=0.02 * every,
    )
    conditions = replace(bare(feeder, scale=0.5 + 0.2 * seed), devices=devices)
    found, central = NewtonClearing(feeder)(feeder, conditions), direct.clear(feeder, conditions)
    assert found.status == "optimal"
    np.testing.assert_allclose(found.duals.price, central.duals.price, rtol=1e-9)
