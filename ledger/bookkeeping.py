"""The journal as files for others: CSV for tables, and plain text for beancount.

Beancount is run by who has it, in a place of its own; nothing of it is needed here. In its text the exchange
keeps the books: tokens are its assets, balances what it owes. Nothing is rounded, and the tolerance is 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from ledger.journal import CLEARING, TOKENS, Entry, balances
from market.accounts import UTILITY_ID
from market.units import NEUR_PER_EUR

CURRENCY = "EUR"


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


def to_beancount(booked: Sequence[Entry], title: str) -> str:
    """A ledger that opens every account, has one transaction an entry, and asserts every balance."""
    return "\n".join(_beancount(booked, title)) + "\n"


def _beancount(booked: Sequence[Entry], title: str) -> Iterator[str]:
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
    return {TOKENS: "tokens", CLEARING: "clearing", UTILITY_ID: "utility"}.get(account, str(account))


def _account(account: int) -> str:
    """An account's name: what the exchange has are assets, what it owes liabilities."""
    named = {TOKENS: "Assets:Tokens", CLEARING: "Liabilities:Clearing", UTILITY_ID: "Liabilities:Utility"}
    return named.get(account, f"Liabilities:Account{account}")


def _amount(neur: int) -> str:
    whole, part = divmod(abs(neur), NEUR_PER_EUR)
    return f"{'-' if neur < 0 else ''}{whole}.{part:09}"
