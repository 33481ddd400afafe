"""Headers and receipts as bytes, and the roots that commit to them.

A block's hash is the Keccak-256 of its RLP header; the header commits to the transactions and receipts
by the root of a Merkle-Patricia trie over their index. Fork by fork headers only gained fields at the
end (Yellow Paper §4.4, EIP-1559, 4895, 4844, 4788, 7685), so one record with optional fields reads all.

EncodingError   the bytes are no header or receipt; the message says why
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import rlp

from ledger import rlp_bytes
from ledger.address import address_bytes, checksummed
from ledger.chain.protocol import Block, Log, Receipt
from ledger.chain.tries import Trie
from ledger.keccak import keccak
from ledger.transactions import SignedTransaction, decode_transaction
from market.orders import Address

BLOOM_BYTES = 256


class EncodingError(ValueError):
    """The bytes are not what they should encode."""


def number_bytes(value: int) -> bytes:
    """A number as RLP carries it: big-endian without leading zeros, nothing for 0."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


# --- headers ------------------------------------------------------------------------------------

_NUMBERS = {
    *("difficulty", "number", "gas_limit", "gas_used", "timestamp"),
    *("base_fee", "blob_gas_used", "excess_blob_gas"),
}
_LENGTHS = {"coinbase": 20, "logs_bloom": BLOOM_BYTES, "nonce": 8}
_HASH_BYTES = 32
"""Most bytes of a number, and those of whatever else has no length of its own."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block header. Fields of forks that the chain does not have yet are None."""

    parent_hash: bytes
    uncles_hash: bytes
    coinbase: bytes
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes
    logs_bloom: bytes
    difficulty: int
    number: int
    gas_limit: int
    gas_used: int
    timestamp: int
    extra_data: bytes
    mix_hash: bytes
    nonce: bytes
    base_fee: int | None = None
    withdrawals_root: bytes | None = None
    blob_gas_used: int | None = None
    excess_blob_gas: int | None = None
    parent_beacon_root: bytes | None = None
    requests_hash: bytes | None = None

    def encode(self) -> bytes:
        """RLP of the header, whose Keccak-256 is the block's hash."""
        values = [getattr(self, field.name) for field in fields(self)]
        items = [
            number_bytes(value) if isinstance(value, int) else value for value in values if value is not None
        ]
        encoded: bytes = rlp.encode(items)
        return encoded


def decode_header(encoded: bytes) -> Header:
    """Take an RLP header apart. Raises EncodingError, also where it is not in canonical form."""
    try:
        items = rlp.decode(encoded)
    except rlp.exceptions.RLPException as refusal:
        raise EncodingError(f"header: malformed RLP: {refusal}") from None
    names = [field.name for field in fields(Header)]
    if not isinstance(items, list) or not 15 <= len(items) <= len(names):
        raise EncodingError("header: not a list of 15 to 21 fields")
    if not all(isinstance(item, bytes) for item in items):
        raise EncodingError("header: a field is a list")
    for name, item in zip(names, items, strict=False):
        expected = len(item) if name == "extra_data" else _LENGTHS.get(name, _HASH_BYTES)
        if len(item) > expected or (len(item) < expected and name not in _NUMBERS):
            raise EncodingError(f"header: {name} has {len(item)} bytes instead of {expected}")
    values: list[Any] = [
        int.from_bytes(item, "big") if name in _NUMBERS else item
        for name, item in zip(names, items, strict=False)
    ]
    header = Header(*values)
    if header.encode() != encoded:
        raise EncodingError("header: a number has leading zeros")
    return header


# --- withdrawals --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Coins that a block brings from the consensus layer (EIP-4895). `amount_gwei` is credited to `to`."""

    index: int
    validator: int
    to: Address
    amount_gwei: int

    def encode(self) -> bytes:
        """RLP of the withdrawal."""
        numbers = [number_bytes(value) for value in (self.index, self.validator, self.amount_gwei)]
        encoded: bytes = rlp.encode([*numbers[:2], address_bytes(self.to), numbers[2]])
        return encoded


