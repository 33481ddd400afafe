"""What stands at a place: every event can be looked up, and lines lead to what they are computed from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.audit import audit
from ledger.audit.explain import ExplainError, explain
from ledger.audit.happened import event_at
from ledger.audit.verified import verified
from ledger.bundle import Bundle
from ledger.history import history
from ledger.record import Record
from market.events import PricesChunk
from market.orders import FillVetoed, OrdersFilled
from node.cli.app import app
from tests.audit.forge import change_event, found
from tests.audit.small_market import BUYER, SILENT, SLOT, written


def test_every_event_has_its_fields(record: Record) -> None:
    for logged in record.logged:
        told = event_at(record, logged.where)
        assert told.name == type(logged.event).__name__
        assert [name for name, _ in told.fields] == list(type(logged.event).__slots__)
        json.dumps(told.to_json())
        assert str(told).startswith(f"The event {told.name}")


def test_places_of_a_bill_lead_to_its_trades_and_charges(record: Record) -> None:
    [fill, *_, charge] = [
        line
        for line in explain(record, account=BUYER.address, slot=SLOT).lines
        if "ν" in line.what or "bought" in line.what
    ]
    assert any(
        sentence.startswith("Account 1 bought 0.9 kWh from account 2 at 0.0997 €/kWh")
        for sentence in event_at(record, fill.source).sentences
    )
    nu = history(record).slots[SLOT].charge(1)
    chunk = charge.source.partition(",")[0]
    assert f"The charge ν of bus 1 is {nu:,} µ€/kWh." in event_at(record, chunk).sentences


def test_fills_and_vetoes_are_told_one_by_one(record: Record) -> None:
    slot = history(record).slots[SILENT]
    for kind, parts in ((OrdersFilled, slot.fills), (FillVetoed, slot.vetoed)):
        for logged, _ in slot.of(kind):
            told = event_at(record, logged.where)
            assert len(told.sentences) == sum(place is logged for place, _ in parts) > 0


@pytest.mark.parametrize(("place", "message"), [("1:1", "logged no event"), ("7", "BLOCK:LOG")])
def test_no_event_is_there(record: Record, place: str, message: str) -> None:
    with pytest.raises(ExplainError, match=message):
        event_at(record, place)


def test_a_slot_without_prices_is_named_where_the_tariff_settles_it(bundle: Bundle, record: Record) -> None:
    """Its prices are taken away here, so that checks find more; what is told of it needs the events alone."""
    passed = audit(record, ["settlement"]).checks
    assert not any("tariff rule" in line for line in verified(record, passed))
    logged, _ = found(record, PricesChunk)
    without = Record.of(change_event(bundle, record, logged, None), proves_itself=False)
    assert f"slot {SLOT} settled by the tariff rule, since no prices were posted by T_p" in verified(
        without, passed
    )
    assert "No prices were posted in time" in explain(without, account=BUYER.address, slot=SLOT).sentence
    assert "No prices were posted in time" not in explain(record, account=BUYER.address, slot=SLOT).sentence


def test_the_command_shows_an_event_and_makes_no_page_of_it(
    bundle: Bundle, record: Record, tmp_path: Path
) -> None:
    folder = written(bundle, tmp_path / "bundle")
    logged, _ = found(record, OrdersFilled)
    asked = ["audit", "explain", str(folder), logged.where]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0
    assert done.stdout.startswith(str(event_at(record, logged.where)))
    refused = CliRunner().invoke(app, [*asked, "--page", str(tmp_path / "page.html")])
    assert refused.exit_code == 2
    assert f"{logged.where} is an event, no payment" in refused.stderr
