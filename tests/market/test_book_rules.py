"""Each rule of the book by itself: what is taken next to what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.accounts import Refused
from market.book import RESTING_MAX, VISITS_MAX, Book, VetoRefused
from market.orders import (
    NOBODY,
    Cancel,
    CloseGate,
    Flag,
    GateClosed,
    NonceCancelled,
    Order,
    OrderFilled,
    OrderPlaced,
    OrderRejected,
    OrderVoided,
    Place,
    Reject,
    Side,
    Veto,
    VoidReason,
)
from market.slots import Rule, Tariff
from market.units import TICK_MAX
from tests.market.twin_cases import (
    OPENS,
    PENALTIES,
    RELAYER,
    RICH_NEUR,
    SLOT,
    UTILITY,
    open_book,
    place,
    terms,
    trader,
)

TARIFF = Tariff(retail=300_000, network_fee=100_000, fit=80_000)
CHARGES = (0, 1_000, -2_050, 0, 0)
GATE = terms().gate(SLOT)
GOOD = Order(trader(0), SLOT, 0, Side.BID, 0, 101_000, 100)


@pytest.fixture
def book() -> Book:
    return open_book(terms(lot_wh=10), TARIFF, CHARGES)


def bid(index: int, nonce: int, limit: int, quantity: int = 100, **more) -> Order:
    return Order(trader(index), SLOT, nonce, Side.BID, more.pop("energy_class", 0), limit, quantity, **more)


def ask(index: int, nonce: int, limit: int, quantity: int = 100, **more) -> Order:
    return replace(bid(index, nonce, limit, quantity, **more), side=Side.ASK)


def send(book: Book, *orders: Order, time: int = OPENS):
    return [event for order in orders for event in book.apply(place(order, time))]


def account(book: Book, index: int):
    return book.accounts.get(trader(index))


# --- rules of an order --------------------------------------------------------------------------

BROKEN = {
    Reject.UNKNOWN_TRADER: place(replace(GOOD, trader=trader(99)), OPENS),
    Reject.BAD_SIGNATURE: Place(GOOD, OPENS, RELAYER, trader(1)),
    Reject.WRONG_RELAYER: place(replace(GOOD, relayer=trader(3)), OPENS),
    Reject.SLOT_NOT_OPEN: place(GOOD, OPENS - 1),
    Reject.EXPIRED: place(replace(GOOD, expiry=OPENS), OPENS),
    Reject.NONCE_USED: place(replace(GOOD, nonce=7), OPENS),
    Reject.MALFORMED: place(replace(GOOD, flags=2), OPENS),
    Reject.UNKNOWN_CLASS: place(replace(GOOD, energy_class=len(PENALTIES) + 1), OPENS),
    Reject.NOT_REGISTERED_SELLER: place(replace(GOOD, side=Side.ASK, energy_class=2), OPENS),
    Reject.NOT_WHOLE_LOTS: place(replace(GOOD, quantity_wh=105), OPENS),
    Reject.PRICE_OFF_RANGE: place(replace(GOOD, limit_ueur_per_kwh=-TICK_MAX * 100 + 999), OPENS),
    Reject.TOO_MANY_RESTING: place(replace(GOOD, trader=trader(1)), OPENS),
    Reject.OVER_CAPACITY: place(replace(GOOD, quantity_wh=10**6 + 10), OPENS),
    Reject.INSUFFICIENT_FUNDS: place(replace(GOOD, trader=trader(2)), OPENS),
}
"""An order that breaks a rule and none before it, in the book of `crowded`."""


@pytest.fixture
def crowded(book: Book) -> Book:
    """Trader 0 used nonce 7 and sells class 1 alone, 1 has all the bids it may have, 2 has spent all."""
    account(book, 0).classes = 0b01
    send(book, bid(0, 7, 60_000))
    send(book, *(bid(1, 100 + nonce, 60_000, 10) for nonce in range(RESTING_MAX)))
    account(book, 2).balance_neur = 0
    return book


def test_every_rule_has_a_case():
    assert BROKEN.keys() == set(Reject)


@pytest.mark.parametrize("reject", Reject)
def test_a_bad_order_is_rejected_and_changes_nothing(crowded, reject):
    command = BROKEN[reject]
    order = command.order
    assert crowded.apply(command) == (OrderRejected(SLOT, order.trader, order.nonce, reject),)
    assert reject.rule == "order: " + reject.name.lower().replace("_", " ")
    if reject is not Reject.NONCE_USED and reject is not Reject.UNKNOWN_TRADER:
        assert not crowded.nonce_used(crowded.accounts.get(order.trader), order.nonce)


@pytest.mark.parametrize(
    "command",
    [
        place(GOOD, OPENS),
        place(GOOD, GATE - 1),
        place(replace(GOOD, expiry=OPENS + 1), OPENS),
        place(replace(GOOD, relayer=RELAYER), OPENS),
        place(replace(GOOD, side=Side.ASK, energy_class=1), OPENS),
        place(replace(GOOD, energy_class=2), OPENS),
        place(replace(GOOD, quantity_wh=10**6 - 100), OPENS),
        place(replace(GOOD, limit_ueur_per_kwh=-TICK_MAX * 100 + 1_000), OPENS),
        place(replace(GOOD, trader=trader(1), flags=Flag.IMMEDIATE_OR_CANCEL), OPENS),
        place(replace(GOOD, trader=trader(1), side=Side.ASK, limit_ueur_per_kwh=70_000), OPENS),
    ],
)
def test_what_just_keeps_the_rules_is_taken(crowded, command):
    assert isinstance(crowded.apply(command)[0], OrderPlaced)


def test_the_gate_is_when_orders_end(book):
    assert book.apply(place(GOOD, GATE))[0] == OrderRejected(SLOT, trader(0), 0, Reject.SLOT_NOT_OPEN)


@pytest.mark.parametrize("missing", ["tariff", "charges"])
def test_no_orders_before_tariff_and_charges(book, missing):
    setattr(book, missing, None)
    assert book.apply(place(GOOD, OPENS))[0] == OrderRejected(SLOT, trader(0), 0, Reject.SLOT_NOT_OPEN)


def test_the_first_rule_broken_decides(crowded):
    worst = replace(
        GOOD, relayer=trader(3), expiry=1, nonce=7, flags=2, energy_class=9, quantity_wh=5, slot=SLOT
    )
    repairs = [
        (Reject.WRONG_RELAYER, {"relayer": NOBODY}),
        (Reject.EXPIRED, {"expiry": 0}),
        (Reject.NONCE_USED, {"nonce": 8}),
        (Reject.MALFORMED, {"flags": 0}),
        (Reject.UNKNOWN_CLASS, {"energy_class": 0}),
        (Reject.NOT_WHOLE_LOTS, {"quantity_wh": 10}),
    ]
    for reject, repair in repairs:
        assert crowded.reject(place(worst, OPENS)) is reject
        worst = replace(worst, **repair)
    assert crowded.reject(place(worst, OPENS)) is None


def test_capacity_counts_fills_and_what_rests_on_that_side(book):
    account(book, 0).import_capacity_wh = 300
    send(book, ask(1, 0, 50_000, 100), bid(0, 0, 101_000, 100), bid(0, 1, 60_000, 100))
    assert book.reject(place(bid(0, 2, 60_000, 110), OPENS)) is Reject.OVER_CAPACITY
    assert book.reject(place(bid(0, 2, 60_000, 100), OPENS)) is None
    # Having bought makes room to sell.
    account(book, 0).export_capacity_wh = 50
    assert book.reject(place(ask(0, 3, 90_000, 150), OPENS)) is None
    assert book.reject(place(ask(0, 3, 90_000, 160), OPENS)) is Reject.OVER_CAPACITY


def test_credit_and_reserves_decide_what_can_be_placed(book):
    rich = account(book, 0)
    # At hub price 100 000 and charge 1 000 a Wh reserves max(101 000, 100 000 − 80 000).
    rich.balance_neur, rich.credit_limit_neur = 5_000_000, 5_100_000
    assert book.reject(place(bid(0, 0, 101_000, 100), OPENS)) is None
    rich.credit_limit_neur -= 1
    assert book.reject(place(bid(0, 0, 101_000, 100), OPENS)) is Reject.INSUFFICIENT_FUNDS
    rich.credit_limit_neur += 1
    send(book, bid(0, 0, 101_000, 100))
    assert (rich.reserved_neur, rich.spendable_neur) == (10_100_000, 0)
    assert book.reject(place(bid(0, 1, 61_000, 10), OPENS)) is Reject.INSUFFICIENT_FUNDS


def test_the_utility_has_neither_capacity_nor_reserve_but_the_resting_limit(book):
    orders = [Order(UTILITY, SLOT, n, Side.ASK, 0, 200_000, 2**31 - 8) for n in range(RESTING_MAX)]
    assert all(isinstance(event, OrderPlaced) for event in send(book, *orders))
    assert book.accounts.utility.reserved_neur == 0
    one_more = place(replace(orders[0], nonce=99), OPENS)
    assert book.reject(one_more) is Reject.TOO_MANY_RESTING
    assert book.reject(place(replace(orders[0], nonce=99, energy_class=1), OPENS)) is (
        Reject.NOT_REGISTERED_SELLER
    )


# --- matching -----------------------------------------------------------------------------------


def test_trades_at_the_makers_price_best_first_then_oldest(book):
    # Charges: trader 0 is at bus 1 (+1 000), 1 at bus 2 (−2 050), 2 and 3 at buses 3 and 4 (0).
    send(book, ask(2, 0, 100_000, 30), ask(3, 0, 99_900, 20), ask(2, 1, 99_900, 50))
    placed, *fills = send(book, bid(0, 0, 101_000, 90))
    assert (placed.tick, placed.limit_price) == (1_000, 101_000)
    assert [(f.maker, f.maker_nonce, f.tick, f.quantity) for f in fills] == [
        (trader(3), 0, 999, 20),
        (trader(2), 1, 999, 50),
        (trader(2), 0, 1_000, 20),
    ]
    assert book.best(0, Side.ASK) == (1_000, 10) and book.best(0, Side.BID) is None
    buyer = book.position(account(book, 0))
    assert (buyer.net_wh, buyer.trades_neur) == (90, 70 * 99_900 + 20 * 100_000)
    # Price improvement is not reserved: delivered, each Wh costs its hub price + 1 000.
    assert buyer.reserve_neur == 70 * 100_900 + 20 * 101_000


def test_limits_are_all_in_at_the_traders_bus(book):
    bought, sold, fill = send(book, bid(0, 0, 101_099), ask(1, 0, 97_901))
    assert bought.tick == 1_000  # floor((101 099 − 1 000)/100)
    assert sold.tick == 1_000  # ceil((97 901 + 2 050)/100)
    assert isinstance(fill, OrderFilled)
    assert len(send(book, bid(0, 1, 101_099), ask(1, 1, 97_951))) == 2  # a tick apart: both rest


def test_an_order_meeting_ones_own_cancels_that_one(book):
    send(book, ask(0, 0, 90_000, 50), ask(2, 0, 95_000, 50))
    _, void, fill = send(book, bid(0, 1, 101_000, 50))
    assert void == OrderVoided(SLOT, trader(0), 0, 50, VoidReason.OWN_ORDER)
    assert (fill.maker, fill.quantity) == (trader(2), 50)
    assert book.position(account(book, 0)).resting_count[Side.ASK] == 0


def test_expired_orders_are_voided_when_they_are_met(book):
    send(book, ask(2, 0, 90_000, 50, expiry=OPENS + 5), ask(2, 1, 95_000, 50))
    assert book.best(0, Side.ASK) == (900, 50)
    _, void, fill = send(book, bid(0, 0, 101_000, 50), time=OPENS + 5)
    assert void == OrderVoided(SLOT, trader(2), 0, 50, VoidReason.EXPIRED)
    assert fill.maker_nonce == 1


def test_an_expired_own_order_is_void_as_expired(book):
    send(book, ask(0, 0, 90_000, 50, expiry=OPENS + 5))
    _, void = send(book, bid(0, 1, 101_000, 50), time=OPENS + 5)
    assert void.reason == VoidReason.EXPIRED


def test_immediate_or_cancel_never_rests(book):
    send(book, ask(2, 0, 90_000, 30))
    _, fill, void = send(book, bid(0, 0, 101_000, 50, flags=Flag.IMMEDIATE_OR_CANCEL))
    assert (fill.quantity, void) == (
        30,
        OrderVoided(SLOT, trader(0), 0, 20, VoidReason.IMMEDIATE_OR_CANCEL),
    )
    assert book.position(account(book, 0)).reserve_neur == 30 * 91_000


@pytest.mark.parametrize("flags", [Flag.NONE, Flag.IMMEDIATE_OR_CANCEL])
def test_after_128_visits_the_rest_is_void(flags):
    book = open_book(terms(), TARIFF, traders=10)
    makers = [ask(1 + n // RESTING_MAX, n, 90_000, 1) for n in range(VISITS_MAX + 1)]
    send(book, *makers)
    last = send(book, bid(0, 0, 100_000, VISITS_MAX + 1, flags=flags))[-1]
    assert last == OrderVoided(SLOT, trader(0), 0, 1, VoidReason.VISITS)
    assert book.best(0, Side.ASK) == (900, 1)
    # One visit fewer and the rest rests, if it may.
    send(book, *(replace(order, nonce=200) for order in makers[:1]))
    after = send(book, bid(0, 1, 89_900, 5))
    assert len(after) == 1 and book.best(0, Side.BID) == (899, 5)


def test_the_128th_visit_may_finish_an_order():
    book = open_book(terms(), TARIFF, traders=10)
    send(book, *(ask(1 + n // RESTING_MAX, n, 90_000, 1) for n in range(VISITS_MAX)))
    events = send(book, bid(0, 0, 100_000, VISITS_MAX))
    assert all(isinstance(event, OrderFilled) for event in events[1:]) and len(events) == VISITS_MAX + 1
    assert book.best(0, Side.ASK) is None


def test_classes_are_books_of_their_own(book):
    send(book, ask(2, 0, 90_000, 50, energy_class=1))
    assert len(send(book, bid(0, 0, 101_000, 50))) == 1
    _, fill = send(book, bid(0, 1, 101_000, 50, energy_class=1))
    assert fill.energy_class == 1
    assert book.position(account(book, 2)).sold_wh(1) == 50
    assert book.position(account(book, 0)).sold_wh(1) == 0
    assert book.position(account(book, 0)).class_net_wh == {1: 50}


# --- cancel -------------------------------------------------------------------------------------


def cancel(index: int, nonce: int, time: int = OPENS) -> Cancel:
    return Cancel(trader(index), nonce, time, trader(index))


def test_a_cancel_voids_the_rest_and_releases_its_reserve(book):
    send(book, bid(0, 0, 101_000, 100), ask(2, 0, 100_000, 40))
    assert book.apply(cancel(0, 0)) == (
        NonceCancelled(SLOT, trader(0), 0),
        OrderVoided(SLOT, trader(0), 0, 60, VoidReason.CANCELLED),
    )
    position = book.position(account(book, 0))
    assert (position.resting_wh[Side.BID], position.reserve_neur) == (0, 40 * 101_000)


def test_a_cancel_kills_a_nonce_not_seen_yet(book):
    assert book.apply(cancel(0, 3)) == (NonceCancelled(SLOT, trader(0), 3),)
    assert book.reject(place(bid(0, 3, 100_000), OPENS)) is Reject.NONCE_USED
    with pytest.raises(Refused, match="book: nothing to cancel"):
        book.apply(cancel(0, 3))


def test_cancels_that_are_refused(book):
    send(book, bid(0, 0, 100_000))
    refused = {
        "accounts: unknown account": Cancel(trader(99), 0, OPENS, trader(99)),
        "book: bad signature": Cancel(trader(0), 0, OPENS, trader(1)),
        "book: gate passed": cancel(0, 0, GATE),
    }
    for rule, command in refused.items():
        with pytest.raises(Refused) as caught:
            book.apply(command)
        assert caught.value.rule == rule
    assert book.resting(account(book, 0), 0) is not None


# --- gate closure -------------------------------------------------------------------------------


def test_gate_closure_voids_in_the_order_of_placing_a_page_at_a_time(book):
    send(book, bid(0, 0, 60_000), ask(2, 0, 150_000), bid(1, 0, 70_000), bid(0, 1, 65_000))
    book.apply(cancel(0, 1))
    with pytest.raises(Refused, match="book: before the gate"):
        book.apply(CloseGate(GATE - 1, 10))
    first = book.apply(CloseGate(GATE, 2))
    assert [(event.trader, event.reason) for event in first] == [
        (trader(0), VoidReason.GATE_CLOSED),
        (trader(2), VoidReason.GATE_CLOSED),
    ]
    assert book.best(0, Side.BID) is None and not book.gate_closed
    # The cancelled order is an entry too.
    assert [type(event) for event in book.apply(CloseGate(GATE, 1))] == [OrderVoided]
    assert book.apply(CloseGate(GATE, 0)) == ()
    assert book.apply(CloseGate(GATE, 1)) == (GateClosed(SLOT, 6),)
    with pytest.raises(Refused, match="book: gate is closed"):
        book.apply(CloseGate(GATE, 1))
    assert all(account(book, index).reserved_neur == 0 for index in range(5))


def test_an_empty_book_closes_at_once(book):
    assert book.apply(CloseGate(GATE, 0)) == (GateClosed(SLOT, 6),)


def test_there_is_no_veto_yet(book):
    send(book, bid(0, 0, 100_000))
    with pytest.raises(VetoRefused, match="book: no veto"):
        book.apply(Veto(trader(0), 0, 10, 1))


def test_a_tariff_market_reserves_by_its_own_rule():
    book = open_book(terms(Rule.TARIFF), TARIFF, CHARGES)
    send(book, bid(0, 0, 101_000, 10), ask(1, 0, 108_000, 10))
    # Bid at π = 100 000, ν = 1 000: undelivered it pays π + ν and gets λ⁻ = 80 000.
    assert book.position(account(book, 0)).reserve_neur == 10 * 101_000
    # Ask at π = 110 100, ν = −2 050: undelivered it pays 2 050 and λ⁺ = 300 000, and gets π.
    assert book.position(account(book, 1)).reserve_neur == 10 * (-110_100 + 2_050 + 300_000)
    assert account(book, 0).balance_neur == RICH_NEUR
