"""Logs of the exchange as the records of `market.orders` and `market.events`, and back.

`decode` answers for any log of the contract, `encode` writes the log that the contract would write:
the twin's events and the chain's are the same values, and an audit can move between both.

UnknownEventError   the first topic is no event of the contract
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import get_args

import contracts
from ledger.abi import EventCodec, event_codec
from ledger.chain.protocol import Log
from market.events import Event
from market.orders import Address


class UnknownEventError(ValueError):
    """The log is no event of the exchange."""


@cache
def codecs() -> dict[bytes, EventCodec]:
    """Codec of each event by topic. Raises AbiMismatchError where records and ABI disagree."""
    entries = {entry["name"]: entry for entry in contracts.load("Exchange").abi if entry["type"] == "event"}
    by_name = {record.__name__: record for record in get_args(Event)}
    unmatched = entries.keys() ^ by_name.keys()
    if unmatched:
        raise UnknownEventError(f"ABI and records differ in: {', '.join(sorted(unmatched))}")
    built = [event_codec(entry, by_name[name]) for name, entry in entries.items()]
    return {codec.topic: codec for codec in built}


@cache
def _by_record() -> dict[type, EventCodec]:
    records = {record.__name__: record for record in get_args(Event)}
    return {records[codec.name]: codec for codec in codecs().values()}


def topic(record: type) -> bytes:
    """First topic of an event's logs."""
    return _by_record()[record].topic


def decode(topics: Sequence[bytes], data: bytes) -> Event:
    """The event of a log's topics and data. Raises UnknownEventError, AbiDecodeError."""
    codec = codecs().get(topics[0]) if topics else None
    if codec is None:
        raise UnknownEventError(
            f"no event of the exchange has the topic 0x{topics[0].hex() if topics else ''}"
        )
    event: Event = codec.decode(topics, data)
    return event


def encode(event: Event) -> tuple[tuple[bytes, ...], bytes]:
    """Topics and data of the log that records an event. Raises AbiError."""
    return _by_record()[type(event)].encode(event)


def events_of(logs: Iterable[Log], address: Address) -> tuple[Event, ...]:
    """Events of the exchange at `address`, in order; logs of other contracts are passed over."""
    return tuple(decode(log.topics, log.data) for log in logs if log.address == address)
