"""Price levels as queues: entries, makers told, expired and own orders at any place."""

from __future__ import annotations

import pytest

from ledger.state import Best
from market.orders import GateClosed, OrdersFilled, OrderVoided, VoidReason
from tests.exchange.levels import LIMIT, TICK, queue, resting, sell, taken

# --- entries ------------------------------------------------------------------------------------


def test_entries_are_where_they_came_to_rest(trading):
    quantities = [10 * (place + 1) for place in range(12)]
    berths = queue(trading, quantities)
    assert resting(trading, berths) == quantities
    assert trading.exchange.best_bid(trading.slot, 0) == Best(True, TICK, sum(quantities))


@pytest.mark.parametrize("whole", range(1, 13))
def test_a_taker_passes_any_number_of_entries(trading, whole):
    market, quantities = trading, [10 * (place + 1) for place in range(12)]
    berths = queue(market, quantities)
    events = sell(market, sum(quantities[:whole]))
    assert [type(event) for event in events] == [OrdersFilled]
    assert taken(market, events) == [
        (key.address, nonce, quantity)
        for (key, nonce), quantity in zip(berths[:whole], quantities, strict=False)
    ]
    assert resting(market, berths) == [0] * whole + quantities[whole:]
    # And the next taker goes on behind them.
    events = sell(market, 10_000)
    assert [quantity for _, _, quantity in taken(market, events)] == quantities[whole:]
    assert not market.exchange.best_bid(market.slot, 0).found


@pytest.mark.parametrize("place", [0, 1, 2, 4, 5, 7, 8])
def test_an_entry_is_taken_in_parts(trading, place):
    market, quantities = trading, [100] * 10
    berths = queue(market, quantities)
    before = 100 * place
    if before:
        sell(market, before)
    key, nonce = berths[place]
    for left in (70, 40, 10):
        assert taken(market, sell(market, 30)) == [(key.address, nonce, 30)]
        assert resting(market, berths) == [0] * place + [left] + [100] * (9 - place)
    events = sell(market, 20)
    assert taken(market, events)[0] == (key.address, nonce, 10)
    assert resting(market, berths) == [0] * (place + 1) + [90] + [100] * (8 - place)


def test_what_rests_counts_for_the_maker_until_closing(trading):
    market, buyer, seller = trading, trading.buyer, trading.seller
    queue(market, [100])
    reserved = market.reserved(buyer)
    sell(market, 60)
    position = market.position(buyer)
    assert (position.net, position.trades) == (0, 0)
    assert (position.resting_bids, position.bids) == (100, 1)
    assert position.reserve == market.reserved(buyer) == reserved == 100 * 101_000
    taker = market.position(seller)
    assert (taker.net, taker.trades) == (-60, -60 * 100_000)
    assert market.close()[0] == OrderVoided(market.slot, buyer.address, 0, 40, VoidReason.GATE_CLOSED)
    position = market.position(buyer)
    assert (position.net, position.trades, position.resting_bids) == (60, 60 * 100_000, 0)
    assert position.reserve == market.reserved(buyer) == 60 * 101_000


def test_a_filled_order_keeps_its_place_among_the_sixteen(trading):
    market, buyer = trading, trading.buyer
    for _ in range(16):
        market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10))
    sell(market, 160)
    assert not market.exchange.best_bid(market.slot, 0).found
    market.refused("order: too many resting", market.submit(buyer, market.bid(buyer, 60_000, 10)))
    market.refused("book: nothing to cancel", market.cancel(buyer, 0))


