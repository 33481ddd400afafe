"""The embedded chain's data folder: an LMDB database, its format's version, and a lock for one writer.

    FORMAT       "wattbook chain 1"
    LOCK         held while a process has the folder open
    data.mdb     LMDB; every block is one write transaction, synced to disk
    lock.mdb     LMDB's own readers table

DataFolderError             the folder cannot be used; the message says why and what to do
├── ForeignFolderError      it is not a chain's folder of this version, or none can be made there
├── FolderInUseError        another process has it open
├── DamagedFolderError      the database is broken or cut off
└── UnwritableFolderError   nothing can be written: the disk is full, or refuses
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import lmdb

from ledger.chain.pages import IncompleteFileError, check_whole
from ledger.chain.protocol import ChainError, DamagedChainError
from ledger.chain.store import Changes

FORMAT = "wattbook chain 1"

_FIRST_MAP_BYTES = 1 << 30


class DataFolderError(ChainError):
    """The data folder cannot be used."""


class ForeignFolderError(DataFolderError):
    """It is not a chain's folder of this version, or none can be made there."""


class FolderInUseError(DataFolderError):
    """Another process has it open."""


class DamagedFolderError(DataFolderError, DamagedChainError):
    """The database is broken or cut off."""


class UnwritableFolderError(DataFolderError):
    """Nothing can be written: the disk is full, or refuses. What was written before is whole."""


class LmdbFolder:
    """Backing in a data folder, which is created if it is missing or empty. Raises DataFolderError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        _prepare(folder)
        self._lock = _locked(folder)
        try:
            _check_database(folder / "data.mdb")
            self._environment = lmdb.open(str(folder), map_size=_FIRST_MAP_BYTES, max_dbs=0)
        except BaseException as failure:
            self._unlock()
            if isinstance(failure, lmdb.Error):
                raise DamagedFolderError(f"{folder}: the database is damaged: {failure}") from None
            raise

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None for none. Raises DataFolderError on a damaged database."""
        try:
            with self._environment.begin() as transaction:
                value: bytes | None = transaction.get(key)
                return value
        except lmdb.Error as failure:
            raise DamagedFolderError(f"{self._folder}: the database is damaged: {failure}") from None

    def write(self, changes: Changes) -> None:
        """Apply all changes in one transaction, synced to disk. Raises DataFolderError on failure."""
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in changes.items():
                        if value is None:
                            transaction.delete(key)
                        else:
                            transaction.put(key, value)
                return
            except lmdb.MapFullError:  # the aborted transaction left nothing behind
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as failure:
                raise UnwritableFolderError(f"{self._folder}: cannot be written: {failure}") from None

    def items(self) -> dict[bytes, bytes]:
        """All values by key. Raises DataFolderError on a damaged database."""
        try:
            with self._environment.begin() as transaction:
                return {bytes(key): bytes(value) for key, value in transaction.cursor()}
        except lmdb.Error as failure:
            raise DamagedFolderError(f"{self._folder}: the database is damaged: {failure}") from None

    def close(self) -> None:
        """Close the database and release the lock."""
        if self._lock is not None:
            self._environment.close()
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _prepare(folder: Path) -> None:
    """Check the folder's format, or mark an empty one."""
    marker = folder / "FORMAT"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if marker.exists():
            found = marker.read_text(errors="replace").strip()
            if found != FORMAT:
                raise ForeignFolderError(
                    f"{folder}: its format is {found[:40]!r}, this version reads {FORMAT!r}"
                )
        elif any(folder.iterdir()):
            raise ForeignFolderError(f"{folder}: not a chain's data folder, and not empty: name another one")
        else:
            marker.write_text(FORMAT + "\n")
    except OSError as failure:
        raise ForeignFolderError(f"{folder}: cannot be used: {failure.strerror}") from None


def _check_database(path: Path) -> None:
    """Refuse a database with pages missing, which LMDB would find by the process's end."""
    try:
        check_whole(path)
    except FileNotFoundError:
        return  # a new one
    except IncompleteFileError as failure:
        raise DamagedFolderError(
            f"{path}: damaged: {failure}; bring back a copy, or name another folder"
        ) from None
    except OSError as failure:
        raise ForeignFolderError(f"{path}: cannot be read: {failure.strerror}") from None


def _locked(folder: Path) -> int:
    """Descriptor of the folder's lock, held until it is closed."""
    try:
        descriptor = os.open(folder / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as failure:
        raise ForeignFolderError(f"{folder}: cannot be used: {failure.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise FolderInUseError(f"{folder}: another process has it open") from None
    return descriptor
