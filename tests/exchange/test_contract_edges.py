"""Packed fields at their edges: the largest quantities, worths, reserves, balances and times there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ledger.keys import Key, derive
from ledger.state import Position
from market.orders import Order, OrderPlaced, OrderRejected, OrderVoided, Reject, VoidReason
from market.units import TICK_MAX
from tests.exchange.conftest import EUR, FIT, NETWORK_FEE, RETAIL, TERMS, Market, _fresh, found

LARGEST = 2**32 - 1
"""The largest quantity and capacity, Wh."""
HALF = 2**31 - 1
HUB_EXPORT, HUB_IMPORT = FIT, RETAIL - NETWORK_FEE
FREE = (0,) * 12


@pytest.fixture(scope="module")
def base() -> Market:
    """A market that trades single watt-hours, with accounts of the largest capacity and no end of credit.

    The utility backs it with the largest deposit.
    """
    market = found(replace(TERMS, lot_wh=1))
    market.do(market.token.mint(market.relayer.address, 2**84, sender=market.relayer))
    market.do(market.exchange.deposit(market.utility.address, 2**80 - 1, sender=market.relayer))
    for i in range(4):
        market.register(
            whale(i), 4, import_capacity=LARGEST, export_capacity=LARGEST, credit=2**127, classes=3, deposit=0
        )
    return market


@pytest.fixture
def ocean(base: Market) -> Iterator[Market]:
    yield from _fresh(base)


def whale(number: int) -> Key:
    return derive(7, "whale", number)


def codes(market: Market, *orders: Order) -> list[int]:
    """Reject codes of orders of the utility and whales in one batch, 0 for what was placed."""
    keys = {key.address: key for key in (market.utility, *(whale(i) for i in range(4)))}
    events = market.place_all(*(market.signed(keys[order.trader], order) for order in orders))
    answers = [event for event in events if isinstance(event, OrderPlaced | OrderRejected)]
    return [answer.code if isinstance(answer, OrderRejected) else 0 for answer in answers]


# --- energy -------------------------------------------------------------------------------------


def test_the_utility_quotes_twice_31_bits_on_each_side(ocean):
    """Two orders of 2^31 − 1 Wh a side leave 1 Wh of 2^32 − 1, and all of it trades at once."""
    market, utility = ocean, ocean.utility
    market.open(FREE)
    bids = [market.bid(utility, HUB_EXPORT, quantity) for quantity in (HALF, HALF, 2, 1, 1)]
    assert codes(market, *bids) == [0, 0, Reject.OVER_CAPACITY, 0, Reject.OVER_CAPACITY]
    asks = [market.ask(utility, HUB_IMPORT, quantity) for quantity in (HALF, HALF, 2, 1, 1)]
    assert codes(market, *asks) == [0, 0, Reject.OVER_CAPACITY, 0, Reject.OVER_CAPACITY]
    assert market.position(utility) == Position(0, LARGEST, LARGEST, 3, 3, HUB_EXPORT * LARGEST, 0, False)
    sold = market.place(whale(0), market.ask(whale(0), HUB_EXPORT, LARGEST))
    assert [quantity for _, _, _, quantity in market.fills(sold)] == [HALF, HALF, 1]
    market.place(whale(1), market.bid(whale(1), HUB_IMPORT, LARGEST))
    assert market.position(whale(0)).net == -LARGEST and market.position(whale(1)).net == LARGEST
    market.close()
    trades = (HUB_EXPORT - HUB_IMPORT) * LARGEST
    assert market.position(utility) == Position(0, 0, 0, 3, 3, HUB_EXPORT * LARGEST, trades, False)


@pytest.mark.parametrize("first", ["sells", "buys"])
def test_a_position_turns_from_one_end_to_the_other(ocean, first):
    """From ∓(2^32 − 1) Wh, 2^33 − 2 rest on the other side: the most there can be, at the dearest tick."""
    market, key = ocean, whale(0)
    market.open(FREE)
    sell_first = first == "sells"
    one, other = (market.ask, market.bid) if sell_first else (market.bid, market.ask)
    sign = -1 if sell_first else 1
    top = TICK_MAX * 100
    # What it sells brings the lowest price and what it buys costs the highest, or the other way about.
    low, high = (-top, top) if sell_first else (top, -top)
    market.place(whale(1), other(whale(1), low, LARGEST))
    market.place(key, one(key, low, LARGEST))
    assert market.position(key).net == sign * LARGEST
    assert codes(market, one(key, low, 1)) == [Reject.OVER_CAPACITY]
    orders = [other(key, high, LARGEST) for _ in range(2)]
    assert codes(market, *orders, other(key, high, 1)) == [0, 0, Reject.OVER_CAPACITY]
    found_at_rest = market.position(key)
    assert max(found_at_rest.resting_bids, found_at_rest.resting_asks) == 2 * LARGEST
    for i in (2, 3):
        market.place(whale(i), one(whale(i), high, LARGEST))
    market.close()
    after = market.position(key)
    assert after.net == -sign * LARGEST and (after.resting_bids, after.resting_asks) == (0, 0)
    assert after.trades == (sign * low - 2 * sign * high) * LARGEST
    assert sum(market.position(whale(i)).net for i in range(4)) == 0
    assert sum(market.position(whale(i)).trades for i in range(4)) == 0


def test_who_buys_dear_and_sells_cheap_in_circles_stops_at_2_to_the_50(ocean):
    """Net energy stays within capacity, but worth adds up: beyond 2^50 ticks·Wh no order is taken."""
    market, key, turns, code = ocean, whale(0), 0, 0
    market.open(FREE)
    while code == 0:
        maker = derive(7, "maker", turns)
        market.register(maker, 4, import_capacity=LARGEST, export_capacity=LARGEST, credit=2**127, deposit=0)
        made, taken, limit = (market.bid, market.ask, -TICK_MAX * 100)
        if turns % 2 == 0:
            made, taken, limit = (market.ask, market.bid, TICK_MAX * 100)
        market.place(maker, made(maker, limit, LARGEST))
        (code,) = codes(market, taken(key, limit, LARGEST))
        turns += code == 0
    assert code == Reject.OVER_CAPACITY
    worth = TICK_MAX * LARGEST
    assert (turns - 1) * worth <= 2**50 < turns * worth
    assert market.position(key).trades == turns * worth * 100


# --- money --------------------------------------------------------------------------------------


def test_the_largest_reserve_of_a_slot(ocean):
    """(2^32 − 1)² n€ of an ask and 2·(2^32 − 1) of a bid are 2^64 − 1 n€, all that there is room for."""
    market, key = ocean, whale(0)
    fit = -2
    market.do(market.exchange.schedule_slots(market.slot, 1, 2**31 - 1, -(2**31), fit, sender=market.utility))
    market.post_charges(FREE)
    market.at(market.terms.opens(market.slot))
    market.place(key, market.ask(key, 0, LARGEST))
    assert market.reserved(key) == LARGEST**2
    market.place(key, market.bid(key, 0, LARGEST, energy_class=1))
    assert market.reserved(key) == market.position(key).reserve == 2**64 - 1
    assert codes(market, market.ask(key, 0, 1, energy_class=2)) == [Reject.OVER_CAPACITY]
    for nonce in (0, 1):
        berth = market.exchange.order_of(market.slot, key.address, nonce).berth
        market.do(market.cancel(key, nonce, berth=berth))
    assert market.reserved(key) == 0


def test_a_reserve_beyond_64_bits_is_refused_whatever_the_credit(ocean):
    market, key = ocean, whale(0)
    market.do(market.exchange.schedule_slots(market.slot, 1, 2**31 - 1, -(2**31), -3, sender=market.utility))
    market.post_charges(FREE)
    market.at(market.terms.opens(market.slot))
    market.place(key, market.ask(key, 0, LARGEST))
    fitting = (2**64 - 1 - LARGEST**2) // 3
    bids = [market.bid(key, 0, quantity, energy_class=1) for quantity in (fitting + 1, fitting)]
    assert codes(market, *bids) == [Reject.INSUFFICIENT_FUNDS, 0]
    assert market.reserved(key) == LARGEST**2 + 3 * fitting


def test_the_largest_balance(market):
    x, buyer, relayer = market.exchange, market.buyer, market.relayer
    market.do(market.token.mint(relayer.address, 2**84, sender=relayer))
    market.refused("accounts: amount too large", x.deposit(buyer.address, 2**80, sender=relayer))
    market.do(x.withdraw(100 * EUR, sender=buyer))
    for _ in range(8):
        market.do(x.deposit(buyer.address, 2**80 - 1, sender=relayer))
    market.refused("accounts: balance out of range", x.deposit(buyer.address, 8, sender=relayer))
    market.do(x.deposit(buyer.address, 7, sender=relayer))
    assert market.balance(buyer) == 2**83 - 1 and market.reserved(buyer) == 0
    account = x.account_of(buyer.address)
    assert (account.id, account.bus, account.import_capacity, account.export_capacity) == (
        1,
        1,
        100_000,
        100_000,
    )
    market.refused("accounts: amount too large", x.withdraw(2**80, sender=buyer))
    market.do(x.withdraw(2**80 - 1, sender=buyer))


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before_gate", [1, 2, 6_298])
def test_an_order_expires_at_any_second_of_trading(trading, before_gate):
    """From the second after the opening to the last before the gate, 6 299 of them; to the second."""
    market, expiry = trading, trading.terms.gate(trading.slot) - before_gate
    market.place(market.buyer, market.bid(market.buyer, 101_000, 10, expiry=expiry))
    market.place(market.other, market.bid(market.other, 102_050, 10, expiry=2**32 - 1))
    last = market.chain.snapshot()
    if before_gate < 6_298:
        market.at(expiry - 1)
        events = market.place(market.seller, market.ask(market.seller, 97_000, 10))
        assert market.fills(events) == [(market.buyer.address, 0, 1_000, 10)]
        market.chain.revert(last)
    market.at(expiry)
    events = market.place(market.seller, market.ask(market.seller, 97_000, 10, nonce=1))
    assert events[0] == OrderVoided(market.slot, market.buyer.address, 0, 10, VoidReason.EXPIRED)
    assert market.fills(events) == [(market.other.address, 0, 1_000, 10)]


def test_the_longest_trading_keeps_the_longest_expiry():
    """A slot that is open for 2^21 − 1 seconds, and an order that expires in the second of them."""
    market = found(replace(TERMS, open_lead=900 + 2**21 - 1))
    market.slot += 3_000
    market.open()
    expiry = market.terms.gate(market.slot) - (2**21 - 1) + 3
    market.place(market.buyer, market.bid(market.buyer, 101_000, 10, expiry=expiry))
    market.at(expiry)
    events = market.place(market.seller, market.ask(market.seller, 97_000, 10))
    assert events[0] == OrderVoided(market.slot, market.buyer.address, 0, 10, VoidReason.EXPIRED)
