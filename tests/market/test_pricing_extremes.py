"""Where the relaxation is not exact, or load cannot be served: what is published is the true flow's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.feeder import load
from market.feeder.powerflow import power_flow, violations
from market.pricing import direct, local, newton
from market.pricing.admission import ClearingFailed
from market.pricing.certificate import Accuracy, Claim, certificate, check, decode, prices
from market.pricing.components import trade_charge, usage_charges
from market.pricing.conditions import Conditions, Devices, Hub, Solution
from market.pricing.quantise import quantise
from market.pricing.sequential import carried, tangents
from tests.market.pricing_cases import add_load, case, consumption, draw

CLEARINGS = {"direct": direct.clear, "newton": newton.clear}


def upper_limit_under_reverse_flow():
    """Cheap sun at the ends of the feeder, more than its voltage bears."""
    feeder, conditions = draw(4, scale=0.2, generation=1.0, v_max=1.01, linear=0.3)
    devices = conditions.devices
    more = replace(devices, gen_cost=0.2 * devices.gen_cost, gen_max=5 * devices.gen_max)
    return feeder, replace(conditions, devices=more)


def negative_hub_price():
    """λ_0 = −30: burning power in the lines would pay."""
    return draw(9, import_price=-30.0, export_price=-45.0, generation=1.0)


INEXACT = {"upper limit": upper_limit_under_reverse_flow, "negative hub price": negative_hub_price}


def slack(feeder, primal) -> float:
    return float(np.abs(primal.l * primal.v[:, feeder.parent] - primal.p**2 - primal.q**2)[:, 1:].max())


def assert_true_flow(feeder, conditions: Conditions, solution: Solution) -> None:
    """An AC power flow of the schedule finds the same state, and no limit broken."""
    primal = solution.primal
    flow = power_flow(feeder, *consumption(feeder, conditions, primal))
    np.testing.assert_allclose(flow.v, primal.v, atol=1e-9)
    np.testing.assert_allclose(flow.net_import, primal.net_import, atol=1e-9)
    assert violations(feeder, flow) == ()


@pytest.mark.parametrize("name", INEXACT)
@pytest.mark.parametrize("clear", CLEARINGS.values(), ids=CLEARINGS)
def test_published_prices_are_the_true_flows_and_marked_local(name, clear):
    feeder, conditions = INEXACT[name]()
    relaxed, relaxed_duals, _ = direct.solve(feeder, conditions)
    assert slack(feeder, relaxed) > 1e-3
    solution = clear(feeder, conditions)
    assert solution.status == "local"
    assert_true_flow(feeder, conditions, solution)
    data = certificate(solution, feeder, conditions)
    certified = decode(data)
    assert (certified.claim, certified.accuracy) == (Claim.LOCAL, Accuracy.FINISHED)
    assert check(data, feeder, conditions) == ()
    posted = prices(data, feeder, hours=1.0)
    assert posted == quantise(solution, feeder, hours=1.0)
    # the relaxation's prices are others: by more than the unit that is posted
    assert np.abs(relaxed_duals.price[0] * 1000 - posted.bus_price).max() > 1.0


@pytest.mark.parametrize("clear", CLEARINGS.values(), ids=CLEARINGS)
def test_negative_hub_price_is_the_hubs(clear):
    feeder, conditions = negative_hub_price()
    solution = clear(feeder, conditions)
    assert solution.primal.net_import[0] > 0
    assert solution.duals.price[0, 0] == -30.0


@pytest.mark.parametrize("name", ["no devices", "plenty"])
@pytest.mark.parametrize(("active", "reactive"), [(50.0, 50.0), (1.0, 2.5), (20.0, 50.0)])
@pytest.mark.parametrize("clear", CLEARINGS.values(), ids=CLEARINGS)
def test_loads_beyond_the_feeder_are_shed_and_the_rest_served(name, active, reactive, clear):
    feeder, conditions = case(name)
    # the nominal load, which alone is within what the feeder carries at 0.95 pu with little to spare
    nominal = feeder.nominal_p_mw[None] / feeder.base_mw, feeder.nominal_q_mvar[None] / feeder.base_mw
    heavy = replace(conditions, fixed_p=active * nominal[0], fixed_q=reactive * nominal[1])
    solution = clear(feeder, heavy)
    assert solution.status == "optimal"
    assert 0.0 < solution.primal.shed.max() <= 1.0
    assert solution.primal.shed[0, heavy.fixed_p[0] > 0].min() < 1.0
    assert_true_flow(feeder, heavy, solution)
    assert check(certificate(solution, feeder, heavy), feeder, heavy) == ()


@pytest.mark.parametrize("name", ["flat hub", "voltage high"])
@pytest.mark.parametrize(("seller", "buyer"), [(4, 30), (17, 24), (0, 12)])
def test_the_charge_of_a_trade_is_what_moving_a_unit_costs(name, seller, buyer):
    feeder, conditions = case(name)
    charge = trade_charge(usage_charges(newton.clear(feeder, conditions).duals), seller, buyer)[0]
    step = 1e-6

    def cost(moved: float) -> float:
        return newton.clear(feeder, add_load(add_load(conditions, seller, -moved), buyer, moved)).cost

    # the cost is known to about 1e-13 of itself
    assert charge == pytest.approx((cost(step) - cost(-step)) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("name", ["plenty", "voltage high", "flat hub", "export"])
def test_the_reactive_price_is_the_cost_of_one_more_unit(name):
    feeder, conditions = case(name)
    duals = newton.clear(feeder, conditions).duals
    step = 1e-6
    assert duals.reactive[0, 0] == 0.0
    for bus in (1, 17, 24, 32):
        up, down = (
            newton.clear(feeder, add_load(conditions, bus, sign * step, reactive=True)).cost
            for sign in (1, -1)
        )
        assert duals.reactive[0, bus] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-4)


def test_what_the_checker_would_refuse_is_not_returned(monkeypatch):
    """Twice its load, an upper limit: tangents at the relaxation end where the tie-break serves load."""
    feeder = load("pandapower:cigre-mv", 0.9, 1.03)
    devices = Devices(
        bus=np.array([9, 13, 13, 3]),
        gen_cost=np.array([[57.7, 27.6, 35.1, 19.6]]),
        gen_slope=np.array([[895.3, 49.1, 96.5, 49.6]]),
        gen_max=np.array([[0.1, 1.4, 0.0, 1.2]]),
        load_value=np.array([[76.3, 85.4, 80.4, 127.5]]),
        load_slope=np.array([[2769.7, 223.0, 262.5, 126.8]]),
        load_min=np.zeros((1, 4)),
        load_max=np.array([[0.0, 0.2, 0.1, 0.2]]),
    )
    firm_load = Conditions.firm(feeder, 2.0, Hub(np.array([155.7]), np.array([6.0])), 1.0)
    conditions = replace(firm_load, devices=devices)
    for solution in (newton.clear(feeder, conditions), direct.clear(feeder, conditions)):
        assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()
    monkeypatch.setattr(local, "cheapest", at_the_relaxation)
    with pytest.raises(ClearingFailed, match=r"not solved, the tie-break serves load \(tie-break-energy\)"):
        direct.clear(feeder, conditions)


def at_the_relaxation(problem, conditions, relaxed):
    """What tangents at the relaxation's own schedule end at, at −165 000 €/MWh here."""
    return tangents(problem, conditions, carried(problem.feeder, conditions, relaxed[0]))
