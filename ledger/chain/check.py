"""Whether a store holds a whole chain: every block, every way to find it, and the states that hash to roots.

A state is walked from its root: accounts, their storage and code. What two states share is walked once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import rlp

from ledger.chain.archive import Archive, Stored
from ledger.chain.encoding import decode_withdrawal, ordered_root
from ledger.chain.store import Store
from ledger.chain.tries import EMPTY_ROOT
from ledger.keccak import keccak

_NO_CODE = keccak(b"")
_LEAF_FLAG = 2


def faults(store: Store, chain_id: int, *, blocks: int | None = None, states: int | None = None) -> list[str]:
    """What is wrong with the chain in a store; its last `blocks` and `states` are looked at, or all."""
    archive = Archive(store, chain_id)
    found: list[str] = []
    walked: set[bytes] = set()
    first = 0 if blocks is None else max(archive.head + 1 - blocks, 0)
    parent = None if first else bytes(32)
    first_state = 0 if states is None else archive.head + 1 - states
    for number in range(first, archive.head + 1):
        try:
            stored = archive.at(number)
        except Exception as failure:  # damaged bytes provoke whatever they provoke
            return [*found, f"block {number}: cannot be read: {failure}"]
        found += (f"block {number}: {fault}" for fault in _block_faults(archive, stored, number, parent))
        if number >= first_state:
            root = stored.header.state_root
            found += (f"block {number}: {fault}" for fault in _state_faults(store, root, walked))
        parent = stored.block.hash
    if archive.has(archive.head + 1):
        found.append(f"there is a block after the head {archive.head}")
    if archive.head < 0:
        found.append("there is no block")
    return found


def _block_faults(archive: Archive, stored: Stored, number: int, parent: bytes | None) -> Iterator[str]:
    header, block = stored.header, stored.block
    if header.number != number:
        yield f"its header says {header.number}"
    if parent is not None and header.parent_hash != parent:
        yield "its parent is another block"
    if archive.number_of(block.hash) != number:
        yield "it is not found by its hash"
    if ordered_root(block.transactions) != header.transactions_root:
        yield "its transactions are others"
    if ordered_root(stored.raw_receipts) != header.receipts_root:
        yield "its receipts are others"
    withdrawals = [decode_withdrawal(rlp.decode(each)).encode() for each in block.withdrawals]
    if header.withdrawals_root not in (None, ordered_root(withdrawals)):
        yield "its withdrawals are others"
    for index, transaction_hash in enumerate(block.transaction_hashes):
        if archive.find(transaction_hash) != (number, index):
            yield f"transaction {index} is not found by its hash"


def _state_faults(store: Store, root: bytes, walked: set[bytes]) -> Iterator[str]:
    waiting = [(root, True)]
    while waiting:
        node_hash, of_accounts = waiting.pop()
        if node_hash in walked or node_hash == EMPTY_ROOT:
            continue
        walked.add(node_hash)
        encoded = store.get(node_hash)
        if encoded is None or keccak(encoded) != node_hash:
            yield f"node 0x{node_hash.hex()} of its state is missing or damaged"
            continue
        for value, children in _parts(rlp.decode(encoded)):
            waiting.extend((child, of_accounts) for child in children)
            if value and of_accounts:
                _, _, storage_root, code_hash = rlp.decode(value)
                waiting.append((storage_root, False))
                if code_hash != _NO_CODE and keccak(store.get(code_hash) or b"") != code_hash:
                    yield f"code 0x{code_hash.hex()} is missing or damaged"


def _parts(node: Any) -> Iterator[tuple[bytes, list[bytes]]]:
    """Values of a node and of those within it, with the hashes of its children (Yellow Paper, appendix D)."""
    if len(node) == 2:
        path, target = node
        if path[0] >> 4 & _LEAF_FLAG:
            yield target, []
        else:
            yield from _child(target)
    else:
        yield node[16], []
        for child in node[:16]:
            yield from _child(child)


def _child(child: Any) -> Iterator[tuple[bytes, list[bytes]]]:
    if isinstance(child, list):  # shorter than its hash would be
        yield from _parts(child)
    elif child:
        yield b"", [child]
