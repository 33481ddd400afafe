"""Tries and storage behind the fast interpreter: the roots, nodes and words of py-evm's."""

from __future__ import annotations

from random import Random

import pytest
from eth.db.account import AccountDB
from eth.vm.interrupt import MissingStorageTrieNode
from trie import HexaryTrie

from ledger.chain.accounts import Accounts
from ledger.chain.store import Memory, Store
from ledger.chain.tries import EMPTY_ROOT, MissingNode, Trie
from ledger.keccak import keccak

ADDRESS = bytes([0xAC]) * 20
LENGTHS = (1, 1, 2, 31, 32, 33, 55, 56, 70, 300)
"""Lengths of values about those at which a node has a hash, and a length has bytes of its own."""


def keys_of(rng: Random, kind: str) -> list[bytes]:
    """Keys that fork early, late, or where others end."""
    if kind == "hashes":
        return [keccak(rng.randbytes(4)) for _ in range(rng.randint(1, 60))]
    if kind == "neighbours":
        stem = rng.randbytes(30)
        return [stem + rng.randbytes(2) for _ in range(rng.randint(1, 60))]
    choices = (0, 1, 16, 17, 255)
    return [bytes(rng.choices(choices, k=rng.randint(1, 4))) for _ in range(rng.randint(1, 40))]


@pytest.mark.parametrize("kind", ["hashes", "neighbours", "prefixes"])
def test_roots_and_values(kind: str) -> None:
    """Against py-trie, through sets, deletes, and beginning again from what was written."""
    rng = Random(f"tries {kind}")
    for _ in range(60):
        reference, expected = HexaryTrie({}, prune=True), dict[bytes, bytes]()
        store: dict[bytes, bytes] = {}
        trie, keys = Trie(store), keys_of(rng, kind)
        for _ in range(rng.randint(1, 120)):
            key = rng.choice(keys)
            value = b"" if rng.random() < 0.35 else rng.randbytes(rng.choice(LENGTHS))
            trie.set(key, value)
            reference[key] = expected[key] = value
            if rng.random() < 0.1:
                assert trie.root() == reference.root_hash
            if rng.random() < 0.1:
                trie.write(store)
                trie = Trie(store, trie.root())
            some = rng.choice(keys)
            assert trie.get(some) == expected.get(some, b"")
        assert trie.root() == reference.root_hash
        for key in keys:
            trie.set(key, b"")
        assert trie.root() == EMPTY_ROOT


def test_only_nodes_of_the_root_are_written() -> None:
    """No node of a state in between, and every node of the last one."""
    trie, reference = Trie({}), HexaryTrie({}, prune=True)
    for place in range(200):
        trie.set(keccak(bytes([place % 150])), bytes([1 + place]) * 3)
        reference[keccak(bytes([place % 150]))] = bytes([1 + place]) * 3
        trie.root()
    written: dict[bytes, bytes] = {}
    trie.write(written)
    assert written == reference.db


def test_a_missing_node_is_no_empty_one() -> None:
    store: dict[bytes, bytes] = {}
    trie = Trie(store)
    for place in range(40):
        trie.set(keccak(bytes([place])), bytes(40))
    trie.write(store)
    root = trie.root()
    gone = next(node for node in store if node != root)
    del store[gone]
    faults = set()
    for place in range(40):
        for change in (b"", bytes(41)):
            trie = Trie(store, root)
            try:
                trie.get(keccak(bytes([place])))
                trie.set(keccak(bytes([place])), change)
            except MissingNode as missing:
                faults.add(missing.node_hash)
    assert faults == {gone}


def test_storage_whose_nodes_are_gone() -> None:
    """A folder that lost a node must not read as a word of 0."""
    store = Store(Memory())
    accounts = Accounts(store)
    for slot in range(20):
        accounts.set_storage(ADDRESS, slot, 5)
    accounts.persist()
    storage_root = accounts._get_storage_root(ADDRESS)
    root = accounts.state_root
    del store[storage_root]
    with pytest.raises(MissingStorageTrieNode):
        Accounts(store, root).get_storage(ADDRESS, 3)
    changed = Accounts(store, root)
    changed.set_storage(ADDRESS, 3, 1)
    with pytest.raises(MissingStorageTrieNode):
        changed.persist()


class Journal:
    """One kind of accounts under a random course of changes, checkpoints, transactions and blocks."""

    def __init__(self, kind: type[AccountDB]) -> None:
        self.kind = kind
        self.store = Store(Memory())
        self.accounts = kind(self.store)
        self.open: list[object] = []
        self.changed: set[bytes] = set()  # in this transaction
        self.kept: set[bytes] = set()  # by transactions of this block
        self.emptied: set[bytes] = set()
        self.seen: list[object] = []

    def course(self, rng: Random) -> list[object]:
        """What can be read on the way, and the roots of the blocks."""
        for _ in range(400):
            self.step(rng.random(), rng.randrange(6), rng.choice((0, 0, 1, 127, 128, 255, 256, 2**256 - 1)))
        return self.seen

    def step(self, kind: float, slot: int, word: int) -> None:
        accounts, address = self.accounts, ADDRESS if slot % 2 else bytes([0xAD]) * 20
        if kind < 0.45:
            accounts.set_storage(address, slot, word)
            self.changed.add(address)
        elif kind < 0.6:
            for journal in (True, False):
                self.seen.append(accounts.get_storage(address, slot, from_journal=journal))
        elif kind < 0.68:
            self.seen.append((accounts.is_storage_warm(address, slot), accounts.is_address_warm(address)))
            accounts.mark_storage_warm(address, slot)
            accounts.mark_address_warm(address)
        elif kind < 0.78:
            self.open.append(accounts.record())
        elif kind < 0.84 and self.open:
            accounts.commit(self.open.pop())
        elif kind < 0.91 and self.open:
            accounts.discard(self.open.pop())
        elif kind < 0.93:
            # as the EVM does: where an account is created, which has no storage yet, or at the end
            if address not in self.kept | self.emptied:
                accounts.delete_storage(address)
                accounts.touch_account(address)
                self.emptied.add(address)
        elif kind < 0.97:
            self.settle()
            if kind < 0.945 and address not in self.emptied:
                accounts.delete_account(address)
            accounts.lock_changes()
            self.kept |= self.changed
            self.changed, self.emptied = set(), set()
        elif kind > 0.98:
            self.settle()
            accounts.persist()
            self.seen.append(accounts.state_root)
            self.accounts = self.kind(self.store, accounts.state_root)
            self.changed, self.kept, self.emptied = set(), set(), set()

    def settle(self) -> None:
        """Checkpoints end with their transaction."""
        while self.open:
            self.accounts.commit(self.open.pop())


@pytest.mark.parametrize("seed", range(30))
def test_storage_through_checkpoints_and_blocks(seed: int) -> None:
    ours, stock = (Journal(kind).course(Random(f"journal {seed}")) for kind in (Accounts, AccountDB))
    assert ours == stock
    assert len({root for root in ours if isinstance(root, bytes)}) > 1
