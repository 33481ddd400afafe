"""How a record's chain began: whether a `genesis.json` is the one of its first block."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.verdict import Verdict, compare
from ledger.chain.encoding import Header
from ledger.keccak import keccak
from ledger.record import Record


def first_hash(record: Record) -> bytes | None:
    """Hash of block 0, as it stands in the record or as block 1 names it; None where it begins later."""
    first = record.blocks[0]
    return {0: first.hash, 1: first.header.parent_hash}.get(first.number)


def begun_so(name: str, record: Record, chain_id: int, first: Header) -> Iterator[Verdict]:
    """A genesis' chain id and first header, its accounts' state root in it, against the record's."""
    yield compare(name, "genesis.json chain", record.bundle.manifest.chain_id, chain_id)
    named = first_hash(record)
    difference = "the chain began otherwise"
    yield compare(name, "genesis.json block 0", named, keccak(first.encode()), difference=difference)
