"""Matching, reserves, cancel and gate closure, event by event."""

from __future__ import annotations

import pytest

from ledger.chain.protocol import Reverted
from ledger.keys import derive
from ledger.state import Best, RestingOrder
from market.orders import (
    Berth,
    Flag,
    GateClosed,
    OrderPlaced,
    OrdersFilled,
    OrderVoided,
    Side,
    VoidReason,
)

# At the buyer's bus the charge is 1 000, at the other's 2 050, at the seller's -3 000: the same hub
# tick 1 000 is a limit of 101 000, 102 050, 97 000.


# --- priority -----------------------------------------------------------------------------------


def test_best_price_first_then_oldest_at_the_makers_price(trading):
    market, buyer, other, seller = trading, *trading.traders
    market.place(buyer, market.bid(buyer, 101_000, 100))
    market.place(other, market.bid(other, 102_050, 100))
    market.place(buyer, market.bid(buyer, 101_500, 100))
    market.place(buyer, market.bid(buyer, 101_000, 100))
    events = market.place(seller, market.ask(seller, 96_000, 350))
    assert market.fills(events) == [
        (buyer.address, 1, 1_005, 100),
        (buyer.address, 0, 1_000, 100),
        (other.address, 0, 1_000, 100),
        (buyer.address, 2, 1_000, 50),
    ]
    # One event a level: all of the order, at the level's tick.
    assert [(type(e), e.taker, e.taker_nonce, e.taker_side, e.tick) for e in events] == [
        (OrdersFilled, seller.address, 0, Side.ASK, tick) for tick in (1_005, 1_000)
    ]
    assert market.exchange.order_of(market.slot, buyer.address, 2).quantity == 50
    assert market.exchange.best_bid(market.slot, 0).quantity == 50


def test_asks_are_met_from_the_lowest(trading):
    market, buyer, _, seller = trading, *trading.traders
    for limit in (99_000, 97_000, 98_000):
        market.place(seller, market.ask(seller, limit, 100))
    events = market.place(buyer, market.bid(buyer, 102_000, 250))
    assert market.fills(events) == [(seller.address, 1, 1_000, 100), (seller.address, 2, 1_010, 100)]
    assert market.exchange.best_bid(market.slot, 0) == Best(True, 1_010, 50)
    assert market.exchange.best_ask(market.slot, 0).tick == 1_020


@pytest.mark.parametrize(
    "ticks", [(-32_767, 32_767), (-1, 0), (255, 256), (-256, -257), (0, 32_767), (-32_767, -32_766)]
)
def test_the_best_level_is_found_wherever_it_lies(trading, ticks):
    market, other, x = trading, trading.other, trading.exchange
    for tick in sorted(ticks):
        market.place(other, market.bid(other, tick * 100 + 2_050, 10))
    assert x.best_bid(market.slot, 0).tick == max(ticks)
    market.do(market.cancel(other, 1))
    assert x.best_bid(market.slot, 0).tick == min(ticks)
    market.do(market.cancel(other, 0))
    assert not x.best_bid(market.slot, 0).found
    for tick in sorted(ticks):
        market.place(other, market.ask(other, tick * 100 + 2_050, 10))
    assert x.best_ask(market.slot, 0).tick == min(ticks)
    market.do(market.cancel(other, 2))
    assert x.best_ask(market.slot, 0).tick == max(ticks)
    market.do(market.cancel(other, 3))
    assert not x.best_ask(market.slot, 0).found


def test_orders_that_do_not_cross_rest_beside_each_other(trading):
    market, buyer, _, seller = trading, *trading.traders
    assert market.place(buyer, market.bid(buyer, 101_099)) == []
    assert market.place(seller, market.ask(seller, 97_001)) == []
    assert market.exchange.best_bid(market.slot, 0).tick == 1_000
    assert market.exchange.best_ask(market.slot, 0).tick == 1_001


def test_classes_are_separate_books(trading):
    market, buyer, other, seller = trading, *trading.traders
    market.place(seller, market.ask(seller, 97_000, 100, energy_class=1))
    assert market.place(buyer, market.bid(buyer, 120_000, 100)) == []
    assert market.place(buyer, market.bid(buyer, 120_000, 100, energy_class=2)) == []
    events = market.place(other, market.bid(other, 120_000, 60, energy_class=1))
    assert market.fills(events) == [(seller.address, 0, 1_000, 60)] and events[0].energy_class == 1
    x = market.exchange
    assert x.class_net_of(market.slot, other.address, 1) == 60
    assert x.best_ask(market.slot, 1).quantity == 40
    # The maker is credited when the gate closes.
    assert x.class_net_of(market.slot, seller.address, 1) == market.position(seller).net == 0
    market.close()
    assert x.class_net_of(market.slot, seller.address, 1) == market.position(seller).net == -60
    assert x.class_net_of(market.slot, seller.address, 2) == 0


