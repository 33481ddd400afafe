"""Every check of the audit on the bundle of a small simulated session."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from ledger.audit import audit
from ledger.history import history
from ledger.record import Record
from node.bench.row import Row, WrongWork
from node.bench.timing import again, medians_seconds
from node.scenario.loading import load
from node.simulate.run import simulate

SESSION = {"slots.start": "2026-06-23T10:00:00Z", "slots.count": "4"}
RUNS = 3
GOAL_ORDERS, GOAL_SECONDS = 30_000, 60


def rows() -> Iterable[Row]:
    """Seconds of the whole audit from the bundle's files; the goal is a large day's, in proportion."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "session"
        simulate(load("ieee33-day", SESSION), out)
        bundle = out / "bundle"
        orders = sum(len(slot.placed) for slot in history(Record.from_bundle(bundle)))
        (seconds,) = medians_seconds(again(lambda: _verify(bundle)), runs=RUNS, warm_ups=0)
    goal = GOAL_SECONDS * orders / GOAL_ORDERS
    yield Row(f"all checks, {orders:,} orders in {SESSION['slots.count']} slots", seconds, "s", goal=goal)


def _verify(bundle: Path) -> None:
    report = audit(Record.from_bundle(bundle))
    if not report.ok:
        raise WrongWork(f"{len(report.findings)} findings in a sound bundle")
