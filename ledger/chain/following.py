"""Events in chain order from a chain that may change its mind: what was read is taken back by name.

A follower remembers the hash of each block up to which it has read. Where a block of that number has
another hash now, or there is none, the chain was reorganised: what was read after the last block that still
stands is void, and the follower says so before it reads on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ledger.chain.protocol import Chain, Log, LogFilter

BLOCKS_REMEMBERED = 1_024
"""Marks that are kept; one that is older is trusted no more, and all is read again."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is new: forget everything after block `rewound_to`, if that is one; then come `logs`.

    `through` is the block up to which all was read.
    """

    rewound_to: int | None
    logs: tuple[Log, ...]
    through: int


class Follower:
    """Reads the logs that a filter names, once each, `confirmations` blocks behind the head.

    `to_block` of the filter is not looked at. With 0 confirmations all is read at once and may be taken
    back; with n, only a reorganisation deeper than n blocks takes anything back.
    """

    def __init__(self, chain: Chain, which: LogFilter, confirmations: int = 0) -> None:
        self._chain = chain
        self._which = which
        self._confirmations = confirmations
        self._marks: dict[int, bytes] = {}
        self._untold: int | None = None  # the block after which all is void, until a step has said so

    def poll(self) -> Step:
        """What happened since the last call. Raises ChainError as the chain does."""
        while True:
            self._rewind()
            first = max(self._marks, default=self._which.from_block - 1) + 1
            last = self._chain.head() - self._confirmations
            if last < first:
                return self._step((), first - 1)
            before = self._hash(last)
            logs = tuple(self._chain.logs(replace(self._which, from_block=first, to_block=last)))
            marks = {log.block_number: log.block_hash for log in logs} | {last: before or b""}
            # blocks that changed while their logs were read are read again
            if before is not None and all(self._hash(number) == kept for number, kept in marks.items()):
                self._marks |= marks
                for old in sorted(self._marks)[:-BLOCKS_REMEMBERED]:
                    del self._marks[old]
                return self._step(logs, last)

    def _step(self, logs: tuple[Log, ...], through: int) -> Step:
        rewound_to, self._untold = self._untold, None
        return Step(rewound_to, logs, through)

    def _rewind(self) -> None:
        """Forget the marks that no longer stand, and remember the last block that does.

        That is owed to the reader until a step has said it: the chain may be gone, or change again, before.
        """
        while self._marks and self._hash(newest := max(self._marks)) != self._marks[newest]:
            del self._marks[newest]
            self._untold = max(self._marks, default=self._which.from_block - 1)

    def _hash(self, number: int) -> bytes | None:
        try:
            return self._chain.block(number).hash
        except KeyError:  # the chain is shorter now
            return None
