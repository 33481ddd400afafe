"""The journal: every movement of money of a market as a double entry, in a database that anybody can ask.

    entries(record)             → Iterator[Entry]   in chain order; postings of an entry sum to 0
    Journal(path).update(record)                    takes the entries in; what a chain took back is taken out
    Journal(path).balances()                        n€ by account, as the contract holds them
    trial_balance(entries)                          debits and credits by kind of account, which are equal

It is a projection: nothing in it is a source, and it can be made anew from the record at any time. Blocks are
kept with their hashes, so that a reorganisation replaces what came after the last common block, and no more.

JournalError   the file is no journal of this market, or an amount does not fit a column
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.history import Movement, movements
from ledger.record import Record
from market.accounts import UTILITY_ID, Role
from market.events import (
    AccountRegistered,
    AccountResettled,
    AccountSettled,
    Deposited,
    RoleAccepted,
    TradesCleared,
    Withdrawn,
)
from market.orders import Address
from market.settlement import Cause

TOKENS, CLEARING = -1, -2
"""Accounts that are nobody's: the tokens that the exchange holds, and trades settled on one side only."""
KINDS = {TOKENS: "tokens", CLEARING: "clearing", UTILITY_ID: "utility"}
"""The accounts that there is one of; all others are prosumers'."""
PROSUMERS = "prosumers"
COLUMN_MAX_NEUR = 2**63 - 1
VERSION = 1

_SCHEMA = """
CREATE TABLE market (version INTEGER NOT NULL, chain_id INTEGER NOT NULL, exchange TEXT NOT NULL);
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE accounts (id INTEGER PRIMARY KEY, address TEXT NOT NULL, bus INTEGER NOT NULL);
CREATE TABLE entries (
  id INTEGER PRIMARY KEY, block INTEGER NOT NULL REFERENCES blocks ON DELETE CASCADE, log INTEGER NOT NULL,
  kind TEXT NOT NULL, slot INTEGER, UNIQUE (block, log)
);
CREATE TABLE postings (
  entry INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE, account INTEGER NOT NULL, cause TEXT NOT NULL,
  amount_neur INTEGER NOT NULL
);
CREATE INDEX postings_by_entry ON postings (entry);
CREATE INDEX postings_by_account ON postings (account);
CREATE VIEW balances AS SELECT account, SUM(amount_neur) AS balance_neur FROM postings GROUP BY account;
"""


class JournalError(Exception):
    """The file is no journal of this market, or an amount does not fit it."""


@dataclass(frozen=True, slots=True)
class Booking:
    """What an entry adds to one account's balance, n€, and what for; an id, TOKENS or CLEARING."""

    account: int
    cause: str
    amount_neur: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of money at its place on the chain; its bookings sum to 0."""

    block: int
    log: int
    time: int
    kind: str
    slot: int | None
    bookings: tuple[Booking, ...]

    @property
    def where(self) -> str:
        """Block and log number, as `audit explain` names it."""
        return f"{self.block}:{self.log}"


def entries(record: Record) -> Iterator[Entry]:
    """All movements of money in chain order; those of accounts that nobody registered are left out."""
    for sent, moved in movements(record):
        for each in moved:
            if each.account is not None:
                yield _entry(sent.time, each, each.account)


def _entry(time: int, moved: Movement, account: int) -> Entry:
    block, log = moved.logged.place
    match moved.event:
        case Deposited(amount=amount):
            return Entry(block, log, time, "deposit", None, _between(account, TOKENS, "deposit", amount))
        case Withdrawn(amount=amount):
            return Entry(
                block, log, time, "withdrawal", None, _between(account, TOKENS, "withdrawal", -amount)
            )
        case TradesCleared(slot=slot):
            kind = "clearing"
        case AccountSettled(slot=slot):
            kind = "settlement"
        case AccountResettled(slot=slot):
            kind = "resettlement"
    return Entry(block, log, time, kind, slot, tuple(_bookings(account, moved)))


def _between(account: int, other: int, cause: str, amount_neur: int) -> tuple[Booking, ...]:
    """An account's balance grows, and another's by its opposite; of tokens, that is what is owed for them."""
    return Booking(account, cause, amount_neur), Booking(other, cause, -amount_neur)


def _bookings(account: int, moved: Movement) -> Iterator[Booking]:
    """By cause what the account pays: trades to whom it traded with, the rest to the utility."""
    for cause in Cause:
        amount = moved.cleared_neur if cause == Cause.TRADES else getattr(moved.event, cause.value, 0)
        if amount:
            yield from _between(
                account, CLEARING if cause == Cause.TRADES else UTILITY_ID, cause.value, -amount
            )


def balances(booked: Sequence[Entry]) -> dict[int, int]:
    """n€ by account after these entries."""
    total: Counter[int] = Counter()
    for entry in booked:
        for booking in entry.bookings:
            total[booking.account] += booking.amount_neur
    return dict(total)


@dataclass(frozen=True, slots=True)
class KindTotal:
    """What was booked on accounts of one kind, n€, in the exchange's books: debits make it richer."""

    kind: str
    accounts: int
    debits_neur: int
    credits_neur: int

    @property
    def difference_neur(self) -> int:
        """Debits less credits: what tokens are there, or, below 0, what is owed."""
        return self.debits_neur - self.credits_neur


