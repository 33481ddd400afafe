"""The same session on anvil and on the embedded chain: an independent client agrees on every unit of gas."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.audit import audit
from ledger.bundle import read
from ledger.chain.encoding import make_block, read_receipts
from ledger.chain.protocol import ChainUnavailable, Receipt
from ledger.chain.rpc import RpcChain
from ledger.record import Record
from node.scenario import load
from node.simulate.run import simulate
from tests.programs import find

GENESIS = 1_782_000_000
"""Before the scenario's day, so that its slots keep their numbers and signatures are the same."""
SMALL = {"slots.count": "2", "prosumers.count": "12", "prosumers.pv_mw": "2"}

pytestmark = pytest.mark.needs("anvil")


@pytest.fixture(scope="module")
def anvil() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--hardfork", "prague", "--timestamp", str(GENESIS), "--silent"]
    process = subprocess.Popen([str(find("anvil")), *options])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                RpcChain(url).head()
                break
            except ChainUnavailable:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def folders(anvil: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    scenario = load("ieee33-day", SMALL)
    parent = tmp_path_factory.mktemp("sessions")
    simulate(scenario, parent / "embedded")
    simulate(scenario, parent / "anvil", anvil)
    return parent / "embedded", parent / "anvil"


@pytest.mark.parametrize("name", ["orders", "fills", "prices", "lines", "bills", "utility"])
def test_tables_are_the_same(folders: tuple[Path, Path], name: str) -> None:
    embedded, anvil = (folder / f"{name}.csv" for folder in folders)
    assert embedded.read_bytes() == anvil.read_bytes()


def test_receipts_are_the_same_gas_included(folders: tuple[Path, Path]) -> None:
    """Blocks differ, since anvil gives each transaction one; transactions, logs and gas do not."""
    embedded, anvil = (_receipts(folder / "bundle") for folder in folders)
    assert len(embedded) >= 50
    assert embedded == anvil


def test_bundle_from_anvil_audits_clean(folders: tuple[Path, Path]) -> None:
    report = audit(Record.from_bundle(folders[1] / "bundle"))
    assert report.findings == ()


def _receipts(folder: Path) -> list[tuple[object, ...]]:
    bundle = read(folder)
    found: list[tuple[object, ...]] = []
    for header, transactions, raws in zip(bundle.headers, bundle.transactions, bundle.receipts, strict=True):
        block = make_block(header, transactions)
        found.extend(_substance(receipt) for receipt in read_receipts(block, raws))
    return found


def _substance(receipt: Receipt) -> tuple[object, ...]:
    """What does not depend on the block a transaction came into, or on the price of gas."""
    logs = tuple((log.address, log.topics, log.data) for log in receipt.logs)
    return receipt.sender, receipt.to, receipt.contract, receipt.status, receipt.gas_used, logs
