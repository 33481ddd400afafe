"""The words of one account, at the cost of a look into a dictionary.

py-evm passes every word of storage through four layers of byte strings, and decodes every node of a trie
at every read. Here a word is an int in one of three places: changed by the running transaction, changed
by the block, or in the trie.
"""

from __future__ import annotations

from typing import Any

from eth.vm.interrupt import MissingStorageTrieNode

from ledger.chain.tries import EMPTY_ROOT, MissingNode, Trie
from ledger.keccak import keccak
from ledger.rlp_bytes import number

Checkpoint = Any
"""A moment to go back to; it is only compared."""

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
                self._trie.set(path, number(word) if word else b"")
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


def _path(slot: int) -> bytes:
    return keccak(slot.to_bytes(_WORD_BYTES, "big"))