def test_more_than_sixteen_makers_are_told_in_several_events(trading):
    market, seller = trading, trading.seller
    keys = market.crowd(37)
    events = market.place(seller, market.ask(seller, 97_000, 370))
    assert [len(event.makers) for event in events] == [16, 16, 5]
    assert [event.quantity for event in events] == [160, 160, 50]
    owners = [keys[i // 16].address for i in range(37)]
    assert [(maker, quantity) for maker, _, _, quantity in market.fills(events)] == [(o, 10) for o in owners]
    assert not market.exchange.best_bid(market.slot, 0).found


@pytest.mark.parametrize("before", [0, 1, 15, 16, 17, 32])
def test_voids_stand_behind_the_full_events_and_before_the_last_one(trading, before):
    """`before` makers, then an own order, then one maker more."""
    market, seller, other = trading, trading.seller, trading.other
    if before:
        market.crowd(before)
    market.place(seller, market.bid(seller, LIMIT["seller"], 50))
    market.place(other, market.bid(other, LIMIT["other"], 10))
    events = sell(market, before * 10 + 10)
    void = OrderVoided(market.slot, seller.address, 0, 50, VoidReason.OWN_ORDER)
    told = [event if event == void else len(event.makers) for event in events]
    full, rest = divmod(before, 16)
    assert told == [*[16] * full, void, rest + 1]


def test_a_level_is_opened_again_after_it_was_emptied(trading):
    market = trading
    berths = queue(market, [10, 20, 30])
    sell(market, 60)
    assert not market.exchange.best_bid(market.slot, 0).found
    assert sell(market, 10) == [OrderVoided(market.slot, market.seller.address, 1, 10, 4)]
    # The places go on.
    later = market.bid(market.other, LIMIT["other"], 40)
    market.place(market.other, later)
    assert market.exchange.best_bid(market.slot, 0) == Best(True, TICK, 40)
    berths.append((market.other, later.nonce))
    assert resting(market, berths) == [0, 0, 0, 40]
    assert taken(market, sell(market, 100)) == [(market.other.address, later.nonce, 40)]
    events = market.close()
    # It was linked once: nobody is credited twice.
    assert events == (GateClosed(market.slot, 4),)
    assert [market.position(key).net for key in market.traders] == [10 + 30, 20 + 40, -100]


def test_a_level_that_was_cancelled_empty_is_opened_again(trading):
    market, buyer = trading, trading.buyer
    for nonce in range(3):
        market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10))
        market.do(market.cancel(buyer, nonce))
        assert not market.exchange.best_bid(market.slot, 0).found
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10))
    assert market.exchange.order_of(market.slot, buyer.address, 3).berth.place == 3
    assert taken(market, sell(market, 10)) == [(buyer.address, 3, 10)]


# --- expired and own orders ---------------------------------------------------------------------


def test_an_expired_order_that_was_partly_filled_is_credited_with_that_part(trading):
    market, buyer, other = trading, trading.buyer, trading.other
    expiry = market.chain.now() + 100
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 100, expiry=expiry))
    market.place(other, market.bid(other, LIMIT["other"], 100))
    sell(market, 30)
    market.at(expiry)
    events = sell(market, 20)
    assert events[0] == OrderVoided(market.slot, buyer.address, 0, 70, VoidReason.EXPIRED)
    assert taken(market, events) == [(other.address, 0, 20)]
    position = market.position(buyer)
    assert (position.bids, position.resting_bids, position.reserve) == (0, 30, 30 * 101_000)
    assert market.close()[0] == OrderVoided(market.slot, other.address, 0, 80, VoidReason.GATE_CLOSED)
    assert [market.position(key).net for key in market.traders] == [30, 20, -50]
    assert market.reserved(buyer) == 30 * 101_000


def test_an_own_order_that_was_partly_filled_is_credited_with_that_part(trading):
    market, buyer, other, seller = trading, *trading.traders
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 100))
    market.place(other, market.bid(other, LIMIT["other"], 100))
    sell(market, 30)
    events = market.place(buyer, market.ask(buyer, LIMIT["buyer"], 50))
    assert events[0] == OrderVoided(market.slot, buyer.address, 0, 70, VoidReason.OWN_ORDER)
    assert taken(market, events) == [(other.address, 0, 50)]
    position = market.position(buyer)
    # 50 sold at 100 000 with charge 1 000: bought back at 200 000 they would cost 100 000 more.
    assert (position.net, position.resting_bids, position.bids) == (-50, 30, 0)
    assert position.reserve == market.reserved(buyer) == 30 * 101_000 + 50 * 100_000
    market.close()
    assert [market.position(key).net for key in (buyer, other, seller)] == [-20, 50, -30]
    assert market.position(buyer).trades == -20 * 100_000


def test_an_expired_entry_behind_the_head_is_left_to_the_taker_that_meets_it(trading):
    market, buyer, other = trading, trading.buyer, trading.other
    expiry = market.chain.now() + 50
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10))
    for _ in range(4):
        market.place(other, market.bid(other, LIMIT["other"], 10, expiry=expiry))
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10))
    market.at(expiry)
    events = sell(market, 10)
    assert taken(market, events) == [(buyer.address, 0, 10)] and len(events) == 1
    assert market.exchange.best_bid(market.slot, 0).quantity == 50
    events = sell(market, 10)
    assert [(e.nonce, e.reason) for e in events[:4]] == [(n, VoidReason.EXPIRED) for n in range(4)]
    assert taken(market, events) == [(buyer.address, 1, 10)]
    assert market.position(other).bids == 0 and market.reserved(other) == 0


def test_an_expired_order_nobody_met_is_voided_by_closing(trading):
    market, buyer = trading, trading.buyer
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10, expiry=market.chain.now() + 5))
    events = market.close()
    assert events[0] == OrderVoided(market.slot, buyer.address, 0, 10, VoidReason.GATE_CLOSED)
    assert market.reserved(buyer) == 0
