"""py-evm's accounts, with storage and access lists that cost a look into a dictionary.

py-evm passes every word of storage through four layers of byte strings, and decodes every node of a trie
at every read. Here a word is an int in one of three places: changed by the running transaction, changed
by the block, or in the trie. Balances, nonces, code and the accounts' own trie stay py-evm's.
"""

from __future__ import annotations

from typing import Any

from eth.db.account import AccountDB
from eth.vm.interrupt import MissingStorageTrieNode

from ledger.chain.tries import EMPTY_ROOT, MissingNode, Trie
from ledger.keccak import keccak

Checkpoint = Any
"""What py-evm names a moment with that it may go back to; it is only compared."""

_WORD_BYTES = 32


class Storage:
    """The words of one account, by slot, 0 where there is none; in the words of py-evm's `AccountStorageDB`.

    Changes can be undone until `lock_changes`, which ends a transaction.
    """

    def __init__(self, nodes: Any, root: bytes, address: bytes) -> None:
        self._nodes = nodes
        self._address = address
        self._root = root
        self._trie = Trie(nodes, root)
        self._in_trie: dict[int, int] = {}  # as far as it was read
        self._in_block: dict[int, int] = {}
        self._changed: dict[int, int] = {}
        self._undo: list[tuple[int, int | None] | _Emptied] = []
        self._marks: dict[Checkpoint, int] = {}  # how long `_undo` was then
        self.has_changed_root = False

    # --- words ----------------------------------------------------------------------------------

    def get(self, slot: int, from_journal: bool = True) -> int:
        """A word now, or as it was before this transaction. Raises MissingStorageTrieNode."""
        if from_journal and (word := self._changed.get(slot)) is not None:
            return word
        if (word := self._in_block.get(slot)) is not None:
            return word
        if (word := self._in_trie.get(slot)) is not None:
            return word
        word = self._in_trie[slot] = self._read(slot)
        return word

    def set(self, slot: int, value: int) -> None:
        """Change a word."""
        self._undo.append((slot, self._changed.get(slot)))
        self._changed[slot] = value

    def delete(self) -> None:
        """Empty the storage, as when its account is created anew or goes."""
        self._undo.append(_Emptied(self))
        self._root, self._trie = EMPTY_ROOT, Trie(self._nodes)
        self._in_trie, self._in_block, self._changed = {}, {}, {}
        self.has_changed_root = False

    def _read(self, slot: int) -> int:
        path = _path(slot)
        try:
            encoded = self._trie.get(path)
        except MissingNode as missing:
            raise MissingStorageTrieNode(
                missing.node_hash, self._root, path, None, self._address
            ) from missing
        # RLP of a number: itself below 128, else behind a byte for its length
        return int.from_bytes(encoded if len(encoded) < 2 else encoded[1:], "big")

    # --- moments to go back to ------------------------------------------------------------------

    def record(self, checkpoint: Checkpoint) -> None:
        """Remember this moment."""
        self._marks[checkpoint] = len(self._undo)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Forget a moment; what changed since can still be undone from an earlier one."""
        self._marks.pop(checkpoint, None)

    def discard(self, checkpoint: Checkpoint) -> None:
        """Go back to a moment; one that was not recorded is from before this account's first change."""
        length = self._marks.pop(checkpoint, 0)
        while len(self._undo) > length:
            undone = self._undo.pop()
            if isinstance(undone, _Emptied):
                undone.fill(self)
            elif undone[1] is None:
                del self._changed[undone[0]]
            else:
                self._changed[undone[0]] = undone[1]

    def lock_changes(self) -> None:
        """End a transaction: its changes stay."""
        self._in_block.update(self._changed)
        self._changed = {}
        self._undo.clear()
        self._marks.clear()

    # --- roots ----------------------------------------------------------------------------------

    def make_storage_root(self) -> None:
        """Bring the changes into the trie. Raises MissingStorageTrieNode."""
        self.lock_changes()
        for slot, word in self._in_block.items():
            path = _path(slot)
            try:
                self._trie.set(path, _rlp(word) if word else b"")
            except MissingNode as missing:
                raise MissingStorageTrieNode(
                    missing.node_hash, self._root, path, None, self._address
                ) from missing
        self.has_changed_root = self.has_changed_root or bool(self._in_block)
        self._in_trie.update(self._in_block)
        self._in_block = {}

    def get_changed_root(self) -> bytes:
        """Root with all that was brought into the trie."""
        return self._trie.root()

    def persist(self, store: Any) -> None:
        """Write the nodes that changed."""
        if self.has_changed_root:
            self._trie.write(store)
            self._root = self._trie.root()
            self._trie = Trie(self._nodes, self._root)
            self.has_changed_root = False


class _Emptied:
    """What an account's storage held before it was emptied."""

    def __init__(self, storage: Storage) -> None:
        self._held = (storage._root, storage._trie, storage.has_changed_root)
        self._words = (storage._in_trie, storage._in_block, storage._changed)

    def fill(self, storage: Storage) -> None:
        """Put it back."""
        storage._root, storage._trie, storage.has_changed_root = self._held
        storage._in_trie, storage._in_block, storage._changed = self._words


class _Accessed:
    """Addresses and slots that the running transaction has accessed (EIP-2929), in py-evm's words."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}  # in order of access
        self._marks: dict[Checkpoint, int] = {}
        self._undone: dict[bytes, bytes] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._keys[key] = value

    def record(self, checkpoint: Checkpoint) -> None:
        self._marks[checkpoint] = len(self._keys)

    def commit(self, checkpoint: Checkpoint) -> None:
        self._marks.pop(checkpoint, None)

    def discard(self, checkpoint: Checkpoint) -> None:
        length = self._marks.pop(checkpoint, 0)
        while len(self._keys) > length:
            key, value = self._keys.popitem()
            self._undone[key] = value

    def ever(self) -> list[bytes]:
        """All keys, also those whose access was undone by a revert."""
        return list(self._keys | self._undone)


class Accounts(AccountDB):  # type: ignore[misc]  # py-evm is untyped
    """py-evm's accounts over `Storage` and its tries."""

    def _get_address_store(self, address: bytes) -> Storage:
        storage: Storage | None = self._account_stores.get(address)
        if storage is None:
            # not through the layer that remembers which nodes were read, for witnesses nobody asks for
            nodes = self._raw_store_db.wrapped_db
            storage = Storage(nodes, self._get_storage_root(address), address)
            self._account_stores[address] = storage
        return storage

    def _reset_access_counters(self) -> None:
        self._journal_accessed_state = _Accessed()

    def accessed(self) -> list[bytes]:
        """What the running transaction accessed, also in vain: addresses, and words as address ‖ slot."""
        accessed: list[bytes] = self._journal_accessed_state.ever()
        return accessed

    def _get_storage_tracker_key(self, address: bytes, slot: int) -> bytes:
        return address + slot.to_bytes(_WORD_BYTES, "big")

    def _get_meta_witness(self) -> None:
        """Nothing: `persist` would return what a stateless client needs to execute the block."""


def _path(slot: int) -> bytes:
    return keccak(slot.to_bytes(_WORD_BYTES, "big"))


def _rlp(word: int) -> bytes:
    """RLP of a word other than 0."""
    size = (word.bit_length() + 7) // 8
    digits = word.to_bytes(size, "big")
    return digits if word < 0x80 else bytes((0x80 + size,)) + digits
