"""Small markets for tests of the book, the settlement and the twin as a whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hypothesis import strategies as st

from ledger import vectors
from ledger.keccak import keccak
from market.accounts import Account, Accounts, Position
from market.book import Book
from market.events import Event
from market.exchange import Caller, Exchange
from market.fills import TakenLevel
from market.messages import Reading
from market.orders import (
    Address,
    Berth,
    BookEvent,
    Cancel,
    CloseGate,
    Fill,
    Order,
    OrdersFilled,
    Place,
    Side,
    Veto,
)
from market.settlement import Member
from market.slots import Rule, Tariff, Terms
from market.units import hub_price

SLOT = 1_000_000
RICH_NEUR = 10**15
BUSES = 5
PENALTIES = (30_000, 90_000)
INPUT_HASH, CERTIFICATE_HASH = b"\x11" * 32, b"\x22" * 32
TRADERS = 5
TARIFF = Tariff(retail=300_000, network_fee=100_000, fit=80_000)
CHARGES = (0, 1_000, -2_050, 0, 0)
PRICES = (120_000, 125_000, 122_000, 115_000, 120_000)
"""By bus, µ€/kWh: the charges of a slot and its prices."""


def address(number: int) -> Address:
    """A made-up address; the twin does not look inside."""
    return f"0x{number:040x}"


UTILITY, GUARDIAN, RELAYER = address(0xA0), address(0xA1), address(0xA2)
ORACLES = tuple(address(0xB0 + index) for index in range(4))
QUORUM = 3


def trader(index: int) -> Address:
    return address(0x100 + index)


def meter(index: int) -> Address:
    return address(0x200 + index)


def terms(rule: Rule = Rule.DLMP, **changes: Any) -> Terms:
    """A market of five buses and two classes."""
    return Terms(**{"rule": rule, "buses": BUSES, "penalties_ueur_per_kwh": PENALTIES} | changes)


OPENS = terms().opens(SLOT)
"""First second of trading."""


# --- strategies ---------------------------------------------------------------------------------

rules = st.sampled_from(Rule)
charge_values = st.integers(-400_000, 400_000)
charges = st.lists(charge_values, min_size=BUSES - 1, max_size=BUSES - 1).map(lambda rest: (0, *rest))


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """Any tariff with π_imp ≥ π_exp; fee and fit may be negative."""
    fit = draw(st.integers(-200_000, 300_000))
    width = draw(st.integers(0, 400_000))
    fee = draw(st.integers(-50_000, 200_000))
    return Tariff(retail=fit + width + fee, network_fee=fee, fit=fit)


@st.composite
def bus_prices(draw: st.DrawFn, tariff: Tariff) -> tuple[int, ...]:
    """λ_0 within the hub's prices, λ_b anything."""
    hub = draw(st.integers(tariff.hub_export, tariff.hub_import))
    rest = draw(st.lists(st.integers(-900_000, 900_000), min_size=BUSES - 1, max_size=BUSES - 1))
    return (hub, *rest)


@st.composite
def orders(draw: st.DrawFn, traders: int, nonce: int, tariff: Tariff, near: Sequence[int]) -> Order:
    """An order on one of a few levels, as it looks at the trader's bus (charges `near`)."""
    index = draw(st.integers(0, traders - 1))
    level = draw(st.integers(-1, 6)) * (tariff.hub_import - tariff.hub_export) // 5 + tariff.hub_export
    return Order(
        trader(index),
        SLOT,
        nonce,
        draw(st.sampled_from(Side)),
        draw(st.sampled_from([0, 0, 0, 0, 1, 2])),
        level + near[bus_of(index)] + draw(st.integers(-150, 150)),
        draw(st.integers(1, 60)),
        draw(st.sampled_from([0, 0, 0, 1])),
        draw(st.sampled_from([0, 0, 0, 0, OPENS + 12])),
    )


def bus_of(index: int) -> int:
    """Bus of a trader: all buses but the substation in turn."""
    return 1 + index % (BUSES - 1)


@dataclass
class Trade:
    """One half of a fill as an account sees it."""

    side: Side
    tick: int
    quantity_wh: int


trades = st.lists(
    st.builds(Trade, st.sampled_from(Side), st.integers(-6_000, 6_000), st.integers(1, 500)), max_size=6
)