def decode_withdrawal(items: Any) -> Withdrawal:
    """A withdrawal from its RLP items. Raises EncodingError."""
    if not isinstance(items, list) or len(items) != 4 or not all(isinstance(item, bytes) for item in items):
        raise EncodingError("withdrawal: not four fields")
    index, validator, to, amount = items
    if len(to) != 20:
        raise EncodingError(f"withdrawal: an address of {len(to)} bytes")
    if any(item[:1] == b"\0" or len(item) > 8 for item in (index, validator, amount)):
        raise EncodingError("withdrawal: a field is no canonical 64-bit number")
    numbers = [int.from_bytes(item, "big") for item in (index, validator, amount)]
    return Withdrawal(numbers[0], numbers[1], checksummed(to), numbers[2])


# --- tries and blooms ---------------------------------------------------------------------------


def ordered_root(items: Sequence[bytes]) -> bytes:
    """Root of the trie that maps the RLP of each index to its item (Yellow Paper §4.4.2)."""
    trie = Trie({})
    for index, item in enumerate(items):
        trie.set(rlp_bytes.number(index), item)
    return trie.root()


def bloom(values: Iterable[bytes]) -> bytes:
    """Bloom filter of log addresses and topics, 256 bytes (Yellow Paper §4.4.1, M₃:₂₀₄₈)."""
    bits = 0
    for value in values:
        bits |= bloom_bits(value)
    return bits.to_bytes(BLOOM_BYTES, "big")


def bloom_bits(value: bytes) -> int:
    """The three bits of a value in a bloom filter."""
    digest, bits = keccak(value), 0
    for first in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[first : first + 2], "big") & 2_047)
    return bits


def union(blooms: Iterable[bytes]) -> bytes:
    """Bloom filter of a block: of all its receipts."""
    bits = 0
    for each in blooms:
        bits |= int.from_bytes(each, "big")
    return bits.to_bytes(BLOOM_BYTES, "big")


# --- receipts -----------------------------------------------------------------------------------

RawLog = tuple[bytes, tuple[bytes, ...], bytes]
"""Address, topics and data of a log as a receipt carries them."""


def encode_receipt(kind: int, status: int, cumulative_gas_used: int, logs: Sequence[RawLog]) -> bytes:
    """Consensus bytes of a receipt: RLP behind the transaction's type (EIP-2718, EIP-658)."""
    filter_bytes = bloom(value for address, topics, _ in logs for value in (address, *topics))
    items: list[rlp_bytes.Item] = [
        number_bytes(status),
        number_bytes(cumulative_gas_used),
        filter_bytes,
        [[address, list(topics), data] for address, topics, data in logs],
    ]
    payload = rlp_bytes.encode(items)
    return bytes([kind]) + payload if kind else payload


def receipt_bloom(raw: bytes) -> bytes:
    """Bloom filter in a receipt's consensus bytes. Raises EncodingError."""
    filter_bytes: bytes = _receipt_items(raw)[1][2]
    return filter_bytes


def raw_receipt(receipt: Receipt) -> bytes:
    """Consensus bytes of a receipt that was read from a node or a chain."""
    logs = [(address_bytes(log.address), log.topics, log.data) for log in receipt.logs]
    return encode_receipt(receipt.type, receipt.status, receipt.cumulative_gas_used, logs)


