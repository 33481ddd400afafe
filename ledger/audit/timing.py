"""Times of blocks, and whether something happened in its window."""

from __future__ import annotations

from ledger.audit.verdict import PASSED, Verdict, clock, text
from ledger.record import Record
from market.findings import Finding


def block_times(record: Record) -> dict[int, int]:
    """Time of each block."""
    return {block.number: block.header.timestamp for block in record.blocks}


def within(check: str, what: str, time: int, first: int, end: int | None) -> Verdict:
    """Whether first ≤ time < end."""
    if first <= time and (end is None or time < end):
        return PASSED
    window = f"{_told(first)} or later"
    if end is not None:
        window += f", before {_told(end)}"
    difference = "too early" if time < first else "too late"
    return Finding(check, what, window, _told(time), difference)


def _told(unix_seconds: int) -> str:
    return f"{text(unix_seconds)} ({clock(unix_seconds)})"