def position_of(held: Sequence[Trade], reserve_neur: int = 0) -> Position:
    """A position of class 0 with these trades."""
    signed = [(trade, trade.quantity_wh if trade.side == Side.BID else -trade.quantity_wh) for trade in held]
    return Position(
        net_wh=sum(wh for _, wh in signed),
        trades_neur=sum(wh * hub_price(trade.tick) for trade, wh in signed),
        reserve_neur=reserve_neur,
    )


def reading(net_energy: int, certified: tuple[int, ...] = ()) -> Reading:
    return Reading(trader(0), SLOT, net_energy, certified, 1)


@st.composite
def members(draw: st.DrawFn, classes: int = 0) -> list[Member]:
    """Accounts that traded with each other or the utility, and metered anything."""
    found = []
    for _ in range(draw(st.integers(0, 7))):
        position = position_of(draw(trades))
        for energy_class in range(1, classes + 1):
            position.class_net_wh[energy_class] = draw(st.integers(-300, 300))
        certified = tuple(draw(st.integers(0, 300)) for _ in range(classes))
        metered = draw(st.one_of(st.just(position.net_wh), st.just(0), st.integers(-2_000, 2_000)))
        found.append(Member(draw(st.integers(1, BUSES - 1)), position, reading(metered, certified)))
    return found


# --- a book -------------------------------------------------------------------------------------


def open_book(
    market_terms: Terms,
    tariff: Tariff,
    bus_charges: Sequence[int] = (0,) * BUSES,
    traders: int = 5,
    **account: int,
) -> Book:
    """A book whose slot is open, with rich accounts that may sell every class."""
    accounts = Accounts(UTILITY)
    accounts.deposit(UTILITY, RICH_NEUR)
    usual = {
        "import_capacity_wh": 10**6,
        "export_capacity_wh": 10**6,
        "credit_limit_neur": 0,
        "classes": 3,
    }
    for index in range(traders):
        accounts.register(trader(index), bus_of(index), meter(index), **(usual | account))
        accounts.deposit(trader(index), RICH_NEUR)
    return Book(SLOT, market_terms, accounts, keccak, tariff, bus_charges)


def fills_of(book: Book, events: Sequence[BookEvent]) -> list[Fill]:
    """One fill a maker, of all events that tell of some."""
    filled = [event for event in events if isinstance(event, OrdersFilled)]
    return [fill for event in filled for fill in event.fills(lambda number: book.accounts.at(number).address)]


def berth_of(book: Book, who: Address, nonce: int) -> Berth:
    """Where an order rests; nowhere sensible where it does not."""
    resting = book.resting(book.accounts.get(who), nonce)
    return Berth() if resting is None else resting[0]


def cancel(book: Book, who: Address, nonce: int, time: int) -> Cancel:
    """A well signed cancel that says where the order rests."""
    return Cancel(who, nonce, berth_of(book, who, nonce), time, who)


def veto_of(fill: TakenLevel, cut: int | None = None, reason: int = 0, element: int = 1) -> Veto:
    """The veto of a fill, of the whole or of a part."""
    taker = trader(fill.taker_id - 1) if fill.taker_id else UTILITY
    return fill.veto(taker, fill.quantity_wh if cut is None else cut, reason, element)


def close_book(book: Book, page: int = 4_096) -> list[BookEvent]:
    """Close the gate, so many entries a call."""
    events: list[BookEvent] = []
    while not book.gate_closed:
        events += book.apply(CloseGate(book.terms.closing(book.slot), page))
    return events


def place(order: Order, time: int, sender: Address = RELAYER) -> Place:
    """A well signed order."""
    return Place(order, time, sender, order.trader)


# --- a market -----------------------------------------------------------------------------------


