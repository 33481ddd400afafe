"""The audit beside the pages: what `wattbook audit` would print of the record.

It is run where somebody looks, of a finished record once; where the market goes on, again when there is more,
and for no more than a small part of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock, Thread

from ledger.audit import audit
from ledger.audit.report import Report
from ledger.chain.protocol import ChainError
from node.api.archive import Archive

REST_SHARE = 10
"""So many times as long as an audit took, nothing is audited again."""


@dataclass(frozen=True, slots=True)
class Verified:
    """An audit's report, and the last block that it saw."""

    report: Report
    block: int


class Verification:
    """The newest audit, which is there some time after it was first asked for.

    `broke_off` says that the last one came to no end, for a reason that is none of the chain's.
    """

    def __init__(self, archive: Archive, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._archive, self._monotonic = archive, monotonic
        self._verified: Verified | None = None
        self._runs = self.broke_off = False
        self._not_before = 0.0
        self._lock = Lock()

    def newest(self, head: int) -> Verified | None:
        """The newest, None while the first is made; where blocks up to `head` are new another is begun."""
        with self._lock:
            if self._verified is not None and self._verified.block > head:
                self._verified = None  # the chain went back
            verified = self._verified
            rested = self._monotonic() >= self._not_before
            is_new = verified is None or verified.block != head
            due = is_new and (rested or (verified is None and not self.broke_off))
            if due and not self._runs and not (verified is not None and self._archive.finished):
                self._runs = True
                Thread(target=self._run, args=(head,), name="audit", daemon=True).start()
        return verified

    def _run(self, head: int) -> None:
        begun, verified, broke_off = self._monotonic(), self._verified, True
        try:
            record = self._archive.reaching(head)
            verified, broke_off = Verified(audit(record), record.blocks[-1].number), False
        except ChainError:  # it is looked at again when the chain answers
            broke_off = False
        finally:
            with self._lock:
                now = self._monotonic()
                self._verified, self._runs, self.broke_off = verified, False, broke_off
                self._not_before = now + REST_SHARE * (now - begun)
