"""The page of a bill: every line with its amount and place, and nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import pytest

from ledger.audit import result, statement
from ledger.audit.explain import Line, explain
from ledger.bundle import Bundle
from ledger.history import history
from ledger.record import Record
from market.events import AccountSettled
from node.web.bill import MINUS, NBSP, Told, bill_page
from tests.audit.forge import change_event, found
from tests.audit.small_market import BUYER, SELLER, SILENT, SLOT
from tests.audit.tampering import add


class Cells(HTMLParser):
    """Texts of a page's cells, row by row, and what it would load from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loads: list[str] = []
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href") and value]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._open = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data


def amount(text: str) -> int:
    """n€ of an amount as the page shows it."""
    whole, part = re.fullmatch(rf"({MINUS}?\d+)\.(\d{{9}}){NBSP}€", text).groups()  # type: ignore[union-attr]
    neur = int(whole.replace(MINUS, "") + part)
    return -neur if whole.startswith(MINUS) else neur


def day(record: Record) -> datetime:
    return datetime.fromtimestamp(history(record).terms.start(SLOT), UTC)


def asked(record: Record) -> dict[str, tuple[Told, list[Line]]]:
    """Everything that can be asked for, and the lines that its page must have."""
    payment = explain(record, account=BUYER.address, slot=SILENT)
    bill = statement.of_day(record, SELLER.address, day(record).date())
    slot = statement.of_slot(record, SLOT)
    one, many = result.of_slot(record, SLOT), result.of_day(record, day(record).date())
    return {
        "payment": (payment, [*payment.lines]),
        "day": (bill, [line for each in bill.payments for line in each.lines]),
        "slot": (slot, [line for each in slot.payments for line in each.lines]),
        "result": (one, [*one.posted, *one.sources]),
        "results": (many, [line for each in (many, *many.slots) for line in (*each.posted, *each.sources)]),
    }


@pytest.mark.parametrize("what", ["payment", "day", "slot", "result", "results"])
def test_page_has_every_line(record: Record, what: str) -> None:
    told, lines = asked(record)[what]
    page = bill_page(told, record)
    cells = Cells(page)
    rows = [row for row in cells.rows if len(row) == 3 and row[0] not in ("what", "in all")]
    assert [(row[0], amount(row[1]), row[2]) for row in rows] == [
        (line.what, line.amount_neur, line.places) for line in lines
    ]
    assert cells.loads == ["data:,"], "nothing comes from elsewhere"
    assert f"<title>{told.heading.rstrip(':')} · Wattbook</title>" in unescape(page)
    assert ">wattbook audit BUNDLE</pre>" in page
    assert f">0x{record.blocks[-1].hash.hex()}</pre>" in page
    assert "--head" not in page, "a bill does not vouch for itself"
    assert "@media print" in page


def test_page_has_the_sentences_and_a_legend_of_its_terms(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SILENT)
    page = unescape(bill_page(told, record))
    assert told.sentences
    assert all(f"<p>{sentence}</p>" in page for sentence in told.sentences)
    defined = re.findall(r"<dt>(.+)</dt><dd>[a-z]", page)
    terms = ["bought", "vetoed", "network charge", "delivered", "ν", "λ_b", "imbalance"]
    assert defined == terms, "what does not occur is left out"


def test_bill_compares_with_retail_and_feed_in_tariff(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SLOT)
    page = bill_page(told, record)
    assert told.flat_neur is not None
    for expected in (told.posted_neur, told.flat_neur, told.flat_neur - told.posted_neur):
        assert expected > 0
        assert f"{expected / 10**9:.9f}{NBSP}€" in page
    assert "Better with it" in page
    whole = bill_page(statement.of_slot(record, SLOT), record)
    assert "Better with it" not in whole, "a slot has no meter"


def test_what_is_not_explained_is_said(bundle: Bundle, record: Record) -> None:
    logged, event = found(record, AccountSettled, 1)
    lie = Record.of(change_event(bundle, record, logged, add("charge", 7)(event)), proves_itself=False)
    page = bill_page(explain(lie, logged.where), lie)
    assert f"0.000000007{NBSP}€ more was posted than these lines explain." in page
    assert "than these lines explain" not in bill_page(explain(record, logged.where), record)


def test_text_is_escaped(record: Record) -> None:
    told = explain(record, account=BUYER.address, slot=SLOT)
    assert "&lt;b&gt;" in bill_page(replace(told, heading="<b>"), record)
