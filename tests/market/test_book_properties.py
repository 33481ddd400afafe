"""What holds of the book after any orders and cancels."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from market.book import RESTING_MAX, Book
from market.orders import (
    Cancel,
    CloseGate,
    Order,
    OrderFilled,
    OrderPlaced,
    OrderRejected,
    OrderVoided,
    Side,
)
from market.reserves import reserve_per_wh
from market.slots import Rule, Tariff
from market.units import hub_price
from tests.market.twin_cases import (
    BUSES,
    OPENS,
    PENALTIES,
    SLOT,
    bus_of,
    charges,
    open_book,
    orders,
    place,
    rules,
    tariffs,
    terms,
    trader,
)

TRADERS = 5
deterministic = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Book, list[Order | Cancel], Tariff, tuple[int, ...], Rule]:
    """A book and up to forty orders and cancels for it, a second apart."""
    rule, tariff, bus_charges = draw(rules), draw(tariffs()), draw(charges)
    book = open_book(
        terms(rule), tariff, bus_charges, TRADERS, import_capacity_wh=400, export_capacity_wh=400
    )
    commands: list[Order | Cancel] = []
    for nonce in range(draw(st.integers(0, 40))):
        if draw(st.integers(0, 7)) == 0:
            who = trader(draw(st.integers(0, TRADERS - 1)))
            commands.append(Cancel(who, draw(st.integers(0, 40)), OPENS + nonce, who))
        else:
            commands.append(draw(orders(TRADERS, nonce, tariff, bus_charges)))
    return book, commands, tariff, bus_charges, rule


def run(book: Book, commands):
    """Apply each command a second after the last; yields it with its events."""
    for second, command in enumerate(commands):
        if isinstance(command, Order):
            yield command, book.apply(place(command, OPENS + second))
        else:
            account = book.accounts.get(command.trader)
            rests = book.resting(account, command.nonce) is not None
            if rests or not book.nonce_used(account, command.nonce):
                yield command, book.apply(command)


def test_sessions_have_what_the_properties_are_about():
    """Many fills, voids of several reasons, several makers for one taker."""

    def is_lively(session) -> bool:
        book, commands, *_ = session
        events = [event for _, answer in run(book, commands) for event in answer]
        reasons = {event.reason for event in events if isinstance(event, OrderVoided)}
        return sum(isinstance(event, OrderFilled) for event in events) >= 4 and len(reasons) >= 3

    search = settings(
        derandomize=True, deadline=None, max_examples=2_000, phases=[Phase.generate], database=None
    )
    assert find(sessions(), is_lively, settings=search)


@deterministic
@given(sessions())
def test_never_crossed(session):
    book, commands, *_ = session
    for _ in run(book, commands):
        for energy_class in range(len(PENALTIES) + 1):
            bid, ask = book.best(energy_class, Side.BID), book.best(energy_class, Side.ASK)
            assert bid is None or ask is None or bid[0] < ask[0]


@deterministic
@given(sessions())
def test_price_time_priority(session):
    """Whoever is met is the best of all that rest on the other side, and the oldest of those."""
    book, commands, *_ = session
    resting: dict[tuple[str, int], tuple[OrderPlaced, int]] = {}
    left: dict[tuple[str, int], int] = {}
    for age, (_, events) in enumerate(run(book, commands)):
        taker = events[0] if isinstance(events[0], OrderPlaced) else None
        if taker is not None:
            left[taker.trader, taker.nonce] = taker.quantity
        for event in events:
            if isinstance(event, OrderFilled):
                met, quantity = (event.maker, event.maker_nonce), event.quantity
                left[event.taker, event.taker_nonce] -= quantity
            elif isinstance(event, OrderVoided):
                met, quantity = (event.trader, event.nonce), event.quantity
            else:
                continue
            left[met] -= quantity
            if taker is not None and met in resting:
                assert met == first_in_line(resting, taker)
                maker, _ = resting[met]
                crosses = taker.tick - maker.tick if taker.side == Side.BID else maker.tick - taker.tick
                assert crosses >= 0
            if left[met] == 0:
                resting.pop(met, None)
        if taker is not None and left[taker.trader, taker.nonce] > 0:
            resting[taker.trader, taker.nonce] = taker, age
    assert all(quantity >= 0 for quantity in left.values())


def first_in_line(resting, taker: OrderPlaced) -> tuple[str, int]:
    against = {
        key: (order.tick if order.side == Side.ASK else -order.tick, age)
        for key, (order, age) in resting.items()
        if order.side != taker.side and order.energy_class == taker.energy_class
    }
    return min(against, key=against.__getitem__)


@deterministic
@given(sessions())
def test_energy_and_money_are_conserved(session):
    """What is bought is sold, in every class; an order's energy is filled, voided or rests."""
    book, commands, *_ = session
    filled: defaultdict[tuple[str, int], int] = defaultdict(int)
    placed: dict[tuple[str, int], int] = {}
    for _, events in run(book, commands):
        for event in events:
            if isinstance(event, OrderPlaced):
                placed[event.trader, event.nonce] = event.quantity
            elif isinstance(event, OrderFilled):
                filled[event.maker, event.maker_nonce] += event.quantity
                filled[event.taker, event.taker_nonce] += event.quantity
            elif isinstance(event, OrderVoided):
                filled[event.trader, event.nonce] += event.quantity
    for (who, nonce), quantity in placed.items():
        order = book.resting(book.accounts.get(who), nonce)
        assert filled[who, nonce] + (0 if order is None else order.left_wh) == quantity
    positions = [book.position(account) for account in book.accounts]
    assert sum(position.net_wh for position in positions) == 0
    assert sum(position.trades_neur for position in positions) == 0
    for energy_class in range(1, len(PENALTIES) + 1):
        assert sum(position.class_net_wh.get(energy_class, 0) for position in positions) == 0


