"""Price levels as queues: entries, gaps, cancels at any place, closing in pieces, makers credited exactly."""

from __future__ import annotations

from itertools import permutations

import pytest

from ledger.eip712 import digest
from ledger.keys import Key, derive
from ledger.state import Best, RestingOrder
from market.messages import CancelRequest
from market.orders import (
    Berth,
    ClosingPaused,
    Flag,
    GateClosed,
    NonceCancelled,
    OrdersFilled,
    OrderVoided,
    Side,
    VoidReason,
)
from tests.exchange.conftest import EUR, Market

# At the buyer's bus the charge is 1 000, at the other's 2 050, at the seller's -3 000: the same hub
# tick 1 000 is a limit of 101 000, 102 050, 97 000. A level has two entries in its own word, and three in
# each word that follows: places 2, 5, 8, … begin a word.

TICK = 1_000
LIMIT = {"buyer": 101_000, "other": 102_050, "seller": 97_000}


def queue(market: Market, quantities: list[int]) -> list[tuple[Key, int]]:
    """Bids at one tick by the buyer and the other in turn; their keys and nonces by place."""
    berths = []
    for place, quantity in enumerate(quantities):
        key, limit = (market.buyer, LIMIT["buyer"]) if place % 2 == 0 else (market.other, LIMIT["other"])
        order = market.bid(key, limit, quantity)
        assert market.place(key, order) == []
        berths.append((key, order.nonce))
    return berths


def sell(market: Market, quantity: int, **more) -> list:
    """The seller takes bids at the tick; fills as keys and Wh, then everything that is no fill."""
    more = {"flags": Flag.IMMEDIATE_OR_CANCEL} | more
    return market.place(market.seller, market.ask(market.seller, LIMIT["seller"], quantity, **more))


def taken(market: Market, events) -> list[tuple[str, int, int]]:
    return [(maker, nonce, quantity) for maker, nonce, _, quantity in market.fills(events)]


def resting(market: Market, berths: list[tuple[Key, int]]) -> list[int]:
    """Wh at rest by place, as `orderOf` tells them; the berths are checked on the way."""
    found = []
    for place, (key, nonce) in enumerate(berths):
        order = market.exchange.order_of(market.slot, key.address, nonce)
        if order.quantity:
            assert order.berth == Berth(0, Side.BID, TICK, place)
        else:
            assert order == RestingOrder(Berth(), 0)
        found.append(order.quantity)
    assert market.exchange.level_of(market.slot, 0, Side.BID, TICK) == sum(found)
    return found


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


# --- cancel -------------------------------------------------------------------------------------


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


# --- closing ------------------------------------------------------------------------------------


def busy(market: Market) -> None:
    """Levels of both sides and two classes, with gaps, partial and whole fills, and one opened again."""
    buyer, other, seller = market.traders
    queue(market, [100] * 9)
    market.place(seller, market.ask(seller, 297_000, 100))
    market.place(seller, market.ask(seller, 197_000, 50, energy_class=1))
    market.place(seller, market.ask(seller, 197_000, 70, energy_class=1))
    market.place(buyer, market.bid(buyer, 201_000, 60, energy_class=1))
    market.place(other, market.bid(other, 101_050, 80))
    market.place(seller, market.ask(seller, 95_000, 20))
    market.do(market.cancel(buyer, 1))
    sell(market, 230)
    market.do(market.cancel(other, 1))
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 40))


def picture(market: Market) -> dict:
    """All that closing is about, of everybody."""
    x, slot = market.exchange, market.slot
    return {
        address: (
            x.position_of(slot, address),
            [x.class_net_of(slot, address, energy_class) for energy_class in (1, 2)],
            x.account_of(address),
        )
        for address in market.everyone
    } | {"state": x.slot_of(slot)}


def test_closing_in_steps_of_any_limit_is_closing_at_once(trading):
    market = trading
    busy(market)
    outcomes = []
    for limit in (512, 14, 1, 2, 3, 5, 7):
        snapshot = market.chain.snapshot()
        events = market.close(limit)
        steps = [event for event in events if isinstance(event, ClosingPaused)]
        assert limit >= 14 or steps
        outcomes.append(([event for event in events if event not in steps], picture(market)))
        market.chain.revert(snapshot)
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])
    events, seen = outcomes[0]
    assert isinstance(events[-1], GateClosed) and len(events) > 5
    for address in market.everyone:
        position, _, account = seen[address]
        assert (position.resting_bids, position.resting_asks) == (0, 0)
        assert position.reserve == account.reserved
    assert sum(seen[address][0].net for address in market.everyone) == 0
    assert sum(seen[address][0].trades for address in market.everyone) == 0
    assert sum(seen[address][1][0] for address in market.everyone) == 0


