"""A market on a node elsewhere, as the pages watch it: asked seldom, however many look."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from ledger.bundle import deployment_block
from ledger.chain.protocol import Block, TimedChain
from ledger.exchange import Exchange
from node.api.sources import LiveSource

GLANCE_SECONDS = 0.25
"""What a node said of its newest block holds so long."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What is kept of a block."""

    hash: bytes
    timestamp: int


class WatchedSource(LiveSource):
    """A market whose chain is asked for its newest block at most once in `GLANCE_SECONDS`.

    Blocks are known until the next newest one, which may be of a chain that went back.
    Raises ChainUnavailable where the node does not answer, BundleIncompleteError where it has no such market.
    """

    def __init__(
        self, chain: TimedChain, exchange: Exchange, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(chain, exchange, exchange.token(), deployment_block(chain, exchange.address))
        self._node, self._monotonic = chain, monotonic
        self._lock = Lock()
        self._looked_at = float("-inf")
        self._head = self._now = 0
        self._places: dict[int, _Place] = {}

    def now(self) -> int:
        """Second that the next block will carry at least."""
        with self._lock:
            self._look()
            return self._now

    def head(self) -> int:
        """Number of the newest block."""
        with self._lock:
            self._look()
            return self._head

    def block_hash(self, number: int) -> bytes:
        """Hash of a block."""
        return self._place(number).hash

    def block_time(self, number: int) -> int:
        """Unix second of a block."""
        return self._place(number).timestamp

    def _place(self, number: int) -> _Place:
        with self._lock:
            self._look()
            if number not in self._places:
                self._keep(self._node.block(number))
            return self._places[number]

    def _look(self) -> None:
        if self._monotonic() - self._looked_at < GLANCE_SECONDS:
            return
        head = self._node.block()
        known = self._places.get(head.number)
        if known is None or known.hash != head.hash:
            self._places.clear()
            self._keep(head)
        self._head, self._now = head.number, self._node.now()
        self._looked_at = self._monotonic()

    def _keep(self, block: Block) -> None:
        self._places[block.number] = _Place(block.hash, block.timestamp)
