"""`wattbook testnet` as a process: what it refuses, how it stops, and how it resumes a data folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from node.testnet.running import running
from node.testnet.settings import FolderError, PortError, SettingError, Settings

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from node.cli import main; main()", "testnet"]
OTHER_WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
PATIENCE_SECONDS = 60
"""Far more than a start takes."""


@contextmanager
def process(*options: str) -> Iterator[subprocess.Popen[str]]:
    """The command with its ports chosen by the system."""
    command = [*COMMAND, "--port", "0", "--api-port", "0", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def config(path: Path) -> Any:
    """The document, once the process has written it."""
    for _ in range(PATIENCE_SECONDS * 10):
        if path.exists():
            return json.loads(path.read_text())
        time.sleep(0.1)
    raise AssertionError("the testnet did not start")


def refused(*options: str) -> tuple[int, str]:
    """Exit status and message of a start that fails, in one line and without output."""
    done = subprocess.run(
        [*COMMAND, *options], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr.strip()


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, message = refused("--port", str(port), "--api-port", "0")
    assert (status, message) == (
        1,
        f"error: --port {port}: address already in use at 127.0.0.1; name another one",
    )


def test_number_out_of_range() -> None:
    status, message = refused("--accounts", "201")
    assert (status, message) == (2, "error: --accounts 201: from 1 to 200")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accounts": 0}, "--accounts 0: from 1 to 200"),
        ({"block_time_seconds": 0}, "--block-time 0: from 1 to 60 seconds"),
        ({"port": 65_536}, "--port 65536: a port is a number from 0 to 65535"),
        ({"port": 9_000, "api_port": 9_000}, "--api-port 9000: is --port already; name another one"),
    ],
)
def test_settings_that_are_not_allowed(options: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(**options)
    assert str(caught.value) == message


def test_words_that_are_no_mnemonic() -> None:
    with pytest.raises(SettingError, match=r"^--mnemonic: "):
        start(Settings(port=0, api_port=0, mnemonic="test test junk"))


def test_host_that_is_not_ours() -> None:
    with pytest.raises(PortError, match=r"^--port 0: .* at 192\.0\.2\.1; name another one$"):
        start(Settings(port=0, api_port=0, host="192.0.2.1"))


def test_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"^--data .*not a chain's data folder, and not empty"):
        start(Settings(port=0, api_port=0, data=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"^--config-out .*: is no file in a folder that exists$"):
        start(Settings(port=0, api_port=0, config_out=tmp_path / "missing" / "net.json"))


def test_stops_cleanly_and_quietly(tmp_path: Path) -> None:
    target = tmp_path / "net.json"
    with process("--quiet", "--accounts", "1", "--block-time", "1", "--config-out", str(target)) as started:
        document = config(target)
        assert target.stat().st_mode & 0o077 == 0, "it holds keys"
        assert len(document["accounts"]) == 1
        started.send_signal(signal.SIGINT)
        stdout, stderr = started.communicate(timeout=PATIENCE_SECONDS)
    assert (started.returncode, stdout, stderr) == (0, "", "")


def test_killed_process_leaves_a_market_that_goes_on(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "net.json"
    with process("--accounts", "2", "--data", str(data), "--config-out", str(target)) as started:
        before = config(target)
        os.kill(started.pid, signal.SIGKILL)
    told: list[str] = []
    complaints: list[str] = []
    settings = Settings(port=0, api_port=0, data=data)
    with running(settings, told.append, complaints.append) as net:
        assert net.resumed
        unchanged = set(before) - {"rpc_url", "api_url"}
        assert {name: net.document[name] for name in unchanged} == {name: before[name] for name in unchanged}
        slots = httpx.get(net.document["api_url"] + "/slots.json").json()["slots"]
        assert sum(slot["state"] == "open" and slot["orders"] >= 2 for slot in slots) >= 6
    assert complaints == []
    for others in ({"accounts": 3}, {"mnemonic": OTHER_WORDS}):
        with pytest.raises(FolderError, match="holds a market of 2 accounts from 0xf39F"):
            start(replace(settings, **others))
    (data / "deployment.json").write_text('{"format": "wattbook testnet 1"')
    with pytest.raises(FolderError, match="damaged"):
        start(settings)


def start(settings: Settings) -> None:
    """Start, and stop at once."""
    with running(settings, print, print):
        pass
