"""What processes use of the machine, as Linux tells it; elsewhere nothing is known."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

KIB_PER_MIB = 1_024
USER_TICKS, SYSTEM_TICKS = 11, 12
"""Places of both behind the command's name in `/proc/PID/stat` (proc(5))."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of its own that a process has now, MiB, and processor time that it has used, seconds."""

    memory_mib: float
    processor_seconds: float


def usage(pid: int) -> Usage | None:
    """Of a process, None where the system does not tell. Mapped files are not its own memory."""
    own = _status_mib(f"/proc/{pid}/status", "RssAnon")
    if own is None:
        return None
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    ticks = int(fields[USER_TICKS]) + int(fields[SYSTEM_TICKS])
    return Usage(own, ticks / os.sysconf("SC_CLK_TCK"))


def peak_memory_mib() -> float:
    """The most memory that this process had; elsewhere than on Linux, or its parent when it began."""
    own = _status_mib("/proc/self/status", "VmHWM")
    return own or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def _status_mib(path: str, name: str) -> float | None:
    """A line of a process's status, None where there is none."""
    status = Path(path)
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) / KIB_PER_MIB for line in lines if line.startswith(f"{name}:")), None)
