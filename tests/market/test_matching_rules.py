"""The rules of matching, each by itself, for the book and for the matcher over arrays.

What they say of a market is what it told of an order: its fills, what was voided, and what rests. Money,
capacity, cancels, classes and the gate are the book's alone (`test_book_rules`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pytest

from market.book import RESTING_MAX, VISITS_MAX
from market.levels import PLACES_MAX, Entry
from market.mechanisms.matching import Matched, Orders, matched
from market.orders import Flag, Order, OrderVoided, Side, VoidReason
from market.units import TICK_UEUR_PER_KWH
from tests.market.twin_cases import OPENS, SLOT, TARIFF, fills_of, open_book, place, terms, trader

TRADERS = 10
Fill = tuple[int, int, int, int]
"""Maker and its nonce, tick, Wh."""
Void = tuple[int, int, int, VoidReason]
"""Trader, nonce, Wh, why."""


@dataclass(frozen=True)
class Told:
    """What came of one order."""

    fills: list[Fill] = field(default_factory=list)
    voids: list[Void] = field(default_factory=list)


class Market(Protocol):
    """Where orders without charges meet: a bus's price is the hub's."""

    def send(self, order: Order, time: int = OPENS) -> Told: ...

    def best(self, side: Side) -> tuple[int, int] | None: ...

    def crowd(self, side: Side, tick: int, orders: int) -> None:
        """So many orders more have come to rest there, whatever became of them."""


class InBook:
    """The book."""

    def __init__(self) -> None:
        self.book = open_book(terms(), TARIFF, traders=TRADERS)

    def send(self, order: Order, time: int = OPENS) -> Told:
        placed, *events = self.book.apply(place(order, time))
        assert placed.nonce == order.nonce
        fills = [
            (_index(fill.maker), fill.maker_nonce, fill.tick, fill.quantity)
            for fill in fills_of(self.book, events)
        ]
        voids = [
            (_index(event.trader), event.nonce, event.quantity, event.reason)
            for event in events
            if isinstance(event, OrderVoided)
        ]
        return Told(fills, voids)

    def best(self, side: Side) -> tuple[int, int] | None:
        return self.book.best(0, side)

    def crowd(self, side: Side, tick: int, orders: int) -> None:
        level = next(each for each in self.book._opened if (each.side, each.tick) == (side, tick))
        level.entries.extend(Entry(self.book.accounts.get(trader(9)), 0, 0, 0) for _ in range(orders))


class OverArrays:
    """The matcher over arrays, given all orders so far each time: what it told before must not change."""

    def __init__(self) -> None:
        self.orders: list[tuple[Order, int]] = []
        self.found = self._matched()

    def send(self, order: Order, time: int = OPENS) -> Told:
        before = self.found
        self.orders.append((order, time))
        self.found = self._matched()
        taker = len(self.orders) - 1
        assert self.found.fills[: len(before.fills)].tolist() == before.fills.tolist()
        new = self.found.fills[len(before.fills) :].tolist()
        assert all(each[0] == taker for each in new)
        left_wh = [*before.resting_wh.tolist(), order.quantity_wh]
        for _, maker, wh, _ in new:
            left_wh[maker] -= wh
            left_wh[taker] -= wh
        why = self.found.reason.tolist()
        gone = [n for n in range(taker + 1) if why[n] and not (n < taker and before.reason[n])]
        return Told(
            [(*self._who(maker), tick, wh) for _, maker, wh, tick in new],
            [(*self._who(n), left_wh[n], VoidReason(why[n])) for n in gone],
        )

    def best(self, side: Side) -> tuple[int, int] | None:
        resting = [
            (order.limit_ueur_per_kwh // TICK_UEUR_PER_KWH, int(wh))
            for (order, _), wh in zip(self.orders, self.found.resting_wh, strict=True)
            if order.side == side and wh
        ]
        if not resting:
            return None
        tick = max(resting)[0] if side == Side.BID else min(resting)[0]
        return tick, sum(wh for at, wh in resting if at == tick)

    def crowd(self, side: Side, tick: int, orders: int) -> None:
        _, time = self.orders[-1]
        resting = Order(trader(9), SLOT, 0, side, 0, tick * TICK_UEUR_PER_KWH, 1)
        self.orders += [(resting, time)] * orders
        self.found = self._matched()

    def _who(self, place: int) -> tuple[int, int]:
        order, _ = self.orders[place]
        return _index(order.trader), order.nonce

    def _matched(self) -> Matched:
        orders = [order for order, _ in self.orders]
        columns = (
            [_index(order.trader) for order in orders],
            [order.side for order in orders],
            [order.limit_ueur_per_kwh // TICK_UEUR_PER_KWH for order in orders],
            [order.quantity_wh for order in orders],
            [time for _, time in self.orders],
            [order.expiry for order in orders],
            [order.flags & Flag.IMMEDIATE_OR_CANCEL for order in orders],
        )
        return matched(Orders(*(np.array(column, dtype=np.int64) for column in columns)))


def _index(who: str) -> int:
    return int(who, 16) - int(trader(0), 16)


@pytest.fixture(params=[InBook, OverArrays], ids=["book", "arrays"])
def market(request: pytest.FixtureRequest) -> Market:
    made: Market = request.param()
    return made


def bid(index: int, nonce: int, tick: int, quantity: int = 100, **more: int) -> Order:
    return Order(
        trader(index), SLOT, nonce, Side.BID, 0, tick * TICK_UEUR_PER_KWH, quantity,
        Flag(more.get("flags", 0)), more.get("expiry", 0),
    )  # fmt: skip


def ask(index: int, nonce: int, tick: int, quantity: int = 100, **more: int) -> Order:
    one = bid(index, nonce, tick, quantity, **more)
    return Order(
        one.trader, SLOT, nonce, Side.ASK, 0, one.limit_ueur_per_kwh, quantity, one.flags, one.expiry
    )


def rest(market: Market, *orders: Order) -> None:
    """They come to rest and meet nobody."""
    assert all(market.send(order) == Told() for order in orders)


def crowd_of(makers: int) -> list[Order]:
    """Asks of 1 Wh at one tick, of several accounts, since each rests so many at most."""
    return [ask(1 + n // RESTING_MAX, n, 900, 1) for n in range(makers)]


def test_trades_at_the_makers_price_best_first_then_oldest(market: Market) -> None:
    rest(market, ask(2, 0, 1_000, 30), ask(3, 0, 999, 20), ask(2, 1, 999, 50))
    told = market.send(bid(0, 0, 1_010, 90))
    assert told == Told([(3, 0, 999, 20), (2, 1, 999, 50), (2, 0, 1_000, 20)])
    assert market.best(Side.ASK) == (1_000, 10) and market.best(Side.BID) is None
    told = market.send(bid(1, 0, 1_000, 25))
    assert told == Told([(2, 0, 1_000, 10)]) and market.best(Side.BID) == (1_000, 15), (
        "the rest comes to rest"
    )


def test_an_ask_meets_the_highest_bid_first_at_the_bids_price(market: Market) -> None:
    rest(market, bid(2, 0, 900, 30), bid(3, 0, 905, 20), bid(2, 1, 905, 50))
    told = market.send(ask(0, 0, 900, 75))
    assert told == Told([(3, 0, 905, 20), (2, 1, 905, 50), (2, 0, 900, 5)])
    assert market.best(Side.BID) == (900, 25) and market.best(Side.ASK) is None


def test_a_tick_apart_both_rest(market: Market) -> None:
    rest(market, bid(0, 0, 999), ask(1, 0, 1_000))
    assert (market.best(Side.BID), market.best(Side.ASK)) == ((999, 100), (1_000, 100))


def test_an_order_meeting_ones_own_voids_that_one(market: Market) -> None:
    rest(market, ask(0, 0, 900, 50), ask(2, 0, 950, 50))
    told = market.send(bid(0, 1, 1_010, 50))
    assert told == Told([(2, 0, 950, 50)], [(0, 0, 50, VoidReason.OWN_ORDER)])


def test_expired_orders_are_voided_when_they_are_met(market: Market) -> None:
    rest(market, ask(2, 0, 900, 50, expiry=OPENS + 5), ask(2, 1, 950, 50))
    assert market.best(Side.ASK) == (900, 50)
    told = market.send(bid(0, 0, 1_010, 50), time=OPENS + 5)
    assert told == Told([(2, 1, 950, 50)], [(2, 0, 50, VoidReason.EXPIRED)])


def test_a_second_before_its_expiry_an_order_trades(market: Market) -> None:
    rest(market, ask(2, 0, 900, 50, expiry=OPENS + 5))
    assert market.send(bid(0, 0, 1_010, 50), time=OPENS + 4) == Told([(2, 0, 900, 50)])


def test_an_expired_own_order_is_void_as_expired(market: Market) -> None:
    rest(market, ask(0, 0, 900, 50, expiry=OPENS + 5))
    told = market.send(bid(0, 1, 1_010, 50), time=OPENS + 5)
    assert told == Told([], [(0, 0, 50, VoidReason.EXPIRED)])


def test_immediate_or_cancel_never_rests(market: Market) -> None:
    rest(market, ask(2, 0, 900, 30))
    told = market.send(bid(0, 0, 1_010, 50, flags=Flag.IMMEDIATE_OR_CANCEL))
    assert told == Told([(2, 0, 900, 30)], [(0, 0, 20, VoidReason.IMMEDIATE_OR_CANCEL)])
    assert market.best(Side.BID) is None


@pytest.mark.parametrize("flags", [Flag.NONE, Flag.IMMEDIATE_OR_CANCEL])
def test_after_128_visits_the_rest_is_void(market: Market, flags: Flag) -> None:
    rest(market, *crowd_of(VISITS_MAX + 1))
    told = market.send(bid(0, 0, 1_000, VISITS_MAX + 1, flags=flags))
    assert len(told.fills) == VISITS_MAX and told.voids == [(0, 0, 1, VoidReason.VISITS)]
    assert market.best(Side.ASK) == (900, 1)
    # One visit fewer and the rest rests, if it may.
    rest(market, bid(0, 1, 899, 5))
    assert market.best(Side.BID) == (899, 5)


def test_the_128th_visit_may_finish_an_order(market: Market) -> None:
    rest(market, *crowd_of(VISITS_MAX))
    told = market.send(bid(0, 0, 1_000, VISITS_MAX))
    assert len(told.fills) == VISITS_MAX and not told.voids
    assert market.best(Side.ASK) is None


def test_voids_are_visits_too(market: Market) -> None:
    rest(market, ask(0, 0, 900, 1), *crowd_of(VISITS_MAX))
    told = market.send(bid(0, 1, 1_000, VISITS_MAX))
    assert len(told.fills) == VISITS_MAX - 1
    assert told.voids == [(0, 0, 1, VoidReason.OWN_ORDER), (0, 1, 1, VoidReason.VISITS)]


def test_what_would_be_entry_65_536_of_a_level_is_void(market: Market) -> None:
    rest(market, ask(2, 0, 900, 20))
    market.crowd(Side.ASK, 900, PLACES_MAX - 2)
    rest(market, ask(2, 1, 900, 20))
    # What is filled makes no room: entries are of the whole slot.
    assert market.send(bid(0, 0, 900, 20)) == Told([(2, 0, 900, 20)])
    assert market.send(ask(2, 2, 900, 20)) == Told([], [(2, 2, 20, VoidReason.LEVEL_FULL)])
    # What is immediate-or-cancel is void as that.
    told = market.send(ask(2, 3, 900, 30, flags=Flag.IMMEDIATE_OR_CANCEL))
    assert told == Told([], [(2, 3, 30, VoidReason.IMMEDIATE_OR_CANCEL)])
    rest(market, ask(2, 4, 901, 20))
