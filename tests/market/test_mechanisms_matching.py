"""The matcher over arrays is the book's matching, order by order; the call auction is the uniform one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.book import RESTING_MAX, VISITS_MAX
from market.mechanisms.double_auction import Offer, Rule, auction
from market.mechanisms.matching import Called, Matched, Orders, OrdersError, called, matched
from market.orders import UINT32, Flag, Order, OrderPlaced, OrderVoided, Side, VoidReason
from market.units import TICK_MAX, TICK_UEUR_PER_KWH, hub_price
from tests.market.twin_cases import OPENS, SLOT, TARIFF, fills_of, open_book, place, terms, trader

TRADERS = 8
EXPIRES = OPENS + 12

columns = st.lists(
    st.tuples(
        st.integers(0, TRADERS - 1),
        st.sampled_from([0, 1]),
        st.integers(995, 1_005),
        st.integers(1, 60),
        st.sampled_from([0, 0, 0, EXPIRES]),
        st.sampled_from([0, 0, 0, 1]),
    ),
    min_size=1,
    max_size=60,
)
"""Trader, side, tick, Wh, expiry, immediate."""


def arrays(rows: list[tuple[int, int, int, int, int, int]]) -> Orders:
    trader_, side, tick, quantity, expiry, immediate = (
        np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)
    )
    return Orders(trader_, side, tick, quantity, OPENS + np.arange(len(rows)), expiry, immediate)


def by_the_book(rows: list[tuple[int, int, int, int, int, int]]) -> tuple[Orders, Matched]:
    """What the book makes of the orders that it admits, in the matcher's words."""
    book = open_book(terms(), TARIFF, traders=TRADERS)
    admitted, events, place_of = [], [], {}
    for second, row in enumerate(rows):
        who, side, tick, quantity, expiry, immediate = row
        flags = Flag.IMMEDIATE_OR_CANCEL if immediate else Flag.NONE
        order = Order(
            trader(who), SLOT, second, Side(side), 0, tick * TICK_UEUR_PER_KWH, quantity, flags, expiry
        )
        answer = book.apply(place(order, OPENS + second))
        if isinstance(answer[0], OrderPlaced):
            place_of[order.trader, order.nonce] = len(admitted)
            admitted.append((row, second))
            events += answer
    seconds = np.array([OPENS + second for _, second in admitted])
    orders = replace(arrays([row for row, _ in admitted]), time=seconds)
    fills = []
    for fill in fills_of(book, events):
        taker, maker = (fill.taker, fill.taker_nonce), (fill.maker, fill.maker_nonce)
        fills.append((place_of[taker], place_of[maker], fill.quantity, fill.tick))
    reason = np.zeros(orders.count, dtype=np.int64)
    for event in events:
        if isinstance(event, OrderVoided):
            reason[place_of[event.trader, event.nonce]] = event.reason
    resting = [(book.resting(book.accounts.get(who), nonce) or (None, 0))[1] for who, nonce in place_of]
    return orders, Matched(np.array(fills, dtype=np.int64).reshape(-1, 4), np.array(resting), reason)


@given(columns)
def test_it_answers_as_the_book_does(rows: list[tuple[int, int, int, int, int, int]]) -> None:
    orders, expected = by_the_book(rows)
    found = matched(orders)
    assert found.fills.tolist() == expected.fills.tolist()
    assert found.resting_wh.tolist() == expected.resting_wh.tolist()
    assert found.reason.tolist() == expected.reason.tolist()


def test_such_orders_have_what_the_rules_are_about() -> None:
    rng = np.random.default_rng(1)
    reasons: set[int] = set()
    for _ in range(20):
        rows = [
            (int(rng.integers(TRADERS)), int(rng.integers(2)), int(rng.integers(995, 1_006)),
             int(rng.integers(1, 60)), int(rng.choice([0, 0, 0, EXPIRES])), int(rng.random() < 0.25))
            for _ in range(60)
        ]  # fmt: skip
        orders, expected = by_the_book(rows)
        found = matched(orders)
        assert found.fills.tolist() == expected.fills.tolist() and len(found.fills) > 10
        reasons |= set(found.reason.tolist())
    assert reasons == {0, VoidReason.EXPIRED, VoidReason.OWN_ORDER, VoidReason.IMMEDIATE_OR_CANCEL}