def read_receipts(
    block: Block, raw_receipts: Sequence[bytes], signed: Sequence[SignedTransaction] | None = None
) -> tuple[Receipt, ...]:
    """All receipts of a block with what its transactions tell: sender, recipient, gas used, log numbers.

    `signed` are the transactions where they were decoded before.
    Raises EncodingError, and TransactionFormatError on a transaction that cannot be read.
    """
    if len(raw_receipts) != len(block.transactions):
        raise EncodingError(
            f"block {block.number}: {len(raw_receipts)} receipts, {len(block.transactions)} transactions"
        )
    receipts: list[Receipt] = []
    gas_before = first_log = 0
    for index, raw in enumerate(raw_receipts):
        transaction = decode_transaction(block.transactions[index]) if signed is None else signed[index]
        receipt = _read_receipt(block, index, transaction, raw, gas_before, first_log)
        gas_before = receipt.cumulative_gas_used
        first_log += len(receipt.logs)
        receipts.append(receipt)
    return tuple(receipts)


def _read_receipt(  # noqa: PLR0917 - a receipt and where it stands
    block: Block, index: int, signed: SignedTransaction, raw: bytes, gas_before: int, first_log: int
) -> Receipt:
    kind, items = _receipt_items(raw)
    if kind != signed.transaction.type:
        raise EncodingError(f"receipt {index}: type {kind} for a transaction of another type")
    if signed.sender is None:
        raise EncodingError(f"receipt {index}: nobody signed the transaction")
    status, cumulative, logs_bloom, logs = items
    cumulative_gas_used = int.from_bytes(cumulative, "big")
    return Receipt(
        transaction_hash=signed.hash,
        block_number=block.number,
        block_hash=block.hash,
        transaction_index=index,
        sender=signed.sender,
        to=signed.transaction.to,
        contract=created_address(signed),
        status=int.from_bytes(status, "big"),
        gas_used=cumulative_gas_used - gas_before,
        cumulative_gas_used=cumulative_gas_used,
        logs_bloom=logs_bloom,
        logs=tuple(
            Log(
                address=checksummed(address),
                topics=tuple(topics),
                data=data,
                block_number=block.number,
                block_hash=block.hash,
                transaction_hash=signed.hash,
                transaction_index=index,
                log_index=first_log + position,
            )
            for position, (address, topics, data) in enumerate(logs)
        ),
        type=kind,
    )


def envelope_type(raw: bytes) -> int:
    """Type of a transaction's or a receipt's bytes (EIP-2718), 0 for legacy ones."""
    return raw[0] if raw and raw[0] < rlp_bytes.STRING else 0


def _receipt_items(raw: bytes) -> tuple[int, list[Any]]:
    kind = envelope_type(raw)
    try:
        items = rlp.decode(raw[1:] if kind else raw)
    except rlp.exceptions.RLPException as refusal:
        raise EncodingError(f"receipt: malformed RLP: {refusal}") from None
    if not isinstance(items, list) or len(items) != 4 or not isinstance(items[3], list):
        raise EncodingError("receipt: not status, gas, bloom and logs")
    if not all(isinstance(log, list) and len(log) == 3 for log in items[3]):
        raise EncodingError("receipt: a log is not address, topics and data")
    return kind, items


def created_address(signed: SignedTransaction) -> Address | None:
    """Address of the contract a transaction creates (Yellow Paper §7), None for a call."""
    if signed.transaction.to is not None or signed.sender is None:
        return None
    parts = [address_bytes(signed.sender), number_bytes(signed.transaction.nonce)]
    return checksummed(keccak(rlp.encode(parts))[12:])


def make_block(header_rlp: bytes, transactions: Sequence[bytes], withdrawals: Sequence[bytes] = ()) -> Block:
    """Block record of an RLP header, raw transactions and the RLP of withdrawals. Raises EncodingError."""
    header = decode_header(header_rlp)
    return Block(
        number=header.number,
        hash=keccak(header_rlp),
        parent_hash=header.parent_hash,
        timestamp=header.timestamp,
        gas_limit=header.gas_limit,
        gas_used=header.gas_used,
        base_fee=header.base_fee or 0,
        header_rlp=header_rlp,
        transactions=tuple(transactions),
        transaction_hashes=tuple(keccak(raw) for raw in transactions),
        withdrawals=tuple(withdrawals),
    )
