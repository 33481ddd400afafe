from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.agents.policies import AgentView, Coalition, Truthful, ZeroIntelligenceConstrained
from market.agents.utility import WITHOUT_LIMIT_WH, hub_quotes, passive_bid
from market.orders import Flag, Side
from market.pricing.conditions import Devices
from market.slots import Tariff
from market.units import ask_tick, bid_tick

TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
LOT = 100
POLICIES = (Truthful(), Truthful(markup=1.0), Truthful(markup=0.0), ZeroIntelligenceConstrained())


def household(*, pv: float = 0.0, firm: float = 0.010) -> AgentView:
    """1 pu is 1 MW for an hour: 10 kWh firm, 4 to 10 kWh flexible worth 220 to 100 €/MWh, and PV in MW."""
    one = np.ones((1, 1))
    slope = (220.0 - 100.0) / 0.006
    devices = Devices(
        bus=np.array([5]),
        gen_cost=2.0 * one,
        gen_slope=(10.0 / pv if pv else 0.0) * one,
        gen_max=pv * one,
        load_value=(100.0 + slope * 0.010) * one,
        load_slope=slope * one,
        load_min=0.004 * one,
        load_max=0.010 * one,
    )
    return AgentView(
        trader="household",
        slot=1,
        bus=5,
        round=0,
        rounds=4,
        charge=2_000,
        tariff=TARIFF,
        lot_wh=LOT,
        hours=1.0,
        base_mw=1.0,
        devices=devices,
        column=0,
        firm_p=firm,
        contracted_wh=0,
        resting_bid_wh=0,
        resting_ask_wh=0,
        best_bid=700,
        best_ask=1_600,
        next_nonce=0,
        import_capacity_wh=50_000,
        export_capacity_wh=50_000,
        hub_price=100_000,
    )


def orders(policy, view, seed=1):
    return policy.orders(view, np.random.default_rng(seed))


# the trader's own curve


def test_net_demand_is_firm_and_flexible_load_less_generation():
    curve = household(pv=0.003).curve
    assert curve.net_wh(300_000, 0) == 10_000 + 4_000 - 3_000
    assert curve.net_wh(50_000, 0) == 10_000 + 10_000 - 3_000
    assert curve.net_wh(160_000, 0) == 10_000 + 7_000 - 3_000


def test_whole_lots_are_counted_towards_the_position():
    curve = household().curve
    price = curve.value(17_050)
    assert curve.net_wh(price, 0) == 17_000
    assert curve.net_wh(price, 20_000) == 17_100
    # every lot between position and target is worth the price, the next one is not
    assert curve.value(17_000) > price > curve.value(17_100)


def test_value_falls_with_what_is_consumed_already():
    curve = household().curve
    values = [curve.value(net) for net in range(14_000, 20_001, 500)]
    assert np.all(np.diff(values) < 0)
    # 20 €/MWh a kilowatt-hour: one Wh is 20 µ€/kWh
    assert curve.last_sold(14_000) == pytest.approx(220_000, abs=21)
    assert curve.last_bought(20_000) == pytest.approx(100_000, abs=21)
    assert curve.value(13_900) > 10**7
    assert curve.value(20_100) < 0


# truthful


def test_a_buyer_bids_more_every_round_and_takes_the_rest_in_the_last():
    limits, view = [], household()
    for turn in range(4):
        view = replace(view, round=turn)
        placed = orders(Truthful(), view)
        assert {order.side for order in placed} == {Side.BID}
        firm = [order for order in placed if order.limit_ueur_per_kwh == placed[0].limit_ueur_per_kwh]
        limits.append(firm[0].limit_ueur_per_kwh)
        # supply was there: all of it filled
        view = replace(
            view,
            contracted_wh=view.contracted_wh + sum(order.quantity_wh for order in placed),
            next_nonce=view.next_nonce + len(placed),
        )
        resting = {order.flags for order in placed}
        assert resting == ({Flag.IMMEDIATE_OR_CANCEL} if turn == 3 else {Flag.NONE}) or not placed
        if view.contracted_wh == view.curve.net_wh(view.anchor, 0):
            break
    assert limits == sorted(limits)
    assert view.contracted_wh == view.curve.net_wh(102_000, 0)


