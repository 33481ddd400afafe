"""Prices become integers in one place; ticks round to the trader's side; a slot's times; the tariff."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.slots import Rule, Tariff, Terms
from market.units import (
    TICK_MAX,
    TICK_UEUR_PER_KWH,
    ask_tick,
    bid_tick,
    eur_per_mwh,
    hub_price,
    quantise_energy,
    quantise_price,
)
from tests.market.twin_cases import charge_values, tariffs

deterministic = settings(derandomize=True, deadline=None, max_examples=200)
limits = st.integers(-(2**31), 2**31 - 1)


def test_prices_round_half_to_even():
    assert quantise_price(np.array([0.0005, 0.0015, 0.0025, -0.0005, 41.2345])).tolist() == [
        0,
        2,
        2,
        0,
        41_234,
    ]
    assert eur_per_mwh(41_234) == 41.234


def test_energy_is_power_times_time():
    # 0.25 pu of 4 MW for a quarter of an hour is 250 kWh.
    assert quantise_energy(0.25, 4.0, 0.25) == 250_000


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 2.2e6, -2.2e6])
def test_prices_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="price is"):
        quantise_price(bad)


def test_energy_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        quantise_energy(float("nan"), 1.0, 1.0)


@deterministic
@given(limits, charge_values)
def test_a_tick_never_costs_more_than_the_limit(limit, charge):
    bid, ask = bid_tick(limit, charge), ask_tick(limit, charge)
    assert bid <= TICK_MAX and hub_price(bid) + charge <= limit
    assert ask >= -TICK_MAX and hub_price(ask) + charge >= limit
    if -TICK_MAX < bid < TICK_MAX:  # the best tick that keeps the limit
        assert hub_price(bid + 1) + charge > limit
    if -TICK_MAX < ask < TICK_MAX:
        assert hub_price(ask - 1) + charge < limit


def test_limits_beyond_the_book_are_clamped_only_where_that_helps_the_trader():
    beyond = (TICK_MAX + 5) * TICK_UEUR_PER_KWH
    assert bid_tick(beyond, 0) == TICK_MAX and ask_tick(beyond, 0) == TICK_MAX + 5
    assert ask_tick(-beyond, 0) == -TICK_MAX and bid_tick(-beyond, 0) == -TICK_MAX - 5


def test_times_of_a_slot():
    terms = Terms(
        slot_seconds=900, open_lead=7_200, gate_lead=600, price_grace=60, meter_grace=120, resettle_grace=180
    )
    assert (terms.opens(100), terms.gate(100), terms.start(100)) == (82_800, 89_400, 90_000)
    assert (terms.end(100), terms.prices_due(100)) == (90_900, 90_960)
    assert (terms.readings_due(100), terms.final(100)) == (91_020, 91_080)


def test_the_tariff_splits_retail():
    tariff = Tariff(retail=300_000, network_fee=100_000, fit=80_000)
    assert (tariff.hub_import, tariff.hub_export) == (200_000, 80_000)
    assert Terms().rule is Rule.DLMP


def test_a_tariff_that_imports_cheaper_than_it_exports_is_refused():
    with pytest.raises(ValueError, match="200000 is below fit = 200001"):
        Tariff(retail=300_000, network_fee=100_000, fit=200_001)


@deterministic
@given(tariffs(), charge_values)
def test_beyond_the_contract_costs_more_than_it_earns(tariff, charge):
    assert tariff.shortfall_price(charge) >= tariff.surplus_price(charge)
    assert tariff.shortfall_price(charge) >= tariff.hub_import + charge
    assert tariff.surplus_price(charge) <= tariff.hub_export
