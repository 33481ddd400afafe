"""What processes hold, slot by slot, and how much more with each, however often they begin anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from statistics import median

from tests.network.processes import Process


@dataclass(frozen=True)
class Use:
    """What a process holds: resident KiB, open files. Who begins anew has another `pid`."""

    pid: int
    resident_kib: int
    handles: int


@dataclass(frozen=True)
class Growth:
    """What some processes of one kind held more with each slot, and over how many pairs of slots that is."""

    kib_per_slot: float
    handles_per_slot: float
    pairs: int


def use_of(process: Process) -> Use:
    """Of a process that runs."""
    pid = process.started.pid
    folder = Path(f"/proc/{pid}")
    (line,) = (line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return Use(pid, int(line.split()[1]), len(list((folder / "fd").iterdir())))


def growth(processes: Sequence[Sequence[Use]]) -> Growth:
    """The median over all pairs of slots of one life (Theil and Sen), each life's first slot left out.

    What a process loads as it begins, and connections that come and go, do not move it; what leaks with each
    slot does, however often processes are killed. 0 where no process lived through three slots.
    """
    kib, handles = [], []
    for uses in processes:
        for life in lives(uses):
            for (first, before), (last, after) in combinations(enumerate(life[1:]), 2):
                kib.append((after.resident_kib - before.resident_kib) / (last - first))
                handles.append((after.handles - before.handles) / (last - first))
    return Growth(median(kib or [0.0]), median(handles or [0.0]), len(kib))


def lives(uses: Sequence[Use]) -> Iterator[list[Use]]:
    """The uses of one process, apart wherever it began anew."""
    for _, life in groupby(uses, key=lambda use: use.pid):
        yield list(life)
