"""What a market needs of a chain, by unit figures that the record of a day has: SCALING.md's formula.

Units were fitted once, to receipts and files of the demo's day and of two slots of it with 20 prosumers, both
in calls of 64 orders and of 8, and of two slots with 8 prosumers at 69 buses; `wattbook bench scaling` has
another session beside them.
One feeder is one market, so many feeders need so many times as much.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil

from ledger.calls import PlaceOrders
from ledger.gas import ACCOUNTS_PER_TRANSACTION, ORDERS_PER_TRANSACTION
from ledger.history import history
from ledger.record import Record

VALUES_PER_WORD = 8

DEPLOYMENT_GAS = 21_020_000
"""Token, the exchange with its other two codes, and the utility's first deposit allowed."""
ENROLMENT_GAS = 185_000
"""An account registered, and its first deposit."""
SLOT_GAS = 589_000
"""Headers of both vectors with two signatures, substation, tariff, gate, book; the utility settled."""
WORD_GAS = 46_800
"""Eight buses' charges, prices and passive energy."""
CALL_GAS = 95_400
"""A call of readings and one of settlements, without what is in them."""
READING_GAS, SETTLEMENT_GAS = 40_300, 28_000
BATCH_GAS = 54_000
"""A call that places orders, without them: what a further one takes where calls are smaller."""
ORDERING_GAS = 11_000
"""An account's first order in a slot beyond what a further one takes: the word of its position."""
ORDER_GAS = 39_500
ENTRY_GAS = 2_800
"""An order that came to rest, when the gate closes; 11 750 where its maker has fills to be credited."""

SLOT_WORDS, ACCOUNT_WORDS, WORDS_A_VALUE_WORD = 13, 2, 2
"""Storage that a slot leaves on the chain: its own, with levels; position and reading; two vectors."""
ENROLMENT_WORDS = 4

SLOT_BYTES, BUS_BYTES, ACCOUNT_BYTES, ORDER_BYTES = 15_100, 450, 1_210, 1_090
"""Of a bundle, by slot: transactions, receipts, headers, two certificates and their inputs."""

SLOT_SENT_BYTES, ACCOUNT_SENT_BYTES, ORDER_SENT_BYTES = 2_600, 360, 390
"""Of transactions alone, which a rollup publishes."""

CLEARINGS_A_SLOT = 2
ROUNDS = 10
"""Of `accelerated`, as oracles use it between processes: the median of 200 random slots (market/atc)."""
CLEARING_SECONDS = 0.02
AUDIT_SECONDS = 0.00043
"""Of one processor: a clearing by `atc` in one process (128 drawn buses, 200 prosumers); reading a record and
every check of the audit, by order (`wattbook bench audit`)."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What happens in one market over some slots.

    accounts: registered prosumers; orders, batches (calls that place them), ordering (accounts with orders in
    a slot) and entries (orders that came to rest) are sums over the slots.
    """

    slots: int
    buses: int
    accounts: int
    orders: int
    batches: int
    ordering: int
    entries: int

    @property
    def gas(self) -> int:
        """What trading and settling take; not deployment and enrolment."""
        calls = ceil(self.accounts / ACCOUNTS_PER_TRANSACTION)
        a_slot = SLOT_GAS + ceil(self.buses / VALUES_PER_WORD) * WORD_GAS + calls * CALL_GAS
        a_slot += self.accounts * (READING_GAS + SETTLEMENT_GAS)
        trading = self.orders * ORDER_GAS + self.batches * BATCH_GAS
        return self.slots * a_slot + trading + self.ordering * ORDERING_GAS + self.entries * ENTRY_GAS

    @property
    def setup_gas(self) -> int:
        """What deployment and enrolment take, once."""
        return DEPLOYMENT_GAS + self.accounts * ENROLMENT_GAS

    @property
    def sent_bytes(self) -> int:
        """Transactions, as they are sent."""
        a_slot = SLOT_SENT_BYTES + self.accounts * ACCOUNT_SENT_BYTES
        return self.slots * a_slot + self.orders * ORDER_SENT_BYTES

    @property
    def words(self) -> int:
        """Words of storage that the slots leave on the chain, 32 bytes each."""
        vectors = WORDS_A_VALUE_WORD * ceil(self.buses / VALUES_PER_WORD)
        return self.slots * (SLOT_WORDS + vectors + ACCOUNT_WORDS * self.accounts)

    @property
    def transactions(self) -> int:
        """Calls: six of the slot itself, one or more of readings and settlements, and those with orders."""
        return self.slots * (6 + 2 * ceil(self.accounts / ACCOUNTS_PER_TRANSACTION)) + self.batches

    @property
    def messages(self) -> int:
        """Questions and answers of the clearings: one of each by account and round, and at first."""
        return self.slots * CLEARINGS_A_SLOT * 2 * (ROUNDS + 1) * self.accounts

    @property
    def bundle_bytes(self) -> int:
        """What is kept for the audit, unpacked; not the contract's artifacts."""
        a_slot = SLOT_BYTES + self.buses * BUS_BYTES + self.accounts * ACCOUNT_BYTES
        return self.slots * a_slot + self.orders * ORDER_BYTES


