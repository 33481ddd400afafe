"""The utility's result: what was posted is what its sources come to, term by term."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime

import pytest

from ledger.audit.explain import ExplainError, explain
from ledger.audit.plain import euros
from ledger.audit.result import TERMS, of_day, of_slot
from ledger.bundle import Bundle
from ledger.history import history
from ledger.record import Record
from market.events import AccountSettled
from market.settlement import Sources
from tests.audit.forge import change_event, found
from tests.audit.small_market import SILENT, SLOT, TARIFF, UTILITY, WHOLESALE


def test_every_term_of_the_identity_has_words() -> None:
    assert list(TERMS) == [item.name for item in fields(Sources)]


@pytest.mark.parametrize("rule", ["bundle", "tariff_bundle"])
@pytest.mark.parametrize("slot", [SLOT, SLOT + 1, SILENT])
def test_both_sides_are_equal(rule: str, slot: int, request: pytest.FixtureRequest) -> None:
    """Also of the slot that a late reading corrected."""
    record = Record.of(request.getfixturevalue(rule), proves_itself=False)
    told = of_slot(record, slot)
    assert told.result_neur == told.explained_neur != 0
    places = {logged.where for logged in record.logged}
    lines = (*told.posted, *told.sources)
    assert all(source in places for line in lines for source in line.source.split(", "))
    assert "not explained" not in str(told)
    assert str(told).count(" €  ") == len(lines) + 2


def test_terms_of_the_morning(record: Record) -> None:
    """By hand: 3 500 Wh passive; the import is what meters and 3 600 Wh more say."""
    told = of_slot(record, SLOT)
    posted = {line.what.partition(":")[0]: line.amount_neur for line in told.posted}
    assert posted["passive load at retail"] == 3_500 * TARIFF.retail
    assert posted["import at wholesale"] == -(1_700 - 2_300 + 40 + 3_600) * WHOLESALE
    assert posted["its own trades"] == -300 * 119_700
    settled = [event for _, event in history(record).slots[SLOT].settled]
    assert posted["network charges"] == sum(event.charge for event in settled)
    assert posted["penalties"] == sum(event.penalty for event in settled) > 0
    sources = {line.what.partition(":")[0] for line in told.sources}
    assert sources == {
        *("network surplus", "basis", "hub margin", "passive margin", "wholesale margin", "penalties"),
    }


def test_each_term_cites_what_it_is_computed_from(record: Record) -> None:
    slot = history(record).slots[SLOT]
    sources = {line.what.partition(":")[0]: line.source.split(", ") for line in of_slot(record, SLOT).sources}
    at = {logged.where: type(logged.event) for logged in slot.logged}
    kinds = {name: {at[place].__name__ for place in places} for name, places in sources.items()}
    assert kinds == {
        "network surplus": {"PricesChunk", "SubstationPosted", "AccountSettled"},
        "basis": {"ChargesChunk", "PricesChunk", "OrdersFilled", "AccountSettled"},
        "hub margin": {"PricesChunk", "OrdersFilled"},
        "passive margin": {"PricesChunk", "SubstationPosted"},
        "wholesale margin": {"PricesChunk", "SubstationPosted"},
        "penalties": {"AccountSettled"},
    }
    # by hand: one account sold solar energy that it did not certify
    assert len(sources["penalties"]) == 1
    # of the fills only those with the utility
    assert set(sources["hub margin"]) < set(sources["basis"])


def test_the_tariff_rule_has_terms_of_its_own(tariff_bundle: Bundle) -> None:
    told = of_slot(Record.of(tariff_bundle, proves_itself=False), SLOT)
    assert "imbalance margin" in {line.what.partition(":")[0] for line in told.sources}


def test_day_is_the_sum_of_its_slots(record: Record) -> None:
    day = datetime.fromtimestamp(history(record).terms.start(SLOT), UTC).date()
    told = of_day(record, day)
    assert [each.slot for each in told.slots] == [SLOT, SLOT + 1, SILENT]
    document = told.to_json()
    assert document["result_neur"] == document["explained_neur"] == sum(e.result_neur for e in told.slots)
    assert sum(line["amount_neur"] for line in document["sources"]) == document["result_neur"]
    assert len({line["what"] for line in document["sources"]}) == len(document["sources"])
    text = str(told)
    assert "In all:\n" in text
    assert [f"{euros(each.result_neur)}  utility@{each.slot}" in text for each in told.slots] == [True] * 3


def test_a_forged_payment_is_not_explained_away(bundle: Bundle, record: Record) -> None:
    logged, event = found(record, AccountSettled, 1)
    assert isinstance(event, AccountSettled)
    lie = change_event(bundle, record, logged, replace(event, charge=event.charge + 7))
    told = of_slot(Record.of(lie, proves_itself=False), event.slot)
    assert told.result_neur - told.explained_neur == 7
    assert told.name.endswith(", of which 0.000000007 € is not explained")
    assert "but 0.000000007 € is not explained" in str(told)


def test_where_nothing_was_settled(record: Record) -> None:
    for slot in (SLOT + 2, 7):
        with pytest.raises(ExplainError, match=f"slot {slot}: not settled"):
            of_slot(record, slot)
    with pytest.raises(ExplainError, match="2001-01-01: no slot"):
        of_day(record, date(2001, 1, 1))


def test_its_payment_says_where_the_result_is(record: Record) -> None:
    assert str(explain(record, account=UTILITY.address, slot=SLOT)).endswith(f"utility@{SLOT}")
