"""Who is told of an embedded chain's changes as they happen, in the thread that makes them."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Somebody who is told."""

    def queued(self, transaction_hash: bytes) -> None:
        """A transaction was taken, and waits."""

    def appended(self) -> None:
        """A block was appended."""

    def going_back(self, number: int) -> None:
        """The blocks after `number` are about to go."""


class Watchers:
    """All who are told, in the order in which they came."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []

    def add(self, watcher: Watcher) -> None:
        """Tell a watcher of changes from now on."""
        self._watchers.append(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Tell a watcher no more; one who was not told is no error."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def count(self) -> int:
        """How many there are."""
        return len(self._watchers)

    def queued(self, transaction_hash: bytes) -> None:
        """A transaction was taken, and waits."""
        for watcher in tuple(self._watchers):
            watcher.queued(transaction_hash)

    def appended(self) -> None:
        """A block was appended."""
        for watcher in tuple(self._watchers):
            watcher.appended()

    def going_back(self, number: int) -> None:
        """The blocks after `number` are about to go."""
        for watcher in tuple(self._watchers):
            watcher.going_back(number)
