"""A testnet as the command starts it, in a process of its own, to be measured or looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event as Flag
from typing import Any

from node.bench.row import WrongWork

PATIENCE_SECONDS = 60
LOOK_SECONDS = 0.1
_NEVER = Flag()


@contextmanager
def started_testnet(accounts: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Process id, and the document for clients, of a testnet that runs meanwhile. Raises WrongWork."""
    with TemporaryDirectory() as folder:
        told = Path(folder) / "market.json"
        command = [sys.executable, "-m", "node", "testnet", "--port", "0", "--api-port", "0", "--quiet"]
        command += ["--accounts", str(accounts), "--data", f"{folder}/data", "--config-out", str(told)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until(lambda: told.exists() or process.poll() is not None, "the testnet did not start")
            if process.returncode is not None:
                raise WrongWork(f"the testnet ended with status {process.returncode}")
            yield process.pid, json.loads(told.read_text("utf-8"))
        finally:
            process.terminate()
            process.wait()


def until(what: Callable[[], object], otherwise: str) -> None:
    """Wait for something. Raises WrongWork, which says that it never was."""
    for _ in range(int(PATIENCE_SECONDS / LOOK_SECONDS)):
        if what():
            return
        pause(LOOK_SECONDS)
    raise WrongWork(otherwise)


def pause(seconds: float) -> None:
    """Let others work."""
    _NEVER.wait(seconds)
