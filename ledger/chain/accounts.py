"""The state as py-evm's computations see it: accounts and what a transaction has accessed, in dictionaries.

py-evm's own `AccountDB` takes an account through RLP, three journals and two caches at every change of a
balance, and its trie decodes and hashes every node on the way. Here an account is a record in a dictionary
with a list of what to undo, and each changed node of the trie is hashed once a block.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from eth.abc import AccountDatabaseAPI
from eth.db.journal import get_next_checkpoint
from eth.vm.interrupt import MissingAccountTrieNode, MissingBytecode

from ledger.chain.storage import Checkpoint, Storage
from ledger.chain.tries import EMPTY_ROOT, MissingNode, Trie
from ledger.keccak import keccak
from ledger.rlp_bytes import number, read_strings

EMPTY_CODE = keccak(b"")
"""Hash of no code."""

_LONG_LIST = 0xF8
"""First byte of a list's RLP whose length is the next byte; an account takes 68 to 108."""
_HASH = b"\xa0"
"""First byte of the RLP of 32 bytes."""


class Record(NamedTuple):
    """An account as the state's trie has it (Yellow Paper §4.1)."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes

    def encode(self) -> bytes:
        """RLP of the record."""
        fields = (
            number(self.nonce),
            number(self.balance),
            _HASH,
            self.storage_root,
            _HASH,
            self.code_hash,
        )
        payload = b"".join(fields)
        return bytes((_LONG_LIST, len(payload))) + payload


NEW = Record(0, 0, EMPTY_ROOT, EMPTY_CODE)
"""An account that nobody has used."""


def decode_record(encoded: bytes) -> Record:
    """The record that RLP stands for."""
    nonce, balance, storage_root, code_hash = read_strings(encoded)
    return Record(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), storage_root, code_hash)


Access = bytes | tuple[bytes, int]
"""An address, or a word by address and slot."""


class _Accessed:
    """Addresses and words that the running transaction has accessed."""

    def __init__(self) -> None:
        self.keys: dict[Access, None] = {}  # in order of access
        self._marks: dict[Checkpoint, int] = {}
        self._undone: dict[Access, None] = {}

    def record(self, checkpoint: Checkpoint) -> None:
        self._marks[checkpoint] = len(self.keys)

    def commit(self, checkpoint: Checkpoint) -> None:
        self._marks.pop(checkpoint, None)

    def discard(self, checkpoint: Checkpoint) -> None:
        length = self._marks.pop(checkpoint, 0)
        while len(self.keys) > length:
            key, _ = self.keys.popitem()
            self._undone[key] = None

    def ever(self) -> list[Access]:
        """All keys, also those whose access was undone by a revert."""
        return list(self.keys | self._undone)


class Accounts(AccountDatabaseAPI):  # type: ignore[misc]  # py-evm is untyped
    """Accounts over the nodes and codes of a store, in the words of py-evm's interface.

    Changes can be undone up to the last `persist`. Raises MissingAccountTrieNode, MissingStorageTrieNode
    and MissingBytecode where the store lost something.
    """

    def __init__(self, store: Any, state_root: bytes = EMPTY_ROOT) -> None:
        self._store = store
        self._root = state_root
        self._trie = Trie(store, state_root)
        self._records: dict[bytes, Record | None] = {}  # as far as they were read; None: there is none
        self._changed: set[bytes] = set()  # whose record may not be the trie's
        self._codes: dict[bytes, bytes] = {}  # by hash, not in the store yet
        self._storages: dict[bytes, Storage] = {}
        self._dirty: dict[bytes, Storage] = {}
        self._undo: list[tuple[bytes, Record | None] | bytes] = []
        self._marks: dict[Checkpoint, int] = {}  # how long `_undo` was then
        self._accessed = _Accessed()

    # --- records --------------------------------------------------------------------------------

    def _found(self, address: bytes) -> Record | None:
        """The record, None where there is no such account."""
        try:
            return self._records[address]
        except KeyError:
            path = keccak(address)
        try:
            encoded = self._trie.get(path)
        except MissingNode as missing:
            raise MissingAccountTrieNode(missing.node_hash, self._root, path) from missing
        found = self._records[address] = decode_record(encoded) if encoded else None
        return found

    def _record(self, address: bytes) -> Record:
        return self._found(address) or NEW

    def _set(self, address: bytes, record: Record | None) -> None:
        self._undo.append((address, self._found(address)))
        self._records[address] = record
        self._changed.add(address)

    def get_balance(self, address: bytes) -> int:
        """Native coin, wei."""
        return self._record(address).balance

    def set_balance(self, address: bytes, balance: int) -> None:
        """Let an account have so many wei."""
        self._set(address, self._record(address)._replace(balance=balance))

    def get_nonce(self, address: bytes) -> int:
        """Transactions the account has sent."""
        return self._record(address).nonce

    def set_nonce(self, address: bytes, nonce: int) -> None:
        """Let an account have sent so many transactions."""
        self._set(address, self._record(address)._replace(nonce=nonce))

    def increment_nonce(self, address: bytes) -> None:
        """Count one more transaction."""
        self.set_nonce(address, self.get_nonce(address) + 1)

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        """Whether no contract may be created here (EIP-684)."""
        record = self._record(address)
        return record.nonce != 0 or record.code_hash != EMPTY_CODE

    def account_exists(self, address: bytes) -> bool:
        """Whether there is a record, an empty one included."""
        return self._found(address) is not None

    def account_is_empty(self, address: bytes) -> bool:
        """Whether there is neither code nor nonce nor balance (EIP-161)."""
        return not self.account_has_code_or_nonce(address) and not self._record(address).balance

    def touch_account(self, address: bytes) -> None:
        """Let there be a record, an empty one if need be."""
        self._set(address, self._record(address))

    def delete_account(self, address: bytes) -> None:
        """Let there be no record, and no storage."""
        self._emptied(address)
        self._set(address, None)

    # --- code -----------------------------------------------------------------------------------

    def get_code_hash(self, address: bytes) -> bytes:
        """Hash of the code at an address."""
        return self._record(address).code_hash

    def get_code(self, address: bytes) -> bytes:
        """Code at an address, empty for none."""
        code_hash = self._record(address).code_hash
        if code_hash == EMPTY_CODE:
            return b""
        code: bytes | None = self._codes.get(code_hash)
        if code is not None:
            return code
        try:
            kept: bytes = self._store[code_hash]
        except KeyError:
            raise MissingBytecode(code_hash) from None
        return kept

    def set_code(self, address: bytes, code: bytes) -> None:
        """Let an account have this code."""
        code_hash = keccak(code)
        if code_hash not in self._codes:
            self._codes[code_hash] = code
            self._undo.append(code_hash)
        self._set(address, self._record(address)._replace(code_hash=code_hash))

    def delete_code(self, address: bytes) -> None:
        """Let an account have no code."""
        self._set(address, self._record(address)._replace(code_hash=EMPTY_CODE))

    # --- storage --------------------------------------------------------------------------------

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        """A word now, or as it was before this transaction."""
        return (self._storages.get(address) or self._storage(address)).get(slot, from_journal)

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        """Change a word."""
        storage = self._dirty[address] = self._storages.get(address) or self._storage(address)
        storage.set(slot, value)

    def delete_storage(self, address: bytes) -> None:
        """Empty an account's storage; there is a record of the account then."""
        self._set(address, self._record(address)._replace(storage_root=EMPTY_ROOT))
        self._emptied(address)

    def _emptied(self, address: bytes) -> None:
        storage = self._dirty[address] = self._storage(address)
        storage.delete()

    def _storage(self, address: bytes) -> Storage:
        storage = self._storages.get(address)
        if storage is None:
            storage = Storage(self._store, self._get_storage_root(address), address)
            self._storages[address] = storage
        return storage

    def _get_storage_root(self, address: bytes) -> bytes:
        return self._record(address).storage_root

    # --- what the running transaction has accessed (EIP-2929) -----------------------------------

    def is_address_warm(self, address: bytes) -> bool:
        """Whether the account was accessed."""
        return address in self._accessed.keys

    def mark_address_warm(self, address: bytes) -> None:
        """Note that the account was accessed."""
        self._accessed.keys[address] = None

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        """Whether the word was accessed."""
        return (address, slot) in self._accessed.keys

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        """Note that the word was accessed."""
        self._accessed.keys[address, slot] = None

    def accessed(self) -> Iterable[Access]:
        """What was accessed, also in vain, in order."""
        return self._accessed.ever()

    # --- moments to go back to ------------------------------------------------------------------

    def record(self) -> Checkpoint:
        """Remember this moment."""
        checkpoint: Checkpoint = get_next_checkpoint()  # transient storage counts with the same numbers
        self._marks[checkpoint] = len(self._undo)
        self._accessed.record(checkpoint)
        for storage in self._dirty.values():
            storage.record(checkpoint)
        return checkpoint

    def commit(self, checkpoint: Checkpoint) -> None:
        """Forget a moment; what changed since can still be undone from an earlier one."""
        del self._marks[checkpoint]
        self._accessed.commit(checkpoint)
        for storage in self._dirty.values():
            storage.commit(checkpoint)

    def discard(self, checkpoint: Checkpoint) -> None:
        """Go back to a moment."""
        length = self._marks.pop(checkpoint)
        while len(self._undo) > length:
            undone = self._undo.pop()
            if isinstance(undone, bytes):
                del self._codes[undone]
            else:
                self._records[undone[0]] = undone[1]
        self._accessed.discard(checkpoint)
        for storage in self._dirty.values():
            storage.discard(checkpoint)

    def lock_changes(self) -> None:
        """End a transaction: its changes of storage stay, and nothing is warm any more."""
        for storage in self._dirty.values():
            storage.lock_changes()
        self._accessed = _Accessed()

    # --- roots ----------------------------------------------------------------------------------

    @property
    def state_root(self) -> bytes:
        """Root of the state as it was last made."""
        return self._root

    @state_root.setter
    def state_root(self, root: bytes) -> None:
        """Nothing: blocks make their root once, so that going back never leads to another."""
        assert root == self._root, "the root is made when a block ends"

    def has_root(self, state_root: bytes) -> bool:
        """Whether the store has a state."""
        return state_root in self._store

    def make_state_root(self) -> bytes:
        """Bring the changes into the trie; returns its root."""
        for address, storage in self._dirty.items():
            storage.make_storage_root()
            if storage.has_changed_root:
                root = storage.get_changed_root()
                if root != EMPTY_ROOT or self.account_exists(address):
                    self._set(address, self._record(address)._replace(storage_root=root))
        for address in self._changed:
            path, record = keccak(address), self._records[address]
            try:
                self._trie.set(path, record.encode() if record else b"")
            except MissingNode as missing:
                raise MissingAccountTrieNode(missing.node_hash, self._root, path) from missing
        self._changed.clear()
        self._root = self._trie.root()
        return self._root

    def persist(self) -> None:
        """Write what changed to the store. Nothing can be undone any more."""
        self.make_state_root()
        for storage in self._dirty.values():
            storage.persist(self._store)
        for code_hash, code in self._codes.items():
            self._store[code_hash] = code
        self._trie.write(self._store)
        self._trie = Trie(self._store, self._root)
        self._records, self._codes, self._storages, self._dirty = {}, {}, {}, {}
        self._undo, self._marks = [], {}
