from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from market.feeder.powerflow import power_flow, violations
from market.pricing import direct
from market.pricing.conditions import TIE_BREAK_PU_PER_EUR_PER_MWH, Conditions, Solution
from market.pricing.lindistflow import LinDistFlowClearing
from market.pricing.newton import NewtonClearing
from market.pricing.socp import SocpClearing
from tests.market.pricing_cases import CASES, add_load, bare, case, consumption, draw, firm, stressed

POLISHED = 1e-9
"""Largest optimality residual of a polished point; 1e-14 is usual, degenerate points keep fewer digits."""


@pytest.fixture(scope="module")
def cleared() -> dict[str, Solution]:
    return {name: direct.clear(*case(name)) for name in CASES}


def distance(one, other, *, relative: bool = False) -> float:
    """Largest difference of two records of arrays, in units of the larger of 1 and the array's size."""
    worst = 0.0
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        scale = max(1.0, float(np.abs(a).max(initial=0.0))) if relative else 1.0
        worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / scale)
    return worst


# two assemblies, one answer


@pytest.mark.parametrize("name", CASES)
def test_reference_and_direct_assembly_agree(cleared, name):
    feeder, conditions = case(name)
    reference = SocpClearing(feeder)(feeder, conditions)
    assert reference.status == cleared[name].status == "optimal"
    assert max(reference.residual, cleared[name].residual) < POLISHED
    assert distance(reference.primal, cleared[name].primal) < 1e-6
    assert distance(reference.duals, cleared[name].duals, relative=True) < 1e-6
    assert reference.cost == pytest.approx(cleared[name].cost, rel=1e-9)


@pytest.mark.parametrize("name", ["plenty", "voltage high", "rated", "flat hub"])
def test_they_agree_before_newton_too(name):
    # so that polishing cannot hide a wrong assembly; an interior point keeps four digits of a price
    # that hangs on the tie-break
    feeder, conditions = case(name)
    reference, direct_answer = (
        SocpClearing(feeder).solve(feeder, conditions),
        direct.solve(feeder, conditions),
    )
    assert distance(reference[0], direct_answer[0]) < 1e-5
    np.testing.assert_allclose(reference[1].price, direct_answer[1].price, rtol=1e-4)
    np.testing.assert_allclose(reference[1].reactive, direct_answer[1].reactive, rtol=1e-4, atol=1e-2)


def test_named_cases_bind_every_limit(cleared):
    def binds(name, array):
        return bool((getattr(cleared[name].duals, array) > 1e-3).any())

    assert binds("voltage low", "v_low")
    assert binds("voltage high", "v_high")
    assert binds("rated", "current")
    shed = cleared["shedding"].primal.shed
    assert np.any((shed > 0.01) & (shed < 0.99))
    assert np.any(shed == 1.0)
    assert np.any(shed == 0.0)
    assert not any(binds("plenty", array) for array in ("v_low", "v_high", "current"))


def test_random_cases_all_clear():
    rng = np.random.default_rng(20)
    for seed in range(60):
        feeder, conditions = draw(
            seed=seed,
            count=int(rng.integers(0, 80)),
            scale=float(rng.choice([0.1, 0.5, 1, 1.5, 2, 4])),
            v_min=float(rng.choice([0.9, 0.95, 0.97])),
            v_max=float(rng.choice([1.01, 1.03, 1.1])),
            rated=bool(rng.integers(2)),
            import_price=float(rng.uniform(50, 200)),
            export_price=float(rng.uniform(0, 50)),
            generation=float(rng.choice([0.2, 0.6, 1])),
            linear=float(rng.choice([0, 0.2, 1])),
        )
        solution = direct.clear(feeder, conditions)
        assert (solution.status, solution.residual < POLISHED) == ("optimal", True), f"seed {seed}"


# the schedule


