"""The record behind bills and audit: whole where the market is finished, else as far as it was read last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from ledger.record import Record
from node.api.sources import Source


class Archive(Protocol):
    """A market's record."""

    @property
    def finished(self) -> bool:
        """Whether it grows no more."""

    def reaching(self, block: int) -> Record:
        """The record up to a block at least; of a chain that went back since, as it is now."""


@dataclass(frozen=True, eq=False)
class Finished:
    """A record that grows no more, and what commands on it name."""

    record: Record
    name: str
    finished: bool = True

    def reaching(self, block: int) -> Record:
        """The record."""
        return self.record


class Growing:
    """A record that grows; `read` reads it anew, which takes the longer the longer the chain is."""

    finished = False

    def __init__(self, source: Source, read: Callable[[], Record]) -> None:
        self._source, self._read = source, read
        self._kept: Record | None = None
        self._lock = Lock()

    def reaching(self, block: int) -> Record:
        """The record as it was read last, if it goes so far and is still the chain's. Raises ChainError."""
        with self._lock:
            if self._kept is None or self._kept.blocks[-1].number < block or not self._holds(self._kept):
                self._kept = self._read()
            return self._kept

    def _holds(self, record: Record) -> bool:
        head = record.blocks[-1]
        return head.number <= self._source.head() and self._source.block_hash(head.number) == head.hash
