"""λ is what one more unit of load costs, on feeders that differ: limits that bind, shedding, low voltage."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from market.feeder import FeederError, load
from market.pricing.conditions import Conditions, Devices
from market.pricing.newton import NewtonClearing
from node.bench import differences
from node.bench.differences import errors_of, spread, worst_error
from node.bench.drawn import drawn_conditions
from tests.market.pricing_cases import add_load, bare

RIGHT = 1e-6
"""Of λ: what prices are promised to be right to; 1e-9 is usual, 1e-16 of a cost over 1e-7 pu."""
FEEDERS = {"ieee69": 0.95, "ieee141": 0.95, "pandapower:cigre-lv": 0.97}
"""Names and lower voltage limits, pu: the first and the last bind, and load is shed on the first."""


def slot(name: str) -> tuple[NewtonClearing, Conditions]:
    feeder = load(name, FEEDERS[name], 1.05)
    return NewtonClearing(feeder), drawn_conditions(feeder, 60)


@pytest.mark.parametrize("name", FEEDERS)
def test_prices_are_the_slopes_of_the_cost(name):
    clearing, conditions = slot(name)
    assert worst_error(clearing.feeder, conditions, spread(clearing.feeder)) < RIGHT


def test_they_are_looked_at_where_limits_bind_and_where_none_does():
    solutions = {
        name: clearing(clearing.feeder, given) for name in FEEDERS for clearing, given in [slot(name)]
    }
    assert solutions["ieee69"].primal.shed.max() > 0.1
    assert (solutions["pandapower:cigre-lv"].duals.v_low > 0.0).any()
    assert not (solutions["ieee141"].duals.v_low > 0.0).any()


def test_where_a_bus_sheds_its_price_is_the_slope_for_an_injection_and_another_for_its_firm_load():
    clearing, conditions = slot("ieee69")
    step = 1e-6
    solution = clearing(clearing.feeder, conditions)
    shed = solution.primal.shed[0]
    bus = int(np.flatnonzero((shed > 0.01) & (shed < 0.99))[0])
    price, share = solution.duals.price[0, bus], shed[bus]
    p, q = conditions.firm_p[0, bus], conditions.fixed_q[0, bus]
    firm = [clearing(clearing.feeder, add_load(conditions, bus, by)).cost for by in (-step, step)]
    expected = (1 - share) * price + share * conditions.voll * p / np.hypot(p, q)
    assert np.diff(firm)[0] / (2 * step) == pytest.approx(expected, rel=RIGHT)
    assert abs(expected / price - 1) > 1e-3
    given = [clearing(clearing.feeder, with_free_power(conditions, bus, by)).cost for by in (step, 3 * step)]
    assert -np.diff(given)[0] / (2 * step) == pytest.approx(price, rel=RIGHT)


def with_free_power(conditions: Conditions, bus: int, size: float) -> Conditions:
    """The same with one more generator, so large in pu and at no cost."""
    known = conditions.devices
    more = {each.name: 0.0 for each in fields(known)} | {"bus": bus, "gen_max": size}
    return replace(
        conditions,
        devices=Devices(
            *(np.insert(getattr(known, name), 0, value, axis=-1) for name, value in more.items())
        ),
    )


def test_a_price_that_is_a_little_wrong_is_found(monkeypatch):
    clearing, conditions = slot("ieee141")
    right = differences._marginal
    monkeypatch.setattr(differences, "_marginal", lambda *given: (1 + 3e-6) * right(*given))
    assert worst_error(clearing.feeder, conditions, spread(clearing.feeder)) > 2e-6


def test_at_a_kink_a_price_lies_between_the_slopes_of_both_sides():
    # free power at the substation that just balances the feeder: one step of more load, and it imports
    feeder = load("ieee33")
    clearing, alone = NewtonClearing(feeder, exact=0.0), bare(feeder, scale=0.5)
    needed = clearing(feeder, alone).primal.net_import[0]
    gen_max, nothing = np.full((1, 1), needed + differences.STEP_PU / 5), np.zeros((1, 1))
    power = Devices(np.array([0]), nothing, nothing, gen_max, *[nothing] * 4)
    balanced = replace(alone, devices=power)
    solution = clearing(feeder, balanced)
    assert solution.primal.net_import[0] == 0.0
    assert 40.0 < solution.duals.price[0, 0] < 120.0
    costs = [clearing(feeder, add_load(balanced, 17, step)).cost for step in (-1e-7, 0.0, 1e-7)]
    below, above = np.diff(costs) / 1e-7
    assert below < solution.duals.price[0, 17] < above
    assert abs((below + above) / 2 / solution.duals.price[0, 17] - 1) > 1e-5
    assert worst_error(feeder, balanced, [0, 17]) < RIGHT


def test_only_what_is_an_extra_may_be_missing(monkeypatch):
    monkeypatch.setattr(differences, "find_spec", lambda name: None)
    assert errors_of(["simbench:1-LV-rural1--0-sw"]) == {}
    with pytest.raises(FeederError, match="is not built in"):
        errors_of(["ieee34"])