NEARLY_ALL_SHED = {
    33: {"v_min": 0.90, "v_max": 1.002, "generation": 0.2, "linear": 0.2},
    50: {"v_min": 0.97, "v_max": 1.01, "generation": 0.2, "linear": 0.0},
    224: {"v_min": 0.97, "v_max": 1.05, "generation": 0.6, "linear": 1.0},
}


@pytest.mark.parametrize("seed", NEARLY_ALL_SHED)
def test_what_the_solver_leaves_unclear_is_polished_too(seed):
    # loads × 20: a bus at its voltage limit sheds all but a millionth, and Clarabel's point takes that for
    # all; changes of many pins at once go round in circles
    limits = NEARLY_ALL_SHED[seed]
    feeder, conditions = draw(seed, scale=20.0, import_price=400.0, export_price=-20.0, **limits)
    solution = direct.clear(feeder, conditions)
    assert (solution.status, solution.residual < POLISHED) == ("optimal", True)


def test_newton_that_has_no_more_digits_is_done():
    # prices of 2e5 €/MWh: steps end at a length that is above their tolerance, and stay there
    feeder, conditions = stressed(215)
    solution = direct.clear(feeder, conditions)
    assert (solution.status, solution.residual < POLISHED) == ("optimal", True)


@pytest.mark.parametrize("name", CASES)
def test_schedule_is_the_power_flow_and_keeps_the_limits(cleared, name):
    feeder, conditions = case(name)
    primal = cleared[name].primal
    flow = power_flow(feeder, *consumption(feeder, conditions, primal))
    # the relaxation is exact, so an AC power flow of the schedule finds the same state
    np.testing.assert_allclose(flow.v, primal.v, atol=1e-9)
    np.testing.assert_allclose(flow.l, primal.l, atol=1e-9 * max(1.0, primal.l.max()))
    np.testing.assert_allclose(flow.net_import, primal.net_import, atol=1e-9)
    assert violations(feeder, flow) == ()


def test_load_times_fifty_is_shed_and_still_served_within_limits(cleared):
    _, conditions = case("shedding")
    solution = cleared["shedding"]
    load = firm(conditions)
    worth = solution.duals.price * load + solution.duals.reactive * conditions.fixed_q
    cost = conditions.voll * np.hypot(load, conditions.fixed_q)
    shed, some = solution.primal.shed, load > 0
    # shed fully where power is worth more than VOLL for the whole of it, not at all where less
    assert np.all(worth[some & (shed == 1.0)] >= cost[some & (shed == 1.0)] * (1 - 1e-9))
    assert np.all(worth[some & (shed == 0.0)] <= cost[some & (shed == 0.0)] * (1 + 1e-9))
    part = (shed > 0) & (shed < 1)
    np.testing.assert_allclose(worth[part], cost[part], rtol=1e-9)
    # reactive power has its price as well, so the active one alone may exceed the value of lost load
    assert solution.duals.price.max() > conditions.voll


# prices are derivatives of the optimal cost


def derivative(feeder, conditions_at, step: float = 1e-6) -> float:
    up, down = (direct.clear(feeder, conditions_at(sign * step)).cost for sign in (1, -1))
    return (up - down) / (2 * step)


@pytest.mark.parametrize("name", ["no devices", "plenty", "export", "balanced", "voltage high", "flat hub"])
def test_price_is_the_cost_of_one_more_unit(cleared, name):
    feeder, conditions = case(name)
    duals = cleared[name].duals
    for bus in (0, 1, 17, 24, 32):
        found = derivative(feeder, lambda step, bus=bus: add_load(conditions, bus, step))
        # the cost is known to about 1e-13 of itself, the step is 1e-6
        assert duals.price[0, bus] == pytest.approx(found, rel=1e-6), f"bus {bus}"
    for bus in (17, 24):
        found = derivative(feeder, lambda step, bus=bus: add_load(conditions, bus, step, reactive=True))
        assert duals.reactive[0, bus] == pytest.approx(found, rel=1e-6, abs=1e-5), f"bus {bus}"