def trial_balance(booked: Sequence[Entry]) -> tuple[KindTotal, ...]:
    """Debits and credits by kind of account; over all kinds they are equal."""
    accounts: dict[str, set[int]] = {kind: set() for kind in (*KINDS.values(), PROSUMERS)}
    debits: Counter[str] = Counter()
    credits: Counter[str] = Counter()
    for entry in booked:
        for booking in entry.bookings:
            kind = KINDS.get(booking.account, PROSUMERS)
            accounts[kind].add(booking.account)
            side = credits if booking.amount_neur > 0 else debits  # a balance that grows is owed
            side[kind] += abs(booking.amount_neur)
    return tuple(KindTotal(kind, len(those), debits[kind], credits[kind]) for kind, those in accounts.items())


# --- the database -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Updated:
    """What an update did: the last block it kept (None: it began anew), blocks dropped, entries added."""

    kept: int | None
    blocks_dropped: int
    entries_added: int


class Journal:
    """A journal's file, opened by every method for itself; an update is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def update(self, record: Record) -> Updated:
        """Bring the journal to a record's head. Raises JournalError, sqlite3.OperationalError."""
        try:
            with closing(self._open()) as database, database:
                database.execute(
                    "BEGIN"
                )  # by itself, SQLite would keep tables that were made before a failure
                self._begin(database, record)
                return _bring_up(database, record)
        except sqlite3.DatabaseError as failure:
            raise JournalError(f"{self.path}: {failure}") from None

    def _begin(self, database: sqlite3.Connection, record: Record) -> None:
        """Make the tables of a new file; refuse another market's, or a file that is something else."""
        market = (VERSION, record.domain.chain_id, record.exchange)
        if not database.execute("SELECT name FROM sqlite_master").fetchall():
            for statement in _SCHEMA.split(";")[:-1]:
                database.execute(statement)
            database.execute("INSERT INTO market VALUES (?, ?, ?)", market)
        found = database.execute("SELECT version, chain_id, exchange FROM market").fetchone()
        if found != market:
            raise JournalError(f"{self.path}: a journal of {found}, not of {market}")

    def balances(self) -> dict[int, int]:
        """n€ by account: ids, TOKENS and CLEARING. Raises JournalError."""
        return dict(self.ask("SELECT account, balance_neur FROM balances"))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query. Raises JournalError."""
        try:
            with closing(self._open()) as database:
                return database.execute(query).fetchall()
        except sqlite3.DatabaseError as failure:
            raise JournalError(f"{self.path}: {failure}") from None


def _bring_up(database: sqlite3.Connection, record: Record) -> Updated:
    """Take out what is not of this chain, then take in what is not there yet."""
    there = dict(database.execute("SELECT number, hash FROM blocks"))
    hashes = {block.number: block.hash.hex() for block in record.blocks}
    first_other = min((number for number in there if hashes.get(number) != there[number]), default=None)
    dropped = 0
    if first_other is not None:
        dropped = database.execute("DELETE FROM blocks WHERE number >= ?", (first_other,)).rowcount
    kept = max((number for number in there if first_other is None or number < first_other), default=None)
    new = [block for block in record.blocks if kept is None or block.number > kept]
    rows = [(block.number, block.hash.hex(), block.header.timestamp) for block in new]
    database.executemany("INSERT INTO blocks VALUES (?, ?, ?)", rows)
    _put_accounts(database, record)
    added = [entry for entry in entries(record) if kept is None or entry.block > kept]
    for entry in added:
        _put(database, entry)
    return Updated(kept, dropped, len(added))


def holders(record: Record) -> dict[int, tuple[Address, int]]:
    """Address and bus of each account by its id, as they are at the end; the utility is at bus 0."""
    found: dict[int, tuple[Address, int]] = {}
    for logged in record.logged:
        match logged.event:
            case AccountRegistered(account=account, id=number, bus=bus):
                found[number] = account, bus
            case RoleAccepted(role=role, holder=holder) if role == Role.UTILITY:
                found[UTILITY_ID] = holder, 0
    return found


def _put_accounts(database: sqlite3.Connection, record: Record) -> None:
    """Who takes part: at most a few thousand, so that they are written anew."""
    database.execute("DELETE FROM accounts")
    rows = [(number, address, bus) for number, (address, bus) in holders(record).items()]
    database.executemany("INSERT INTO accounts VALUES (?, ?, ?)", rows)


def _put(database: sqlite3.Connection, entry: Entry) -> None:
    row = (entry.block, entry.log, entry.kind, entry.slot)
    number = database.execute(
        "INSERT INTO entries (block, log, kind, slot) VALUES (?, ?, ?, ?)", row
    ).lastrowid
    for booking in entry.bookings:
        if abs(booking.amount_neur) > COLUMN_MAX_NEUR:
            raise JournalError(f"{entry.where}: {booking.amount_neur} n€ are more than a column holds")
        values = (number, booking.account, booking.cause, booking.amount_neur)
        database.execute("INSERT INTO postings VALUES (?, ?, ?, ?)", values)