def test_slots_are_separate_books(market):
    market.schedule(count=2)
    market.post_charges()
    market.post_charges(slot=market.slot + 1)
    market.at(market.terms.opens(market.slot + 1))
    buyer, _, seller = market.traders
    market.place(seller, market.ask(seller, 97_000))
    assert market.place(buyer, market.bid(buyer, 120_000, slot=market.slot + 1)) == []
    assert market.exchange.position_of(market.slot, buyer.address).resting_bids == 0


# --- what ends in a void ------------------------------------------------------------------------


def test_an_expired_order_is_voided_when_it_is_met(trading):
    market, buyer, other, seller = trading, *trading.traders
    expiry = market.chain.now() + 50
    market.place(buyer, market.bid(buyer, 101_000, 100, expiry=expiry))
    market.place(other, market.bid(other, 102_050, 100))
    market.at(expiry - 1)
    assert market.fills(market.place(seller, market.ask(seller, 97_000, 40))) == [
        (buyer.address, 0, 1_000, 40)
    ]
    before = market.reserved(buyer)
    events = market.place(seller, market.ask(seller, 97_000, 40))
    assert events[0] == OrderVoided(market.slot, buyer.address, 0, 60, VoidReason.EXPIRED)
    assert market.fills(events) == [(other.address, 0, 1_000, 40)]
    assert before - market.reserved(buyer) == 60 * 101_000


def test_meeting_ones_own_order_cancels_that_one(trading):
    market, buyer, _, seller = trading, *trading.traders
    market.place(seller, market.ask(seller, 97_000, 50))
    market.place(buyer, market.ask(buyer, 101_000, 100))
    market.place(seller, market.ask(seller, 97_000, 50))
    events = market.place(buyer, market.bid(buyer, 101_000, 100))
    # The fills of a level are told together, after its voids.
    assert events[0] == OrderVoided(market.slot, buyer.address, 0, 100, VoidReason.OWN_ORDER)
    assert market.fills(events[1:]) == [(seller.address, 0, 1_000, 50), (seller.address, 1, 1_000, 50)]
    assert [type(e) for e in events] == [OrderVoided, OrdersFilled]
    position = market.exchange.position_of(market.slot, buyer.address)
    assert (position.net, position.resting_asks, position.asks, position.resting_bids) == (100, 0, 0, 0)
    assert position.reserve == market.reserved(buyer) == 100 * 101_000


def test_an_own_expired_order_is_voided_as_expired(trading):
    market, buyer = trading, trading.buyer
    expiry = market.chain.now() + 50
    market.place(buyer, market.ask(buyer, 101_000, 100, expiry=expiry))
    market.at(expiry)
    events = market.place(buyer, market.bid(buyer, 101_000, 100))
    assert events == [OrderVoided(market.slot, buyer.address, 0, 100, VoidReason.EXPIRED)]


def test_immediate_or_cancel_voids_the_rest(trading):
    market, buyer, _, seller = trading, *trading.traders
    market.place(seller, market.ask(seller, 97_000, 70))
    events = market.place(buyer, market.bid(buyer, 101_000, 100, flags=Flag.IMMEDIATE_OR_CANCEL))
    assert market.fills(events) == [(seller.address, 0, 1_000, 70)]
    assert events[-1] == OrderVoided(market.slot, buyer.address, 0, 30, VoidReason.IMMEDIATE_OR_CANCEL)
    assert market.reserved(buyer) == 70 * 101_000
    # It never rested: closing finds the seller's order alone.
    assert [type(event) for event in market.close()] == [GateClosed]


def test_an_order_filled_whole_leaves_nothing(trading):
    market, buyer, _, seller = trading, *trading.traders
    market.place(seller, market.ask(seller, 97_000, 100))
    market.place(buyer, market.bid(buyer, 101_000, 100, flags=Flag.IMMEDIATE_OR_CANCEL))
    x = market.exchange
    assert x.order_of(market.slot, seller.address, 0) == RestingOrder(Berth(), 0)
    assert not x.best_ask(market.slot, 0).found and not x.best_bid(market.slot, 0).found
    assert x.level_of(market.slot, 0, Side.ASK, 1_000) == 0