def with_limit(feeder, name: str, index: int, squared_step: float):
    limit = getattr(feeder.limits, name).copy()
    limit[index] = np.sqrt(limit[index] ** 2 + squared_step)
    return replace(feeder, limits=replace(feeder.limits, **{name: limit}))


@pytest.mark.parametrize(
    ("name", "limit", "dual", "sign"),
    [
        ("flat hub", "v_min", "v_low", 1.0),
        ("voltage high", "v_max", "v_high", -1.0),
        ("rated", "i_max", "current", -1.0),
    ],
)
def test_a_limits_multiplier_is_the_cost_of_moving_it(cleared, name, limit, dual, sign):
    feeder, conditions = case(name)
    multiplier = getattr(cleared[name].duals, dual)[0]
    index, step = int(multiplier.argmax()), 1e-6
    assert multiplier[index] > 1.0
    up, down = (direct.clear(with_limit(feeder, limit, index, s * step), conditions).cost for s in (1, -1))
    assert sign * multiplier[index] == pytest.approx((up - down) / (2 * step), rel=1e-5)


def test_sigma_is_never_positive_where_the_relaxation_is_exact(cleared):
    for name, solution in cleared.items():
        assert solution.duals.cone.max() <= 1e-9 * np.abs(solution.duals.cone).max(), name


# the hub


def test_hub_price_is_at_the_end_that_the_import_selects(cleared):
    for name, sign, price in (("no devices", 1, 120.0), ("export", -1, 40.0)):
        assert np.sign(cleared[name].primal.net_import[0]) == sign
        assert cleared[name].duals.price[0, 0] == price
    island = cleared["balanced"]
    assert island.primal.net_import[0] == pytest.approx(0.0, abs=1e-12)
    assert 40.0 < island.duals.price[0, 0] < 120.0


def test_flat_hub_has_one_price_at_the_substation(cleared):
    assert cleared["flat hub"].duals.price[0, 0] == pytest.approx(80.0, abs=1e-9)


# the tie-break


@pytest.mark.parametrize("clearing", [direct.clear, lambda f, c: SocpClearing(f)(f, c)])
def test_where_any_price_would_do_the_tie_break_chooses(clearing):
    # nobody takes or gives anything: every price from 40 to 120 is right without the rule
    feeder, conditions = case("no devices")
    empty = replace(conditions, fixed_p=0 * conditions.fixed_p, fixed_q=0 * conditions.fixed_q)
    solution = clearing(feeder, empty)
    np.testing.assert_allclose(solution.duals.price, 80.0, rtol=1e-9)


def test_indifferent_devices_at_the_margin_leave_one_price():
    # a generator whose whole range exactly meets the load: its own cost, or anything up to the hub's
    feeder, conditions = case("no devices")
    only = replace(conditions, fixed_p=0 * conditions.fixed_p, fixed_q=0 * conditions.fixed_q)
    only = add_load(only, 5, 0.01)
    one = np.ones((1, 1))
    devices = replace(
        conditions.devices,
        bus=np.array([5]),
        gen_cost=50 * one,
        gen_slope=0 * one,
        gen_max=0.01 * one,
        **dict.fromkeys(("load_value", "load_slope", "load_min", "load_max"), 0 * one),
    )
    exact = replace(only, devices=devices)
    first, second = direct.clear(feeder, exact), SocpClearing(feeder)(feeder, exact)
    np.testing.assert_allclose(first.duals.price, second.duals.price, rtol=1e-6)
    # with the generator full, supply meets demand where the tie-break's injections cancel: at c = 80
    assert first.primal.gen[0, 0] == pytest.approx(0.01, abs=1e-9)
    assert first.duals.price[0].mean() == pytest.approx(80.0, abs=1e-3)