def test_makers_are_credited_exactly(trading):
    """Positions after closing are the sums of the fills that the events told."""
    market = trading
    busy(market)
    market.close()
    told = [event for event in market.exchange.history() if isinstance(event, OrdersFilled)]
    nets = dict.fromkeys(market.everyone, 0)
    classes, trades = dict(nets), dict(nets)
    for event in told:
        sign = 1 if event.taker_side == Side.BID else -1
        for fill in event.fills(market.exchange.account_at):
            for who, bought in ((fill.taker, sign), (fill.maker, -sign)):
                nets[who] += bought * fill.quantity
                trades[who] += bought * fill.quantity * fill.tick * 100
                classes[who] += bought * fill.quantity if fill.energy_class == 1 else 0
    x, slot = market.exchange, market.slot
    assert {a: x.position_of(slot, a).net for a in nets} == nets
    assert {a: x.position_of(slot, a).trades for a in nets} == trades
    assert {a: x.class_net_of(slot, a, 1) for a in nets} == classes
    assert sum(abs(net) for net in nets.values()) > 0 and sum(abs(n) for n in classes.values()) == 120


def test_the_level_opened_last_is_closed_first(trading):
    market, buyer, other, seller = trading, *trading.traders
    market.place(buyer, market.bid(buyer, 101_000, 100))
    market.place(other, market.bid(other, 101_050, 50))
    market.place(buyer, market.bid(buyer, 101_000, 20))
    market.place(seller, market.ask(seller, 297_000, 100))
    market.place(seller, market.ask(seller, 295_000, 30, energy_class=1))
    # An order at a level that is there opens none.
    market.place(other, market.bid(other, 102_050, 10))
    voids = [(e.trader, e.nonce, e.quantity) for e in market.close()[:-1]]
    assert voids == [
        (seller.address, 1, 30),
        (seller.address, 0, 100),
        (other.address, 0, 50),
        (buyer.address, 0, 100),
        (buyer.address, 1, 20),
        (other.address, 1, 10),
    ]


def test_the_gate_closes_in_pieces(trading):
    market, buyer, other, seller = trading, *trading.traders
    x = market.exchange
    queue(market, [100, 100, 100])
    market.place(seller, market.ask(seller, 297_000, 100))
    market.do(market.cancel(other, 0))
    market.at(market.terms.gate(market.slot) - 1)
    market.refused("book: before closing", x.close_gate(market.slot, 9, sender=market.relayer))
    assert x.best_ask(market.slot, 0).found
    assert market.do(x.close_gate(market.slot, 2, sender=market.relayer)) == (
        OrderVoided(market.slot, seller.address, 0, 100, VoidReason.GATE_CLOSED),
        OrderVoided(market.slot, buyer.address, 0, 100, VoidReason.GATE_CLOSED),
        ClosingPaused(market.slot, 0, Side.BID, 1_000, 1),
    )
    state = x.slot_of(market.slot)
    assert (state.closing, state.gate_closed, state.accounts) == (True, False, 0)
    assert market.reserved(buyer) == 100 * 101_000
    # The book is gone.
    assert not x.best_ask(market.slot, 0).found and not x.best_bid(market.slot, 0).found
    assert x.order_of(market.slot, buyer.address, 1) == RestingOrder(Berth(), 0)
    assert x.level_of(market.slot, 0, Side.BID, TICK) == 0
    market.refused(
        "settlement: gate is open", x.settle(market.slot, [market.utility.address], sender=market.relayer)
    )
    # A limit of 0 goes nowhere, one gap is an entry like any other.
    for limit, place in ((0, 1), (1, 2)):
        assert market.do(x.close_gate(market.slot, limit, sender=market.relayer)) == (
            ClosingPaused(market.slot, 0, Side.BID, 1_000, place),
        )
    assert market.do(x.close_gate(market.slot, 1, sender=market.relayer)) == (
        OrderVoided(market.slot, buyer.address, 1, 100, VoidReason.GATE_CLOSED),
        GateClosed(market.slot, 4),
    )
    state = x.slot_of(market.slot)
    assert (state.gate_closed, state.closing, state.accounts) == (True, True, 4)
    market.refused("book: gate is closed", x.close_gate(market.slot, 2, sender=market.relayer))
    for key in market.traders:
        position = market.position(key)
        assert (position.resting_bids, position.resting_asks, position.reserve) == (0, 0, 0)


def test_an_empty_gate_closes_at_once(trading):
    market = trading
    market.at(market.terms.gate(market.slot))
    closed = market.exchange.close_gate(market.slot, 0, sender=market.relayer)
    assert market.do(closed) == (GateClosed(market.slot, 4),)
    market.refused(
        "slots: not scheduled", market.exchange.close_gate(market.slot - 1, 0, sender=market.relayer)
    )


def test_closing_goes_through_more_entries_than_a_word_holds(trading):
    market, buyer = trading, trading.buyer
    for nonce in range(14):
        market.place(buyer, market.bid(buyer, 101_000 if nonce % 2 else 100_900, 10))
    assert [e.nonce for e in market.close(5) if isinstance(e, OrderVoided)] == [
        *range(1, 14, 2),
        *range(0, 14, 2),
    ]
    assert market.reserved(buyer) == 0


def test_accounts_registered_before_the_last_step_are_in_the_snapshot(trading):
    market, x = trading, trading.exchange
    queue(market, [10, 10])
    market.at(market.terms.gate(market.slot))
    market.do(x.close_gate(market.slot, 1, sender=market.relayer))
    market.register(derive(7, "late"), 4, deposit=EUR)
    assert market.close()[-1] == GateClosed(market.slot, 5)
    market.register(derive(7, "too late"), 4, deposit=EUR)
    assert x.slot_of(market.slot).accounts == 5