def test_a_seller_takes_bids_above_the_utilitys_and_in_the_last_round_that_one():
    view = household(pv=0.060)
    early = orders(Truthful(), view)
    assert all(order.side == Side.ASK and order.flags == Flag.IMMEDIATE_OR_CANCEL for order in early)
    assert min(ask_tick(order.limit_ueur_per_kwh, view.charge) for order in early) > 700
    last = orders(Truthful(), replace(view, round=3))
    assert min(ask_tick(order.limit_ueur_per_kwh, view.charge) for order in last) == 700
    assert sum(order.quantity_wh for order in last) == -view.wanted_wh(view.anchor) > 40_000


def test_when_the_feeder_imports_sellers_rest_and_buyers_wait_for_a_better_ask():
    scarce = {"hub_price": TARIFF.hub_import}
    buyer, seller = replace(household(), **scarce), replace(household(pv=0.060), **scarce)
    assert orders(Truthful(), buyer) == ()
    assert all(order.flags == Flag.NONE for order in orders(Truthful(), seller))
    undercut = orders(Truthful(), replace(buyer, best_ask=1_599))
    assert undercut and all(order.flags == Flag.IMMEDIATE_OR_CANCEL for order in undercut)
    assert max(bid_tick(order.limit_ueur_per_kwh, buyer.charge) for order in undercut) == 1_599
    last = orders(Truthful(), replace(buyer, round=3))
    assert max(bid_tick(order.limit_ueur_per_kwh, buyer.charge) for order in last) == 1_600
    assert sum(order.quantity_wh for order in last) == buyer.curve.net_wh(buyer.anchor, 0)


def test_what_rests_or_is_contracted_is_not_asked_for_again():
    view = replace(household(), round=3)
    wanted = view.wanted_wh(view.anchor)
    part = replace(view, contracted_wh=wanted - 1_000, resting_bid_wh=400)
    assert sum(order.quantity_wh for order in orders(Truthful(), part)) == 600
    assert orders(Truthful(), replace(view, contracted_wh=wanted)) == ()


def test_too_much_contracted_is_sold_again():
    view = replace(household(), round=3, contracted_wh=25_000)
    assert {order.side for order in orders(Truthful(), view)} == {Side.ASK}


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    policy=st.sampled_from(POLICIES),
    turn=st.integers(0, 3),
    pv=st.sampled_from([0.0, 0.010, 0.060]),
    contracted=st.integers(-500, 300).map(lambda lots: lots * LOT),
    resting=st.tuples(st.integers(0, 50), st.integers(0, 50)),
    capacity=st.integers(0, 600).map(lambda lots: lots * LOT + 50),
    charge=st.integers(-200_000, 200_000),
    hub=st.none() | st.integers(60_000, 170_000),
    seed=st.integers(0, 99),
)
def test_whatever_the_view_orders_are_lawful(  # noqa: PLR0917 - drawn by name
    policy, turn, pv, contracted, resting, capacity, charge, hub, seed
):
    view = replace(
        household(pv=pv),
        round=turn,
        contracted_wh=contracted,
        resting_bid_wh=resting[0] * LOT,
        resting_ask_wh=resting[1] * LOT,
        import_capacity_wh=capacity,
        export_capacity_wh=capacity,
        charge=charge,
        hub_price=hub,
        next_nonce=seed,
    )
    placed = orders(policy, view, seed)
    assert [order.nonce for order in placed] == list(range(seed, seed + len(placed)))
    bids = sum(order.quantity_wh for order in placed if order.side == Side.BID)
    asks = sum(order.quantity_wh for order in placed if order.side == Side.ASK)
    assert bids == 0 or contracted + view.resting_bid_wh + bids <= capacity
    assert asks == 0 or -contracted + view.resting_ask_wh + asks <= capacity
    for order in placed:
        assert order.quantity_wh > 0 and order.quantity_wh % LOT == 0
        if order.side == Side.BID:
            assert order.limit_ueur_per_kwh <= view.dearest
        else:
            assert order.limit_ueur_per_kwh >= view.cheapest


