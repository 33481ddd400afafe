"""Every payment of the demo's day is explained to the unit, and rests on places that there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.audit.explain import explain
from ledger.audit.result import of_slot
from ledger.history import history
from ledger.record import Record
from node.cli.app import app
from node.scenario.loading import load
from node.simulate.run import simulate
from tests.audit.sources import misplaced
from tests.house.documents import page

INDEPENDENT = Path(__file__).with_name("independent.py")


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    simulate(load("ieee33-day", {}), out)
    return out / "bundle"


def test_the_demo_by_a_script_that_imports_nothing_of_ours(demo: Path) -> None:
    command = [sys.executable, "-I", str(INDEPENDENT), str(demo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=demo)
    assert (done.returncode, done.stdout) == (0, "24 slots, 61 accounts: 0 wrong\n")


def test_every_payment_of_the_demo(demo: Path, record_property) -> None:
    record = Record.from_bundle(demo)
    told = 0
    for slot in history(record):
        for logged, _ in slot.settled:
            payment, told = explain(record, logged.where), told + 1
            assert payment.total_neur == payment.posted_neur
            assert misplaced(record, payment) == []
        result = of_slot(record, slot.slot)
        assert result.result_neur == result.explained_neur
        own = explain(record, account=history(record).utility, slot=slot.slot)
        assert [line.amount_neur for line in result.posted if line.what == "its own trades"] == [
            -own.posted_neur
        ]
    assert told == 24 * 61
    record_property("payments", told)


def test_the_readme_shows_what_the_command_tells(demo: Path) -> None:
    done = CliRunner().invoke(app, ["audit", "explain", str(demo), "103:2"])
    assert done.exit_code == 0
    assert f"```text\n{done.stdout}```" in page("README.md")
