"""A session without a chain is the session on one: the same orders, fills, prices and bills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ledger.audit import audit, result
from ledger.history import history
from ledger.record import Record
from node.cli.app import app


def simulate(out: Path, *words: str) -> Result:
    arguments = ("simulate", "ieee33-day", "--out", str(out), "--json", *words)
    return CliRunner().invoke(app, arguments, prog_name="wattbook")


SMALL = ("--set", "slots.count=1", "--set", "slots.start=2026-06-23T11:00:00Z", "--set", "prosumers.count=6")
TABLES = ("orders", "fills", "prices", "lines", "violations", "bills", "utility")
OF_THE_CHAIN = {"gas_used", "head_number", "head_hash", "exchange", "seconds"}
OF_LATE_READINGS = {"late_readings", "corrections", "corrected_neur"}


RULES = [
    pytest.param((), id="dlmp"),
    pytest.param(("--set", "market.rule=tariff"), id="tariff", marks=pytest.mark.long),
]


@pytest.mark.parametrize("more", RULES)
def test_every_table_is_the_same(tmp_path: Path, more: tuple[str, ...]) -> None:
    on_chain = json.loads(simulate(tmp_path / "chain", *SMALL, *more).stdout)
    without = json.loads(simulate(tmp_path / "none", *SMALL, *more, "--ledger", "none").stdout)
    assert on_chain["fills"] > 0
    for key in on_chain.keys() - OF_THE_CHAIN:
        assert without[key] == on_chain[key], key
    assert (without["gas_used"], without["head_hash"]) == (0, "")
    found = {path.name for path in (tmp_path / "none").glob("*.csv")}
    assert {f"{name}.csv" for name in TABLES} <= found
    for name in found:
        assert (tmp_path / "none" / name).read_bytes() == (tmp_path / "chain" / name).read_bytes(), name
    assert not (tmp_path / "none" / "bundle").exists()
    assert "nothing to audit" in (tmp_path / "none" / "report.html").read_text()


def test_what_needs_a_chain_is_refused(tmp_path: Path) -> None:
    for option in (("--rpc-url", "http://127.0.0.1:1"), ("--transaction-gas", str(2**24))):
        refused = simulate(tmp_path, "--ledger", "none", *option)
        assert refused.exit_code == 2
        assert "without a chain there is no --rpc-url, no --transaction-gas" in refused.stderr


def test_late_readings_end_in_the_bills_of_readings_in_time(tmp_path: Path) -> None:
    """What an estimate settled is corrected by exactly what the reading makes of it."""
    late = ("--set", "meters.late=0.5")
    in_time = json.loads(simulate(tmp_path / "in-time", *SMALL, "--ledger", "none").stdout)
    on_chain = json.loads(simulate(tmp_path / "chain", *SMALL, *late).stdout)
    without = json.loads(simulate(tmp_path / "none", *SMALL, *late, "--ledger", "none").stdout)
    for key in on_chain.keys() - OF_THE_CHAIN - OF_LATE_READINGS:
        assert without[key] == on_chain[key] == in_time[key], key
    for key in OF_LATE_READINGS:
        assert without[key] == on_chain[key] > in_time[key] == 0, key
    for table in TABLES:
        tables = [(tmp_path / name / f"{table}.csv").read_bytes() for name in ("in-time", "chain", "none")]
        assert len(set(tables)) == 1, table
    record = Record.from_bundle(tmp_path / "chain" / "bundle")
    assert audit(record).ok
    [slot] = history(record)
    assert 0 < len(slot.resettled) == len(slot.estimates) < 6
    assert result.of_slot(record, slot.slot).result_neur == result.of_slot(record, slot.slot).explained_neur


def test_late_readings_need_time_to_come_in(tmp_path: Path) -> None:
    hurried = ("--set", "market.resettle_grace_seconds=4000", "--set", "meters.late=0.1")
    refused = simulate(tmp_path, *hurried)
    assert refused.exit_code == 2
    assert "resettle_grace_seconds must exceed meter_grace_seconds by at least 1200 s" in refused.stderr