def test_nonces_end_with_the_byte():
    placed = orders(Truthful(), replace(household(), round=3, next_nonce=255))
    assert [order.nonce for order in placed] == [255]
    assert orders(Truthful(), replace(household(), round=3, next_nonce=256)) == ()


# zero intelligence


def test_zero_intelligence_quotes_between_the_utility_and_its_own_worth():
    view = household()
    limits = [
        order.limit_ueur_per_kwh
        for seed in range(200)
        for order in orders(ZeroIntelligenceConstrained(), view, seed)
    ]
    assert len(limits) > 150
    assert min(limits) >= view.cheapest and max(limits) <= view.dearest
    assert max(limits) - min(limits) > 60_000


# the utility


def test_the_utility_quotes_all_that_can_be_wanted_and_never_meets_itself():
    export, ask = hub_quotes("utility", 1, TARIFF, lot_wh=LOT, bought_wh=12_345_678)
    assert export.quantity_wh == 12_345_678 // LOT * LOT
    assert hub_quotes("utility", 1, TARIFF, lot_wh=LOT, bought_wh=LOT - 1) == (ask,)
    assert hub_quotes("utility", 1, TARIFF, lot_wh=LOT, bought_wh=2**40)[0].quantity_wh == ask.quantity_wh
    assert (export.side, export.limit_ueur_per_kwh) == (Side.BID, 70_000)
    assert (ask.side, ask.limit_ueur_per_kwh) == (Side.ASK, 160_000)
    assert WITHOUT_LIMIT_WH - LOT < ask.quantity_wh <= WITHOUT_LIMIT_WH and ask.quantity_wh % LOT == 0
    for price in (70_000, 115_000, 160_000):
        (passive,) = passive_bid("utility", 1, TARIFF, price, 1.23456789, lot_wh=LOT)
        assert passive.quantity_wh == 1_234_600
        assert passive.limit_ueur_per_kwh == min(price, 159_900)
        assert len({passive.nonce, export.nonce, ask.nonce}) == 3


@pytest.mark.parametrize(
    "tariff", [Tariff(160_050, 0, 70_050), Tariff(70_000, 0, 70_000), Tariff(-50, 0, -99)]
)
def test_quotes_off_the_ticks_are_reached_by_limits_at_the_utilitys_price(tariff):
    export, ask = hub_quotes("utility", 1, tariff, lot_wh=LOT, bought_wh=10**9)
    low = bid_tick(export.limit_ueur_per_kwh, 0)
    high = ask_tick(ask.limit_ueur_per_kwh, 0)
    assert low < high
    assert bid_tick(tariff.hub_import + 777, 777) >= high
    (passive,) = passive_bid("utility", 1, tariff, tariff.hub_import, 1.0, lot_wh=LOT)
    assert bid_tick(passive.limit_ueur_per_kwh, 0) < high


def test_passive_load_must_fit_an_order():
    assert passive_bid("utility", 1, TARIFF, 100_000, 0.0, lot_wh=LOT) == ()
    for energy in (-1.0, 5_000.0):
        with pytest.raises(ValueError, match="passive load"):
            passive_bid("utility", 1, TARIFF, 100_000, energy, lot_wh=LOT)


# coalitions


def test_a_coalition_trades_what_its_members_cannot_give_one_another():
    """Of what two want a third has a part: they bid for the rest in proportion, and it offers nothing."""
    large, small, has = household(), household(firm=0.0), household(pv=0.030)
    wanted = {view: view.wanted_wh(view.anchor) for view in (large, small, has)}
    assert list(wanted.values()) == [19_900, 9_900, -10_100]
    together = 19_900 + 9_900 - 10_100
    parts = {large: together * 19_900 // 29_800 // LOT * LOT, small: together * 9_900 // 29_800 // LOT * LOT}
    for view in wanted:
        partners = tuple(other for other in wanted if other is not view)
        placed = orders(Coalition(), replace(view, round=3, partners=partners))
        assert sum(order.quantity_wh for order in placed) == parts.get(view, 0)
        assert all(order.side is Side.BID for order in placed)
    assert sum(order.quantity_wh for order in orders(Coalition(), replace(has, round=3))) == 10_100