@pytest.mark.parametrize("flags", [Flag.NONE, Flag.IMMEDIATE_OR_CANCEL])
def test_after_128_visits_the_rest_is_voided(trading, flags):
    market, seller = trading, trading.seller
    market.crowd(130)
    events = market.place(seller, market.ask(seller, 97_000, 1_400, flags=flags))
    assert len(market.fills(events)) == 128
    assert [len(e.makers) for e in events[:-1]] == [16] * 8
    assert events[-1] == OrderVoided(market.slot, seller.address, 0, 120, VoidReason.VISITS)
    assert market.exchange.best_bid(market.slot, 0).quantity == 20
    assert market.exchange.position_of(market.slot, seller.address).net == -1_280


def test_128_visits_that_fill_the_order_void_nothing(trading):
    market, seller = trading, trading.seller
    market.crowd(129)
    events = market.place(seller, market.ask(seller, 97_000, 1_280))
    assert len(market.fills(events)) == 128 and len(events) == 8
    assert market.exchange.best_bid(market.slot, 0).quantity == 10


# --- reserves -----------------------------------------------------------------------------------


def unit_reserve(market, key, side: Side, tick: int) -> int:
    """What one resting Wh at a tick reserves, from the chain."""
    charge = {market.buyer.address: 1_000, market.other.address: 2_050, market.seller.address: -3_000}[
        key.address
    ]
    before = market.reserved(key)
    market.place(key, market.order(key, side, tick * 100 + charge, 10))
    reserved = market.reserved(key) - before
    assert reserved % 10 == 0
    return reserved // 10


@pytest.mark.parametrize(
    ("who", "side", "tick", "expected"),
    [
        # dlmp, tariff 300 000 / 100 000 / 50 000, so the hub asks 200 000 and bids 50 000.
        ("buyer", Side.BID, 1_000, 101_000),  # delivered: 100 000 + 1 000
        ("seller", Side.BID, 1_000, 100_000),  # delivered: 100 000, and the utility owes it 3 000
        ("buyer", Side.BID, -5, 500),  # delivered: -500 + 1 000
        ("seller", Side.BID, -5, 0),  # paid to consume, whatever happens
        ("seller", Side.ASK, 4_000, 0),  # sold above what the hub asks; a charge of its own is paid out of it
        ("buyer", Side.ASK, -2_500, 450_000),  # bought back: 200 000 + 250 000
        ("buyer", Side.ASK, 1_000, 100_000),  # bought back at the hub: 200 000 - 100 000
        ("buyer", Side.ASK, 2_500, 0),  # sold above what the hub asks
        ("seller", Side.ASK, -10, 201_000),  # bought back: 200 000 + 1 000
        ("seller", Side.ASK, 20, 198_000),  # bought back: 200 000 - 2 000
    ],
)
def test_reserve_of_one_wh_under_dlmp(trading, who, side, tick, expected):
    assert unit_reserve(trading, getattr(trading, who), side, tick) == expected


def test_what_the_utility_owes_does_not_lower_a_bids_reserve(market):
    """Neither a charge below the feed-in tariff nor the hub's lowest price: the trade costs 100 000."""
    market.open((0, 1_000, 2_050, -60_000, *[0] * 8))
    market.do(market.submit(market.seller, market.bid(market.seller, 40_000, 10)))
    assert market.reserved(market.seller) == 10 * 100_000


@pytest.mark.parametrize(
    ("who", "side", "tick", "expected"),
    [
        ("buyer", Side.BID, 1_000, 101_000),  # delivered 101 000; not: 100 000 + 1 000 - 50 000
        ("seller", Side.BID, 1_000, 100_000),  # delivered 100 000; not: 100 000 - 50 000 + 3 000
        ("seller", Side.BID, 500, 50_000),
        ("seller", Side.BID, -5, 0),
        ("buyer", Side.ASK, 1_000, 200_000),  # not delivered: -100 000 + 0 + max(300 000, 201 000)
        ("seller", Side.ASK, 1_000, 203_000),  # not delivered: -100 000 + 3 000 + max(300 000, 197 000)
        ("seller", Side.ASK, 3_500, 0),
    ],
)
def test_reserve_of_one_wh_under_tariff(tariff_market, who, side, tick, expected):
    tariff_market.open()
    assert unit_reserve(tariff_market, getattr(tariff_market, who), side, tick) == expected


def test_views_refuse_what_is_no_class_or_level(trading):
    x, slot, who = trading.exchange, trading.slot, trading.buyer.address
    assert not x.best_bid(slot, 2).found and x.class_net_of(slot, who, 2) == x.level_of(slot, 2, 1, 5) == 0
    for view in (x.best_bid, x.best_ask):
        with pytest.raises(Reverted, match="book: no such class"):
            view(slot, 3)
    for energy_class in (0, 3, 255):
        with pytest.raises(Reverted, match="book: no such class"):
            x.class_net_of(slot, who, energy_class)
    for energy_class, side, tick in ((3, 0, 0), (0, 2, 0), (0, 0, -32_768), (0, 1, -32_768)):
        with pytest.raises(Reverted, match="book: no such level"):
            x.level_of(slot, energy_class, side, tick)


