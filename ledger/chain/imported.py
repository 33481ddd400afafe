"""Blocks that somebody else built: taken apart, and checked against their parent and against a run.

BlockRefused   the block breaks a rule; the message names it
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import rlp
from rlp.codec import consume_length_prefix

from ledger.chain.encoding import EncodingError, Header, Withdrawal, decode_header, decode_withdrawal
from ledger.chain.protocol import ChainError
from ledger.chain.rules import (
    EMPTY_UNCLES_HASH,
    EXTRA_DATA_MAX_BYTES,
    GAS_LIMIT_CHANGE_DENOMINATOR,
    GAS_LIMIT_MIN,
    Fork,
    blank_header,
    blob_rules,
    next_base_fee,
)
from ledger.transactions import SignedTransaction, TransactionFormatError, decode_transaction


class BlockRefused(ChainError):  # noqa: N818 (it says what happened)
    """The block is not one of this chain."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A block as it came: its header, transactions and withdrawals, none of them believed yet."""

    header: Header
    transactions: tuple[SignedTransaction, ...]
    withdrawals: tuple[Withdrawal, ...]


def split_blocks(exported: bytes) -> Iterator[bytes]:
    """RLP of each block in a file of blocks one after another, as Geth exports them. Raises BlockRefused."""
    start = 0
    while start < len(exported):
        try:
            _, _, length, payload = consume_length_prefix(exported, start)
        except (rlp.exceptions.DecodingError, IndexError) as failure:
            raise BlockRefused(f"blocks: malformed RLP at byte {start}: {failure}") from None
        if payload + length > len(exported):
            raise BlockRefused(f"blocks: cut off in the block at byte {start}")
        yield exported[start : payload + length]
        start = payload + length


def decode_block(encoded: bytes) -> Foreign:
    """Take the RLP of a block apart. Raises BlockRefused."""
    try:
        items = rlp.decode(encoded)
    except rlp.exceptions.RLPException as failure:
        raise BlockRefused(f"block: malformed RLP: {failure}") from None
    if not isinstance(items, list) or len(items) not in (3, 4) or not all(isinstance(i, list) for i in items):
        raise BlockRefused("block: not header, transactions, uncles and withdrawals")
    header_items, transactions, uncles, *rest = items
    if uncles:
        raise BlockRefused("block: has uncles")
    try:
        header = decode_header(rlp.encode(header_items))
        if bool(rest) != (header.withdrawals_root is not None):
            raise BlockRefused("block: withdrawals do not go with the header")
        return Foreign(
            header,
            tuple(decode_transaction(_raw(item)) for item in transactions),
            tuple(decode_withdrawal(item) for item in (rest[0] if rest else [])),
        )
    except (EncodingError, TransactionFormatError) as failure:
        raise BlockRefused(f"block: {failure}") from None


def _raw(item: Any) -> bytes:
    """Bytes of a transaction in a block: typed ones are strings there, others lists."""
    raw: bytes = item if isinstance(item, bytes) else rlp.encode(item)
    return raw


def check_header(header: Header, parent: Header, fork: Fork) -> None:
    """Check what a header says before anything is executed (EIP-1559, 3675, 4844). Raises BlockRefused."""
    expected = blank_header(parent, header.timestamp, header.gas_limit, next_base_fee(parent), fork)
    for name in ("parent_hash", "number", "difficulty", "nonce", "base_fee", "excess_blob_gas"):
        _check(header, name, getattr(expected, name))
    _check(header, "uncles_hash", EMPTY_UNCLES_HASH)
    for field in fields(Header):
        if (getattr(header, field.name) is None) != (getattr(expected, field.name) is None):
            raise BlockRefused(f"block {header.number}: {field.name} does not go with {fork.name.lower()}")
    if header.timestamp <= parent.timestamp:
        raise BlockRefused(f"block {header.number}: timestamp {header.timestamp} is not after its parent's")
    change = abs(header.gas_limit - parent.gas_limit)
    if change and change >= parent.gas_limit // GAS_LIMIT_CHANGE_DENOMINATOR:
        raise BlockRefused(f"block {header.number}: the gas limit changes by {change}")
    if header.gas_limit < GAS_LIMIT_MIN:
        raise BlockRefused(f"block {header.number}: the gas limit is {header.gas_limit}")
    if len(header.extra_data) > EXTRA_DATA_MAX_BYTES:
        raise BlockRefused(f"block {header.number}: {len(header.extra_data)} bytes of extra data")
    if (header.blob_gas_used or 0) > blob_rules(fork).max_gas:
        raise BlockRefused(f"block {header.number}: blob gas {header.blob_gas_used}")


def check_run(header: Header, computed: Header) -> None:
    """Check that a header says what executing its block came to. Raises BlockRefused."""
    for field in fields(Header):
        _check(header, field.name, getattr(computed, field.name))


def _check(header: Header, name: str, expected: bytes | int | None) -> None:
    found = getattr(header, name)
    if found != expected:
        raise BlockRefused(f"block {header.number}: {name} is {_shown(found)}, not {_shown(expected)}")


def _shown(value: bytes | int | None) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
