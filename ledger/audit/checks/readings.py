"""`readings`: the first reading of an account in a slot is final, and came in time."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.timing import block_times, within
from ledger.audit.verdict import Verdict, at, compare
from ledger.history import history
from ledger.record import Record
from market.events import AccountSettled, ReadingPosted
from market.orders import Address

NAME = "readings"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict a reading: the first is final, in time, by class, before the account settles."""
    terms = history(record).terms
    final: set[tuple[Address, int]] = set()
    settled: set[tuple[Address, int]] = set()
    times = block_times(record)
    for logged in record.logged:
        event = logged.event
        if isinstance(event, AccountSettled):
            settled.add((event.account, event.slot))
        elif isinstance(event, ReadingPosted):
            key = (event.account, event.slot)
            what = f"{at(logged, terms)} reading of {event.account}"
            yield compare(NAME, f"{what}, first", False, key in final)
            yield compare(NAME, f"{what}, after settlement", False, key in settled)
            classes = len(terms.penalties_ueur_per_kwh)
            yield compare(NAME, f"{what}, classes", classes, len(event.certified))
            yield within(
                NAME, what, times[logged.log.block_number], terms.end(event.slot), terms.final(event.slot)
            )
            final.add(key)
