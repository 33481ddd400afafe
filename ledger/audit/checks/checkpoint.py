"""`checkpoint`: the record's head is the block that the auditor knows from elsewhere.

Only this finds an omission: a bundle that ends too early, or one of another chain. Without a head to
compare with, the report says that the head is assumed to be the chain's.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.verdict import Verdict, compare
from ledger.record import Record

NAME = "checkpoint"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict, none where no head is known."""
    if record.known_head is not None:
        head = record.blocks[-1]
        yield compare(
            NAME,
            f"head, block {head.number}",
            record.known_head,
            head.hash,
            difference="the record ends elsewhere: cut short, or another chain",
            hint="take the bundle again, or ask who gave the hash",
        )
