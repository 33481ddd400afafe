"""The journal as files for others: CSV and Parquet for tables, and plain text for beancount.

Beancount is run by who has it, in a place of its own; nothing of it is needed here. In its text the exchange
keeps the books: tokens are its assets, balances what it owes. Nothing is rounded, and the tolerance is 0.

NotInstalledError   a form of file needs an extra that is not there; the message says which
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ledger.journal import CLEARING, KINDS, TOKENS, Entry, JournalError, balances
from market.accounts import UTILITY_ID
from market.orders import Address
from market.units import NEUR_PER_EUR

CURRENCY = "EUR"


class NotInstalledError(JournalError):
    """What writes this form of file is not installed."""


def to_csv(booked: Sequence[Entry]) -> str:
    """One row a booking: place, time, kind, slot, account, cause, n€."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("place", "time", "kind", "slot", "account", "cause", "amount_neur"))
    for entry in booked:
        slot = "" if entry.slot is None else entry.slot
        for booking in entry.bookings:
            place = (entry.where, _utc(entry).isoformat(), entry.kind, slot)
            rows.writerow((*place, _short(booking.account), booking.cause, booking.amount_neur))
    return out.getvalue()


def write_parquet(booked: Sequence[Entry], path: Path) -> None:
    """The same rows with types: n€ in 64 bits, times in UTC, no slot as null.

    Raises JournalError for an amount that fits no column, NotInstalledError, OSError.
    """
    try:
        import pyarrow  # noqa: PLC0415 - an extra, which loads slowly
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError:
        raise NotInstalledError("Parquet needs an extra: pip install 'wattbook[parquet]'") from None

    word = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    kinds = (
        ("place", pyarrow.string()),
        ("time", pyarrow.timestamp("ms", tz="UTC")),
        ("kind", word),
        ("slot", pyarrow.int64()),
        ("account", word),
        ("cause", word),
        ("amount_neur", pyarrow.int64()),
    )
    rows = [
        (entry.where, _utc(entry), entry.kind, entry.slot, _short(each.account), each.cause, each.amount_neur)
        for entry in booked
        for each in entry.bookings
    ]
    try:
        columns = [pyarrow.array([row[i] for row in rows], kind) for i, (_, kind) in enumerate(kinds)]
    except OverflowError:
        raise JournalError(f"{path}: an amount is more than a column holds") from None
    parquet.write_table(pyarrow.table(columns, names=[name for name, _ in kinds]), path)


def to_beancount(booked: Sequence[Entry], title: str, remark: str, addresses: Mapping[int, Address]) -> str:
    """A ledger that opens every account, has one transaction an entry, and asserts every balance.

    `remark`, one line, stands above it all: what was verified of the amounts. `addresses` by account go with
    the accounts as metadata.
    """
    return "\n".join((f"; {remark}", *_beancount(booked, title, addresses))) + "\n"


def _beancount(booked: Sequence[Entry], title: str, addresses: Mapping[int, Address]) -> Iterator[str]:
    yield f'option "title" "{title}"'
    yield f'option "operating_currency" "{CURRENCY}"'
    yield f'option "inferred_tolerance_default" "{CURRENCY}:0"'
    yield 'option "tolerance_multiplier" "0"'
    yield ""
    if not booked:
        return
    totals = balances(booked)
    first, last = _utc(booked[0]).date(), _utc(booked[-1]).date()
    for account in sorted(totals):
        yield f"{first} open {_account(account)} {CURRENCY}"
        if account in addresses:
            yield f'  address: "{addresses[account]}"'
    for entry in booked:
        yield ""
        slot = "" if entry.slot is None else f" of slot {entry.slot}"
        yield f'{_utc(entry).date()} * "{entry.kind}{slot}"'
        yield f'  place: "{entry.where}"'
        for booking in entry.bookings:
            yield f"  {_account(booking.account)}  {_amount(-booking.amount_neur)} {CURRENCY}"
            yield f'    cause: "{booking.cause}"'
    yield ""
    for account in sorted(totals):
        asserted = f"{_amount(-totals[account])} ~ 0 {CURRENCY}"
        yield f"{last + timedelta(days=1)} balance {_account(account)}  {asserted}"


def _utc(entry: Entry) -> datetime:
    return datetime.fromtimestamp(entry.time, UTC)


def _short(account: int) -> str:
    return KINDS.get(account, str(account))


def _account(account: int) -> str:
    """An account's name: what the exchange has are assets, what it owes liabilities."""
    named = {TOKENS: "Assets:Tokens", CLEARING: "Liabilities:Clearing", UTILITY_ID: "Liabilities:Utility"}
    return named.get(account, f"Liabilities:Account{account}")


def _amount(neur: int) -> str:
    whole, part = divmod(abs(neur), NEUR_PER_EUR)
    return f"{'-' if neur < 0 else ''}{whole}.{part:09}"
