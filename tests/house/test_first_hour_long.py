"""A stranger's first hour: the wheel in an empty environment, and the documents' commands as they stand.

Under each Python on PATH, in an empty folder. pip finds packages as it is configured, and takes the lock's
versions. The testnet listens where the documents say, so that nothing else may listen there.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
import pytest

from tests.house.documents import blocks, page, sections, shell_lines
from tests.patience import PATIENCE_SECONDS, eventually

VERSIONS = ("3.11", "3.12", "3.13")
INSTALLED = "From a wheel"
"""The section of README.md with which everything begins."""
LOST_KEYS = "6. A key is lost or stolen"
"""The section of the operator's guide that needs keys of a market, which no first hour has."""
PAGES = {
    "README": sections(page("README.md"))["Ask it something"],
    **{name: page(f"node/guides/{name}.md") for name in ("researcher", "auditor")},
    "operator": "".join(
        text for name, text in sections(page("node/guides/operator.md")).items() if name != LOST_KEYS
    ),
}
"""What is tried after it."""
OWN_FILES = {
    "day.toml": blocks(page("node/scenario/README.md"), "toml")[0],
    "own.toml": blocks(page("node/guides/operator.md"), "toml")[0],
    "profiles.csv": blocks(page("node/guides/operator.md"), "csv")[0],
    "mine.py": blocks(page("node/studies/README.md"), "python")[0],
}
"""Files that the guides have the reader write, from the examples to which they point."""
SERVER = "wattbook testnet"
SERVED = "http://127.0.0.1:8000"
COMMAND_SECONDS_MAX = 1_800
"""Far more than any command takes."""


@cache
def interpreter(version: str) -> str:
    """Path of a Python, or nothing: a name on PATH may be a shim of one that is not there."""
    found = shutil.which(f"python{version}")
    if found is None:
        return ""
    asked = [found, "-c", "import sys; print(sys.executable)"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


@dataclass
class Stranger:
    """A person in a folder, who types one line after the other into a shell."""

    folder: Path
    environment: dict[str, str]
    sourced: list[str] = field(default_factory=list)
    typed: set[str] = field(default_factory=set)

    def follow(self, markdown: str) -> None:
        """Type every command of a text, unless it was typed before."""
        for line in shell_lines(markdown):
            if line in self.typed:
                continue
            if line.startswith("source "):
                self.sourced.append(line)
            elif line.startswith(SERVER):
                self._visit(line)
            else:
                self._type(line)
            self.typed.add(line)

    def _type(self, line: str) -> None:
        """Run it to its end, with status 0 where the text says no other."""
        with self._started(line) as shell:
            said, _ = shell.communicate(timeout=COMMAND_SECONDS_MAX)
        told = re.search(r"# ends with (\d)", line)
        assert shell.returncode == int(told[1] if told else 0), f"{line}\n{said}"

    def _visit(self, line: str) -> None:
        """Start a server, look at its page once, and press Ctrl-C."""
        with self._started(line) as shell:
            eventually(lambda: shell.poll() is not None or answers(SERVED))
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGINT)
            said, _ = shell.communicate(timeout=PATIENCE_SECONDS)
        assert shell.returncode == 0, f"{line}\n{said}"

    @contextmanager
    def _started(self, line: str) -> Iterator[subprocess.Popen[str]]:
        """A shell with the line, in a process group of its own, as a terminal has it; gone in the end."""
        with subprocess.Popen(
            ["bash", "-c", "\n".join(["set -e", *self.sourced, line])],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                yield shell
            finally:
                if shell.poll() is None:
                    os.killpg(shell.pid, signal.SIGKILL)


def answers(url: str) -> bool:
    """Whether a page is there already."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def pins() -> str:
    """The lock's versions without its hashes, which would be asked of the wheel too."""
    lines = page("requirements/run.lock").splitlines()
    return "\n".join(line.removesuffix(" \\") for line in lines if not line.startswith(" "))


@pytest.fixture(scope="module", params=[version for version in VERSIONS if interpreter(version)])
def stranger(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Stranger:
    """Somebody with one Python and the wheel, who has installed it and simulated the demo's day."""
    programs, folder = tmp_path_factory.mktemp("programs"), tmp_path_factory.mktemp("stranger")
    python = programs / "python3"
    python.write_text(f'#!/bin/sh\nexec "{interpreter(request.param)}" "$@"\n', "utf-8")
    python.chmod(0o755)
    (programs / "pins.txt").write_text(pins(), "utf-8")
    shutil.copy(wheel, folder)
    for name, content in OWN_FILES.items():
        (folder / name).write_text(content, "utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    someone = Stranger(folder, environment | {"PIP_CONSTRAINT": str(programs / "pins.txt")})
    someone.follow(sections(page("README.md"))[INSTALLED])
    return someone


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_the_wheel_does_what_is_written(
    stranger: Stranger, name: str, record_property: Callable[[str, object], None]
):
    stranger.follow(PAGES[name])
    commands = stranger.typed.intersection(shell_lines(PAGES[name]))
    record_property("commands", len(commands))
    assert commands
