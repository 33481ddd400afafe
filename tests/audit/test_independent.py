"""The audit done again by a script that imports nothing of ours, in a process of its own."""

from __future__ import annotations

import ast
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import bundle as bundles
from ledger import calls
from ledger.bundle import Bundle
from ledger.calls import PostReadings, SignedReading
from ledger.keys import derive
from ledger.record import Record
from market.events import AccountSettled, PricesPosted, ReadingPosted
from market.orders import OrdersFilled
from node.scenario.loading import load
from node.simulate.run import simulate
from node.simulate.session import Cast
from tests.audit.forge import change_call, change_event, found, insert_event
from tests.audit.tamper_quorum import A_MILLIONTH, CERTIFICATE_HEADER
from tests.audit.tampering import add, put

SCRIPT = Path(__file__).with_name("independent.py")
SESSION = {
    "slots.start": "2026-06-23T10:00:00Z",
    "slots.count": "1",
    "prosumers.count": "12",
    "oracle.method": "newton",
}
LINES = 150
ALLOWED = {"numpy", "rlp", "eth_abi", "eth_account", "eth_utils"}
"""NumPy, and eth-account with what it needs itself."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's feeder and hours, with fewer people."""
    out = tmp_path_factory.mktemp("independent") / "out"
    simulate(load("ieee33-day", SESSION), out)
    return out / "bundle"


def verdict(folder: Path) -> list[str]:
    """What the script says is wrong; its last line counts that."""
    command = [sys.executable, "-I", str(SCRIPT), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.stderr == ""
    *wrong, count = done.stdout.splitlines()
    assert count == f"1 slots, 13 accounts: {len(wrong)} wrong"
    assert done.returncode == bool(wrong)
    return wrong


def written(bundle: Bundle, folder: Path) -> Path:
    bundles.write(bundle, folder)
    return folder


def test_honest_market(honest: Path) -> None:
    assert verdict(honest) == []


def test_payment_of_one_unit_more(honest: Path, tmp_path: Path) -> None:
    bundle = bundles.read(honest)
    record = Record.of(bundle, proves_itself=False)
    logged, event = found(record, AccountSettled, 3)
    forged = change_event(bundle, record, logged, add("imbalance", 1)(event))
    [wrong] = verdict(written(forged, tmp_path / "bundle"))
    assert wrong.startswith(
        f"block {logged.log.block_number} transaction {logged.log.transaction_index} payment"
    )


def test_fill_at_another_price(honest: Path, tmp_path: Path) -> None:
    bundle = bundles.read(honest)
    record = Record.of(bundle, proves_itself=False)
    logged, event = found(record, OrdersFilled)
    forged = change_event(bundle, record, logged, add("tick", 1)(event))
    [wrong] = verdict(written(forged, tmp_path / "bundle"))
    assert wrong.startswith(f"block {logged.log.block_number} transaction {logged.log.transaction_index}: ")


def test_reading_that_its_meter_did_not_sign(honest: Path, tmp_path: Path) -> None:
    """An event tells another energy than the calldata; or a key that is not the meter's signed this."""
    bundle = bundles.read(honest)
    record = Record.of(bundle, proves_itself=False)
    logged, event = found(record, ReadingPosted)
    assert isinstance(event, ReadingPosted)
    told = change_event(bundle, record, logged, add("net_energy", 1)(event))
    sent = next(sent for sent in record.sent if logged in sent.logs)
    assert isinstance(sent.call, PostReadings)
    first, *others = sent.call.readings
    stranger = SignedReading.by(derive(1, "stranger"), record.domain, first.reading)
    data = calls.encode(replace(sent.call, readings=(stranger, *others)))
    signed = change_call(bundle, sent, Cast.from_seed(0, 0, 0).relayer, data=data)
    for name, forged in (("told", told), ("signed", signed)):
        wrong = verdict(written(forged, tmp_path / name))
        assert any(line.startswith(f"{sent.where}: ") for line in wrong)
        assert len(wrong) == 1 + (name == "told"), "what was paid does not follow from another energy"


def test_what_is_left_out_or_told_twice(honest: Path, tmp_path: Path) -> None:
    """A payment that is gone or there twice, prices without a header to name their proof, a fill turned."""
    bundle = bundles.read(honest)
    record = Record.of(bundle, proves_itself=False)
    settled, payment = found(record, AccountSettled, 3)
    posted, _ = found(record, PricesPosted)
    filled, fill = found(record, OrdersFilled)
    for turn, (forged, where) in enumerate(
        (
            (change_event(bundle, record, settled, None), "slot"),
            (insert_event(bundle, record, settled, payment), "slot"),
            (change_event(bundle, record, posted, None), "slot"),
            (change_event(bundle, record, settled, put(basis=2)(payment)), "block"),
            (change_event(bundle, record, filled, add("taker_side", -1)(fill)), "block"),
        )
    ):
        [wrong] = verdict(written(forged, tmp_path / str(turn)))
        assert wrong.startswith(where)


def test_certificate_a_millionth_off(honest: Path, tmp_path: Path) -> None:
    """Only the file is another: the script finds its name and its conditions broken."""
    bundle = bundles.read(honest)
    digest, proof = next(iter(bundle.certificates.items()))
    (flow,) = struct.unpack_from("<d", proof, CERTIFICATE_HEADER + 8)
    false = (
        proof[: CERTIFICATE_HEADER + 8]
        + struct.pack("<d", flow * (1 + A_MILLIONTH))
        + proof[CERTIFICATE_HEADER + 16 :]
    )
    folder = written(bundle, tmp_path / "bundle")
    (folder / "certificates" / f"{digest.hex()}.bin").write_bytes(false)
    wrong = verdict(folder)
    assert any("hashes: expected" in line for line in wrong)
    assert any("certificate: power: expected []" in line for line in wrong)


def test_it_is_short_and_imports_nothing_of_ours() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < LINES
    tree = ast.parse(text)
    named = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert named - set(sys.stdlib_module_names) == ALLOWED
