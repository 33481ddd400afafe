"""Blobs on their way with a transaction (EIP-4844): checked against its hashes, and not kept."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

import rlp

from ledger.transactions import BLOB, BLOB_HASH_VERSION, TransactionFormatError, decode_transaction

BLOB_BYTES = 131_072
POINT_BYTES = 48
"""Bytes of a commitment, and of a proof."""


def check_blobs(raw: bytes) -> bytes:
    """The transaction in raw bytes as blocks carry it; one with blobs must bring them, and proofs.

    Raises TransactionFormatError where they do not go with its hashes.
    """
    if raw[:1] != bytes([BLOB]):
        return raw
    try:
        items = rlp.decode(raw[1:])
    except rlp.exceptions.RLPException as refusal:
        raise TransactionFormatError(f"transaction: malformed RLP: {refusal}") from None
    if not isinstance(items, list) or len(items) != 4 or not isinstance(items[0], list):
        raise TransactionFormatError("transaction: blobs, their commitments and proofs do not come with it")
    body, *sidecar = items
    alone = bytes([BLOB]) + bytes(rlp.encode(body))
    hashes = decode_transaction(alone).transaction.blob_hashes
    blobs, commitments, proofs = (
        _checked(part, len(hashes), size, name)
        for part, size, name in zip(
            sidecar, (BLOB_BYTES, POINT_BYTES, POINT_BYTES), ("blobs", "commitments", "proofs"), strict=True
        )
    )
    if [versioned_hash(commitment) for commitment in commitments] != list(hashes):
        raise TransactionFormatError("transaction: the commitments are not those of its blob hashes")
    if not _proved(blobs, commitments, proofs):
        raise TransactionFormatError(
            "transaction: the proofs do not show that the blobs are the committed ones"
        )
    return alone


def versioned_hash(commitment: bytes) -> bytes:
    """Hash by which a transaction names a blob."""
    return bytes([BLOB_HASH_VERSION]) + sha256(commitment).digest()[1:]


def _checked(part: Any, count: int, size: int, name: str) -> list[bytes]:
    if not isinstance(part, list) or len(part) != count:
        raise TransactionFormatError(f"transaction: not as many {name} as blob hashes")
    if any(not isinstance(item, bytes) or len(item) != size for item in part):
        raise TransactionFormatError(f"transaction: {name} are not of {size} bytes each")
    return part


def _proved(blobs: list[bytes], commitments: list[bytes], proofs: list[bytes]) -> bool:
    import ckzg  # type: ignore[import-not-found]  # noqa: PLC0415 (only for blobs)

    try:
        parts = (b"".join(part) for part in (blobs, commitments, proofs))
        return bool(ckzg.verify_blob_kzg_proof_batch(*parts, _setup()))
    except (RuntimeError, ValueError):  # bytes that are no field elements, or no points
        return False


@cache
def _setup() -> Any:
    """The ceremony's public result, as py-evm ships it."""
    import ckzg  # noqa: PLC0415 (only for blobs)

    return ckzg.load_trusted_setup(str(files("eth").joinpath("_utils", "kzg_trusted_setup.txt")), 0)
