from __future__ import annotations

import numpy as np
import pytest

from market.pricing import direct
from market.pricing.components import total, trade_charge, usage_charges
from market.pricing.surplus import net_consumption, surplus
from tests.market.pricing_cases import CASES, case


@pytest.fixture(scope="module")
def cleared():
    return {name: direct.clear(*case(name)) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_components_add_up_to_the_price(cleared, name):
    solution = cleared[name]
    scale = np.abs(solution.duals.price).max()
    np.testing.assert_allclose(total(solution.components), solution.duals.price, rtol=0, atol=1e-9 * scale)
    energy = np.broadcast_to(solution.duals.price[:, :1], solution.duals.price.shape)
    np.testing.assert_array_equal(solution.components.energy, energy)
    for part in (solution.components.loss, solution.components.voltage, solution.components.congestion):
        np.testing.assert_array_equal(part[:, 0], 0.0)


def test_a_component_is_there_when_its_cause_is(cleared):
    parts = {name: solution.components for name, solution in cleared.items()}
    assert np.all(parts["plenty"].voltage == 0.0)
    assert np.all(parts["plenty"].congestion == 0.0)
    assert parts["voltage low"].voltage.max() > 100.0
    assert parts["voltage high"].voltage.min() < -0.1
    assert parts["rated"].congestion.max() > 100.0
    # load raises losses downstream, export lowers them
    assert np.all(parts["no devices"].loss[:, 1:] > 0.0)
    assert parts["export"].loss.min() < 0.0


def test_charges_telescope_over_resales(cleared):
    charges = usage_charges(cleared["voltage low"].duals)
    assert np.all(charges[:, 0] == 0.0)
    direct_way = trade_charge(charges, 4, 30)
    by_way_of_12 = trade_charge(charges, 4, 12) + trade_charge(charges, 12, 30)
    np.testing.assert_allclose(direct_way, by_way_of_12, rtol=1e-12)
    np.testing.assert_array_equal(direct_way, -trade_charge(charges, 30, 4))


@pytest.mark.parametrize("name", CASES)
def test_surplus_is_what_its_sources_say(cleared, name):
    feeder, conditions = case(name)
    solution = cleared[name]
    found = surplus(feeder, conditions, solution.primal, solution.duals)
    turnover = np.abs(solution.duals.price * net_consumption(feeder, conditions, solution.primal)).sum()
    np.testing.assert_allclose(found.merchandising, found.sources, rtol=0, atol=1e-9 * (1 + turnover))
    # the same as charges of all, less losses at the hub price
    charges = usage_charges(solution.duals)
    taken = net_consumption(feeder, conditions, solution.primal)
    loss = solution.primal.l @ feeder.r_pu
    by_charges = (charges * taken).sum(axis=1) - solution.duals.price[:, 0] * loss
    np.testing.assert_allclose(found.merchandising, by_charges, rtol=0, atol=1e-9 * (1 + turnover))


def test_surplus_can_be_negative_and_limits_earn_rents(cleared):
    four = surplus(*case("four periods"), cleared["four periods"].primal, cleared["four periods"].duals)
    rated = surplus(*case("rated"), cleared["rated"].primal, cleared["rated"].duals)
    assert four.merchandising.min() < 0.0
    assert rated.congestion_rent[0] > 0.0
