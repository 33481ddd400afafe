"""What processes hold, slot by slot, and how much more with each, however often they begin anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from pathlib import Path
from statistics import median

from tests.network.processes import Network, Process


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

    def __str__(self) -> str:
        return (
            f"{self.kib_per_slot:.0f} KiB, {self.handles_per_slot:.2f} files, by {self.pairs} pairs of slots"
        )


@dataclass
class Watch:
    """What each process and the chain's folder hold, slot by slot; what comes after `warm_slots` counts."""

    net: Network
    folder: Path
    warm_slots: int
    uses: list[dict[str, Use]] = field(default_factory=list)
    disk_bytes: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Once a slot."""
        self.uses.append({name: use_of(each) for name, each in everybody(self.net).items()})
        self.disk_bytes.append(sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file()))

    @property
    def grown(self) -> dict[str, Growth]:
        """By kind of process: agents, oracles, the testnet."""
        kinds: dict[str, list[list[Use]]] = {}
        for name in self.uses[0]:
            kinds.setdefault(name.split()[0], []).append([each[name] for each in self.uses])
        return {kind: growth(processes) for kind, processes in kinds.items()}

    @property
    def testnet_mib(self) -> list[int]:
        """Resident when it was warm, and at the end."""
        return [
            each["testnet"].resident_kib // 1024 for each in (self.uses[self.warm_slots - 1], self.uses[-1])
        ]

    @property
    def disk_kb_per_slot(self) -> float:
        """By how much the chain's folder grew with each slot since it was warm."""
        grown = self.disk_bytes[-1] - self.disk_bytes[self.warm_slots - 1]
        return grown / 1e3 / (len(self.disk_bytes) - self.warm_slots)


def everybody(net: Network) -> dict[str, Process]:
    """Every process by its name."""
    named = {f"oracle {number}": each for number, each in net.oracles.items()}
    named |= {f"agent {number}": each for number, each in net.agents.items()}
    return named | {"testnet": net.testnet}


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
