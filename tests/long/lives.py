"""A million actions of random lives, on all cores: `lives.py FOLDER`, and see `--help`.

Lives are numbered, and a number draws the same life everywhere. They are lived in units of ten of each
market; what a unit counted is written into the folder, and a unit that is there already is not lived again.
So a run can be stopped and taken up, and another machine can go on where a report ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from hashlib import sha256
from pathlib import Path

from contracts import NAMES, load
from tests.twins.lives import MARKETS, live
from tests.twins.tally import Tally

ROOT = Path(__file__).resolve().parents[2]
TWINS = ROOT / "tests" / "twins"
LIVES_PER_UNIT = 10
"""Of each market."""
VIEWING = 0.05
"""Share of actions after which views are asked, beside the storage that is looked at after each."""
MILLION = 1_000_000


def contract_hash() -> str:
    """What was driven: the code of the artifacts."""
    return sha256(b"".join(load(name).bytecode for name in NAMES)).hexdigest()[:16]


def drawing_hash() -> str:
    """How it was driven: the modules that draw a life from its number."""
    digest = sha256()
    for name in ("delivery", "life", "lives", "posting", "trading"):
        digest.update((TWINS / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def unit_path(folder: Path, unit: int) -> Path:
    """Where a unit's counts are kept."""
    return folder / f"{contract_hash()}-{drawing_hash()}-{unit:06d}.json"


def live_unit(unit: int) -> dict[str, object]:
    """Ten lives of each market."""
    total = Tally()
    for name in MARKETS:
        for number in range(unit * LIVES_PER_UNIT, (unit + 1) * LIVES_PER_UNIT):
            total.add(live(name, number, VIEWING).as_json())
    return {"unit": unit, "counts": total.as_json()}


def known_units(folder: Path, first: int) -> Iterator[dict[str, object]]:
    """Units of this contract that were lived, from `first` on without a gap."""
    for unit in range(first, sys.maxsize):
        path = unit_path(folder, unit)
        if not path.exists():
            return
        yield json.loads(path.read_text("utf-8"))


def counted(folder: Path, first: int) -> tuple[int, Tally]:
    """Number of units without a gap, and what they counted together."""
    total, units = Tally(), 0
    for known in known_units(folder, first):
        total.add(known["counts"])
        units += 1
    return units, total


def run(folder: Path, actions: int, first: int, seconds: float, processes: int) -> None:
    """Live units until there are enough actions, or no time is left. Raises what a life found."""
    folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + seconds
    paths: dict[object, Path] = {}
    with ProcessPoolExecutor(processes) as pool:
        running: set[Future[dict[str, object]]] = set()
        units, total = counted(folder, first)
        unit = first + units
        while True:
            while len(running) < processes and total.actions < actions and time.monotonic() < ends:
                paths[unit] = unit_path(folder, unit)
                running.add(pool.submit(live_unit, unit))
                unit += 1
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                found = future.result()
                paths[found["unit"]].write_text(json.dumps(found, sort_keys=True) + "\n", "utf-8")
            units, total = counted(folder, first)
            print(
                f"{first * LIVES_PER_UNIT}–{unit * LIVES_PER_UNIT - 1}: {total.actions} actions",
                file=sys.stderr,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--actions", type=int, default=MILLION)
    parser.add_argument("--first", type=int, default=0, help="life to begin with, a multiple of ten")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no unit after these")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    run(asked.folder, asked.actions, asked.first // LIVES_PER_UNIT, asked.seconds, asked.processes)