@deterministic
@given(sessions())
def test_positions_are_what_the_events_say(session):
    """Reserves, resting energy and counts, rebuilt from nothing but the events; limits kept."""
    book, commands, tariff, bus_charges, rule = session
    indices = {trader(index): index for index in range(TRADERS)}
    reserve: defaultdict[str, int] = defaultdict(int)
    rests: dict[tuple[str, int], OrderPlaced] = {}
    left: dict[tuple[str, int], int] = {}

    def unit(who: str, side: int, tick: int) -> int:
        return reserve_per_wh(rule, Side(side), hub_price(tick), bus_charges[bus_of(indices[who])], tariff)

    for _, events in run(book, commands):
        for event in events:
            if isinstance(event, OrderPlaced):
                rests[event.trader, event.nonce] = event
                left[event.trader, event.nonce] = event.quantity
            elif isinstance(event, OrderFilled):
                for who, nonce in ((event.maker, event.maker_nonce), (event.taker, event.taker_nonce)):
                    left[who, nonce] -= event.quantity
                    reserve[who] += event.quantity * unit(who, rests[who, nonce].side, event.tick)
            elif isinstance(event, OrderVoided):
                left[event.trader, event.nonce] -= event.quantity
    for key, quantity in left.items():
        reserve[key[0]] += quantity * unit(key[0], rests[key].side, rests[key].tick)
    for who in indices:
        account = book.accounts.get(who)
        position = book.position(account)
        assert position.reserve_neur == account.reserved_neur == reserve[who]
        for side, capacity_wh in (
            (Side.BID, account.import_capacity_wh),
            (Side.ASK, account.export_capacity_wh),
        ):
            mine = [left[key] for key, order in rests.items() if key[0] == who and order.side == side]
            assert position.resting_wh[side] == sum(mine)
            assert position.resting_count[side] == sum(quantity > 0 for quantity in mine) <= RESTING_MAX
            net_wh = position.net_wh if side == Side.BID else -position.net_wh
            assert net_wh <= capacity_wh


@deterministic
@given(sessions())
def test_fills_keep_both_limits(session):
    """π + ν never is above a buyer's limit, nor below a seller's."""
    book, commands, _, bus_charges, _ = session
    sent: dict[tuple[str, int], Order] = {}
    indices = {trader(index): index for index in range(TRADERS)}
    for command, events in run(book, commands):
        if isinstance(events[0], OrderPlaced):
            sent[command.trader, command.nonce] = command
        for event in events:
            if isinstance(event, OrderFilled):
                for key in ((event.maker, event.maker_nonce), (event.taker, event.taker_nonce)):
                    order = sent[key]
                    all_in = hub_price(event.tick) + bus_charges[bus_of(indices[order.trader])]
                    limit = order.limit_ueur_per_kwh
                    assert all_in <= limit if order.side == Side.BID else all_in >= limit


@deterministic
@given(sessions(), st.integers(1, 9))
def test_closing_page_by_page_is_closing_at_once(session, page):
    book, commands, *_ = session
    for _, events in run(book, commands):
        assert len(events) == 1 or not isinstance(events[0], OrderRejected)
    gate = book.terms.gate(SLOT)
    while not book.gate_closed:
        book.apply(CloseGate(gate, page))
    assert book.snapshot == TRADERS + 1
    for account in book.accounts:
        position = book.position(account)
        assert sum(position.resting_wh.values()) == sum(position.resting_count.values()) == 0
    assert book.passed == book.placed
    assert len(book.charges or ()) == BUSES
