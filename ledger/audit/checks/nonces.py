"""`nonces`: a nonce is unique per trader and slot; placing or cancelling consumes it."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, at
from ledger.record import Record
from market.findings import Finding
from market.orders import Address, NonceCancelled, OrderPlaced

NAME = "nonces"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict an order or cancel: a nonce is placed once, and not after it was cancelled."""
    placed: set[tuple[Address, int, int]] = set()
    cancelled: set[tuple[Address, int, int]] = set()
    for logged in record.logged:
        event = logged.event
        if not isinstance(event, OrderPlaced | NonceCancelled):
            continue
        key = (event.trader, event.slot, event.nonce)
        used = key in cancelled or (isinstance(event, OrderPlaced) and key in placed)
        what = f"{at(logged)} nonce {event.nonce} of {event.trader}"
        yield Finding(NAME, what, "a nonce not used", "used before", "replayed") if used else PASSED
        (placed if isinstance(event, OrderPlaced) else cancelled).add(key)