@dataclass
class Market:
    """The twin with traders, and shorthands for what tests ask of it."""

    exchange: Exchange
    now: int = 0
    readings: dict[int, int] = field(default_factory=dict)

    def by(self, sender: Address = RELAYER) -> Caller:
        return Caller(sender, self.now)

    def account(self, index: int) -> Account:
        return self.exchange.accounts.get(trader(index))

    def place(self, *placed: Order) -> tuple[Event, ...]:
        return self.exchange.place_orders(self.by(), [(order, order.trader) for order in placed])

    def quorum(self) -> list[tuple[int, Address | None]]:
        return [(index, ORACLES[index]) for index in (0, 2, 3)]

    def post_charges(self, values: Sequence[int], slot: int = SLOT) -> None:
        hashes = vectors.chunk_hashes(values)
        self.exchange.post_charges(self.by(), slot, hashes, INPUT_HASH, CERTIFICATE_HASH, self.quorum())
        for index, words in enumerate(vectors.chunked(vectors.pack(values))):
            self.exchange.post_charges_chunk(self.by(), slot, index, words)

    def post_prices(self, values: Sequence[int], slot: int = SLOT) -> None:
        hashes = vectors.chunk_hashes(values)
        self.exchange.post_prices(
            self.by(), slot, values[0], 0, hashes, INPUT_HASH, CERTIFICATE_HASH, self.quorum()
        )
        for index, words in enumerate(vectors.chunked(vectors.pack(values))):
            self.exchange.post_prices_chunk(self.by(), slot, index, words)

    def close(self) -> tuple[Event, ...]:
        self.now = max(self.now, self.exchange.terms.closing(SLOT))
        return self.exchange.close_gate(self.by(), SLOT, 4_096)

    def read(self, index: int, net_energy: int, certified: tuple[int, ...] = (0, 0)) -> tuple[Event, ...]:
        self.now = max(self.now, self.exchange.terms.end(SLOT))
        signed = Reading(trader(index), SLOT, net_energy, certified, 1)
        return self.exchange.post_reading(self.by(), signed, meter(index))

    def forecast(self, nets: Sequence[int], index: int = 0) -> tuple[Event, ...]:
        """Post forecasts by account id, the utility's first; 0 for those left out."""
        self.now = max(self.now, self.exchange.terms.gate(SLOT))
        words = vectors.pack([*nets, *[0] * (256 - len(nets))])
        return self.exchange.post_forecasts(self.by(), SLOT, index, words, self.quorum())

    def estimate(self, *accounts: Address) -> tuple[Event, ...]:
        self.now = max(self.now, self.exchange.terms.readings_due(SLOT))
        words = self.exchange.slot(SLOT).forecasts.get(0, ())
        return self.exchange.estimate(self.by(), SLOT, 0, words, accounts)

    def resettle(self, *accounts: Address) -> tuple[Event, ...]:
        return self.exchange.resettle(self.by(), SLOT, accounts)

    def settle(self, *accounts: Address) -> tuple[Event, ...]:
        """Settle accounts once everybody has paid for their trades; all events of the settlement."""
        everyone = [account.address for account in self.exchange.accounts]
        for _ in range(2):  # who gets money may come before those who pay it
            self.exchange.clear_trades(self.by(), SLOT, everyone)
        return self.exchange.settle(self.by(), SLOT, accounts)


def market_of(
    tariff: Tariff,
    *,
    rule: Rule = Rule.DLMP,
    traders: int = 5,
    bus_charges: Sequence[int] | None = (0,) * BUSES,
    deposit_neur: int = RICH_NEUR,
    utility_neur: int = RICH_NEUR,
    **changes: Any,
) -> Market:
    """A market whose slot has just opened; `bus_charges` None: none were posted."""
    market_terms = terms(rule, **changes)
    exchange = Exchange(UTILITY, GUARDIAN, ORACLES, QUORUM, market_terms, token_decimals=9, hash_of=keccak)
    market = Market(exchange)
    utility = market.by(UTILITY)
    for index in range(traders):
        exchange.register_account(utility, trader(index), bus_of(index), meter(index), 10**6, 10**6, 0, 0b11)
        exchange.deposit(utility, trader(index), deposit_neur)
    exchange.deposit(utility, UTILITY, utility_neur)
    exchange.schedule_slots(utility, SLOT, 1, tariff.retail, tariff.network_fee, tariff.fit)
    if bus_charges is not None:
        market.post_charges(bus_charges)
    market.now = market_terms.opens(SLOT)
    return market


def picture(thing: Any) -> Any:
    """All that is inside a mutable object, to compare before and after."""
    if is_dataclass(thing) and not isinstance(thing, type):
        return {item.name: picture(getattr(thing, item.name)) for item in fields(thing)}
    if isinstance(thing, OrderedDict):  # a queue: its order counts
        return [(key, picture(value)) for key, value in thing.items()]
    if isinstance(thing, dict):
        return {key: picture(value) for key, value in thing.items()}
    if isinstance(thing, set):
        return frozenset(thing)
    if isinstance(thing, list | tuple):
        return [picture(item) for item in thing]
    if hasattr(thing, "__dict__") and not callable(thing):
        return {name: picture(value) for name, value in vars(thing).items()}
    return thing
