"""A session without a chain is the session on one: the same orders, fills, prices and bills."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli.app import app


def simulate(out: Path, *words: str) -> Result:
    arguments = ("simulate", "ieee33-day", "--out", str(out), "--json", *words)
    return CliRunner().invoke(app, arguments, prog_name="wattbook")


SMALL = ("--set", "slots.count=1", "--set", "slots.start=2026-06-23T11:00:00Z", "--set", "prosumers.count=6")
TABLES = ("orders", "fills", "prices", "lines", "bills", "utility")
OF_THE_CHAIN = {"gas_used", "head_number", "head_hash", "exchange", "seconds"}


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
    refused = simulate(tmp_path, "--ledger", "none", "--rpc-url", "http://127.0.0.1:1")
    assert refused.exit_code == 2
    assert "without a chain there is no --rpc-url" in refused.stderr
