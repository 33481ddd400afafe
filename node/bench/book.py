"""Random orders through the twin's matcher: the continuous auction with every rule of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ledger.keccak import keccak
from market.accounts import Accounts
from market.book import Book
from market.orders import NOBODY, BookEvent, CloseGate, Order, OrderRejected, OrdersFilled, Place, Side
from market.slots import Tariff, Terms
from node.bench.row import Row, WrongWork
from node.bench.timing import times
from node.scenario.streams import stream

ORDERS, ACCOUNTS = 100_000, 10_000
SEED, SLOT, RUNS = 1, 2_000_000, 3
TERMS = Terms()
TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
UTILITY = "utility"
FUNDS_NEUR = 10**15
CAPACITY_WH = 10**9
TICK_UEUR_PER_KWH = 100
LEMLAB_SECONDS = 0.70
WHY = (
    "the twin is the contract's rules written to be read: accounts, reserves, positions and events of each"
    " order as objects; the auctions over arrays, which studies use, are in the group matching"
)


def rows() -> Iterable[Row]:
    """Orders a second."""
    commands = _commands()
    closing = CloseGate(TERMS.closing(SLOT), ORDERS)
    fills = set()

    def prepare() -> Callable[[], object]:
        book = _empty_book()

        def trade() -> None:
            events = [event for command in commands for event in book.apply(command)]
            book.apply(closing)
            fills.add(_fills(events))

        return trade

    (taken,) = times(prepare, runs=RUNS, warm_ups=0)
    if len(fills) != 1:
        raise WrongWork(f"reruns differ: {sorted(fills)} fills")
    yield Row(
        f"{ORDERS:,} random orders, half buys, {fills.pop():,} fills",
        ORDERS / taken.median,
        "orders/s",
        "lemlab's batch auction, 0.70 s, measured elsewhere",
        ORDERS / LEMLAB_SECONDS,
        goal=200_000,
        better="more",
        runs=(RUNS,),
        why=WHY,
    )


def _commands() -> Sequence[Place]:
    """Sides and ticks drawn evenly, so that about half of all energy finds a partner."""
    rng = stream(SEED, "bench", "book")
    sides = rng.integers(2, size=ORDERS)
    prices = TICK_UEUR_PER_KWH * rng.integers(700, 1_601, size=ORDERS)
    quantities = 100 * rng.integers(1, 101, size=ORDERS)
    time = TERMS.opens(SLOT)
    return [
        _placing(number, Side(int(side)), int(price), int(quantity_wh), time)
        for number, (side, price, quantity_wh) in enumerate(zip(sides, prices, quantities, strict=True))
    ]


def _placing(number: int, side: Side, price_ueur_per_kwh: int, quantity_wh: int, time: int) -> Place:
    trader, nonce = f"trader {number % ACCOUNTS}", number // ACCOUNTS
    order = Order(trader, SLOT, nonce, side, 0, price_ueur_per_kwh, quantity_wh)
    return Place(order, time, sender=NOBODY, signer=trader)


def _empty_book() -> Book:
    accounts = Accounts(UTILITY)
    for number in range(ACCOUNTS):
        trader = f"trader {number}"
        accounts.register(trader, 1 + number % 32, f"meter {number}", CAPACITY_WH, CAPACITY_WH, 0, 0)
        accounts.deposit(trader, FUNDS_NEUR)
    return Book(SLOT, TERMS, accounts, keccak, TARIFF, charges=(0,) * TERMS.buses)


def _fills(events: Sequence[BookEvent]) -> int:
    refused = sum(isinstance(event, OrderRejected) for event in events)
    if refused:
        raise WrongWork(f"{refused} orders were refused")
    return sum(len(event.makers) for event in events if isinstance(event, OrdersFilled))
