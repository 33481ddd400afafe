"""`wattbook testnet` as a process: what it refuses, how it stops, and how it resumes a data folder."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from ledger.audit import audit
from ledger.bundle import GENESIS
from ledger.chain.embedded import EmbeddedChain
from ledger.keys import TEST_MNEMONIC, mnemonic_keys
from ledger.record import Record
from node.cli.app import app
from node.cli.testnet import INTERRUPTED, SHUTDOWN
from node.testnet.market import cast_of, payers
from node.testnet.running import Running, running
from node.testnet.settings import FolderError, SettingError, Settings
from tests.patience import PATIENCE_SECONDS, eventually

ROOT = Path(__file__).parents[2]
FIRST_ORDER = Path(__file__).with_name("first_order.py")
COMMAND = [sys.executable, "-c", "from node.cli import main; main()", "testnet"]
OTHER_WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accounts": 0}, "--accounts 0: from 1 to 200"),
        ({"block_time_seconds": 0}, "--block-time 0: from 1 to 60 seconds"),
        ({"port": 65_536}, "--port 65536: a port is a number from 0 to 65535"),
        (
            {"origins": ("evil.example",)},
            "--allow-origin evil.example: is no origin of pages, as https://example.org or http://host:8080",
        ),
        ({"horizon": 97}, "--horizon 97: from 1 to 96 slots"),
        ({"horizon": 2}, "--horizon 2: only with --without-oracles"),
        ({"port": 9_000, "api_port": 9_000}, "--api-port 9000: is --port already; name another one"),
    ],
)
def test_settings_that_are_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(**options)
    assert str(caught.value) == message


def test_forking_is_refused_with_what_to_do_instead() -> None:
    status, message = refused("--fork-url", "http://127.0.0.1:1")
    assert status == 2
    assert "run `anvil --fork-url URL`" in message


def test_words_that_are_no_mnemonic() -> None:
    with pytest.raises(SettingError, match=r"^--mnemonic: "):
        start(Settings(port=0, api_port=0, mnemonic="test test junk"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--host", "not-a-host.invalid"),
            r"--host not-a-host\.invalid: .*; name an address of this machine",
        ),
        (
            ("--config-out", "/nonexistent/x"),
            r"--config-out /nonexistent/x: is no file in a folder that exists",
        ),
        (("--data", "/proc/x"), r"--data /proc/x: cannot be used: .*"),
    ],
    ids=["host", "config-out", "data"],
)
def test_what_can_never_work_is_wrong_usage(options: tuple[str, str], message: str) -> None:
    status, said = refused("--port", "0", "--api-port", "0", *options)
    assert re.fullmatch("error: " + message, said), said
    assert status == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "192.0.2.1"}, r"--host 192\.0\.2\.1: is no address of this machine"),
        ({"host": "x" * 70}, r"--host x+: .*; name an address of this machine"),
        ({"config_out": Path("/proc/x")}, r"--config-out /proc/x: cannot be written: .*"),
        ({"config_out": ROOT}, r"--config-out .*: is no file in a folder that exists"),
        ({"data": Path("/dev/null")}, r"--data /dev/null: cannot be used: .*"),
    ],
)
def test_what_can_never_work_is_a_setting_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        start(replace(Settings(port=0, api_port=0), **options))
    assert re.fullmatch(message, str(caught.value))


def test_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SettingError, match=r"^--data .*not a chain's data folder, and not empty"):
        start(Settings(port=0, api_port=0, data=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_stops_cleanly_and_quietly(tmp_path: Path) -> None:
    target = tmp_path / "net.json"
    with process("--quiet", "--accounts", "1", "--block-time", "1", "--config-out", str(target)) as started:
        document = config(target)
        assert target.stat().st_mode & 0o077 == 0, "it holds keys"
        assert len(document["accounts"]) == 1
        started.send_signal(signal.SIGINT)
        stdout, stderr = started.communicate(timeout=PATIENCE_SECONDS)
    assert (started.returncode, stdout, stderr) == (0, "", "")


def test_interrupt_that_is_swallowed_ends_the_start_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def deaf(settings: Settings, tell: Any, complain: Any, started: Callable[[], None]) -> Iterator[None]:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        started()
        yield

    before = {number: signal.getsignal(number) for number in SHUTDOWN}
    monkeypatch.setattr("node.testnet.running.running", deaf)
    done = CliRunner().invoke(app, ["testnet"])
    for number, handler in before.items():
        signal.signal(number, handler)
    assert done.exit_code == INTERRUPTED, done.output
    assert done.output.endswith("stopped before it was ready\n")


def test_interrupt_ends_a_start(tmp_path: Path) -> None:
    """Between the first word and the last of a start, which has a market to deploy."""
    with process("--data", str(tmp_path)) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "wattbook testnet: starting ...\n"
        started.send_signal(signal.SIGINT)
        stdout, stderr = started.communicate(timeout=PATIENCE_SECONDS)
    assert (started.returncode, stderr) == (130, "")
    assert stdout == "stopped before it was ready\n"


def test_killed_process_leaves_a_market_that_goes_on(tmp_path: Path) -> None:
    """Killed while a visitor's order rests in an open slot; started again, that slot is served to its end."""
    data, target = tmp_path / "data", tmp_path / "net.json"
    with process("--accounts", "2", "--data", str(data), "--config-out", str(target)) as started:
        before = config(target)
        visitor = [sys.executable, str(FIRST_ORDER), before["api_url"]]
        said = subprocess.run(
            visitor, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
        ).stdout
        slot = int(said.split()[-1])
        os.kill(started.pid, signal.SIGKILL)
    told: list[str] = []
    complaints: list[str] = []
    settings = Settings(port=0, api_port=0, data=data)
    with running(settings, told.append, complaints.append) as net:
        assert net.resumed
        unchanged = set(before) - {"rpc_url", "api_url"}
        assert {name: net.document[name] for name in unchanged} == {name: before[name] for name in unchanged}
        slots = slots_of(net)
        assert sum(each["state"] == "open" and each["orders"] >= 2 for each in slots.values()) >= 6
        assert (slots[slot]["state"], slots[slot]["volume_wh"]) == ("open", 1_000)
        flows = httpx.get(f"{net.document['api_url']}/v1/slots/{slot}/flows").json()
        begun = (data / GENESIS).read_bytes()
        record = Record.from_chain(net.market.chain, net.document["exchange"], genesis=begun)
        assert audit(record, ["headers"]).ok
        assert record.blocks[0].number == 1, "nothing is missing for a replay"
        assert (flows["clearing"], len(flows["buses"])) == ("charges", 33), "from the proof that was kept"
        jump(net, 86_400)
        eventually(lambda: slots_of(net)[slot]["state"] == "settled")
    assert complaints == []
    with closing(EmbeddedChain(data=data)), pytest.raises(FolderError, match="another process has it open"):
        start(settings)
    for others in ({"accounts": 3}, {"mnemonic": OTHER_WORDS}):
        with pytest.raises(SettingError, match="holds a market of 2 accounts from 0xf39F"):
            start(replace(settings, **others))
    record = data / "deployment.json"
    whole = record.read_text()
    record.write_text('{"format": "wattbook testnet 1"')
    with pytest.raises(FolderError, match="damaged"):
        start(settings)
    record.unlink()
    with pytest.raises(
        FolderError, match=r"holds a market, but deployment\.json, .* is missing: bring it back"
    ):
        start(settings)
    record.write_text(whole)
    database = data / "data.mdb"
    os.truncate(database, database.stat().st_size // 2)
    status, message = refused("--port", "0", "--api-port", "0", "--data", str(data))
    assert (status, message.startswith(f"error: --data {database}: damaged: it was cut off: ")) == (1, True)


def test_start_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    """Killed between the first blocks and the market's record: there is a chain, and no market to lose."""
    EmbeddedChain(data=tmp_path, funded=payers(cast_of(mnemonic_keys(1, TEST_MNEMONIC)))).close()
    with running(Settings(port=0, api_port=0, data=tmp_path, accounts=1), print, print) as net:
        assert not net.resumed
    proved = [path.stem for path in (tmp_path / "certificates").iterdir()]
    (tmp_path / "certificates" / f"{bytes(32).hex()}.bin").write_bytes(b"half-written")
    (tmp_path / "scenario.json").unlink()  # folders of earlier versions have none
    with running(Settings(port=0, api_port=0, data=tmp_path), print, print) as net:
        assert net.resumed
        proofs = f"{net.document['api_url']}/certificates"
        assert {httpx.get(f"{proofs}/{digest}").status_code for digest in proved} == {200}
        assert httpx.get(f"{proofs}/{bytes(32).hex()}").status_code == 404, "not what its name says"


def test_slots_are_open_after_a_jump_under_a_block_time_too() -> None:
    complaints: list[str] = []
    settings = Settings(port=0, api_port=0, accounts=1, block_time_seconds=1)
    with running(settings, print, complaints.append) as net:
        jump(net, 7 * 86_400)
        eventually(
            lambda: [each for each in slots_of(net).values() if each["state"] == "open" and each["orders"]]
        )
    assert complaints == []


def slots_of(net: Running) -> dict[int, Any]:
    """The market's slots by number, as its API tells them."""
    document = httpx.get(net.document["api_url"] + "/v1/slots?limit=500").json()
    return {each["slot"]: each for each in document["items"]}


def jump(net: Running, seconds: int) -> None:
    """Move the chain's clock ahead."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "evm_increaseTime", "params": [hex(seconds)]}
    answered = httpx.post(net.document["rpc_url"], json=body, timeout=PATIENCE_SECONDS).json()
    assert answered["result"] == seconds


def start(settings: Settings) -> None:
    """Start, and stop at once."""
    with running(settings, print, print):
        pass
