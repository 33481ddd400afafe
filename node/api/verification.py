"""The audit of a finished record, run once beside the pages: what `wattbook audit` would print of it."""

from __future__ import annotations

from threading import Lock, Thread

from ledger.audit import audit
from ledger.audit.report import Report
from ledger.record import Record


class Verification:
    """The audit's report, which is there some time after it was first asked for."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._report: Report | None = None
        self._begun = False
        self._lock = Lock()

    def report(self) -> Report | None:
        """The report; None while the checks run."""
        with self._lock:
            if not self._begun:
                self._begun = True
                Thread(target=self._run, name="audit", daemon=True).start()
        return self._report

    def _run(self) -> None:
        self._report = audit(self._record)
