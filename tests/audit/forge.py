"""Consistent forgeries: change what a bundle says, then rebuild every root, bloom, hash and digest.

A forger has no key but the senders' he invents, so transactions keep their bytes unless a test drops
one. What is left to find is the rule that the lie breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import rlp

from ledger import events
from ledger.address import address_bytes
from ledger.bundle import Bundle
from ledger.chain.encoding import decode_header, encode_receipt, ordered_root, receipt_bloom, union
from ledger.keccak import keccak
from ledger.keys import Key
from ledger.record import Logged, Record, Sent
from ledger.token import transfer_codec
from ledger.transactions import sign_transaction
from market.events import Event

RawLog = tuple[bytes, tuple[bytes, ...], bytes]


@dataclass(frozen=True)
class Place:
    """A log by its transaction and its number in that transaction's receipt."""

    block: int
    transaction: int
    log: int


def found(record: Record, kind: type[Event], number: int = 0) -> tuple[Logged, Event]:
    """The event of a kind with this number, in chain order."""
    logged = [each for each in record.logged if isinstance(each.event, kind)][number]
    assert logged.event is not None
    return logged, logged.event


def place_of(record: Record, logged: Logged) -> Place:
    """Where to find a log in its receipt."""
    for sent in record.sent:
        if logged in sent.logs:
            return Place(sent.block, sent.index, sent.logs.index(logged))
    raise LookupError(logged.where)


def change_event(bundle: Bundle, record: Record, logged: Logged, event: Event | None) -> Bundle:
    """Put another event in a log's place, or take the log away; roots are rebuilt."""
    place = place_of(record, logged)

    def edit(logs: list[RawLog]) -> list[RawLog]:
        if event is None:
            return logs[: place.log] + logs[place.log + 1 :]
        topics, data = events.encode(event)
        return [*logs[: place.log], (logs[place.log][0], topics, data), *logs[place.log + 1 :]]

    return rebuilt(edit_receipt(bundle, place, edit), place.block)


def change_status(bundle: Bundle, block: int, index: int, status: int) -> Bundle:
    """Let a call have failed, which leaves no logs, or have succeeded without any; roots are rebuilt."""
    return rebuilt(edit_receipt(bundle, Place(block, index, 0), lambda _: [], status), block)


def edit_receipt(
    bundle: Bundle,
    place: Place,
    edit: Callable[[list[RawLog]], list[RawLog]],
    new_status: int | None = None,
) -> Bundle:
    """Change a receipt's logs with its bloom, and its status; roots are left as they were."""
    at = place.block - bundle.manifest.first_block
    raw = bundle.receipts[at][place.transaction]
    kind = raw[0] if raw[0] < 0x80 else 0
    status, cumulative, _, logs = rlp.decode(raw[1:] if kind else raw)
    edited = edit([(address, tuple(topics), data) for address, topics, data in logs])
    state = int.from_bytes(status, "big") if new_status is None else new_status
    receipt = encode_receipt(kind, state, int.from_bytes(cumulative, "big"), edited)
    block = list(bundle.receipts[at])
    block[place.transaction] = receipt
    return replace(bundle, receipts=_put(bundle.receipts, at, tuple(block)))


def scale_tokens(bundle: Bundle, record: Record, divisor: int) -> Bundle:
    """Let the token have moved a fraction of every amount that came to the exchange or left it."""
    exchange, token = address_bytes(record.exchange), address_bytes(record.token)

    def scaled(log: RawLog) -> RawLog:
        address, topics, data = log
        moved = address == token and exchange in {topic[-len(exchange) :] for topic in topics}
        is_transfer = topics[0] == transfer_codec().topic
        units = int.from_bytes(data, "big") // divisor
        return (address, topics, units.to_bytes(len(data), "big")) if moved and is_transfer else log

    for sent in record.sent:
        if sent.logs:
            place = Place(sent.block, sent.index, 0)
            bundle = edit_receipt(bundle, place, lambda logs: [scaled(log) for log in logs])
    return rebuilt(bundle, bundle.manifest.first_block)


def rebuilt(bundle: Bundle, first: int) -> Bundle:
    """Make headers true again from block `first` on: roots, blooms, parents, and the checkpoint."""
    headers = list(bundle.headers)
    start = first - bundle.manifest.first_block
    for at in range(start, len(headers)):
        header = decode_header(headers[at])
        headers[at] = replace(
            header,
            parent_hash=keccak(headers[at - 1]) if at else header.parent_hash,
            transactions_root=ordered_root(bundle.transactions[at]),
            receipts_root=ordered_root(bundle.receipts[at]),
            logs_bloom=union(receipt_bloom(raw) for raw in bundle.receipts[at]),
        ).encode()
    return with_headers(bundle, headers)


def with_headers(bundle: Bundle, headers: Sequence[bytes]) -> Bundle:
    """Other headers, and the checkpoint that fits the last of them."""
    head = decode_header(headers[-1])
    checkpoint = replace(bundle.checkpoint, number=head.number, hash=keccak(headers[-1]))
    return replace(bundle, headers=tuple(headers), checkpoint=checkpoint)


def without_transaction(bundle: Bundle, block: int, index: int) -> Bundle:
    """Leave one transaction of a block away, with its gas, and make the rest fit."""
    at = block - bundle.manifest.first_block
    transactions = bundle.transactions[at][:index] + bundle.transactions[at][index + 1 :]
    receipts = bundle.receipts[at][:index] + bundle.receipts[at][index + 1 :]
    assert len(transactions) == index, "only the last of a block, whose gas nothing follows"
    gas_used = int.from_bytes(rlp.decode(receipts[-1][1:])[1], "big") if receipts else 0
    headers = list(bundle.headers)
    headers[at] = replace(decode_header(headers[at]), gas_used=gas_used).encode()
    shorter = replace(
        bundle,
        headers=tuple(headers),
        transactions=_put(bundle.transactions, at, transactions),
        receipts=_put(bundle.receipts, at, receipts),
    )
    return rebuilt(shorter, block)