ORDERS_A_SLOT = 2.5
"""Orders by account and slot of the demo's day, the utility's too: 3 555 in 24 slots of 60 accounts."""
RESTING = 0.42
"""Share of them that came to rest."""
PLACES = {"a feeder": 1, "a town": 20, "a region": 1_000, "a country": 100_000}
"""Feeders of each."""
ACCOUNTS, BUSES = 200, 128
"""Of one feeder."""
SLOT_SECONDS = 900
SLOTS_A_DAY = 96
DAYS_A_YEAR = 365
BLOCK_GAS = 30_000_000
STATE_BYTES = 64
"""A word of storage and its key."""


def usual(accounts: int, buses: int, together: int = ORDERS_PER_TRANSACTION) -> Activity:
    """A slot in which accounts send as many orders as in the demo's day, relayed so many in a call."""
    orders = round(ORDERS_A_SLOT * accounts)
    return Activity(
        slots=1,
        buses=buses,
        accounts=accounts,
        orders=orders,
        batches=ceil(orders / together),
        ordering=accounts + 1,
        entries=round(RESTING * orders),
    )


def activity_of(record: Record) -> Activity:
    """What a record's slots had, counted from calls and events."""
    market = history(record)
    orders = ordering = entries = 0
    for slot in market.slots.values():
        placed = [order for _, order in slot.placed]
        taken_wh: Counter[tuple[str, int]] = Counter()
        for _, fill in slot.fills:
            taken_wh[fill.taker, fill.taker_nonce] += fill.quantity
        orders += len(placed)
        ordering += len({order.trader for order in placed})
        entries += sum(taken_wh[order.trader, order.nonce] < order.quantity for order in placed)
    return Activity(
        slots=len(market.slots),
        buses=market.terms.buses,
        accounts=len(market.accounts),
        orders=orders,
        batches=sum(isinstance(sent.call, PlaceOrders) for sent in record.sent),
        ordering=ordering,
        entries=entries,
    )


def places() -> list[list[str]]:
    """SCALING.md's table: what each of the places needs, one row a need, figures to three digits."""
    slot = usual(ACCOUNTS, BUSES)
    day = SLOTS_A_DAY
    year = DAYS_A_YEAR * day
    needs = {
        "accounts": ACCOUNTS,
        "orders a slot": slot.orders,
        "gas a slot": slot.gas,
        "gas a second": slot.gas / SLOT_SECONDS,
        "blocks of 30 million gas a slot": slot.gas / BLOCK_GAS,
        "gas a day": day * slot.gas,
        "gas a year": year * slot.gas,
        "gas once, to enrol": slot.setup_gas,
        "transactions a slot": slot.transactions,
        "bytes of transactions a slot": slot.sent_bytes,
        "messages of ATC a slot": slot.messages,
        "processor time of a slot's two clearings, the solver alone, s": CLEARINGS_A_SLOT * CLEARING_SECONDS,
        "storage on the chain a year, bytes": year * slot.words * STATE_BYTES,
        "bundles a day, bytes": day * slot.bundle_bytes,
        "bundles a year, bytes": year * slot.bundle_bytes,
        "audit of a day, processor seconds": day * slot.orders * AUDIT_SECONDS,
    }
    return [
        [name, *(scaled(feeders * each) for feeders in PLACES.values())]
        for name, each in {"feeders": 1, **needs}.items()
    ]


def scaled(value: float) -> str:
    """Three digits of a number with its thousands as a letter: 37.6 M."""
    digits, exponent = f"{value:.2e}".split("e")
    thousands = max(int(exponent) // 3, 0)
    shown = float(digits) * 10.0 ** (int(exponent) - 3 * thousands)
    return f"{shown:.3g} {' kMGTPE'[thousands]}".strip()
