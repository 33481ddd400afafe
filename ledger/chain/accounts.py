"""py-evm's accounts and their storage, over the project's own tries.

py-evm keeps its journals, its order of writing and its rules of when storage is gone; what changes is the
trie under a contract's storage, where it decodes every node at every read, and encodes every node on the
path at every write.
"""

from __future__ import annotations

from typing import Any

from eth.db.account import AccountDB
from eth.db.backends.base import BaseDB
from eth.db.cache import CacheDB
from eth.db.journal import JournalDB
from eth.db.storage import AccountStorageDB
from eth.vm.interrupt import MissingStorageTrieNode

from ledger.chain.tries import EMPTY_ROOT, MissingNode, Trie
from ledger.keccak import keccak

_WORD_BYTES = 32


class _StorageWords(BaseDB):  # type: ignore[misc]  # py-evm is untyped
    """A contract's storage in its trie: RLP of words by the bytes of their slot.

    Takes the place of py-evm's `StorageLookup`, in the same words.
    """

    def __init__(self, nodes: Any, root: bytes, address: bytes) -> None:
        self._nodes = nodes
        self._address = address
        self._begin(root)

    def _begin(self, root: bytes) -> None:
        self._trie = Trie(self._nodes, root)
        self._start = root
        self.has_changed_root = False
        self._cleared: list[tuple[Trie, bytes, bool]] = []  # tries of accounts deleted since

    def __getitem__(self, slot: bytes) -> bytes:
        try:
            return self._trie.get(_path(slot))
        except MissingNode as missing:
            raise self._fault(missing, slot) from missing

    def __setitem__(self, slot: bytes, value: bytes) -> None:
        self.has_changed_root = True
        try:
            self._trie.set(_path(slot), value)
        except MissingNode as missing:
            raise self._fault(missing, slot) from missing

    def __delitem__(self, slot: bytes) -> None:
        self[slot] = b""

    def _exists(self, slot: bytes) -> bool:
        return bool(self[slot])

    def _fault(self, missing: MissingNode, slot: bytes) -> MissingStorageTrieNode:
        return MissingStorageTrieNode(missing.node_hash, self._start, _path(slot), None, self._address)

    def get_changed_root(self) -> bytes:
        """Root with all that was written."""
        return self._trie.root()

    def commit_to(self, store: Any) -> None:
        """Write the changed nodes, and begin again at their root."""
        self._trie.write(store)
        self._begin(self._trie.root())

    def new_trie(self) -> int:
        """Go on with empty storage; returns how often that was done."""
        self._cleared.append((self._trie, self._start, self.has_changed_root))
        self._trie, self._start = Trie(self._nodes), EMPTY_ROOT
        self.has_changed_root = False
        return len(self._cleared)

    def rollback_trie(self, index: int) -> None:
        """Go back to the storage before it was emptied for the `index`-th time, counted from 0."""
        self._trie, self._start, self.has_changed_root = self._cleared[index]
        del self._cleared[index:]


def _path(slot: bytes) -> bytes:
    return keccak(slot.rjust(_WORD_BYTES, b"\0"))


class _Storage(AccountStorageDB):  # type: ignore[misc]  # py-evm is untyped
    def __init__(self, nodes: Any, root: bytes, address: bytes) -> None:
        super().__init__(nodes, root, address)
        self._storage_lookup = _StorageWords(nodes, root, address)
        self._storage_cache = CacheDB(self._storage_lookup)
        self._locked_changes = JournalDB(self._storage_cache)
        self._journal_storage = JournalDB(self._locked_changes)


class Accounts(AccountDB):  # type: ignore[misc]  # py-evm is untyped
    """py-evm's accounts, with storage in tries that hash each changed node once a block."""

    def _get_address_store(self, address: bytes) -> _Storage:
        store: _Storage | None = self._account_stores.get(address)
        if store is None:
            store = _Storage(self._raw_store_db, self._get_storage_root(address), address)
            self._account_stores[address] = store
        return store
