from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.feeder import load
from market.pricing import direct
from market.pricing.conclude import conclude
from market.pricing.conditions import Duals, Primal, SlotPrices
from market.pricing.quantise import HubRuleBroken, check_hub_rule, quantise
from market.slots import Tariff
from tests.market.pricing_cases import case

FEEDER = load("ieee33")


@dataclass(frozen=True)
class Priced:
    primal: Primal
    duals: Duals


def priced(*prices: float, net_import: float = 0.0) -> Priced:
    price = np.array([prices])
    nothing = np.zeros_like(price)
    primal = Primal(*[nothing] * 8, net_import=np.array([net_import]))
    return Priced(primal, Duals(price, *[nothing] * 6))


def test_prices_round_half_even():
    prices = quantise(priced(120.0, 120.0005, 120.0015, -0.0005, 99.99949), FEEDER, hours=1.0)
    assert prices.bus_price == (120_000, 120_000, 120_002, 0, 99_999)
    assert prices.hub_price == 120_000
    assert all(type(price) is int for price in prices.bus_price)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.floats(-2e6, 2e6), min_size=2, max_size=40))
def test_charges_are_differences_of_integers(values):
    prices = quantise(priced(*values), FEEDER, hours=1.0)
    assert prices.charges[0] == 0
    assert all(
        nu + prices.hub_price == price for nu, price in zip(prices.charges, prices.bus_price, strict=True)
    )
    assert all(
        abs(price - 1000 * value) <= 0.5 + 1e-6 for price, value in zip(prices.bus_price, values, strict=True)
    )


def test_import_is_energy_of_the_period():
    # 0.5 of 3.715 MW over a quarter of an hour
    assert quantise(priced(50.0, net_import=0.5), FEEDER, hours=0.25).forecast_import_wh == 464_375
    assert quantise(priced(50.0, net_import=-0.5), FEEDER, hours=1.0).forecast_import_wh == -1_857_500


def test_any_period_of_a_clearing_can_be_posted():
    feeder, conditions = case("four periods")
    solution = direct.clear(feeder, conditions)
    for t in range(4):
        prices = quantise(solution, feeder, t, hours=conditions.hours)
        assert prices.bus_price == tuple(np.rint(solution.duals.price[t] * 1000).astype(int))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        quantise(priced(np.nan, 1.0), FEEDER, hours=1.0)
    with pytest.raises(ValueError, match="32-bit"):
        quantise(priced(50.0, 2_147_483.648), FEEDER, hours=1.0)
    with pytest.raises(ValueError, match="not finite"):
        quantise(priced(50.0, net_import=np.inf), FEEDER, hours=1.0)


TARIFF = Tariff(retail=200_000, network_fee=80_000, fit=40_000)


@pytest.mark.parametrize(
    ("hub_price", "imported", "holds"),
    [
        (120_000, 1, True),
        (119_999, 1, False),
        (120_001, 1, False),
        (40_000, -1, True),
        (40_001, -1, False),
        (120_000, -1, False),
        (40_000, 0, True),
        (80_000, 0, True),
        (120_000, 0, True),
        (39_999, 0, False),
        (120_001, 0, False),
    ],
)
def test_hub_rule_in_integers(hub_price, imported, holds):
    prices = SlotPrices((hub_price, 0), imported)
    if holds:
        check_hub_rule(prices, TARIFF)
    else:
        with pytest.raises(HubRuleBroken, match=f"hub price {hub_price} "):
            check_hub_rule(prices, TARIFF)


@pytest.mark.parametrize("name", ["no devices", "export", "balanced"])
def test_clearings_keep_the_hub_rule_to_the_unit(name):
    feeder, conditions = case(name)
    solution = direct.clear(feeder, conditions)
    check_hub_rule(quantise(solution, feeder, hours=1.0), TARIFF)
    # a solver's noise beyond the end of the range would be refused by the contract
    noisy = replace(solution.duals, price=solution.duals.price + 1e-3)
    if name == "no devices":
        with pytest.raises(HubRuleBroken):
            check_hub_rule(quantise(Priced(solution.primal, noisy), feeder, hours=1.0), TARIFF)


def off_by(name: str, price: float, net_import: float):
    """A clearing concluded again with λ_0 and the import a little off, as a solver would leave them."""
    feeder, conditions = case(name)
    solution = direct.clear(feeder, conditions)
    moved = solution.duals.price.copy()
    moved[:, 0] += price
    primal = replace(solution.primal, net_import=solution.primal.net_import + net_import)
    return conclude(
        feeder, conditions, primal, replace(solution.duals, price=moved), method="off", iterations=0
    )


def test_a_solvers_noise_ends_on_the_hub_rule():
    assert off_by("no devices", 1e-3, 0.0).duals.price[0, 0] == 120.0
    assert off_by("export", -5e-4, 0.0).duals.price[0, 0] == 40.0
    balanced = off_by("balanced", 0.0, 1e-6)
    assert balanced.primal.net_import[0] == 0.0
    assert 40.0 < balanced.duals.price[0, 0] < 120.0


def test_more_than_noise_is_left_to_be_found():
    wrong = off_by("no devices", -1.0, 0.0)
    assert wrong.duals.price[0, 0] == pytest.approx(119.0)
    assert wrong.status == "local"
    assert wrong.residual > 1e-3
    importing = off_by("balanced", 0.0, 1e-4)
    assert importing.primal.net_import[0] == pytest.approx(1e-4, abs=1e-9)
    assert importing.status == "local"
