"""Cancels: from any place of a level's queue, what they leave there, whose they are."""

from __future__ import annotations

from itertools import permutations

import pytest

from ledger.eip712 import digest
from ledger.keys import Key, derive
from ledger.state import Best
from market.messages import CancelRequest
from market.orders import Berth, Flag, GateClosed, NonceCancelled, OrderVoided, Side, VoidReason
from tests.exchange.conftest import Market
from tests.exchange.levels import LIMIT, TICK, queue, resting, sell, taken


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_cancel_takes_an_order_out_of_any_place_in_its_queue(trading, order):
    market, buyer, x = trading, trading.buyer, trading.exchange
    for _ in range(3):
        market.place(buyer, market.bid(buyer, LIMIT["buyer"], 100))
    left = 300
    for nonce in order:
        assert market.do(market.cancel(buyer, nonce)) == (
            OrderVoided(market.slot, buyer.address, nonce, 100, VoidReason.CANCELLED),
        )
        left -= 100
        assert x.level_of(market.slot, 0, Side.BID, TICK) == left
        assert market.reserved(buyer) == left * 101_000
        market.refused("book: nothing to cancel", market.cancel(buyer, nonce))
    position = market.position(buyer)
    assert (position.bids, position.resting_bids, position.reserve) == (0, 0, 0)
    assert market.reserved(buyer) == 0 and not x.best_bid(market.slot, 0).found


@pytest.mark.parametrize(
    "gaps", [(0,), (9,), (0, 1, 2, 3), (2, 5, 8), (1, 4, 7), (3, 4, 5, 6), (8, 9), tuple(range(9))]
)
def test_takers_pass_gaps(trading, gaps):
    market, quantities = trading, [10 * (place + 1) for place in range(10)]
    berths = queue(market, quantities)
    # From the last, so that the gaps in the middle are there when the head is cancelled.
    for place in reversed(gaps):
        key, nonce = berths[place]
        market.do(market.cancel(key, nonce))
        quantities[place] = 0
    assert resting(market, berths) == quantities
    events = sell(market, 10_000)
    assert taken(market, events) == [
        (key.address, nonce, quantity)
        for (key, nonce), quantity in zip(berths, quantities, strict=True)
        if quantity
    ]
    assert market.close() == (GateClosed(market.slot, 4),)
    assert market.position(market.seller).net == -sum(quantities)


@pytest.mark.parametrize("place", [0, 1, 2, 4, 5])
def test_a_partly_filled_order_is_cancelled(trading, place):
    """What was filled of it stays and is credited; what rested is void; the queue goes on behind it."""
    market, buyer, other, seller = trading, *trading.traders
    berths = queue(market, [100] * 6)
    sell(market, 100 * place + 30)
    key, nonce = berths[place]
    assert market.do(market.cancel(key, nonce)) == (
        OrderVoided(market.slot, key.address, nonce, 70, VoidReason.CANCELLED),
    )
    assert resting(market, berths) == [0] * (place + 1) + [100] * (5 - place)
    assert market.position(key).resting_bids == 300 - 70
    if place < 5:
        following = berths[place + 1]
        assert taken(market, sell(market, 50)) == [(following[0].address, following[1], 50)]
    events = market.close()
    nets = {buyer.address: 0, other.address: 0}
    for at, (holder, _) in enumerate(berths):
        filled = 100 if at < place else 30 if at == place else 50 if at == place + 1 else 0
        nets[holder.address] += filled
    assert {address: market.position(k).net for k in (buyer, other) for address in [k.address]} == nets
    assert sum(nets.values()) == -market.position(seller).net
    assert all(event.reason == VoidReason.GATE_CLOSED for event in events[:-1])
    assert market.reserved(buyer) == nets[buyer.address] * 101_000
    assert market.reserved(other) == nets[other.address] * 102_050


