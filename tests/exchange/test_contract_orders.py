"""Entry of orders: each rule alone and in a batch, ticks, nonces, pause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.calls import SignedOrder
from ledger.keys import Key, derive
from market.orders import (
    Flag,
    Order,
    OrderPlaced,
    OrderRejected,
    OrderVoided,
    Reject,
    Side,
    VoidReason,
)
from market.units import ask_tick, bid_tick


def stranger() -> Key:
    return derive(7, "stranger")


def broken(market, rule: Reject) -> SignedOrder:
    """An order that breaks `rule` and none before it; the market is arranged so that it does."""
    buyer, seller = market.buyer, market.seller
    good = market.bid(buyer, 101_000, nonce=200)
    opens = market.terms.opens(market.slot)
    signed_by = {Side.BID: buyer, Side.ASK: seller}
    if rule is Reject.UNKNOWN_TRADER:
        return market.signed(stranger(), replace(good, trader=stranger().address))
    if rule is Reject.BAD_SIGNATURE:
        return market.signed(seller, good)
    if rule is Reject.NONCE_USED:
        market.place(buyer, replace(good, quantity_wh=10))
        return market.signed(buyer, replace(good, quantity_wh=20))
    if rule is Reject.TOO_MANY_RESTING:
        for _ in range(16):
            market.place(buyer, market.bid(buyer, 60_000, 10))
        return market.signed(buyer, good)
    if rule is Reject.INSUFFICIENT_FUNDS:
        poor = market.register(derive(7, "poor"), 4, deposit=0, credit=99_999 * 100 + 99)
        return market.signed(poor, replace(good, trader=poor.address, limit_ueur_per_kwh=100_000))
    order: Order = {
        Reject.WRONG_RELAYER: replace(good, relayer=market.utility.address),
        Reject.SLOT_NOT_OPEN: replace(good, slot=good.slot + 1),
        Reject.EXPIRED: replace(good, expiry=opens),
        Reject.MALFORMED: replace(good, flags=2),
        Reject.UNKNOWN_CLASS: replace(good, energy_class=3),
        Reject.NOT_REGISTERED_SELLER: market.ask(seller, 50_000, energy_class=2, nonce=200),
        Reject.NOT_WHOLE_LOTS: replace(good, quantity_wh=105),
        Reject.PRICE_OFF_RANGE: replace(good, limit_ueur_per_kwh=-32_768 * 100 + 1_000),
        Reject.OVER_CAPACITY: replace(good, quantity_wh=100_010),
    }[rule]
    return market.signed(signed_by[order.side], order)


@pytest.mark.parametrize("rule", [rule for rule in Reject if rule != Reject.TOO_MANY_VISITS])
def test_a_broken_rule_reverts_alone_and_is_skipped_in_a_batch(trading, rule):
    bad = broken(trading, rule)
    good = trading.signed(trading.other, trading.bid(trading.other, 60_000))
    trading.refused(rule.rule, trading.exchange.place_order(bad.order, bad.signature, sender=trading.relayer))
    (sent,) = trading.exchange.place_orders([bad, good], sender=trading.relayer)
    rejected, placed = trading.do(sent)
    assert rejected == OrderRejected(bad.order.slot, bad.order.trader, bad.order.nonce, rule)
    assert isinstance(placed, OrderPlaced) and placed.trader == trading.other.address
    if rule not in (Reject.UNKNOWN_TRADER, Reject.NONCE_USED):
        assert not trading.exchange.nonce_used(bad.order.slot, bad.order.trader, bad.order.nonce)


def test_what_just_keeps_the_rules_is_accepted(trading):
    buyer, seller = trading.buyer, trading.seller
    opens = trading.terms.opens(trading.slot)
    trading.place(buyer, trading.bid(buyer, 101_000, relayer=trading.relayer.address))
    trading.place(buyer, trading.bid(buyer, 101_000, expiry=opens + 100))
    trading.place(buyer, trading.bid(buyer, 60_000, energy_class=2))
    trading.place(seller, trading.ask(seller, 250_000, energy_class=1))
    trading.place(buyer, trading.bid(buyer, -32_767 * 100 + 1_000))
    trading.place(buyer, trading.bid(buyer, 60_000, 100_000 - 400, nonce=255))
    credit = trading.register(derive(7, "on credit"), 4, deposit=0, credit=100_000 * 100)
    trading.place(credit, trading.bid(credit, 100_000, 100))
    assert trading.reserved(credit) == 100_000 * 100


def test_sixteen_rest_a_side_and_immediate_orders_do_not_count(trading):
    buyer = trading.buyer
    for _ in range(16):
        trading.place(buyer, trading.bid(buyer, 60_000, 10))
    assert trading.place(buyer, trading.bid(buyer, 60_000, 10, flags=Flag.IMMEDIATE_OR_CANCEL)) == [
        OrderVoided(trading.slot, buyer.address, 16, 10, VoidReason.IMMEDIATE_OR_CANCEL)
    ]
    trading.place(buyer, trading.ask(buyer, 260_000, 10))
    trading.refused("order: too many resting", trading.submit(buyer, trading.bid(buyer, 60_000, 10)))
    trading.do(trading.cancel(buyer, 3))
    trading.place(buyer, trading.bid(buyer, 60_000, 10))


def test_entry_is_open_from_the_opening_to_the_gate(market):
    market.schedule()
    market.post_charges()
    buyer, opens, gate = market.buyer, market.terms.opens(market.slot), market.terms.gate(market.slot)
    market.at(opens - 1)
    market.refused("order: slot not open", market.submit(buyer, market.bid(buyer, 60_000)))
    market.at(opens)
    market.place(buyer, market.bid(buyer, 60_000))
    market.at(gate - 1)
    market.place(buyer, market.bid(buyer, 60_000))
    market.at(gate)
    market.refused("order: slot not open", market.submit(buyer, market.bid(buyer, 60_000)))


def test_without_charges_the_slot_does_not_open(market):
    market.schedule()
    market.at(market.terms.opens(market.slot))
    market.refused("order: slot not open", market.submit(market.buyer, market.bid(market.buyer, 60_000)))


@pytest.mark.parametrize(
    "limit", [101_000, 100_999, 101_001, 0, 999, 1_000, 1_001, -1, -99, -100, -101, 2**31 - 1, 5_000_000]
)
def test_bid_ticks_are_rounded_down_at_the_hub(trading, limit):
    first, *_ = trading.do(trading.submit(trading.buyer, trading.bid(trading.buyer, limit, 10)))
    assert first.tick == bid_tick(limit, 1_000)


@pytest.mark.parametrize(
    "limit", [97_000, 96_999, 97_001, 0, -3_001, -3_000, -2_999, -1, -99, -100, -101, -(2**31), -5_000_000]
)
def test_ask_ticks_are_rounded_up_at_the_hub(trading, limit):
    first, *_ = trading.do(trading.submit(trading.seller, trading.ask(trading.seller, limit, 10)))
    assert first.tick == ask_tick(limit, -3_000)


def test_ask_above_the_range_is_refused(trading):
    seller = trading.seller
    trading.place(seller, trading.ask(seller, 32_767 * 100 - 3_000))
    trading.refused(
        "order: price off range", trading.submit(seller, trading.ask(seller, 32_767 * 100 - 2_999))
    )


def test_capacity_counts_fills_and_what_rests_on_that_side(trading):
    market, x = trading, trading.exchange
    small = market.register(derive(7, "small"), 4, import_capacity=300, export_capacity=200)
    market.place(market.seller, market.ask(market.seller, 97_000, 200))
    market.place(small, market.bid(small, 100_000, 200))
    assert x.position_of(market.slot, small.address).net == 200
    market.place(small, market.bid(small, 60_000, 100))
    market.refused("order: over capacity", market.submit(small, market.bid(small, 60_000, 10)))
    market.place(small, market.ask(small, 150_000, 400))
    market.refused("order: over capacity", market.submit(small, market.ask(small, 150_000, 10)))
    market.do(x.set_account(small.address, 310, 200, 0, 0, sender=market.utility))
    market.place(small, market.bid(small, 60_000, 10))


def test_the_utility_trades_at_the_hub_without_capacity(trading):
    """As far as its backing goes: 215 000 € for 4.3 GWh."""
    market, utility = trading, trading.utility
    bid = market.bid(utility, 50_000, 2**32 - 6)
    market.refused("order: insufficient funds", market.submit(utility, bid))
    market.do(market.token.mint(market.relayer.address, 10**15, sender=market.relayer))
    market.do(market.exchange.deposit(utility.address, 10**15, sender=market.relayer))
    market.place(utility, market.ask(utility, 200_000, 2**32 - 6))
    market.place(utility, market.bid(utility, 50_000, 2**32 - 6))
    assert market.reserved(utility) == 50_000 * (2**32 - 6)
    assert market.exchange.best_ask(market.slot, 0).tick == 2_000
    market.refused(
        "order: not registered seller", market.submit(utility, market.ask(utility, 1, 10, energy_class=1))
    )


def test_a_relayer_that_is_named_is_the_only_one(trading):
    order = trading.bid(trading.buyer, 60_000, relayer=trading.guardian.address)
    trading.refused("order: wrong relayer", trading.submit(trading.buyer, order))
    trading.do(trading.submit(trading.buyer, order, sender=trading.guardian))


NONCES = (255, 0, 17, 23, 24, 25, 128)
"""The first 24 are kept with the position, the others elsewhere."""


def test_nonces_come_in_any_order_and_once(trading):
    market, buyer, x = trading, trading.buyer, trading.exchange
    for nonce in NONCES:
        market.place(buyer, market.bid(buyer, 60_000, 10, nonce=nonce))
        market.refused("order: nonce used", market.submit(buyer, market.ask(buyer, 260_000, 10, nonce=nonce)))
    used = [nonce for nonce in range(256) if x.nonce_used(market.slot, buyer.address, nonce)]
    assert used == sorted(NONCES)
    assert not any(x.nonce_used(market.slot, market.other.address, nonce) for nonce in NONCES)
    assert not any(x.nonce_used(market.slot + 1, buyer.address, nonce) for nonce in NONCES)
    position = market.position(buyer)
    assert (position.bids, position.resting_bids, position.reserve) == (7, 70, 70 * 60_000)


@pytest.mark.parametrize("nonce", [0, 23, 24, 255])
def test_a_nonce_killed_unseen_is_used_and_changes_nothing_else(trading, nonce):
    market, buyer, x = trading, trading.buyer, trading.exchange
    empty = market.position(buyer)
    market.do(market.cancel(buyer, nonce))
    assert market.position(buyer) == empty
    assert [n for n in range(256) if x.nonce_used(market.slot, buyer.address, n)] == [nonce]
    market.refused("order: nonce used", market.submit(buyer, market.bid(buyer, 60_000, nonce=nonce)))
    market.place(buyer, market.bid(buyer, 60_000, nonce=nonce ^ 1))


def test_all_256_nonces_of_a_slot(trading):
    market, buyer = trading, trading.buyer
    immediate = {"flags": Flag.IMMEDIATE_OR_CANCEL}
    orders = [market.signed(buyer, market.bid(buyer, 60_000, 10, nonce=n, **immediate)) for n in range(256)]
    events = market.place_all(*orders)
    assert [type(event) for event in events] == [OrderPlaced, OrderVoided] * 256
    position = market.position(buyer)
    assert (position.net, position.bids, position.resting_bids, position.reserve) == (0, 0, 0, 0)
    events = market.place_all(*orders)
    assert {(type(event), event.code) for event in events} == {(OrderRejected, Reject.NONCE_USED)}


def test_pause_stops_entry_and_nothing_else(trading):
    market, x, buyer = trading, trading.exchange, trading.buyer
    market.place(buyer, market.bid(buyer, 60_000))
    market.do(x.pause(sender=market.guardian))
    assert x.paused()
    order = market.signed(buyer, market.bid(buyer, 60_000))
    market.refused("exchange: paused", x.place_order(order.order, order.signature, sender=market.relayer))
    (batch,) = x.place_orders([order], sender=market.relayer)
    market.refused("exchange: paused", batch)
    assert market.do(market.cancel(buyer, 0)) == (
        OrderVoided(market.slot, buyer.address, 0, 100, VoidReason.CANCELLED),
    )
    market.do(x.withdraw(10, sender=buyer))
    market.do(x.unpause(sender=market.guardian))
    market.do(x.place_order(order.order, order.signature, sender=market.relayer))
