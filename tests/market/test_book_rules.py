"""Each rule of the book by itself, matching apart: what is taken next to what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.accounts import Refused
from market.book import MAKERS_PER_EVENT, RESTING_MAX, VISITS_MAX, Book
from market.levels import GAPS_MAX
from market.orders import (
    NOBODY,
    Berth,
    Cancel,
    CloseGate,
    ClosingPaused,
    Flag,
    GateClosed,
    NonceCancelled,
    Order,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Place,
    Reject,
    Side,
    VoidReason,
)
from market.slots import Rule
from market.units import TICK_MAX
from tests.market.twin_cases import (
    CHARGES,
    OPENS,
    PENALTIES,
    RELAYER,
    RICH_NEUR,
    SLOT,
    TARIFF,
    UTILITY,
    berth_of,
    close_book,
    fills_of,
    open_book,
    place,
    terms,
    trader,
)

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
    assert BROKEN.keys() == set(Reject) - {Reject.TOO_MANY_VISITS}  # which is of batches alone


@pytest.mark.parametrize("reject", BROKEN)
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


def test_capacity_counts_fills_and_what_came_to_rest_on_that_side(book):
    account(book, 0).import_capacity_wh = 300
    send(book, ask(1, 0, 50_000, 100), bid(0, 0, 101_000, 100), bid(0, 1, 60_000, 100))
    # What others take of a resting order goes on counting as resting, here and in the limit of 16.
    send(book, ask(2, 0, 59_000, 100))
    assert book.resting(account(book, 0), 1) is None
    position = book.position(account(book, 0))
    assert (position.net_wh, position.resting_wh[Side.BID], position.resting_count[Side.BID]) == (100, 100, 1)
    assert book.reject(place(bid(0, 2, 60_000, 110), OPENS)) is Reject.OVER_CAPACITY
    assert book.reject(place(bid(0, 2, 60_000, 100), OPENS)) is None
    # Having bought makes room to sell.
    account(book, 0).export_capacity_wh = 50
    assert book.reject(place(ask(0, 3, 90_000, 150), OPENS)) is None
    assert book.reject(place(ask(0, 3, 90_000, 160), OPENS)) is Reject.OVER_CAPACITY


def test_credit_and_reserves_decide_what_can_be_placed(book):
    book.accounts.utility.balance_neur = 10_100_000
    rich = account(book, 0)
    # At hub price 100 000 and charge 1 000 a Wh reserves max(101 000, 100 000 − 80 000).
    rich.balance_neur, rich.credit_limit_neur = 5_000_000, 5_100_000
    assert book.reject(place(bid(0, 0, 101_000, 100), OPENS)) is None
    rich.credit_limit_neur -= 1
    assert book.reject(place(bid(0, 0, 101_000, 100), OPENS)) is Reject.INSUFFICIENT_FUNDS
    rich.credit_limit_neur += 1
    send(book, bid(0, 0, 101_000, 100))
    assert (rich.reserved_neur, rich.free_neur) == (10_100_000, -5_100_000)
    assert (book.accounts.uncovered_neur, book.accounts.backing_neur) == (5_100_000, 5_000_000)
    assert book.reject(place(bid(0, 1, 61_000, 10), OPENS)) is Reject.INSUFFICIENT_FUNDS


def test_the_utility_reserves_what_it_pays(book):
    utility = book.accounts.utility
    utility.balance_neur = 0
    bids = [Order(UTILITY, SLOT, n, Side.BID, 0, 80_000, 100) for n in range(2)]
    assert book.reject(place(bids[0], OPENS)) is Reject.INSUFFICIENT_FUNDS
    utility.balance_neur = 2 * 8_000_000 - 1
    send(book, bids[0])
    assert (utility.reserved_neur, book.accounts.backing_neur) == (8_000_000, 8_000_000 - 1)
    assert book.reject(place(bids[1], OPENS)) is Reject.INSUFFICIENT_FUNDS
    rid = Order(UTILITY, SLOT, 2, Side.ASK, 0, -100, 100)
    assert book.reject(place(rid, OPENS)) is None
    assert book.reject(place(replace(rid, limit_ueur_per_kwh=-80_000), OPENS)) is Reject.INSUFFICIENT_FUNDS


def test_the_utility_asks_for_nothing_reserved_and_has_all_capacity_but_the_resting_limit(book):
    sixteenth_wh = 2**32 // RESTING_MAX - 6  # whole lots; 95 Wh are left of 2³² − 1
    orders = [Order(UTILITY, SLOT, n, Side.ASK, 0, 200_000, sixteenth_wh) for n in range(RESTING_MAX)]
    assert all(isinstance(event, OrderPlaced) for event in send(book, *orders))
    assert book.accounts.utility.reserved_neur == 0
    too_much = Order(UTILITY, SLOT, 99, Side.ASK, 0, 200_000, 100, Flag.IMMEDIATE_OR_CANCEL)
    assert book.reject(place(too_much, OPENS)) is Reject.OVER_CAPACITY
    assert book.reject(place(replace(too_much, quantity_wh=90), OPENS)) is None
    one_more = place(replace(orders[0], nonce=99), OPENS)
    assert book.reject(one_more) is Reject.TOO_MANY_RESTING
    assert book.reject(place(replace(orders[0], nonce=99, energy_class=1), OPENS)) is (
        Reject.NOT_REGISTERED_SELLER
    )


def test_reserves_and_trades_stay_within_what_a_word_can_hold(book):
    rich = account(book, 0)
    rich.balance_neur, rich.import_capacity_wh = 10**24, 2**32 - 1
    costly = bid(
        0, 0, TICK_MAX * 100 + 1_000, 5 * 10**8
    )  # 3.3 € a kWh: 1.6·10¹⁵ n€ of the 1.8·10¹⁹ there are
    assert book.reject(place(costly, OPENS)) is None
    book.held(rich).reserve_neur = 2**64 - 5 * 10**8 * (TICK_MAX * 100 + 1_000)
    assert book.reject(place(costly, OPENS)) is Reject.INSUFFICIENT_FUNDS
    book.held(rich).reserve_neur = 0
    rich.reserved_neur = 2**74 - 5 * 10**8 * (TICK_MAX * 100 + 1_000)
    assert book.reject(place(costly, OPENS)) is Reject.INSUFFICIENT_FUNDS
    rich.reserved_neur -= 1
    assert book.reject(place(costly, OPENS)) is None
    book.held(rich).trades_neur = -100 * 2**50
    assert book.reject(place(costly, OPENS)) is None
    book.held(rich).trades_neur -= 100
    assert book.reject(place(costly, OPENS)) is Reject.OVER_CAPACITY


# --- matching: what it does to positions and events; its rules are in test_matching_rules -------


def test_a_trade_at_the_makers_price_reserves_no_more_than_that(book):
    # Charges: trader 0 is at bus 1 (+1 000), 1 at bus 2 (−2 050), 2 and 3 at buses 3 and 4 (0).
    send(book, ask(2, 0, 100_000, 30), ask(3, 0, 99_900, 20), ask(2, 1, 99_900, 50))
    placed, *events = send(book, bid(0, 0, 101_000, 90))
    assert (placed.tick, placed.limit_price) == (1_000, 101_000)
    assert [(event.tick, event.quantity) for event in events] == [(999, 70), (1_000, 20)]
    buyer = book.position(account(book, 0))
    assert (buyer.net_wh, buyer.trades_neur) == (90, 70 * 99_900 + 20 * 100_000)
    # Price improvement is not reserved: delivered, each Wh costs its hub price + 1 000.
    assert buyer.reserve_neur == 70 * 100_900 + 20 * 101_000


def test_limits_are_all_in_at_the_traders_bus(book):
    bought, sold, fill = send(book, bid(0, 0, 101_099), ask(1, 0, 97_901))
    assert bought.tick == 1_000  # floor((101 099 − 1 000)/100)
    assert sold.tick == 1_000  # ceil((97 901 + 2 050)/100)
    assert isinstance(fill, OrdersFilled)
    assert len(send(book, bid(0, 1, 101_099), ask(1, 1, 97_951))) == 2  # a tick apart: both rest


def test_an_order_meeting_ones_own_frees_its_place(book):
    send(book, ask(0, 0, 90_000, 50), bid(0, 1, 101_000, 50))
    assert book.position(account(book, 0)).resting_count == {Side.BID: 1, Side.ASK: 0}


def test_immediate_or_cancel_reserves_what_it_took(book):
    send(book, ask(2, 0, 90_000, 30), bid(0, 0, 101_000, 50, flags=Flag.IMMEDIATE_OR_CANCEL))
    assert book.position(account(book, 0)).reserve_neur == 30 * 91_000


def test_an_event_names_16_makers_at_most():
    book = open_book(terms(), TARIFF, traders=10)
    send(book, *(ask(1 + n // RESTING_MAX, n, 90_000, 1) for n in range(VISITS_MAX)))
    _, *events = send(book, bid(0, 0, 100_000, VISITS_MAX))
    assert [len(event.makers) for event in events] == [MAKERS_PER_EVENT] * (VISITS_MAX // MAKERS_PER_EVENT)
    assert len(fills_of(book, events)) == VISITS_MAX
    assert book.best(0, Side.ASK) is None


def test_an_event_of_fills_comes_after_the_voids_before_its_sixteenth_maker():
    book = open_book(terms(), TARIFF, traders=10)
    late = [ask(1, n, 90_000, 1, expiry=OPENS + 5) for n in range(3)]
    firm = [ask(2 + n // RESTING_MAX, n, 90_000, 1) for n in range(20)]
    send(book, late[0], *firm[:15], late[1], firm[15], *firm[16:], late[2], ask(5, 0, 90_000, 1))
    _, *events = send(book, bid(0, 0, 100_000, 50), time=OPENS + 5)
    told = [len(e.makers) if isinstance(e, OrdersFilled) else (e.nonce, e.reason) for e in events]
    expired = VoidReason.EXPIRED
    assert told == [(0, expired), (1, expired), 16, (2, expired), 5]


def test_a_taker_leaves_its_makers_positions_alone_until_closing(book):
    send(book, ask(2, 0, 90_000, 80))
    send(book, bid(0, 0, 101_000, 50))
    maker = book.position(account(book, 2))
    assert (maker.net_wh, maker.trades_neur, maker.resting_wh[Side.ASK]) == (0, 0, 80)
    assert book.resting(account(book, 2), 0) == (Berth(0, Side.ASK, 900, 0), 30)
    reserve_neur = maker.reserve_neur
    (void, _) = close_book(book)
    assert void == OrderVoided(SLOT, trader(2), 0, 30, VoidReason.GATE_CLOSED)
    assert (maker.net_wh, maker.trades_neur, maker.resting_wh[Side.ASK]) == (-50, -50 * 90_000, 0)
    assert maker.reserve_neur * 80 == reserve_neur * 50


def test_classes_are_books_of_their_own(book):
    send(book, ask(2, 0, 90_000, 50, energy_class=1))
    assert len(send(book, bid(0, 0, 101_000, 50))) == 1
    _, fill = send(book, bid(0, 1, 101_000, 50, energy_class=1))
    assert fill.energy_class == 1
    close_book(book)
    assert book.position(account(book, 2)).sold_wh(1) == 50
    assert book.position(account(book, 0)).sold_wh(1) == 0
    assert book.position(account(book, 0)).class_net_wh == {1: 50}


# --- queues -------------------------------------------------------------------------------------


def test_what_is_cancelled_behind_the_head_is_a_gap_and_a_visit():
    book = open_book(terms(), TARIFF, traders=10)
    send(book, *(ask(1 + n // RESTING_MAX, n, 90_000, 1) for n in range(VISITS_MAX + 1)))
    for nonce in range(1, VISITS_MAX):
        book.apply(cancel(book, 1 + nonce // RESTING_MAX, nonce))
    assert book.best(0, Side.ASK) == (900, 2)
    void = send(book, bid(0, 0, 100_000, 5))[-1]
    assert void == OrderVoided(SLOT, trader(0), 0, 4, VoidReason.VISITS)
    assert book.best(0, Side.ASK) == (900, 1)


def test_an_exact_fill_leaves_the_gaps_behind_it_at_the_head(book):
    """Best then is a level of 0 Wh; the next order passes it and rests."""
    send(book, ask(2, 0, 90_000, 50), ask(3, 0, 90_000, 50))
    book.apply(cancel(book, 3, 0))
    send(book, bid(0, 0, 101_000, 50))
    assert book.best(0, Side.ASK) == (900, 0)
    # A cancel elsewhere in the queue passes nothing.
    send(book, ask(2, 1, 90_000, 50))
    book.apply(cancel(book, 2, 1))
    assert book.best(0, Side.ASK) == (900, 0)
    assert len(send(book, bid(0, 1, 91_000, 50))) == 1
    assert book.best(0, Side.ASK) is None and book.best(0, Side.BID) == (900, 50)


@pytest.mark.parametrize(("gaps", "left"), [(GAPS_MAX - 1, None), (GAPS_MAX, (900, 0))])
def test_a_cancel_at_the_head_passes_127_gaps_behind_it(gaps, left):
    book = open_book(terms(), TARIFF, traders=10)
    send(book, *(ask(1 + n // RESTING_MAX, n, 90_000, 1) for n in range(gaps + 1)))
    for nonce in range(gaps, -1, -1):
        book.apply(cancel(book, 1 + nonce // RESTING_MAX, nonce))
    assert book.best(0, Side.ASK) == left


def test_a_level_refills_behind_all_that_was_there(book):
    send(book, *(ask(2, nonce, 90_000, 20) for nonce in range(4)))
    for nonce in (1, 0, 3):
        book.apply(cancel(book, 2, nonce))
    send(book, ask(3, 0, 90_000, 40))
    assert berth_of(book, trader(3), 0).place == 4
    filled = fills_of(book, send(book, bid(0, 0, 101_000, 60)))
    assert [(f.maker, f.maker_nonce, f.quantity) for f in filled] == [(trader(2), 2, 20), (trader(3), 0, 40)]
    assert book.best(0, Side.ASK) is None
    send(book, ask(1, 0, 87_950, 10))
    assert berth_of(book, trader(1), 0) == Berth(0, Side.ASK, 900, 5)
    assert book.best(0, Side.ASK) == (900, 10)


# --- cancel -------------------------------------------------------------------------------------


def cancel(book: Book, index: int, nonce: int, time: int = OPENS) -> Cancel:
    return Cancel(trader(index), nonce, berth_of(book, trader(index), nonce), time, trader(index))


def test_a_cancel_voids_the_rest_and_releases_its_reserve(book):
    send(book, bid(0, 0, 101_000, 100), ask(2, 0, 100_000, 40))
    assert book.apply(cancel(book, 0, 0)) == (OrderVoided(SLOT, trader(0), 0, 60, VoidReason.CANCELLED),)
    position = book.position(account(book, 0))
    assert (position.resting_wh[Side.BID], position.resting_count[Side.BID]) == (40, 0)
    assert position.reserve_neur == 40 * 101_000


def test_a_cancel_kills_a_nonce_not_seen_yet(book):
    anywhere = Cancel(trader(0), 3, Berth(9, 9, -(2**15), 9), OPENS, trader(0))
    assert book.apply(anywhere) == (NonceCancelled(SLOT, trader(0), 3),)
    assert book.reject(place(bid(0, 3, 100_000), OPENS)) is Reject.NONCE_USED
    with pytest.raises(Refused, match="book: nothing to cancel"):
        book.apply(anywhere)


def test_cancels_that_are_refused(book):
    send(book, bid(0, 0, 100_000))
    good = cancel(book, 0, 0)
    refused = {
        "accounts: unknown account": [replace(good, trader=trader(99), signer=trader(99))],
        "book: bad signature": [replace(good, signer=trader(1))],
        "book: gate passed": [replace(good, time=GATE)],
        "book: nothing to cancel": [
            replace(good, berth=replace(good.berth, **{name: getattr(good.berth, name) + 1}))
            for name in ("energy_class", "side", "tick", "place")
        ],
    }
    for rule, commands in refused.items():
        for command in commands:
            with pytest.raises(Refused) as caught:
                book.apply(command)
            assert caught.value.rule == rule
    assert book.resting(account(book, 0), 0) is not None
    book.apply(replace(good, time=GATE - 1))


def test_a_filled_order_is_nothing_to_cancel(book):
    send(book, bid(0, 0, 101_000, 100))
    gone = cancel(book, 0, 0)
    send(book, ask(2, 0, 100_000, 100))
    with pytest.raises(Refused, match="book: nothing to cancel"):
        book.apply(gone)


# --- gate closure -------------------------------------------------------------------------------


def test_gate_closure_goes_from_the_level_opened_last_through_each_from_its_first_entry(book):
    send(
        book, bid(0, 0, 61_000), ask(2, 0, 150_000), bid(1, 0, 57_950), bid(0, 1, 66_000), ask(2, 1, 150_000)
    )
    book.apply(cancel(book, 0, 1))
    with pytest.raises(Refused, match="book: before closing"):
        book.apply(CloseGate(GATE - 1, 10))
    # The cancelled order at the level opened last is an entry too.
    assert book.best(0, Side.BID) == (600, 200)
    assert book.apply(CloseGate(GATE, 1)) == (ClosingPaused(SLOT, 0, Side.ASK, 1_500, 0),)
    assert book.best(0, Side.BID) is None and book.level_wh(0, Side.ASK, 1_500) == 0
    assert book.resting(account(book, 0), 0) is None and not book.gate_closed
    closed = VoidReason.GATE_CLOSED
    assert book.apply(CloseGate(GATE, 3)) == (
        OrderVoided(SLOT, trader(2), 0, 100, closed),
        OrderVoided(SLOT, trader(2), 1, 100, closed),
        OrderVoided(SLOT, trader(0), 0, 100, closed),
        ClosingPaused(SLOT, 0, Side.BID, 600, 1),
    )
    assert book.apply(CloseGate(GATE, 0)) == (ClosingPaused(SLOT, 0, Side.BID, 600, 1),)
    assert book.apply(CloseGate(GATE, 1)) == (
        OrderVoided(SLOT, trader(1), 0, 100, closed),
        GateClosed(SLOT, 6),
    )
    with pytest.raises(Refused, match="book: gate is closed"):
        book.apply(CloseGate(GATE, 1))
    assert all(account(book, index).reserved_neur == 0 for index in range(5))


def test_the_first_call_of_closing_ends_the_book_even_if_it_goes_nowhere(book):
    send(book, bid(0, 0, 61_000))
    assert book.apply(CloseGate(GATE, 0)) == (ClosingPaused(SLOT, 0, Side.BID, 600, 0),)
    assert book.closing
    assert book.best(0, Side.BID) is None


def test_an_empty_book_closes_at_once(book):
    assert book.apply(CloseGate(GATE, 0)) == (GateClosed(SLOT, 6),)


def test_a_tariff_market_reserves_by_its_own_rule():
    book = open_book(terms(Rule.TARIFF), TARIFF, CHARGES)
    send(book, bid(0, 0, 101_000, 10), ask(1, 0, 108_000, 10))
    # Bid at π = 100 000, ν = 1 000: undelivered it pays π + ν and gets λ⁻ = 80 000.
    assert book.position(account(book, 0)).reserve_neur == 10 * 101_000
    # Ask at π = 110 100, ν = −2 050: undelivered it pays 2 050 and λ⁺ = 300 000, and gets π.
    assert book.position(account(book, 1)).reserve_neur == 10 * (-110_100 + 2_050 + 300_000)
    assert account(book, 0).balance_neur == RICH_NEUR