def test_visits_are_bounded_as_in_the_book() -> None:
    """More makers than an order may meet, of several accounts, since each rests 16 orders at most."""
    makers = [(1 + n // RESTING_MAX, 1, 1_000, 1, 0, 0) for n in range(VISITS_MAX - RESTING_MAX)]
    gone = [(0, 1, 999, 1, 0, 0) for _ in range(RESTING_MAX)]
    rows = [*makers, *gone, (0, 0, 1_001, 10_000, 0, 0)]
    orders, expected = by_the_book(rows)
    found = matched(orders)
    assert found.reason[-1] == VoidReason.VISITS == expected.reason[-1]
    assert found.fills.tolist() == expected.fills.tolist()
    assert sum(reason == VoidReason.OWN_ORDER for reason in found.reason) == RESTING_MAX


@given(columns)
def test_a_call_trades_the_most_at_the_uniform_price(rows: list[tuple[int, int, int, int, int, int]]) -> None:
    orders = arrays(rows)
    found = called(orders)
    bids, asks = (
        [Offer(hub_price(tick), wh) for _, s, tick, wh, _, _ in rows if s == side] for side in (0, 1)
    )
    award = auction(Rule.UNIFORM, bids, asks)
    assert found.volume_wh == award.volume
    assert found.price_ueur_per_kwh == (award.paid if award.volume else None)
    assert_possible(orders, found)


def assert_possible(orders: Orders, found: Called) -> None:
    """Nobody trades more than offered or at a price worse than named; better and earlier offers first."""
    assert ((found.traded_wh >= 0) & (found.traded_wh <= orders.quantity_wh)).all()
    for side, sign in ((Side.BID, 1), (Side.ASK, -1)):
        mine = orders.side == side
        assert found.traded_wh[mine].sum() == found.volume_wh
        if found.price_ueur_per_kwh is not None:
            prices = orders.tick[mine & (found.traded_wh > 0)] * TICK_UEUR_PER_KWH
            assert (sign * (prices - found.price_ueur_per_kwh) >= 0).all()
        order = np.lexsort((np.flatnonzero(mine), -sign * orders.tick[mine]))
        left = (orders.quantity_wh - found.traded_wh)[mine][order]
        traded = found.traded_wh[mine][order]
        assert not (np.maximum.accumulate(left)[:-1] * traded[1:]).any(), "who comes first is filled first"


def test_reruns_are_the_same() -> None:
    rng = np.random.default_rng(3)
    orders = Orders.plain(rng.integers(50, size=2_000), rng.integers(2, size=2_000),
                          rng.integers(900, 1_100, size=2_000), rng.integers(1, 100, size=2_000))  # fmt: skip
    assert matched(orders).fills.tobytes() == matched(orders).fills.tobytes()
    assert (called(orders).traded_wh == called(orders).traded_wh).all()


def test_a_trader_that_meets_itself_in_a_call_moves_nothing() -> None:
    """It buys from itself what it sells, at one price."""
    both = np.array([0, 1])
    alone = called(Orders.plain(np.zeros(2, dtype=np.int64), both, np.array([1_000, 990]), np.array([5, 5])))
    assert (alone.traded_wh.tolist(), alone.price_ueur_per_kwh) == ([5, 5], 99_500)


GOOD = {
    "trader": [1, 2], "side": [0, 1], "tick": [1_000, -1_000], "quantity_wh": [1, UINT32],
    "time": [7, 7], "expiry": [0, 9], "immediate": [1, 0],
}  # fmt: skip


def test_orders_that_just_can_be() -> None:
    columns = {name: np.array(values) for name, values in GOOD.items()}
    assert Orders(**columns).count == 2
    assert Orders(**columns | {"tick": np.array([TICK_MAX, -TICK_MAX])}).count == 2


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("side", [0], r"side: \(1,\), not one number for each of 2"),
        ("tick", [[1_000], [900]], "tick: .* not one number for each of 2"),
        ("quantity_wh", [5.7, 5.2], "quantity_wh: numbers are float64, not whole"),
        ("immediate", [True, False], "immediate: numbers are bool, not whole"),
        ("side", [0, 2], "order 1: side 2, not from 0 to 1"),
        ("side", [-1, 0], "order 0: side -1, not from 0 to 1"),
        ("tick", [0, TICK_MAX + 1], "order 1: tick 32768, not from -32767 to 32767"),
        ("quantity_wh", [5, 0], "order 1: quantity_wh 0, not from 1 to 4294967295"),
        ("quantity_wh", [2**32, 1], "order 0: quantity_wh 4294967296, not from 1"),
        ("time", [7, 6], "order 1: time 6, before that of the order before it"),
        ("time", [-1, 6], "order 0: time -1, not from 0"),
        ("expiry", [0, -9], "order 1: expiry -9, not from 0"),
        ("immediate", [0, 2], "order 1: immediate 2, not from 0 to 1"),
    ],
)
def test_orders_that_cannot_be(column: str, values: list[float], says: str) -> None:
    columns = {name: np.array(given) for name, given in GOOD.items()} | {column: np.array(values)}
    with pytest.raises(OrdersError, match=says):
        Orders(**columns)


KINDS = st.sampled_from(["int16", "uint16", "int32", "uint32", "int64", "uint64"])


@given(columns, KINDS, KINDS, KINDS)
def test_kinds_of_whole_numbers_match_alike(
    rows: list[tuple[int, int, int, int, int, int]], side: str, tick: str, wh: str
) -> None:
    plain = arrays(rows)
    other = replace(
        plain,
        side=plain.side.astype(side),
        tick=plain.tick.astype(tick),
        quantity_wh=plain.quantity_wh.astype(wh),
        time=plain.time.astype("uint32"),
        immediate=plain.immediate.astype("uint8"),
    )
    assert matched(other).fills.tolist() == matched(plain).fills.tolist()
    one, same = called(plain), called(other)
    assert one.traded_wh.tolist() == same.traded_wh.tolist()
    assert one.price_ueur_per_kwh == same.price_ueur_per_kwh


def test_unsigned_numbers_do_not_wrap() -> None:
    side, tick = np.array([0, 0, 0, 1], dtype=np.uint8), np.array([0, 999, 998, 990], dtype=np.uint16)
    wh = np.array([5, 6, 7, 5], dtype=np.uint32)
    assert called(Orders.plain(np.arange(4), side, tick, wh)).traded_wh.tolist() == [0, 5, 0, 5]
    falling = {name: np.array(values) for name, values in GOOD.items()} | {
        "time": np.array([5, 3], np.uint32)
    }
    with pytest.raises(OrdersError, match="order 1: time 3, before that"):
        Orders(**falling)
    far = {name: np.array(values) for name, values in GOOD.items()} | {
        "trader": np.array([0, 2**63], np.uint64)
    }
    with pytest.raises(OrdersError, match="order 1: trader 9223372036854775808, not from"):
        Orders(**far)
