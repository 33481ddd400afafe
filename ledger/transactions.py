"""Ethereum transactions as bytes: legacy (EIP-155), access-list (EIP-2930), fee-market (EIP-1559), blob
(EIP-4844) ones.

TransactionFormatError   the bytes are no transaction of these types; the message says why
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import rlp

from ledger import rlp_bytes
from ledger.address import address_bytes, checksummed
from ledger.keccak import keccak
from ledger.keys import Key, Signature, recover
from market.orders import Address

AccessList = tuple[tuple[Address, tuple[bytes, ...]], ...]

LEGACY, ACCESS_LIST, FEE_MARKET, BLOB = 0, 1, 2, 3
SET_CODE = 4
"""EIP-7702; refused."""
BLOB_HASH_VERSION = 1
BLOB_FIELDS = 14


class TransactionFormatError(ValueError):
    """The bytes are not a transaction of a known type, or not in canonical form."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a sender signs. Fees in wei per gas; a legacy or access-list one has both fees equal.

    `to` is None for a creation. `chain_id` None is a legacy transaction without replay protection.
    """

    chain_id: int | None
    nonce: int
    to: Address | None
    data: bytes = b""
    value: int = 0
    gas: int = 21_000
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    access_list: AccessList = ()
    type: int = FEE_MARKET
    max_fee_per_blob_gas: int = 0
    blob_hashes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction with its signature, hash and raw bytes (EIP-2718). `sender` None: nobody signed it."""

    transaction: Transaction
    signature: Signature
    v: int
    raw: bytes
    hash: bytes
    sender: Address | None


def sign_transaction(key: Key, transaction: Transaction) -> bytes:
    """Raw bytes of the transaction signed by `key`."""
    body = _body(transaction)
    signature = key.sign(_signing_hash(transaction, body))
    if transaction.type != LEGACY:
        v = signature.y_parity
    elif transaction.chain_id is None:
        v = 27 + signature.y_parity
    else:
        v = 35 + 2 * transaction.chain_id + signature.y_parity
    return assemble(transaction, v, int.from_bytes(signature.r, "big"), signature.s)


def assemble(transaction: Transaction, v: int, r: int, s: int) -> bytes:
    """Raw bytes of a transaction and its signature values (`v` is the parity but for legacy ones)."""
    return _envelope(transaction.type, [*_body(transaction), _number(v), _number(r), _number(s)])


def decode_transaction(raw: bytes) -> SignedTransaction:
    """Take raw bytes apart and recover the sender. Raises TransactionFormatError."""
    if not raw:
        raise TransactionFormatError("transaction: empty")
    kind = raw[0] if raw[0] < 0x80 else LEGACY
    if kind not in _PARSERS:
        hint = ": let accounts have code by anvil_setCode, or use anvil" if kind == SET_CODE else ""
        raise TransactionFormatError(f"transaction: type {kind} is not supported{hint}")
    try:
        items = rlp.decode(raw if kind == LEGACY else raw[1:])
    except rlp.exceptions.RLPException as refusal:
        raise TransactionFormatError(f"transaction: malformed RLP: {refusal}") from None
    try:
        transaction, v, r, s = _PARSERS[kind](items)
    except (ValueError, TypeError) as refusal:
        raise TransactionFormatError(f"transaction: {refusal}") from None
    signature, sender = _recovered(transaction, v, r, s)
    return SignedTransaction(transaction, signature, v, bytes(raw), keccak(raw), sender)


# --- encoding -----------------------------------------------------------------------------------


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _body(transaction: Transaction) -> list[Any]:
    """The RLP items that are signed, without those of the signature."""
    to = b"" if transaction.to is None else address_bytes(transaction.to)
    target = [_number(transaction.gas), to, _number(transaction.value), transaction.data]
    if transaction.type == LEGACY:
        return [_number(transaction.nonce), _number(transaction.max_fee_per_gas), *target]
    fees = [_number(transaction.max_fee_per_gas)]
    if transaction.type in (FEE_MARKET, BLOB):
        fees.insert(0, _number(transaction.max_priority_fee_per_gas))
    access = [[address_bytes(address), list(keys)] for address, keys in transaction.access_list]
    body = [_number(transaction.chain_id or 0), _number(transaction.nonce), *fees, *target, access]
    if transaction.type == BLOB:
        body += [_number(transaction.max_fee_per_blob_gas), list(transaction.blob_hashes)]
    return body


def _signing_hash(transaction: Transaction, body: list[Any]) -> bytes:
    if transaction.type == LEGACY and transaction.chain_id is not None:
        body = [*body, _number(transaction.chain_id), b"", b""]
    return keccak(_envelope(transaction.type, body))


def _envelope(kind: int, items: list[Any]) -> bytes:
    payload = rlp_bytes.encode(items)
    return payload if kind == LEGACY else bytes([kind]) + payload


