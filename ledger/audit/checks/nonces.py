"""`nonces`: an order's nonce is used once, and no transaction of a sender is missing between two others.

An order's nonce is unique per trader and slot; placing or cancelling consumes it. A sender's transaction
nonces count up by one; who left one out of a record left a gap.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, at, compare
from ledger.record import Record
from market.findings import Finding
from market.orders import Address, NonceCancelled, OrderPlaced

NAME = "nonces"
GAP = "a transaction is missing, out of order, or of a kind that is not read here"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict an order, cancel and transaction."""
    yield from _orders(record)
    yield from _transactions(record)


def _orders(record: Record) -> Iterator[Verdict]:
    """A nonce is placed once, and not after it was cancelled."""
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


def _transactions(record: Record) -> Iterator[Verdict]:
    """Nonces of everybody who called the exchange."""
    callers = {sent.sender for sent in record.sent if sent.call is not None or sent is record.creation}
    next_nonce: dict[Address | None, int] = {}
    for sent in record.sent:
        if sent.signed is not None and sent.sender in callers:
            nonce = sent.signed.transaction.nonce
            expected = next_nonce.get(sent.sender, nonce)
            what = f"{sent.where} nonce of {sent.sender}"
            yield compare(NAME, what, expected, nonce, difference=GAP)
            next_nonce[sent.sender] = nonce + 1
