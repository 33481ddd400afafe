"""Prices from signed answers: honest ones are clean, and each lie about them is found where it is."""

from __future__ import annotations

import numpy as np
import pytest

from ledger.audit import audit
from ledger.audit.checks.vetoes import carrier_of
from ledger.history import history
from ledger.record import Record
from market.events import ChargesPosted, PricesPosted
from tests.audit.answered import LIES, UNSETTLED, answered, passive, told
from tests.audit.small_market import BUYER, NEIGHBOUR, SLOT

WORDS = {
    "another power": f"{BUYER.address}, signature",
    "another bus": "responses",
    "a stranger": "responses",
    "the last left out": "responses",
    "the first left out": "responses",
    "somebody twice": "responses",
    "held, though it answered": f"{BUYER.address}, answers the last round",
    "answered, though held": f"{NEIGHBOUR.address}, answers the last round",
    "another slot": "responses, slot and purpose",
    "another purpose": "responses, slot and purpose",
    UNSETTLED: "responses",
}
"""Where each lie is found."""


def test_a_market_of_answers_is_clean_and_names_who_gave_none() -> None:
    bundle, _ = answered()
    report = audit(Record.of(bundle, proves_itself=False))
    assert report.findings == ()
    missing = [line for line in report.assumed if "missing from a clearing" in line]
    assert missing == [
        f"slot {SLOT}: missing from a clearing, where {what} stood in: {NEIGHBOUR.address}"
        for what in ("their last answer", "the utility's forecast")
    ]


@pytest.mark.parametrize("lie", WORDS)
def test_a_lie_about_answers_is_found(lie: str) -> None:
    findings = audit(told(lie), ["prices"]).findings
    assert any(each.where.endswith(WORDS[lie]) and each.check == "prices" for each in findings)


def test_charges_are_looked_at_in_the_same_way() -> None:
    findings = audit(told("another purpose", ChargesPosted), ["charges"]).findings
    assert any(each.where.endswith(WORDS["another purpose"]) for each in findings)
    assert audit(told("another purpose", PricesPosted), ["charges"]).ok


def test_answers_tell_the_load_outside_the_market_by_itself() -> None:
    record = Record.of(answered()[0], proves_itself=False)
    carrier = carrier_of(record, history(record).slots[SLOT])
    assert carrier is not None and np.array_equal(carrier.load_p, passive(0.8).fixed_p[0])


def test_every_lie_is_looked_for() -> None:
    assert {*LIES, UNSETTLED} == set(WORDS)
