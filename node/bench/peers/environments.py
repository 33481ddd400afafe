"""Which packages those are, and their environments: none is a dependency of Wattbook.

`python -m node.bench.peers` makes the environments under `out/peers`, or where WATTBOOK_PEERS says, from the
package registry. A benchmark names a peer whose environment is not there as not installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

FOLDER = "WATTBOOK_PEERS"
"""The variable that names another folder than `out/peers`."""


class PeerError(RuntimeError):
    """An environment that could not be made; the message has the installer's last line."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A package: its name in `answer.py`, its title in rows, and what its environment needs."""

    name: str
    title: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its environment is, or would be."""
        return Path(os.environ.get(FOLDER, "out/peers")).absolute() / self.name

    @property
    def python(self) -> Path | None:
        """The interpreter of its environment, None where that is not installed."""
        path = self.folder / "bin" / "python"
        return path if path.exists() else None

    def install(self) -> None:
        """Make the environment, whole or not at all. Raises PeerError."""
        path = self.folder / "bin" / "python"
        try:
            _run(sys.executable, "-m", "venv", "--clear", str(self.folder))
            _run(str(path), "-m", "pip", "install", "-q", "--disable-pip-version-check", *self.requirements)
        except PeerError as failure:
            rmtree(self.folder, ignore_errors=True)
            raise PeerError(f"{self.title}: {failure}") from None


ASSUME = Peer("assume", "ASSUME 0.6.0", ("assume-framework==0.6.0",))
GSY = Peer("gsy", "GSy framework 5.0.2", ("gsy-frameworke==5.0.2",))
PYMARKET = Peer("pymarket", "pymarket 0.7.6", ("pymarket==0.7.6", "pandas<3"))
PYPSA = Peer("pypsa", "PyPSA 1.4.0", ("pypsa==1.4.0",))
TESP = Peer("tesp", "TESP 1.3.7", ("tesp-support==1.3.7",))
PEERS = (ASSUME, GSY, PYMARKET, PYPSA, TESP)
"""All of them. gsy-frameworke is the name under which the registry has Grid Singularity's framework."""


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        raise PeerError(said[-1].strip()[:300])
