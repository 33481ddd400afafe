"""The key-value store under the embedded chain: writes gather in memory and land together, once a block.

py-evm's own `AtomicDB` commits key by key, so a crash in between tears a block. Here nothing reaches
the backing before a context `together` ends, which hands over everything in one call; where anything fails
within it, the write included, everything is forgotten. What is kept under a hash must hash to it to be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from eth.db.atomic import AtomicDBWriteBatch
from eth.db.backends.base import BaseAtomicDB

from ledger.chain.protocol import DamagedChainError
from ledger.keccak import keccak

HASH_BYTES = 32

Changes = Mapping[bytes, bytes | None]
"""Values by key; None deletes."""


class Backing(Protocol):
    """Where committed values live."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None for none."""

    def write(self, changes: Changes) -> None:
        """Apply all changes or none."""

    def items(self) -> dict[bytes, bytes]:
        """All values by key."""

    def close(self) -> None:
        """Give up files and locks. Closing twice is no error."""


class Memory:
    """Backing that is gone with the process."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None for none."""
        return self._values.get(key)

    def write(self, changes: Changes) -> None:
        """Apply all changes."""
        for key, value in changes.items():
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value

    def items(self) -> dict[bytes, bytes]:
        """All values by key."""
        return dict(self._values)

    def close(self) -> None:
        """Nothing to give up."""


class Store(BaseAtomicDB):  # type: ignore[misc]  # py-evm is untyped
    """py-evm's database interface over a backing, with uncommitted changes in front."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing
        self._changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Value of a key as changed so far, None for none."""
        if key in self._changes:
            return self._changes[key]
        return self._backing.get(key)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Land all changes in one write as the context ends, or none of them where anything fails.

        A context within another one lands what came before it, too.
        """
        try:
            yield
            if self._changes:
                self._backing.write(self._changes)
        finally:
            self._changes = {}

    def committed(self) -> dict[bytes, bytes]:
        """All that was committed."""
        return self._backing.items()

    def replace(self, values: Mapping[bytes, bytes]) -> None:
        """Let these values be all there is, in one write."""
        with self.together():
            self._changes = dict.fromkeys(self._backing.items()) | dict(values)

    def close(self) -> None:
        """Close the backing; uncommitted changes are lost."""
        self._backing.close()

    # --- py-evm's interface ---------------------------------------------------------------------

    def __getitem__(self, key: bytes) -> bytes:
        if key in self._changes:
            value = self._changes[key]
        else:
            value = self._backing.get(key)
            if value is not None and len(key) == HASH_BYTES and keccak(value) != key:
                raise DamagedChainError(f"0x{key.hex()}, a part of the state, is damaged")
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._changes[key] = value

    def __delitem__(self, key: bytes) -> None:
        self._changes[key] = None

    def _exists(self, key: bytes) -> bool:
        return self.get(key) is not None

    @contextmanager
    def atomic_batch(self) -> Iterator[Any]:
        """Changes that join the others when the context ends without exception."""
        with AtomicDBWriteBatch._commit_unless_raises(self) as batch:
            yield batch


def backing_of(data: Path | None) -> Backing:
    """A folder's backing, or one in memory. Raises DataFolderError."""
    if data is None:
        return Memory()
    from ledger.chain.lmdb import LmdbFolder  # noqa: PLC0415 (only for chains that are kept)

    return LmdbFolder(data)
