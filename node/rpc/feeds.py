"""What is new since somebody last asked: heads, logs, waiting transactions; for filters and subscriptions.

A feed keeps the number of the last block it told of, and no blocks: however slowly its reader reads, nothing
piles up, and nothing is missed. Where the chain goes back to a snapshot, logs that were told of are told
once more as removed, and blocks are told of from there on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Literal

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.logs import matches
from ledger.chain.protocol import Log, LogFilter
from node.rpc.views import header_view, hexadecimal, log_view

BLOCKS_AT_ONCE = 128
KEPT_MAX = 10_000
"""Removed logs, and hashes of waiting transactions, that are kept for a reader; the oldest give way."""

Kind = Literal["newHeads", "logs", "newPendingTransactions"]


class Feed:
    """A feed of a chain; `which` are the logs asked for. It watches the chain until it is closed."""

    def __init__(self, chain: EmbeddedChain, kind: Kind, which: LogFilter | None = None) -> None:
        self.kind = kind
        self.which = which or LogFilter()
        self._chain = chain
        self._told = chain.head()
        self._removed: deque[Any] = deque(maxlen=KEPT_MAX)
        self._waiting: deque[bytes] = deque(maxlen=KEPT_MAX)
        chain.watchers.add(self)

    def close(self) -> None:
        """Watch no longer."""
        self._chain.watchers.remove(self)

    # --- reading --------------------------------------------------------------------------------

    def hashes(self) -> list[str]:
        """Hashes of new blocks, or of transactions that wait."""
        if self.kind == "newPendingTransactions":
            hashes = [hexadecimal(each) for each in self._waiting]
            self._waiting.clear()
            return hashes
        return [hexadecimal(self._chain.block(number).hash) for number in self._new(KEPT_MAX)]

    def logs(self, blocks_max: int = KEPT_MAX) -> list[dict[str, Any]]:
        """Logs that were removed, and new ones."""
        removed = list(self._removed)
        self._removed.clear()
        return removed + [
            log_view(log, self._chain.block(log.block_number))
            for number in self._new(blocks_max)
            for log in self._in_block(number)
        ]

    def news(self) -> list[Any]:
        """What a subscriber is told next; a part of it, where there is much."""
        if self.kind == "newHeads":
            return [header_view(self._chain.block(number)) for number in self._new(BLOCKS_AT_ONCE)]
        return self.logs(BLOCKS_AT_ONCE) if self.kind == "logs" else self.hashes()

    def is_behind(self) -> bool:
        """Whether there is more to tell."""
        return self._told < self._chain.head() or bool(self._removed or self._waiting)

    def _new(self, blocks_max: int) -> range:
        """Blocks to tell of, which are told of then."""
        first = self._told + 1
        self._told = min(self._chain.head(), self._told + blocks_max)
        return range(first, self._told + 1)

    def _in_block(self, number: int) -> list[Log]:
        last = self.which.to_block
        if number < self.which.from_block or (last is not None and number > last):
            return []
        return list(self._chain.logs(replace(self.which, from_block=number, to_block=number)))

    # --- watching -------------------------------------------------------------------------------

    def queued(self, transaction_hash: bytes) -> None:
        """A transaction waits."""
        if self.kind == "newPendingTransactions":
            self._waiting.append(transaction_hash)

    def appended(self) -> None:
        """A block was appended: it is found when the reader asks."""

    def going_back(self, number: int) -> None:
        """Blocks are about to go: the logs of those that were told of are kept for the reader."""
        if self.kind == "logs":
            for gone in range(self._told, number, -1):
                self._removed.extend(
                    log_view(log, self._chain.block(gone)) | {"removed": True}
                    for log in reversed(self._in_block(gone))
                    if matches(log, self.which)
                )
        self._told = min(self._told, number)
