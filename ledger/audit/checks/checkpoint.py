"""`checkpoint`: the record's head is the block that the auditor knows, by its hash or from who signed it.

Only this finds an omission: a bundle that ends too early, or one of another chain. Without a hash or a key to
compare with, the report says that the head is assumed to be the chain's.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, compare
from ledger.record import Record
from market.findings import Finding

NAME = "checkpoint"
_NEXT = "take the bundle again, or ask who gave the hash"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict for a known head and one a known key; none where nothing is known."""
    if record.known_head is not None:
        head = record.blocks[-1]
        yield compare(
            NAME,
            f"head, block {head.number}",
            record.known_head,
            head.hash,
            difference="the record ends elsewhere: cut short, or another chain",
            hint=_NEXT,
        )
    checkpoint = record.bundle.checkpoint
    for key in record.known_keys:
        signed = any(
            each.is_of(key) and key.verifies(checkpoint.text, each.signature)
            for each in checkpoint.signatures
        )
        names = ", ".join(each.name for each in checkpoint.signatures) or "nobody"
        found = f"signed by {names}"
        yield PASSED if signed else Finding(NAME, "checkpoint", f"signed by {key}", found, "not by this key")
