"""What the certificates of a record say of themselves: of which feeder they are, and how much they claim.

Whether they are right is for the checks `charges` and `prices`; what cannot be read here is a finding there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ledger.audit.checks import responses
from ledger.record import Record
from market.events import ChargesPosted, PricesPosted
from market.feeder.model import Feeder
from market.pricing.certificate import Accuracy, Claim, decode, decode_inputs

PROOFS_READ = 64
"""Files that stay read: those of a day that was cleared together prove many slots."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """Charges or prices of a slot with what their certificate claims; `feeder` has its name and its hash."""

    slot: int
    kind: str
    feeder: tuple[str, bytes]
    claim: Claim
    accuracy: Accuracy


@lru_cache(maxsize=4)
def clearings(record: Record) -> tuple[Clearing, ...]:
    """The clearings whose certificates and inputs the record has, in chain order."""
    found = []
    for posted in record.posted:
        feeder = feeder_of(record.bundle.inputs.get(posted.input_hash))
        claims = _claims(record.bundle.certificates.get(posted.certificate_hash))
        if feeder is not None and claims is not None:
            found.append(Clearing(posted.slot, _kind(posted), (feeder.name, feeder.hash), *claims))
    return tuple(found)


def unproved(record: Record) -> dict[str, set[int]]:
    """Slots by kind, charges or prices, whose certificate or inputs a node's record lacks.

    In a bundle each such file is a finding, so that there is nothing to be told here.
    """
    slots: dict[str, set[int]] = {}
    missing = set() if record.proves_itself else {digest for _, digest in record.proofs_missing}
    for posted in record.posted:
        if not missing.isdisjoint((posted.certificate_hash, posted.input_hash)):
            slots.setdefault(_kind(posted), set()).add(posted.slot)
    return slots


def _kind(posted: ChargesPosted | PricesPosted) -> str:
    return "charges" if isinstance(posted, ChargesPosted) else "prices"


@lru_cache(maxsize=PROOFS_READ)
def feeder_of(given: bytes | None) -> Feeder | None:
    """The feeder that a clearing's inputs name, None where they are not there or cannot be read."""
    if given is None:
        return None
    try:
        answered = responses.read(given)
        return decode_inputs(given)[0] if answered is None else answered.feeder
    except ValueError:
        return None


@lru_cache(maxsize=PROOFS_READ)
def _claims(proof: bytes | None) -> tuple[Claim, Accuracy] | None:
    if proof is None:
        return None
    try:
        certified = decode(proof)
    except ValueError:
        return None
    return certified.claim, certified.accuracy
