"""What random lives really did: calls that succeeded, rules that refused, and codes in events, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ledger import calls
from market.events import Event, ReadingEstimated, ReadingRejected
from market.orders import OrderRejected, OrderVoided, Reject, VoidReason
from market.settlement import Basis


class Tally(Counter[str]):
    """Counts by name: `calls` all of them, `PlaceOrder`, `veto: not the last fill`, `voided: EXPIRED`."""

    def note(self, call: calls.Call, answer: tuple[Event, ...] | str) -> None:
        """Count a call and what it answered."""
        self["calls"] += 1
        if isinstance(answer, str):
            self[answer] += 1
            return
        self[type(call).__name__] += 1
        self.update(_codes(answer))


def _codes(events: Iterable[Event]) -> Iterable[str]:
    for event in events:
        yield f"event: {type(event).__name__}"
        match event:
            case OrderRejected():
                yield f"rejected: {Reject(event.code).name}"
            case OrderVoided():
                yield f"voided: {VoidReason(event.reason).name}"
            case ReadingRejected():
                yield f"reading: {event.code}"
            case ReadingEstimated():
                yield f"estimated: {Basis(event.basis).name}"
            case _:
                pass
