"""Bills: each payment taken apart as `wattbook audit explain` does, by its place on the chain.

UnknownPaymentError   nothing was paid at this place, or the record is not at hand
"""

from __future__ import annotations

from dataclasses import asdict

from ledger.audit.explain import ExplainError, Explanation, explain
from ledger.record import Record
from node.api.archive import Archive
from node.api.models import BillLineResource, BillResource
from node.api.projection import Projection


class UnknownPaymentError(LookupError):
    """Nothing was paid at this place, or the record is not at hand."""


class Bills:
    """Bills of the market of an archive. Without one there are none."""

    def __init__(self, projection: Projection, archive: Archive | None) -> None:
        self._projection, self._archive = projection, archive

    def find(self, place: str) -> tuple[Explanation, Record]:
        """The payment at `BLOCK:LOG`, and the record that shows it. Raises UnknownPaymentError."""
        archive = self._archive
        if archive is None:
            raise UnknownPaymentError(f"payment {place}: the record is not at hand")
        block, log = map(int, place.split(":"))
        if not archive.finished:  # whose record is not read again for a place that nobody was paid at
            paid = {(each.block, each.log) for each in self._projection.payments()}
            if (block, log) not in paid:
                raise UnknownPaymentError(f"payment {place}: no account was settled there")
        record = archive.reaching(block)
        try:
            return explain(record, place), record
        except ExplainError as refusal:
            raise UnknownPaymentError(str(refusal)) from None

    def resource(self, place: str) -> BillResource:
        """A payment line by line. Raises UnknownPaymentError."""
        found, _ = self.find(place)
        return BillResource(
            place=found.place,
            slot=found.slot,
            account=found.account,
            heading=found.heading,
            sentence=found.sentence,
            lines=[BillLineResource(**asdict(line)) for line in found.lines],
            total_neur=found.total_neur,
            posted_neur=found.posted_neur,
            flat_neur=found.flat_neur,
            flat_sentence=found.flat_sentence,
        )
