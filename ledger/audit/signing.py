"""Whom a signature names, for the market that is audited."""

from __future__ import annotations

from ledger.eip712 import EncodingError, Message, digest
from ledger.keys import Signature, recover
from ledger.record import Record
from market.orders import Address


def signer(record: Record, message: Message, signature: Signature) -> Address | None:
    """Who signed a message for this market; None where nobody did."""
    try:
        return recover(digest(record.domain, message), signature)
    except EncodingError:
        return None