def test_tie_break_injects_what_the_rule_says(cleared):
    for name, solution in cleared.items():
        feeder, conditions = case(name)
        centre = (conditions.hub.import_price + conditions.hub.export_price)[:, None] / 2
        share = TIE_BREAK_PU_PER_EUR_PER_MWH / feeder.buses
        np.testing.assert_allclose(
            solution.primal.elastic, share * (solution.duals.price - centre), rtol=1e-6, atol=1e-15
        )


# one compiled problem for many slots


def test_compiled_problem_answers_as_a_fresh_one():
    feeder, first = draw(seed=3, scale=0.5)
    _, second = draw(seed=3, scale=0.8)
    kept = SocpClearing(feeder)
    kept(feeder, first)
    again, fresh = kept(feeder, second), SocpClearing(feeder)(feeder, second)
    assert np.array_equal(again.duals.price, fresh.duals.price)
    assert distance(again.primal, fresh.primal) == 0.0


def test_other_devices_get_a_problem_of_their_own():
    feeder, first = draw(seed=3, scale=0.5, count=10)
    _, second = draw(seed=4, scale=0.5, count=12)
    kept = SocpClearing(feeder)
    for conditions in (first, second, first):
        assert kept(feeder, conditions).status == "optimal"


def test_periods_are_independent(cleared):
    feeder, conditions = case("four periods")
    swapped = SocpClearing(feeder)(feeder, reverse(conditions))
    np.testing.assert_allclose(swapped.duals.price[::-1], cleared["four periods"].duals.price, rtol=1e-9)


def reverse(conditions: Conditions) -> Conditions:
    devices, hub = conditions.devices, conditions.hub
    arrays = {f.name: getattr(devices, f.name)[::-1] for f in fields(devices) if f.name != "bus"}
    return replace(
        conditions,
        fixed_p=conditions.fixed_p[::-1],
        fixed_q=conditions.fixed_q[::-1],
        hub=replace(hub, import_price=hub.import_price[::-1], export_price=hub.export_price[::-1]),
        devices=replace(devices, **arrays),
    )


# where the relaxation is not exact, the answer is a local optimum and says so


def more_sun(feeder, conditions, times: float):
    devices = conditions.devices
    more = replace(devices, gen_cost=0.2 * devices.gen_cost, gen_max=times * devices.gen_max)
    return feeder, replace(conditions, devices=more)


INEXACT = {
    "reverse flow": more_sun(*draw(4, scale=0.2, generation=1.0, v_max=1.01, linear=0.3), times=5),
    "reverse flow, rated": more_sun(
        *draw(2, scale=0.2, generation=1.0, v_max=1.02, linear=0.3, rated=True), times=6
    ),
}


def slack(feeder, primal) -> float:
    return float(np.abs(primal.l * primal.v[:, feeder.parent] - primal.p**2 - primal.q**2)[:, 1:].max())


@pytest.mark.parametrize("name", INEXACT)
@pytest.mark.parametrize("method", [direct.clear, lambda f, c: SocpClearing(f)(f, c)])
def test_reverse_flow_at_the_upper_voltage_limit_is_a_local_optimum(name, method):
    feeder, conditions = INEXACT[name]
    relaxed, _, _ = direct.solve(feeder, conditions)
    assert slack(feeder, relaxed) > 1e-2
    solution = method(feeder, conditions)
    assert solution.status == "local"
    assert solution.residual < POLISHED
    assert solution.duals.cone.max() > 0.0
    assert (solution.duals.v_high > 1e-3).any()
    primal = solution.primal
    flow = power_flow(feeder, *consumption(feeder, conditions, primal))
    np.testing.assert_allclose(flow.v, primal.v, atol=1e-9)
    assert violations(feeder, flow) == ()


def test_prices_of_a_local_optimum_are_derivatives_too():
    feeder, conditions = INEXACT["reverse flow"]
    solution = direct.clear(feeder, conditions)
    for bus in (1, 17, 32):
        found = derivative(feeder, lambda step, bus=bus: add_load(conditions, bus, step))
        assert solution.duals.price[0, bus] == pytest.approx(found, rel=1e-5), f"bus {bus}"