def cancel_crowd(market: Market, keys: list[Key], count: int) -> None:
    """Cancel the first `count` orders of a crowd that stands behind one entry."""
    for index in range(count):
        berth = Berth(0, Side.BID, TICK, 1 + index)
        market.do(market.cancel(keys[index // 16], index % 16, berth=berth))


def test_a_cancel_passes_its_entry_and_127_gaps(trading):
    """Of 254 gaps 127 are left: with the entry behind them they make the 128 visits of one order."""
    market, seller = trading, trading.seller
    market.place(market.other, market.bid(market.other, LIMIT["other"], 10))
    keys = market.crowd(255)
    market.place(market.buyer, market.bid(market.buyer, LIMIT["buyer"], 10))
    cancel_crowd(market, keys, 254)
    market.do(market.cancel(market.other, 0))
    assert market.exchange.best_bid(market.slot, 0) == Best(True, TICK, 20)
    events = market.place(seller, market.ask(seller, LIMIT["seller"], 20))
    assert taken(market, events) == [(keys[15].address, 14, 10)]
    assert events[-1] == OrderVoided(market.slot, seller.address, 0, 10, VoidReason.VISITS)
    assert taken(market, sell(market, 20)) == [(market.buyer.address, 0, 10)]


@pytest.mark.parametrize(("gaps", "filled"), [(127, 10), (128, 0)])
def test_gaps_count_as_visits(trading, gaps, filled):
    """Behind an entry in front, `gaps` gaps and an order: the head is taken first, then the gaps are met."""
    market, seller = trading, trading.seller
    market.place(market.other, market.bid(market.other, LIMIT["other"], 10))
    keys = market.crowd(gaps)
    market.place(market.buyer, market.bid(market.buyer, LIMIT["buyer"], 10))
    cancel_crowd(market, keys, gaps)
    assert len(market.fills(sell(market, 10))) == 1
    # Now the head is the first gap.
    assert market.exchange.best_bid(market.slot, 0) == Best(True, TICK, 10)
    events = sell(market, 20, flags=Flag.NONE)
    assert sum(quantity for _, _, quantity in taken(market, events)) == filled
    # Either way 128 visits were made, and what is left does not rest.
    assert events[-1] == OrderVoided(market.slot, seller.address, 1, 20 - filled, VoidReason.VISITS)
    # The gaps are passed for good.
    left = 10 - filled
    assert market.exchange.best_bid(market.slot, 0) == (Best(True, TICK, left) if left else Best(False, 0, 0))
    if left:
        assert taken(market, sell(market, 10)) == [(market.buyer.address, 0, 10)]


def test_a_level_of_gaps_alone_shows_nothing_to_meet(trading):
    """More gaps than one cancel passes, and nothing behind them: the level is still marked, and empty."""
    market, seller, x = trading, trading.seller, trading.exchange
    market.place(market.other, market.bid(market.other, LIMIT["other"], 10))
    keys = market.crowd(128)
    market.place(market.buyer, market.bid(market.buyer, LIMIT["buyer"] - 100, 30))
    cancel_crowd(market, keys, 128)
    market.do(market.cancel(market.other, 0))
    assert x.best_bid(market.slot, 0) == Best(True, TICK, 0)
    # One gap was left: a taker passes it and meets the next level.
    events = market.place(seller, market.ask(seller, LIMIT["seller"] - 100, 30))
    assert market.fills(events) == [(market.buyer.address, 0, TICK - 1, 30)]
    assert not x.best_bid(market.slot, 0).found
    assert market.close() == (GateClosed(market.slot, 4 + 8),)


def test_queue_holds_after_fills_and_cancels_in_between(trading):
    market, buyer, other, seller = trading, *trading.traders
    queue(market, [100] * 6)
    market.place(seller, market.ask(seller, 97_000, 150))
    market.do(market.cancel(other, 0))
    market.do(market.cancel(other, 2))
    market.place(other, market.bid(other, 102_050, 100))
    events = market.place(seller, market.ask(seller, 97_000, 1_000))
    assert market.fills(events) == [
        (buyer.address, 1, TICK, 100),
        (other.address, 1, TICK, 100),
        (buyer.address, 2, TICK, 100),
        (other.address, 3, TICK, 100),
    ]


@pytest.mark.parametrize(
    "berth",
    [
        Berth(0, Side.BID, TICK, 0),  # another's
        Berth(0, Side.BID, TICK, 2),  # another order of its own
        Berth(0, Side.BID, TICK, 3),  # nothing yet
        Berth(0, Side.BID, TICK, 65_535),
        Berth(0, Side.BID, TICK - 1, 1),
        Berth(0, Side.ASK, TICK, 1),
        Berth(1, Side.BID, TICK, 1),
        Berth(3, Side.BID, TICK, 1),
        Berth(4, Side.BID, TICK, 1),  # its shelf would be another slot's
        Berth(8, Side.BID, TICK, 1),
        Berth(255, Side.BID, TICK, 1),
        Berth(0, 2, TICK, 1),  # its shelf would be another class's
        Berth(0, 255, TICK, 1),
        Berth(0, Side.BID, -32_768, 1),
        Berth(0, Side.ASK, -32_768, 1),
    ],
)
def test_a_cancel_names_where_the_order_rests(trading, berth):
    market, buyer, other = trading, trading.buyer, trading.other
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 10))
    market.place(other, market.bid(other, LIMIT["other"], 20))
    market.place(other, market.bid(other, LIMIT["other"], 30))
    market.refused("book: nothing to cancel", market.cancel(other, 0, berth=berth))
    assert market.do(market.cancel(other, 0, berth=Berth(0, Side.BID, TICK, 1))) == (
        OrderVoided(market.slot, other.address, 0, 20, VoidReason.CANCELLED),
    )


def test_nothing_is_cancelled_twice_or_after_it_was_filled(trading):
    market, buyer = trading, trading.buyer
    queue(market, [10, 20, 30])
    sell(market, 30)
    for nonce, place in ((0, 0), (1, 2)):
        berth = Berth(0, Side.BID, TICK, place)
        if place == 2:
            market.do(market.cancel(buyer, nonce, berth=berth))
        market.refused("book: nothing to cancel", market.cancel(buyer, nonce, berth=berth))


def test_an_order_that_never_rested_cannot_be_cancelled(trading):
    market, seller = trading, trading.seller
    sell(market, 10)
    market.refused("book: nothing to cancel", market.cancel(seller, 0))


def test_cancel_kills_a_nonce_not_seen_yet(trading):
    market, buyer = trading, trading.buyer
    unseen = NonceCancelled(market.slot, buyer.address, 9)
    assert market.do(market.cancel(buyer, 9, berth=Berth(255, 255, -32_768, 65_535))) == (unseen,)
    market.refused("order: nonce used", market.submit(buyer, market.bid(buyer, 101_000, nonce=9)))
    market.refused("book: nothing to cancel", market.cancel(buyer, 9))
    # A slot need not be scheduled.
    assert market.do(market.cancel(buyer, 9, market.slot + 3)) == (
        NonceCancelled(market.slot + 3, buyer.address, 9),
    )


def test_cancel_is_the_traders_own_and_before_the_gate(trading):
    market, buyer, x = trading, trading.buyer, trading.exchange
    market.place(buyer, market.bid(buyer, 101_000))
    berth = Berth(0, Side.BID, TICK, 0)
    market.refused("accounts: unknown account", market.cancel(derive(7, "stranger"), 0, berth=berth))
    request = CancelRequest(buyer.address, market.slot, 0)
    forged = market.seller.sign(digest(x.domain, request))
    market.refused("book: bad signature", x.cancel_order(request, forged, sender=market.relayer))
    market.at(market.terms.gate(market.slot) - 1)
    market.refused("book: nothing to cancel", market.cancel(buyer, 0, berth=Berth()))
    market.refused("book: gate passed", market.cancel(buyer, 0))
