"""Our work and another package's on the same question, run by run in turns, theirs in a process of its own.

Such a package has an environment of its own under `out/peers`, or where WATTBOOK_PEERS says, and none is a
dependency: `python -m tests.peers.install` of a checkout makes the environments, and puts the adapter beside
them that runs there. Who is not installed is named so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

from node.bench.row import Row, Unit
from node.bench.timing import LONG_SECONDS, Times, Trial, now_seconds, seconds, times

FOLDER, ADAPTER, INSTALLED = "WATTBOOK_PEERS", "adapter.py", "installed.txt"
"""The last is in an environment once it is whole, and has what was installed."""
QUESTION = "question.json"
LOADING_SECONDS = 120.0
ENDING_SECONDS = 5.0
"""What a peer that closed its output gets to end."""
WORDS = 120
"""Letters of what a peer said that are told."""
SIZE = 65_536


def folder() -> Path:
    """Where environments are, and the adapter."""
    return Path(os.environ.get(FOLDER, "out/peers")).absolute()


@dataclass(frozen=True, slots=True)
class Peer:
    """A package by the name that the adapter knows it by, and how rows call it."""

    name: str
    title: str

    @property
    def python(self) -> Path | None:
        """The interpreter of its environment, None where that is not installed."""
        place = folder() / self.name
        whole = (place / INSTALLED).exists() and (folder() / ADAPTER).exists()
        return place / "bin" / "python" if whole else None


ASSUME = Peer("assume", "ASSUME")
GSY = Peer("gsy", "GSy framework")
PYMARKET = Peer("pymarket", "pymarket")
PYPSA = Peer("pypsa", "PyPSA")
TESP = Peer("tesp", "TESP")


@dataclass(frozen=True, slots=True)
class Reply:
    """One run of a peer: seconds, and what it found; or how it ended without."""

    seconds: float
    found: Any = None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Our times and a peer's, None where it is not installed; what it found last, or how it ended without."""

    ours: Times
    theirs: Times | None
    found: Any = None
    ended: str | None = None
    version: str = ""

    def without(self, what: str) -> Comparison:
        """As of a peer that ended without what was asked for, after the median of its runs."""
        assert self.theirs is not None, "who is not there found nothing"
        return replace(self, found=None, ended=f"{what}, after {self.theirs.median:.3g} s")

    def row(self, name: str, title: str, about: str, unit: Unit = "s") -> Row:
        """As a row: `about` says what the peer of this title did. Who did not get through has no figure."""
        who = f"{title} {self.version}".strip()
        if self.theirs is None:
            return Row.timed(f"{name}, which is not installed", unit, self.ours)
        if self.ended is not None:
            return Row.timed(name, unit, self.ours, f"{who}, {self.ended}")
        return Row.timed(name, unit, self.ours, f"{who}: {about}, same run", self.theirs)


class PeerProcess:
    """A peer's process, and once it is ready the version of its package."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors
        self._received = b""
        self.version = ""

    def read_reply(self, patience_seconds: float) -> Any:
        """Its next line; a Reply without anything found where it ends, or takes longer to say it."""
        begun = now_seconds()
        assert self._process.stdout is not None
        with DefaultSelector() as selector:
            selector.register(self._process.stdout, EVENT_READ)
            while b"\n" not in self._received:
                left = patience_seconds - (now_seconds() - begun)
                if left <= 0 or not selector.select(left):
                    return Reply(patience_seconds, ended=f"given up after {patience_seconds:g} s")
                more = os.read(self._process.stdout.fileno(), SIZE)
                if not more:
                    took = now_seconds() - begun
                    return Reply(took, ended=f"{self._last_error_line()}, after {took:.3g} s")
                self._received += more
        line, _, self._received = self._received.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            return _no_reply(line.decode("utf-8", "replace"), now_seconds() - begun)

    def run(self, patience_seconds: float) -> Reply:
        """One run."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # that it ended is read below
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        reply = self.read_reply(patience_seconds)
        match reply:
            case Reply():
                return reply
            case {"seconds": float(taken), "found": found} if 0 < taken < inf:
                return Reply(taken, found)
        return _no_reply(json.dumps(reply), 0.0)

    def _last_error_line(self) -> str:
        """Why it ended, as it said itself."""
        try:
            status = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return "closed its output"
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1].strip()[:WORDS] if lines else f"ended with status {status}"


def _no_reply(said: str, after_seconds: float) -> Reply:
    """Of who says what is no reply: all that follows could be to another question."""
    return Reply(
        after_seconds, ended=f"said {said[:WORDS]!r}, which is no reply, after {after_seconds:.3g} s"
    )


@contextmanager
def peer_process(python: Path, words: tuple[str, ...], question: Any) -> Iterator[PeerProcess | Reply]:
    """A process with its question, in a folder of its own to leave files in; a Reply where it ended."""
    with TemporaryDirectory() as place, TemporaryFile("w+", encoding="utf-8") as errors:
        Path(place, QUESTION).write_text(json.dumps(question), "utf-8")
        try:
            started = subprocess.Popen(
                [python, "-P", *words, QUESTION],
                bufsize=0,  # what could not be written is not tried again when it is closed
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=place,
                start_new_session=True,
            )
        except OSError as error:
            yield Reply(0.0, ended=f"cannot be started: {error.strerror}")
            return
        with started:
            try:
                process = PeerProcess(started, errors)
                ready = process.read_reply(LOADING_SECONDS)
                if isinstance(ready, str):
                    process.version = ready
                    yield process
                else:
                    yield ready if isinstance(ready, Reply) else _no_reply(json.dumps(ready), 0.0)
            finally:
                kill(started)


def kill(started: subprocess.Popen[bytes]) -> None:
    """End a process that has a session of its own, and what it started."""
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)


def compared(ours: Trial, peer: Peer, question: Any, patience_seconds: float, runs: int) -> Comparison:
    """Ours and a peer's in turns, as `in_turns` has it."""
    if peer.python is None:
        return Comparison(times(ours, runs=runs)[0], None)
    with peer_process(peer.python, (str(folder() / ADAPTER), peer.name), question) as process:
        if isinstance(process, Reply):
            return in_turns(ours, lambda: process, runs)
        return in_turns(ours, lambda: process.run(patience_seconds), runs, process.version)


def in_turns(ours: Trial, theirs: Callable[[], Reply], runs: int, version: str = "") -> Comparison:
    """Run by run, one of ours before to warm up; a peer that fails, or takes long, is not asked again."""
    ours()()
    own, others = [], []
    for _ in range(runs):
        own.append(seconds(ours()))
        reply = theirs()
        others.append(reply.seconds)
        if reply.ended is not None or reply.seconds > LONG_SECONDS:
            break
    return Comparison(Times(tuple(own)), Times(tuple(others)), reply.found, reply.ended, version)