def test_negative_prices_never_burn_power():
    feeder, conditions = draw(9, import_price=-10.0, export_price=-20.0, generation=1.0)
    relaxed, _, _ = direct.solve(feeder, conditions)
    assert slack(feeder, relaxed) > 1.0
    solution = direct.clear(feeder, conditions)
    assert solution.status == "local"
    assert slack(feeder, solution.primal) < 1e-9
    assert solution.duals.price.min() < 0.0


@pytest.mark.parametrize(("must_pu", "sheds"), [(0.05, False), (1.0, True), (30.0, True)])
def test_what_a_device_must_take_is_shed_like_fixed_load(must_pu, sheds):
    feeder, conditions = case("no devices")
    one = np.ones((1, 1))
    nothing = dict.fromkeys(("gen_cost", "gen_slope", "gen_max", "load_value", "load_slope"), 0 * one)
    bounds = {"load_min": must_pu * one, "load_max": must_pu * one}
    devices = replace(conditions.devices, bus=np.array([17]), **nothing, **bounds)
    must = replace(conditions, devices=devices)
    fixed = replace(conditions, fixed_p=firm(must))
    for clear in (direct.clear, SocpClearing(feeder), NewtonClearing(feeder)):
        found, same = clear(feeder, must), clear(feeder, fixed)
        assert found.status == "optimal"
        assert (found.primal.shed[0, 17] > 0) == sheds
        np.testing.assert_allclose(found.primal.shed, same.primal.shed, atol=1e-9)
        np.testing.assert_allclose(found.duals.price, same.duals.price, rtol=1e-9)
        flow = power_flow(feeder, *consumption(feeder, must, found.primal))
        assert violations(feeder, flow) == ()


# LinDistFlow


@pytest.mark.parametrize("name", ["plenty", "export", "rated", "voltage high", "four periods"])
def test_lindistflow_is_the_model_without_losses(name):
    feeder, conditions = case(name)
    solution = LinDistFlowClearing(feeder)(feeder, conditions)
    assert solution.status == "optimal"
    assert solution.residual < 1e-6
    np.testing.assert_allclose(solution.components.loss, 0.0, atol=1e-9)
    primal = solution.primal
    taken, _ = consumption(feeder, conditions, primal)
    np.testing.assert_allclose(primal.net_import, taken.sum(axis=1), atol=1e-7)


def test_lindistflow_without_limits_has_the_hub_price_everywhere():
    feeder, conditions = case("plenty")
    solution = LinDistFlowClearing(feeder)(feeder, conditions)
    np.testing.assert_allclose(solution.duals.price, solution.duals.price[0, 0], rtol=1e-6)


def test_lindistflow_sees_congestion():
    feeder, conditions = draw(seed=1, rated=True, scale=5.0, v_min=0.8)
    solution = LinDistFlowClearing(feeder)(feeder, conditions)
    line = int(solution.duals.current[0].argmax())
    assert solution.duals.current[0, line] > 1.0
    assert solution.primal.l[0, line] == pytest.approx(feeder.limits.i_max[line] ** 2, abs=1e-6)
    behind = [bus for bus in range(1, 33) if line in path(feeder, bus)]
    assert np.all(solution.components.congestion[0, behind] > 1.0)


def path(feeder, bus: int) -> set[int]:
    lines = set()
    while bus > 0:
        lines.add(bus)
        bus = int(feeder.parent[bus])
    return lines


def test_bare_feeder_at_nominal_load_is_within_default_limits():
    from market.feeder import load

    feeder = load("ieee33")
    solution = direct.clear(feeder, bare(feeder))
    assert solution.primal.shed.max() == 0.0
    # 202.7 kW of losses again, now from the optimum
    loss_mw = (solution.primal.net_import[0] + solution.primal.elastic.sum() - 1.0) * feeder.base_mw
    assert loss_mw * 1e3 == pytest.approx(202.7, abs=0.05)
