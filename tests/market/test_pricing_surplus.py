from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.accounts import Position
from market.messages import Reading
from market.pricing import direct, newton
from market.pricing.components import total
from market.pricing.quantise import quantise
from market.pricing.surplus import (
    net_consumption,
    net_consumption_wh,
    rounding_neur,
    settled_surplus_neur,
    surplus,
    surplus_neur,
)
from market.settlement import Member, Rule, Substation, Valuation, slot_identity
from market.slots import Tariff
from node.scenario.loading import load as load_scenario
from node.scenario.world import build
from tests.market.pricing_cases import case, draw

EXACT = 1e-9
"""Of 1 € and the turnover, and of the largest price: what polished solutions add up to."""


@st.composite
def clearings(draw_from):
    """A random scenario of any kind, cleared and polished."""
    feeder, conditions = draw(
        seed=draw_from(st.integers(0, 10_000)),
        periods=draw_from(st.integers(1, 2)),
        count=draw_from(st.integers(0, 50)),
        scale=draw_from(st.sampled_from([0.1, 0.5, 1.0, 3.0, 20.0])),
        v_min=draw_from(st.sampled_from([0.9, 0.95, 0.97])),
        v_max=draw_from(st.sampled_from([1.002, 1.01, 1.05])),
        rated=draw_from(st.booleans()),
        generation=draw_from(st.sampled_from([0.2, 0.6, 1.0])),
        linear=draw_from(st.sampled_from([0.0, 0.2, 1.0])),
        import_price=draw_from(st.sampled_from([120.0, 400.0, 2.0, -10.0])),
        export_price=draw_from(st.sampled_from([-30.0, -20.0])),
    )
    return feeder, conditions, newton.clear(feeder, conditions)


@settings(max_examples=30)
@given(clearings())
def test_components_add_up(cleared):
    _, _, solution = cleared
    scale = np.maximum(1.0, np.abs(solution.duals.price).max())
    np.testing.assert_allclose(total(solution.components), solution.duals.price, rtol=0, atol=EXACT * scale)


@settings(max_examples=30)
@given(clearings())
def test_the_float_identity_holds(cleared):
    assert_float_identity(*cleared)


def assert_float_identity(feeder, conditions, solution) -> None:
    """MS = −Σλq·q̄ + Σ(μ̄v̄ − μ̲v̲) + Σηl̄ − v_0·Σ_root(ξ + σl), v and l squared."""
    primal, duals = solution.primal, solution.duals
    found = surplus(feeder, conditions, primal, duals)
    turnover = 1 + np.abs(duals.price * net_consumption(feeder, conditions, primal)).sum(axis=1)
    error = np.abs(found.merchandising - found.sources) / turnover
    assert error.max() <= EXACT
    limits, root = feeder.limits, feeder.parent == 0
    served_q = (conditions.fixed_q * (1 - primal.shed))[:, 1:]
    rated = np.where(np.isfinite(limits.i_max), limits.i_max, 0.0)
    by_limits = (
        -(duals.reactive[:, 1:] * served_q).sum(axis=1)
        + (duals.v_high * limits.v_max**2 - duals.v_low * limits.v_min**2).sum(axis=1)
        + (duals.current * rated**2).sum(axis=1)
        - feeder.v0**2 * (duals.voltage + duals.cone * primal.l)[:, root].sum(axis=1)
    )
    assert (np.abs(found.merchandising - by_limits) / turnover).max() <= EXACT


# integers: what is settled, and how far rounding takes it from the floats

TARIFF = Tariff(retail=200_000, network_fee=80_000, fit=40_000)


@pytest.fixture(scope="module")
def demo():
    """The demo's day and its forecast, as its oracles clear it."""
    return build(load_scenario("ieee33-day"))


def settled(prices, net_wh, import_wh) -> int:
    """The surplus as the slot's identity has it, from meters that read the schedule."""
    members = [
        Member(bus, Position(), Reading(bytes(20), 0, energy, (), 0)) for bus, energy in enumerate(net_wh)
    ]
    valuation = Valuation(Rule.DLMP, TARIFF, None, prices.bus_price)
    substation = Substation(import_wh, 90_000, (0,) * len(net_wh))
    identity = slot_identity(Position(), members, substation, valuation)
    return identity.sources.surplus


def assert_within_rounding(feeder, conditions, solution) -> None:
    floats = surplus_neur(surplus(feeder, conditions, solution.primal, solution.duals), feeder, conditions)
    bounds = rounding_neur(feeder, conditions, solution.primal, solution.duals)
    for period in range(conditions.periods):
        prices = quantise(solution, feeder, period, hours=conditions.hours)
        net_wh = net_consumption_wh(feeder, conditions, solution.primal, period)
        found = settled_surplus_neur(prices, net_wh, prices.forecast_import_wh)
        assert found == settled(prices, net_wh, prices.forecast_import_wh)
        assert abs(found - floats[period]) <= bounds[period]
        # the bound says something: a thousandth of the energy or of the price on it would be beyond it
        turnover = sum(abs(p * q) for p, q in zip(prices.bus_price, net_wh, strict=True))
        assert bounds[period] < 1e-3 * turnover


@pytest.mark.parametrize("slot", range(24))
def test_every_slot_of_the_demo_settles_what_its_floats_say(demo, slot):
    feeder, conditions = demo.feeder, demo.conditions(slot)
    solution = newton.clear(feeder, conditions)
    scale = np.abs(solution.duals.price).max()
    np.testing.assert_allclose(total(solution.components), solution.duals.price, rtol=0, atol=EXACT * scale)
    assert_float_identity(feeder, conditions, solution)
    assert_within_rounding(feeder, conditions, solution)


def test_there_are_no_more_slots_in_the_demo(demo):
    assert demo.periods == 24


@pytest.mark.parametrize("name", ["plenty", "export", "rated", "voltage high", "four periods", "shedding"])
def test_integers_are_the_floats_within_rounding(name):
    feeder, conditions = case(name)
    assert_within_rounding(feeder, conditions, direct.clear(feeder, conditions))


def test_rounding_is_no_larger_than_it_must_be():
    # all prices and energies half a unit off the same way come near the bound
    feeder, conditions = case("plenty")
    solution = direct.clear(feeder, conditions)
    prices = np.array(quantise(solution, feeder, hours=1.0).bus_price)
    net_wh = np.array(net_consumption_wh(feeder, conditions, solution.primal))
    exact = (
        1000 * solution.duals.price[0],
        net_consumption(feeder, conditions, solution.primal)[0] * (feeder.base_mw * 1e6),
    )
    assert np.abs(prices - exact[0]).max() <= 0.5
    assert np.abs(net_wh - exact[1]).max() <= 0.5
    bound = rounding_neur(feeder, conditions, solution.primal, solution.duals)[0]
    worst = ((np.abs(exact[0]) + 0.5) * (np.abs(exact[1]) + 0.5) - np.abs(exact[0] * exact[1])).sum()
    assert 0.5 * bound < worst <= bound