def test_an_ask_of_a_class_reserves_its_penalty(trading):
    market, buyer, _, seller = trading, *trading.traders
    market.place(seller, market.ask(seller, 97_000, 100, energy_class=1))
    assert market.reserved(seller) == 100 * (100_000 + 30_000)
    market.place(buyer, market.bid(buyer, 101_000, 60, energy_class=1))
    assert (market.reserved(seller), market.reserved(buyer)) == (100 * 130_000, 60 * 101_000)
    market.do(market.cancel(seller, 0))
    assert market.reserved(seller) == 60 * 130_000
    # At tick 2 250 the seller keeps 25 000 of what it is paid if it delivers nothing, and owes 30 000.
    market.place(seller, market.ask(seller, 222_000, 10, energy_class=1))
    assert market.reserved(seller) == 60 * 130_000 + 10 * 5_000
    market.place(buyer, market.bid(buyer, 80_000, 50, energy_class=1))
    market.place(seller, market.ask(seller, 70_000, 20, energy_class=1))
    assert market.reserved(seller) == 60 * 130_000 + 10 * 5_000 + 20 * (121_000 + 30_000)
    market.close()
    assert market.reserved(seller) == 60 * 130_000 + 20 * 151_000


def test_who_sells_a_class_without_certificate_was_reserved_for(trading):
    """The poorest seller that is let in owes no more than it has, penalty and hub price at their highest."""
    market = trading
    poor = market.register(derive(7, "poor"), 4, classes=1, deposit=100 * 130_000)
    dear = market.ask(poor, 99_900, 100, energy_class=1)
    market.refused("order: insufficient funds", market.submit(poor, dear))
    market.place(poor, market.ask(poor, 100_000, 100, energy_class=1))
    market.place(market.buyer, market.bid(market.buyer, 101_000, 100, energy_class=1))
    market.close()
    market.post_prices((200_000, 125_000, 122_000, 115_000, 200_000, *[0] * 7))
    market.read(market.signed_reading(poor, 0), market.signed_reading(market.buyer, 100))
    market.settle(poor.address)
    assert market.balance(poor) == 0 and market.exchange.uncovered() == 0


def test_price_improvement_and_voids_release(trading):
    market, buyer, _, seller = trading, *trading.traders
    market.place(seller, market.ask(seller, 97_000, 100))
    assert market.reserved(seller) == 100 * 100_000
    market.place(buyer, market.bid(buyer, 121_000, 150))
    assert market.reserved(buyer) == 100 * 101_000 + 50 * 121_000
    assert market.reserved(seller) == 100 * 100_000
    market.do(market.cancel(buyer, 0))
    assert market.reserved(buyer) == 100 * 101_000
    position = market.exchange.position_of(market.slot, buyer.address)
    assert (position.net, position.trades, position.reserve) == (100, 100 * 100_000, 100 * 101_000)


def test_an_aggressive_order_needs_funds_at_its_own_limit(trading):
    market, seller = trading, trading.seller
    market.place(seller, market.ask(seller, 97_000, 100))
    modest = market.register(derive(7, "modest"), 4, deposit=100 * 120_000)
    market.refused("order: insufficient funds", market.submit(modest, market.bid(modest, 120_100, 100)))
    market.place(modest, market.bid(modest, 120_000, 100))
    assert market.reserved(modest) == 100 * 100_000
    market.place(modest, market.bid(modest, 100_000, 20))
    market.refused("order: insufficient funds", market.submit(modest, market.bid(modest, 100_000, 10)))


# --- batches --------------------------------------------------------------------------------------


def test_a_batch_matches_in_its_order(trading):
    market, buyer, _, seller = trading, *trading.traders
    batch = [
        market.signed(seller, market.ask(seller, 97_000, 100)),
        market.signed(buyer, market.bid(buyer, 101_000, 60)),
        market.signed(buyer, market.bid(buyer, 101_000, 60)),
    ]
    (sent,) = market.exchange.place_orders(batch, sender=market.relayer)
    events = market.do(sent)
    assert [type(e) for e in events] == [OrderPlaced, OrderPlaced, OrdersFilled, OrderPlaced, OrdersFilled]
    assert market.fills(events) == [(seller.address, 0, 1_000, 60), (seller.address, 0, 1_000, 40)]
