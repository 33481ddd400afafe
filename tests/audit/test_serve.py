"""`wattbook serve` as a person runs it: a bundle's folder, a port, a browser, Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Thread

import httpx
import pytest
from typer.testing import CliRunner

from ledger.bundle import INPUTS, Bundle
from node.cli.app import app
from node.client.proving import RETRY_SECONDS, ProofsElsewhere
from node.client.serving import listening
from node.rpc.engine import Engine
from tests.audit.small_market import SmallMarket, written
from tests.rpc.serving import serving as node_of

PATIENCE_SECONDS = 60
"""Far more than a start takes, so that a failure is one of the command and not of a slow machine."""


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    return written(bundle, tmp_path / "bundle")


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals are as they were afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def visit(url: str, seen: list[httpx.Response], path: str) -> None:
    """Look at the market, the bill of a payment and one path more, then end the command."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            seen.append(httpx.get(url))
            break
        except httpx.ConnectError:
            time.sleep(0.02)
    if found := re.search(r'href="(/bills/[0-9:]+)"', httpx.get(f"{url}/settlements").text if seen else ""):
        seen += [httpx.get(url + found[1]), httpx.get(url + path)]
    os.kill(os.getpid(), signal.SIGINT)


def served(source: str, *options: str, path: str = "/") -> tuple[str, list[httpx.Response]]:
    """What the command said, its own address as URL, and what a visitor saw until it was interrupted."""
    with listening("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    url, seen = f"http://127.0.0.1:{port}", list[httpx.Response]()
    visitor = Thread(target=visit, args=(url, seen, path))
    # until the command takes them, signals go nowhere
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    visitor.start()
    done = CliRunner().invoke(app, ["serve", source, *options, "--api-port", str(port)])
    visitor.join()
    assert done.exit_code == 0, done.output
    return done.output.replace(url, "URL"), seen


@pytest.mark.usefixtures("handlers")
def test_a_bundle_is_shown_until_it_is_interrupted(folder: Path):
    said, (market, bill, _) = served(str(folder))
    assert f"{folder} at URL" in said
    assert (market.status_code, bill.status_code) == (200, 200)
    assert "A finished record" in market.text
    assert f"wattbook audit {folder}<" in bill.text


@pytest.mark.usefixtures("handlers")
def test_a_market_on_a_node_is_watched_until_it_is_interrupted(traded_market: SmallMarket, folder: Path):
    digest = next((folder / INPUTS).iterdir()).stem
    with node_of(Engine(traded_market.chain, ())) as node:
        _, (market, bill, proof) = served(node, "--proofs", str(folder), path=f"/{INPUTS}/{digest}")
    assert "As of" in market.text
    assert sha256(proof.content).hexdigest() == digest
    assert f"wattbook audit {node} --exchange {traded_market.exchange.address}<" in bill.text


def test_a_port_that_is_taken_is_told_by_its_option(folder: Path):
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(app, ["serve", str(folder), "--api-port", str(port)])
    assert done.exit_code == 1
    assert f"--api-port {port}: address already in use" in done.stderr


def test_proofs_are_asked_for_where_they_are_and_kept(folder: Path, tmp_path: Path):
    """A file that is not what its name says is not taken; what nobody has is not asked for all the time."""
    source = next((folder / INPUTS).iterdir())
    digest, seconds = bytes.fromhex(source.stem), [0.0]
    liar = tmp_path / "liar"
    (liar / INPUTS).mkdir(parents=True)
    (liar / INPUTS / source.name).write_bytes(b"not it")
    known = ProofsElsewhere(INPUTS, [liar, tmp_path / "gone", tmp_path / "late"], [], lambda: seconds[0])
    assert known.get(digest) is None
    (tmp_path / "late" / INPUTS).mkdir(parents=True)
    shutil.copy(source, tmp_path / "late" / INPUTS)
    assert known.get(digest) is None and not known
    seconds[0] += RETRY_SECONDS
    assert known[digest] == source.read_bytes()
    shutil.rmtree(tmp_path / "late")
    assert dict(known) == {digest: source.read_bytes()}


def test_a_bundle_has_its_own_proofs(folder: Path):
    done = CliRunner().invoke(app, ["serve", str(folder), "--proofs", str(folder)])
    assert (done.exit_code, "goes with a node's URL; a bundle has its own" in done.stderr) == (2, True)


def test_what_is_no_bundle_or_no_market_is_refused(bundle: Bundle, folder: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    other = written(
        replace(bundle, manifest=replace(bundle.manifest, exchange="0x" + "11" * 20)), tmp_path / "b"
    )
    for path in (tmp_path / "empty", other):
        done = CliRunner().invoke(app, ["serve", str(path)])
        assert done.exit_code in (2, 3), done.output
        assert str(path) in done.stderr
        assert "Traceback" not in done.output
