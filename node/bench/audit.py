"""Every check of the audit on simulated days of 3 000 and 30 000 orders: time, memory, and how they grow.

A day is judged in a process of its own, so that its memory is its own. Where days are kept, one is simulated
once for its scenario, a version of the contract and of the bundle's format.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import contracts
from ledger.audit import CHECKS, audit
from ledger.audit.replay import replay
from ledger.bundle import VERSION
from ledger.history import history
from ledger.record import Record
from node.bench.row import Row, WrongWork
from node.bench.timing import Times, seconds, timed
from node.bench.usage import peak_memory_mib
from node.scenario.loading import load
from node.simulate.run import simulate

SESSION: dict[str, str] = {}
"""Other scenario keys than those of the demo's day."""
PROSUMERS = (60, 600)
"""Two days: ten times as many people, about ten times as many orders; the smaller is executed again, too."""
GOAL_SECONDS = 60


def rows(folder: Path | None = None) -> Iterable[Row]:
    """Seconds of reading and of each check, memory at the end, and both by order on the larger day.

    Days are kept in `folder`, and not without one.
    """
    with nullcontext(folder) if folder else TemporaryDirectory() as kept:
        days = [_day(count, Path(kept)) for count in PROSUMERS]
        measured = [
            _measured(day, execute=count == min(PROSUMERS))
            for count, day in zip(PROSUMERS, days, strict=True)
        ]
    for told in measured:
        orders = f"{told['orders']:,} orders"
        for what, taken in told["seconds"].items():
            yield Row.timed(f"{what}, {orders}", "s", Times((taken,)), goal=GOAL_SECONDS)
        yield Row(f"peak memory, {orders}", told["peak_mib"], "MiB")
    if len(measured) > 1:
        yield from growth(measured[0], measured[-1])


def growth(small: dict[str, Any], large: dict[str, Any]) -> Iterator[Row]:
    """What an order takes of the larger day against the smaller: 1 where cost grows as orders do."""
    more = large["orders"] / small["orders"]
    for what in ("reading", "all checks"):
        grown = large["seconds"][what] / small["seconds"][what]
        yield Row(f"{what}: time an order takes of the larger day, of the smaller", grown / more, "×")
    grown = large["peak_mib"] / small["peak_mib"]
    yield Row("peak memory by order, the same", grown / more, "×")


def _day(prosumers: int, folder: Path) -> Path:
    """The bundle of a day, simulated if it is not in the folder yet; half a day is never left there."""
    scenario = load("ieee33-day", {"prosumers.count": str(prosumers), "oracle.method": "newton", **SESSION})
    made_of = f"{scenario!r} {contracts.load('Exchange').source_sha256} {VERSION}"
    out = folder / f"day-{prosumers}-{sha256(made_of.encode()).hexdigest()[:12]}"
    if not out.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder) as begun:
            simulate(scenario, Path(begun) / "day")
            Path(begun, "day").rename(out)
    return out / "bundle"


def _measured(bundle: Path, *, execute: bool) -> dict[str, Any]:
    """What the process tells that judges a bundle. Raises WrongWork where it does not end well."""
    command = [sys.executable, "-m", "node.bench.audit", str(bundle), *(["--replay"] if execute else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongWork(done.stderr.strip().splitlines()[-1])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def judge(bundle: Path, *, execute: bool = False) -> dict[str, Any]:
    """Orders of a bundle, seconds of reading and each check, and the process's peak memory so far.

    With `execute` every block is executed again, too, which is no part of all checks.
    """
    record, reading = timed(lambda: Record.from_bundle(bundle))
    taken = {
        "reading": reading.median,
        "replay for several checks": seconds(lambda: (history(record), replay(record))),
    }
    for check in CHECKS:
        report, once = timed(lambda name=check.name: audit(record, [name]))  # type: ignore[misc]
        taken[check.name] = once.median
        if not report.ok:
            raise WrongWork(f"{check.name}: {len(report.findings)} findings in a sound bundle")
    taken["all checks"] = sum(taken.values()) - reading.median
    taken["reading and all checks"] = reading.median + taken["all checks"]
    peak = peak_memory_mib()
    if execute:
        report, once = timed(lambda: audit(record, [], execute=True))
        taken["--replay, every block executed again"] = once.median
        if not report.ok:
            raise WrongWork(f"--replay: {len(report.findings)} findings in a sound bundle")
    orders = sum(len(slot.placed) for slot in history(record))
    return {"orders": orders, "seconds": taken, "peak_mib": peak}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(judge(Path(sys.argv[1]), execute="--replay" in sys.argv)))
