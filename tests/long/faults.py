"""What goes wrong in a market of processes, drawn by a seed: one thing at a time, mended before the next."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np

from tests.network.processes import Network, Process

STOPPED_SECONDS = 15.0
"""A chain that hangs so long is missed by everybody, and slower than any answer is waited for."""
JUMP_SECONDS = (10, 90)
"""By how much the chain's time jumps ahead at least and at most: less than two turns of the oracles.
Machines' clocks stay as they are."""
BUSY_DISK = """
import os, sys
with open(sys.argv[1], "wb", buffering=0) as busy:
    while True:
        busy.seek(0)
        busy.write(os.urandom(4 << 20))
        os.fsync(busy.fileno())
"""
"""Keeps the disk at work that the chain's folder is on: four MB to the platter, again and again."""

Mend = Callable[[], None]


@dataclass
class Faults:
    """Strikes a network; `seen` counts what went wrong, by kind."""

    net: Network
    rng: np.random.Generator
    seen: Counter[str] = field(default_factory=Counter)
    _mend: Mend | None = None

    def strike(self) -> None:
        """Mend what is broken, and break the next thing."""
        self.mend()
        kinds: tuple[tuple[str, Callable[[], Mend]], ...] = (
            ("oracle killed", lambda: self._killed(self._one_of(self.net.oracles), " at http://")),
            ("agent killed", lambda: self._killed(self._one_of(self.net.agents), '"ready"')),
            ("chain killed", self._chain_killed),
            ("chain hangs", self._chain_hangs),
            ("disk slow", self._disk_slow),
            ("time jumps", self._time_jumps),
        )
        name, happen = kinds[int(self.rng.integers(len(kinds)))]
        self.seen[name] += 1
        self._mend = happen()

    def mend(self) -> None:
        """Everybody is there again."""
        if self._mend is not None:
            self._mend()
            self._mend = None

    def _one_of(self, processes: dict[int, Process]) -> Process:
        return processes[int(self.rng.choice(sorted(processes)))]

    def _killed(self, process: Process, greeting: str) -> Mend:
        """Until it says again that it is there: whoever starts while the chain is gone gives up at once."""
        process.kill()
        greeted = process.said.count(greeting)

        def back() -> None:
            process.start()
            self.net.wait("it is back", lambda: process.said.count(greeting) > greeted)

        return back

    def _chain_killed(self) -> Mend:
        """In the middle of whatever it was writing; its folder has all that it ever answered for."""
        head = self.net.chain.head()
        self.net.testnet.kill()
        self.net.testnet.start()
        self.net.wait("the testnet is back", lambda: _answers(self.net))
        assert self.net.chain.head() >= head, "blocks were lost"
        return _nothing

    def _chain_hangs(self) -> Mend:
        self.net.testnet.started.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)
        self.net.testnet.started.send_signal(signal.SIGCONT)
        return _nothing

    def _disk_slow(self) -> Mend:
        words = (sys.executable, "-c", BUSY_DISK, str(self.net.folder / "busy.bin"))
        busy = subprocess.Popen(words)

        def rest() -> None:
            busy.kill()
            busy.wait()

        return rest

    def _time_jumps(self) -> Mend:
        self.net.move_to(self.net.chain.now() + int(self.rng.integers(*JUMP_SECONDS)))
        return _nothing


@contextmanager
def mended(faults: Faults) -> Iterator[Faults]:
    """Nothing that keeps the disk busy is left behind."""
    try:
        yield faults
    finally:
        faults.mend()


def _nothing() -> None:
    """It mended itself."""


def _answers(net: Network) -> bool:
    """Both servers of the testnet do."""
    try:
        return httpx.get(f"{net.document['api_url']}/health", timeout=5).is_success and net.chain.head() >= 0
    except Exception:  # whatever a server that begins says
        return False