def with_unreadable(bundle: Bundle, block: int) -> Bundle:
    """Put bytes that cannot be read at the end of a block, as a transaction that failed and cost nothing."""
    at = block - bundle.manifest.first_block
    receipts = bundle.receipts[at]
    gas_used = int.from_bytes(rlp.decode(receipts[-1][1:])[1], "big") if receipts else 0
    longer = replace(
        bundle,
        transactions=_put(bundle.transactions, at, (*bundle.transactions[at], b"\x04" + bytes(40))),
        receipts=_put(bundle.receipts, at, (*receipts, encode_receipt(4, 0, gas_used, []))),
    )
    return rebuilt(longer, block)


def cut_short(bundle: Bundle, blocks: int) -> Bundle:
    """Leave the last blocks away, with a checkpoint that fits."""
    kept = len(bundle.headers) - blocks
    shorter = replace(
        bundle,
        headers=bundle.headers[:kept],
        transactions=bundle.transactions[:kept],
        receipts=bundle.receipts[:kept],
    )
    return rebuilt(shorter, bundle.manifest.first_block + kept)


def begun_late(bundle: Bundle, first: int) -> Bundle:
    """Leave the first blocks away: no forgery, since a record may begin at any block up to the deployment."""
    parts = {name: getattr(bundle, name)[first:] for name in ("headers", "transactions", "receipts")}
    return replace(bundle, manifest=replace(bundle.manifest, first_block=first), **parts)


def _put(
    blocks: Sequence[tuple[bytes, ...]], at: int, block: tuple[bytes, ...]
) -> tuple[tuple[bytes, ...], ...]:
    return (*blocks[:at], block, *blocks[at + 1 :])


# --- more events, other calls, other times ------------------------------------------------------


def insert_event(bundle: Bundle, record: Record, after: Logged, event: Event) -> Bundle:
    """Let a transaction have told one event more, after a log of its; roots are rebuilt."""
    place = place_of(record, after)
    topics, data = events.encode(event)

    def edit(logs: list[RawLog]) -> list[RawLog]:
        added = (address_bytes(record.exchange), topics, data)
        return [*logs[: place.log + 1], added, *logs[place.log + 1 :]]

    return rebuilt(edit_receipt(bundle, place, edit), place.block)


def change_call(bundle: Bundle, sent: Sent, sender: Key, **other: Any) -> Bundle:
    """Let the same sender have sent something else with the same nonce, signed again; roots are rebuilt."""
    assert sent.signed is not None
    assert sent.sender == sender.address
    return put_transaction(bundle, sent, sign_transaction(sender, replace(sent.signed.transaction, **other)))


def put_transaction(bundle: Bundle, sent: Sent, raw: bytes) -> Bundle:
    """Put other bytes in a transaction's place; roots are rebuilt."""
    at = sent.block - bundle.manifest.first_block
    block = (*bundle.transactions[at][: sent.index], raw, *bundle.transactions[at][sent.index + 1 :])
    return rebuilt(replace(bundle, transactions=_put(bundle.transactions, at, block)), sent.block)


def swap_transactions(bundle: Bundle, block: int) -> Bundle:
    """Turn the first two transactions of a block around, receipts and their gas too; roots are rebuilt."""
    at = block - bundle.manifest.first_block
    first, second, *rest = bundle.transactions[at]
    receipts = [rlp.decode(raw[1:]) for raw in bundle.receipts[at]]
    gas = [int.from_bytes(cumulative, "big") for _, cumulative, _, _ in receipts[:2]]
    turned = [
        encode_receipt(raw[0], int.from_bytes(receipt[0], "big"), used, receipt[3])
        for raw, receipt, used in zip(
            bundle.receipts[at][1::-1], receipts[1::-1], (gas[1] - gas[0], gas[1]), strict=True
        )
    ]
    swapped = replace(
        bundle,
        transactions=_put(bundle.transactions, at, (second, first, *rest)),
        receipts=_put(bundle.receipts, at, (*turned, *bundle.receipts[at][2:])),
    )
    return rebuilt(swapped, block)


def change_header(bundle: Bundle, block: int, **other: Any) -> Bundle:
    """Let a header say something else; those after it follow, roots and blooms of this one do not."""
    at = block - bundle.manifest.first_block
    header = replace(decode_header(bundle.headers[at]), **other).encode()
    changed = replace(bundle, headers=(*bundle.headers[:at], header, *bundle.headers[at + 1 :]))
    return rebuilt(changed, block + 1)


def shift_times(bundle: Bundle, first: int, seconds: int) -> Bundle:
    """Let all blocks from one on have come later; roots are rebuilt."""
    at = first - bundle.manifest.first_block
    headers = [decode_header(raw) for raw in bundle.headers[at:]]
    later = [replace(header, timestamp=header.timestamp + seconds).encode() for header in headers]
    return rebuilt(replace(bundle, headers=(*bundle.headers[:at], *later)), first)


def same_second(bundle: Bundle) -> Bundle:
    """Let two blocks of the morning have come in one second, as local clients make them."""
    earlier = decode_header(bundle.headers[13]).timestamp
    return rebuilt(change_header(bundle, 14, timestamp=earlier), 14)
