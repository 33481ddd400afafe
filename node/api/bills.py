"""Bills of a finished record: each payment taken apart as `wattbook audit explain` does, by its place."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ledger.audit.explain import ExplainError, Explanation, explain
from ledger.record import Record
from node.api.models import BillLineResource, BillResource


class UnknownPaymentError(LookupError):
    """Nothing was paid at this place, or the record is not at hand."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A record that grows no more, and what commands on it name."""

    record: Record
    name: str


def explained(finished: Finished | None, place: str) -> Explanation:
    """The payment at `BLOCK:LOG`. Raises UnknownPaymentError."""
    if finished is None:
        raise UnknownPaymentError(
            f"payment {place}: of a market that goes on, `wattbook audit explain URL {place}` tells the bill"
        )
    try:
        return explain(finished.record, place)
    except ExplainError as refusal:
        raise UnknownPaymentError(str(refusal)) from None


def bill_resource(found: Explanation) -> BillResource:
    """A payment line by line."""
    return BillResource(
        place=found.place,
        slot=found.slot,
        account=found.account,
        heading=found.heading,
        lines=[BillLineResource(**asdict(line)) for line in found.lines],
        total_neur=found.total_neur,
        posted_neur=found.posted_neur,
        flat_neur=found.flat_neur,
        flat_sentence=found.flat_sentence,
    )
