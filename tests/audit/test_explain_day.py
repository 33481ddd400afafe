"""Every payment of the demo's day is explained to the unit, and rests on places that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.audit.explain import explain
from ledger.audit.result import of_slot
from ledger.history import history
from ledger.record import Record
from node.scenario.loading import load
from node.simulate.run import simulate
from tests.house.repository import ROOT


@pytest.mark.long
def test_every_payment_of_the_demo(tmp_path: Path) -> None:
    simulate(load("ieee33-day", {}), tmp_path / "out")
    record = Record.from_bundle(tmp_path / "out" / "bundle")
    places, told = {logged.where for logged in record.logged}, 0
    for slot in history(record):
        for logged, _ in slot.settled:
            payment, told = explain(record, logged.where), told + 1
            assert payment.total_neur == payment.posted_neur
            assert all(source in places for line in payment.lines for source in line.source.split(", "))
        result = of_slot(record, slot.slot)
        assert result.result_neur == result.explained_neur
        own = explain(record, account=history(record).utility, slot=slot.slot)
        assert [line.amount_neur for line in result.posted if line.what == "its own trades"] == [
            -own.posted_neur
        ]
    assert told == 24 * 61
    assert f"```text\n{explain(record, '103:2')}\n```" in (ROOT / "README.md").read_text("utf-8")
