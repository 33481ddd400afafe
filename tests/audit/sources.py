"""What a bill's lines may rest on: events of its slot and account, of the kinds that their words speak of."""

from __future__ import annotations

from ledger.audit.explain import Explanation, Line
from ledger.history import history
from ledger.record import Record
from market.events import (
    ChargesChunk,
    PricesChunk,
    ReadingEstimated,
    ReadingPosted,
    SlotsScheduled,
)
from market.orders import FillVetoed, OrdersFilled

KINDS: dict[str, set[type]] = {
    "vetoed": {FillVetoed},
    "bought": {OrdersFilled},
    "sold": {OrdersFilled},
    "network charge": {ChargesChunk, ReadingPosted, ReadingEstimated},
    "close-out": {PricesChunk, ReadingPosted, ReadingEstimated},
    "imbalance": {PricesChunk, SlotsScheduled, ReadingPosted, ReadingEstimated},
    "penalty": {OrdersFilled, ReadingPosted, ReadingEstimated},
}
"""By the word that a line begins with."""


def misplaced(record: Record, told: Explanation) -> list[Line]:
    """Lines that rest on nothing, on another slot, on events of another kind, or on somebody else's meter."""
    return [line for line in told.lines if not _rests(record, told, line)]


def _rests(record: Record, told: Explanation, line: Line) -> bool:
    slot = history(record).slots[told.slot]
    events = {logged.where: logged.event for logged in slot.logged}
    if slot.scheduled is not None:  # of several slots at once
        events[slot.scheduled.where] = slot.scheduled.event
    cited = [events.get(place) for place in line.source.split(", ")]
    kinds = next(kinds for word, kinds in KINDS.items() if line.what.removeprefix("less ").startswith(word))
    accounts = {getattr(event, "account", told.account) for event in cited}
    return {type(event) for event in cited} <= kinds and accounts == {told.account}
