"""What holds of the book after any orders and cancels."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from market.book import RESTING_MAX, Book
from market.orders import (
    ClosingPaused,
    Fill,
    Order,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Side,
)
from market.reserves import reserve_per_wh
from market.slots import Rule, Tariff
from market.units import hub_price
from tests.market.twin_cases import (
    OPENS,
    PENALTIES,
    TRADERS,
    bus_of,
    cancel,
    charges,
    close_book,
    fills_of,
    open_book,
    orders,
    picture,
    place,
    rules,
    tariffs,
    terms,
    trader,
)

deterministic = settings(derandomize=True, deadline=None, max_examples=60)


@st.composite
def sessions(
    draw: st.DrawFn,
) -> tuple[Book, list[Order | tuple[str, int]], Tariff, tuple[int, ...], Rule]:
    """A book and up to forty orders and cancels (trader and nonce) for it, a second apart."""
    rule, tariff, bus_charges = draw(rules), draw(tariffs()), draw(charges)
    book = open_book(
        terms(rule), tariff, bus_charges, TRADERS, import_capacity_wh=400, export_capacity_wh=400
    )
    commands: list[Order | tuple[str, int]] = []
    for nonce in range(draw(st.integers(0, 40))):
        if draw(st.integers(0, 7)) == 0:
            who = trader(draw(st.integers(0, TRADERS - 1)))
            commands.append((who, draw(st.integers(0, 40))))
        else:
            commands.append(draw(orders(TRADERS, nonce, tariff, bus_charges)))
    return book, commands, tariff, bus_charges, rule


def run(book: Book, commands):
    """Apply each command a second after the last; yields it with its events."""
    for second, command in enumerate(commands):
        if isinstance(command, Order):
            yield command, book.apply(place(command, OPENS + second))
        else:
            who, nonce = command
            account = book.accounts.get(who)
            if book.resting(account, nonce) is not None or not book.nonce_used(account, nonce):
                yield command, book.apply(cancel(book, who, nonce, OPENS + second))


def parts(book: Book, events):
    """Events with each `OrdersFilled` as one fill a maker."""
    for event in events:
        yield from fills_of(book, [event]) if isinstance(event, OrdersFilled) else [event]


def test_sessions_have_what_the_properties_are_about():
    """Many fills, voids of several reasons, several makers for one taker."""

    def is_lively(session) -> bool:
        book, commands, *_ = session
        events = [event for _, answer in run(book, commands) for event in answer]
        reasons = {event.reason for event in events if isinstance(event, OrderVoided)}
        return len(fills_of(book, events)) >= 4 and len(reasons) >= 3

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
    """Whoever is filled is the best of all that rest on the other side, and the oldest of those.

    But for expired and own orders: these are void by the time the fills of their level are told, and nothing
    that could have been met before them is left.
    """
    book, commands, *_ = session
    resting: dict[tuple[str, int], tuple[OrderPlaced, int]] = {}
    for age, (_, events) in enumerate(run(book, commands)):
        for event in events:
            if isinstance(event, OrderVoided):
                voided = resting.pop((event.trader, event.nonce), None)
                if voided is not None and isinstance(events[0], OrderPlaced):
                    assert crosses(events[0], voided[0])
        if isinstance(events[0], OrderPlaced):
            taker = events[0]
            for fill in fills_of(book, events):
                met = fill.maker, fill.maker_nonce
                assert met == first_in_line(resting, taker)
                maker, _ = resting[met]
                assert maker.tick == fill.tick and crosses(taker, maker)
                if book.resting(book.accounts.get(fill.maker), fill.maker_nonce) is None:
                    resting.pop(met)
            if book.resting(book.accounts.get(taker.trader), taker.nonce) is not None:
                resting[taker.trader, taker.nonce] = taker, age


def crosses(taker: OrderPlaced, maker: OrderPlaced) -> bool:
    return taker.tick >= maker.tick if taker.side == Side.BID else taker.tick <= maker.tick


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
        for event in parts(book, events):
            if isinstance(event, OrderPlaced):
                placed[event.trader, event.nonce] = event.quantity
            elif isinstance(event, Fill):
                filled[event.maker, event.maker_nonce] += event.quantity
                filled[event.taker, event.taker_nonce] += event.quantity
            elif isinstance(event, OrderVoided):
                filled[event.trader, event.nonce] += event.quantity
    for (who, nonce), quantity in placed.items():
        _, left_wh = book.resting(book.accounts.get(who), nonce) or (None, 0)
        assert filled[who, nonce] + left_wh == quantity
    for event in close_book(book):
        if isinstance(event, OrderVoided):
            filled[event.trader, event.nonce] += event.quantity
    assert filled == placed
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
    net: defaultdict[str, int] = defaultdict(int)
    placed: dict[tuple[str, int], OrderPlaced] = {}
    left: dict[tuple[str, int], int] = {}
    rested: dict[tuple[str, int], int] = {}
    voided: set[tuple[str, int]] = set()

    def unit(order: OrderPlaced, tick: int) -> int:
        charge, penalty = bus_charges[bus_of(indices[order.trader])], book.terms.penalty(order.energy_class)
        return reserve_per_wh(rule, Side(order.side), hub_price(tick), charge, tariff, penalty)

    for command, events in run(book, commands):
        for event in parts(book, events):
            if isinstance(event, OrderPlaced):
                placed[event.trader, event.nonce] = event
                left[event.trader, event.nonce] = event.quantity
            elif isinstance(event, Fill):
                for who, nonce in ((event.maker, event.maker_nonce), (event.taker, event.taker_nonce)):
                    left[who, nonce] -= event.quantity
                    reserve[who] += event.quantity * unit(placed[who, nonce], event.tick)
                net[event.taker] += event.quantity * (1 if event.taker_side == Side.BID else -1)
            elif isinstance(event, OrderVoided):
                key = event.trader, event.nonce
                left[key] -= event.quantity
                if key in rested:
                    rested[key] -= event.quantity
                    voided.add(key)
        if isinstance(command, Order) and left.get((command.trader, command.nonce), 0) > 0:
            rested[command.trader, command.nonce] = left[command.trader, command.nonce]
    for key, quantity in left.items():
        reserve[key[0]] += quantity * unit(placed[key], placed[key].tick)
    for who in indices:
        account = book.accounts.get(who)
        position = book.position(account)
        assert position.net_wh == net[who]
        assert position.reserve_neur == account.reserved_neur == reserve[who]
        for side in Side:
            mine = [key for key in rested if key[0] == who and placed[key].side == side]
            assert position.resting_wh[side] == sum(rested[key] for key in mine)
            assert position.resting_count[side] == len(set(mine) - voided) <= RESTING_MAX
    close_book(book)
    for who in indices:
        account = book.accounts.get(who)
        position = book.position(account)
        assert -account.export_capacity_wh <= position.net_wh <= account.import_capacity_wh


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
        for event in parts(book, events):
            if isinstance(event, Fill):
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
    again = deepcopy(book)
    steps = close_book(book, page)
    assert [event for event in steps if not isinstance(event, ClosingPaused)] == close_book(again)
    assert book.snapshot == again.snapshot == TRADERS + 1
    for account in book.accounts:
        position = book.position(account)
        assert sum(position.resting_wh.values()) == 0
        assert picture(position) == picture(again.position(again.accounts.at(account.id)))