# --- decoding -----------------------------------------------------------------------------------


def _integer(item: Any, name: str, bits: int = 256) -> int:
    if not isinstance(item, bytes) or item[:1] == b"\0" or len(item) > bits // 8:
        raise ValueError(f"{name} is not a canonical {bits}-bit number")
    return int.from_bytes(item, "big")


def _bytes(item: Any, name: str) -> bytes:
    if not isinstance(item, bytes):
        raise ValueError(f"{name} is not bytes")
    return item


def _recipient(item: Any) -> Address | None:
    if not isinstance(item, bytes) or len(item) not in (0, 20):
        raise ValueError("recipient is not 20 bytes or empty")
    return checksummed(item) if item else None


def _access_list(item: Any) -> AccessList:
    if not isinstance(item, list | tuple):
        raise ValueError("access list is not a list")
    entries = []
    for entry in item:
        address, keys = entry
        if any(len(_bytes(key, "storage key")) != 32 for key in keys):
            raise ValueError("storage key is not 32 bytes")
        entries.append((checksummed(_bytes(address, "address")), tuple(keys)))
    return tuple(entries)


_Parsed = tuple[Transaction, int, int, int]


def _signature_values(items: Any) -> tuple[int, int, int]:
    v, r, s = items
    return _integer(v, "v"), _integer(r, "r"), _integer(s, "s")


def _parse_legacy(items: Any) -> _Parsed:
    nonce, price, gas, to, value, data, *rest = items
    v, r, s = _signature_values(rest)
    if v not in (27, 28) and v < 35:
        raise ValueError(f"v = {v} is no legacy signature")
    transaction = Transaction(
        chain_id=None if v in (27, 28) else (v - 35) // 2,
        nonce=_integer(nonce, "nonce", 64),
        to=_recipient(to),
        data=_bytes(data, "data"),
        value=_integer(value, "value"),
        gas=_integer(gas, "gas limit", 64),
        max_fee_per_gas=_integer(price, "gas price"),
        max_priority_fee_per_gas=_integer(price, "gas price"),
        type=LEGACY,
    )
    return transaction, v, r, s


def _parse_typed(kind: int, items: Any) -> _Parsed:
    chain_id, nonce, *fees, gas, to, value, data, access, v, r, s = items
    if len(fees) != kind:
        raise ValueError(f"type {kind} does not have {len(items)} fields")
    transaction = Transaction(
        chain_id=_integer(chain_id, "chain id"),
        nonce=_integer(nonce, "nonce", 64),
        to=_recipient(to),
        data=_bytes(data, "data"),
        value=_integer(value, "value"),
        gas=_integer(gas, "gas limit", 64),
        max_fee_per_gas=_integer(fees[-1], "fee per gas"),
        max_priority_fee_per_gas=_integer(fees[0], "priority fee per gas"),
        access_list=_access_list(access),
        type=kind,
    )
    parity, r_value, s_value = _signature_values((v, r, s))
    if parity > 1:
        raise ValueError(f"y parity is {parity}")
    return transaction, parity, r_value, s_value


def _parse_blob(items: Any) -> _Parsed:
    if len(items) != BLOB_FIELDS:
        raise ValueError(f"type {BLOB} does not have {len(items)} fields")
    *common, fee, hashes, v, r, s = items
    transaction, parity, r_value, s_value = _parse_typed(FEE_MARKET, [*common, v, r, s])
    if transaction.to is None:
        raise ValueError("a transaction with blobs creates no contract")
    if not isinstance(hashes, list | tuple) or not hashes:
        raise ValueError("no blobs")
    if any(len(_bytes(each, "blob hash")) != 32 or each[0] != BLOB_HASH_VERSION for each in hashes):
        raise ValueError("blob hash is not 32 bytes of version 1")
    blob_fee = _integer(fee, "fee per blob gas")
    blobs = replace(transaction, type=BLOB, max_fee_per_blob_gas=blob_fee, blob_hashes=tuple(hashes))
    return blobs, parity, r_value, s_value


_PARSERS: dict[int, Callable[[Any], _Parsed]] = {
    LEGACY: _parse_legacy,
    ACCESS_LIST: lambda items: _parse_typed(ACCESS_LIST, items),
    FEE_MARKET: lambda items: _parse_typed(FEE_MARKET, items),
    BLOB: _parse_blob,
}


def _recovered(transaction: Transaction, v: int, r: int, s: int) -> tuple[Signature, Address | None]:
    parity = (v - (27 if transaction.chain_id is None else 35)) % 2 if transaction.type == LEGACY else v
    vs = (s & ~(1 << 255)) | parity << 255
    signature = Signature(r.to_bytes(32, "big"), vs.to_bytes(32, "big"))
    if s >> 255:  # has no EIP-2098 form, and is in the upper half anyway
        return signature, None
    return signature, recover(_signing_hash(transaction, _body(transaction)), signature)
