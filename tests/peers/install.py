"""`python -m tests.peers.install [NAME …]` makes the environments that benchmarks ask other packages in.

Those of the names, or all, where they are not there yet; 2.6 GB in all. ASSUME is under the AGPL and Grid
Singularity's framework (which the registry has as gsy-frameworke) under the GPL: nothing of them is shipped.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copy, rmtree

from node.bench.peers import (
    ADAPTER,
    ASSUME,
    GSY,
    INSTALLED,
    PYMARKET,
    PYPSA,
    TESP,
    Peer,
    folder,
)

REQUIREMENTS: Mapping[Peer, tuple[str, ...]] = {
    ASSUME: ("assume-framework==0.6.0",),
    GSY: ("gsy-frameworke==5.0.2",),
    PYMARKET: ("pymarket==0.7.6", "pandas<3"),
    PYPSA: ("pypsa==1.4.0",),
    TESP: ("tesp-support==1.3.7",),
}


class PeerError(RuntimeError):
    """An environment that could not be made; the message has the installer's last line."""


def main(names: Sequence[str]) -> int:
    """Install; returns 1 where some could not be, 2 for a name that is none."""
    known = {peer.name: peer for peer in REQUIREMENTS}
    for name in names:
        if name not in known:
            print(f"{name}: no such peer; there are {', '.join(known)}", file=sys.stderr)
            return 2
    folder().mkdir(parents=True, exist_ok=True)
    copy(Path(__file__).with_name(ADAPTER), folder() / ADAPTER)
    status = 0
    for peer in (known[name] for name in names or known):
        if _installed(peer) == REQUIREMENTS[peer]:
            continue
        print(f"installing {peer.title} into {folder() / peer.name}", flush=True)
        try:
            install(peer)
        except PeerError as failure:
            print(f"not installed: {peer.title}: {failure}", file=sys.stderr)
            status = 1
    return status


def install(peer: Peer) -> None:
    """Make its environment, which counts once it is whole. Raises PeerError."""
    place = folder() / peer.name
    rmtree(place, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(place))
    pip = (str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check")
    _run(*pip, *REQUIREMENTS[peer])
    (place / INSTALLED).write_text("\n".join(REQUIREMENTS[peer]), "utf-8")


def _installed(peer: Peer) -> tuple[str, ...]:
    """What is there, nothing where that is not whole."""
    path = folder() / peer.name / INSTALLED
    return tuple(path.read_text("utf-8").splitlines()) if path.exists() else ()


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr]
        raise PeerError(said[-1].strip()[:300])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
