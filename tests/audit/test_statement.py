"""Statements: every payment once, in order, and a total that is the sum of what was posted."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.audit import audit
from ledger.audit.explain import ExplainError, explain
from ledger.audit.plain import euros
from ledger.audit.statement import Statement, day_of, of_account, of_day, of_everyone, of_slot, postings
from ledger.bundle import Bundle
from ledger.history import history
from ledger.journal import CLEARING, balances, entries
from ledger.record import Record
from market.accounts import UTILITY_ID
from market.events import AccountSettled
from market.settlement import Cause, settle
from market.units import NEUR_PER_EUR
from node.cli.app import app
from tests.audit.forge import change_event, cut_short, found
from tests.audit.small_market import BUYER, NEW_UTILITY, SELLER, SILENT, SLOT, TARIFF, UTILITY, written


@pytest.fixture
def day(record: Record) -> date:
    return datetime.fromtimestamp(history(record).terms.start(SLOT), UTC).date()


def test_day_has_each_slot_and_the_correction(record: Record, day: date) -> None:
    """Three settlements, and the resettlement of the one that stood on an estimate: old bill, difference."""
    told = of_day(record, SELLER.address, day)
    assert [payment.slot for payment in told.payments] == [SLOT, SLOT + 1, SILENT, SILENT]
    assert all(payment.total_neur == payment.posted_neur for payment in told.payments)
    old, difference = told.payments[2:]
    assert "estimated by its contract" in old.heading
    assert "a reading took the place of its estimate" in difference.heading
    places = [(logged.where, event) for logged, event in history(record).slots[SILENT].resettled]
    [(where, event)] = places
    assert (difference.place, difference.posted_neur) == (
        where,
        sum(getattr(event, cause.value) for cause in Cause if cause != Cause.TRADES),
    )
    assert told.total_neur == sum(payment.posted_neur for payment in told.payments)
    assert told.flat_neur == sum(payment.flat_neur or 0 for payment in told.payments)
    text = str(told)
    assert text.startswith(f"Account 2, {SELLER.address}, on {day}:\n")
    assert text.count("in all  [") == 4
    assert "In all: to receive " in text


def test_everybodys_day_is_each_accounts(bundle: Bundle, record: Record, day: date, tmp_path: Path) -> None:
    told = of_everyone(record, day)
    known = history(record)
    every = [place for slot in known if day_of(slot) == day for place, _ in postings(slot, known.ids)]
    assert sorted(p.place for each in told.statements.values() for p in each.payments) == sorted(every)
    mine = told.statements[known.ids[SELLER.address]]
    assert mine == of_day(record, SELLER.address, day)
    assert f"Account 2: {mine.sentence}" in str(told).splitlines()

    utility = told.statements[UTILITY_ID]
    assert utility.sentence.endswith(
        f" traded; its result, with charges, other load and the import: utility@{day}."
    )
    market = euros(told.total_neur - utility.total_neur)
    assert str(told).splitlines()[-1].endswith(f"and with its trades has {market} from the market.")

    source, out = str(written(bundle, tmp_path / "bundle")), tmp_path / "bills"
    done = CliRunner().invoke(app, ["audit", "explain", source, f"@{day}", "--out", str(out)])
    assert done.exit_code == 0
    assert {page.name for page in out.iterdir()} == {f"account-{number}.html" for number in told.statements}
    assert mine.heading.rstrip(":") in (out / "account-2.html").read_text("utf-8")
    assert utility.rest in (out / "account-0.html").read_text("utf-8")


@pytest.mark.parametrize(("what", "option"), [("@{day}", "--page"), ("2@{day}", "--out")])
def test_pages_of_everybody_go_to_a_folder_and_others_to_a_file(
    bundle: Bundle, day: date, tmp_path: Path, what: str, option: str
) -> None:
    source = str(written(bundle, tmp_path / "bundle"))
    asked = ["audit", "explain", source, what.format(day=day), option, str(tmp_path / "x")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert f"{option}: " in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_resettled_slot_changes_by_differences_only(record: Record) -> None:
    """Old bill and difference make the bill by the reading; nobody else's changes, and all sums stay 0."""
    known = history(record)
    slot, number, valuation = (
        known.slots[SILENT],
        known.ids[SELLER.address],
        known.valuation(known.slots[SILENT]),
    )
    assert valuation is not None
    [(logged, _)] = slot.resettled
    old, difference = explain(record, account=SELLER.address, slot=SILENT), explain(record, logged.where)
    assert old.place != difference.place and difference.posted_neur != 0
    position, reading = known.positions(slot)[number], slot.readings[SELLER.address]
    new = settle(position, reading, known.bus(number), valuation)
    assert old.posted_neur + difference.posted_neur == sum(posting.amount_neur for posting in new)
    of_slot_alone = [entry for entry in entries(record) if entry.slot == SILENT]
    [correction] = [entry for entry in of_slot_alone if entry.kind == "resettlement"]
    assert {booking.account for booking in correction.bookings} == {number, UTILITY_ID}
    changed = sum(each.amount_neur for each in correction.bookings if each.account == number)
    assert changed == -difference.posted_neur
    total = balances(of_slot_alone)
    assert sum(total.values()) == total[CLEARING] == 0
    assert audit(record).ok


def test_slot_has_everybody_and_trades_cancel_out(record: Record) -> None:
    told = of_slot(record, SILENT)
    assert len(told.payments) == 5
    slot = history(record).slots[SILENT]
    beside = sum(
        event.charge + event.closeout + event.imbalance + event.penalty
        for _, event in (*slot.settled, *slot.resettled)
    )
    assert told.total_neur == beside
    assert told.heading.endswith("5 payments:")
    assert told.sentence.startswith(f"In all: {euros(0)}, with {euros(abs(beside))} ")
    assert ("received by" in told.sentence) == (beside > 0)


def test_a_day_with_a_forged_payment_has_no_causes(bundle: Bundle, record: Record, day: date) -> None:
    """What no rule gives has no part in them, so that they would not add up to the difference."""
    logged, event = found(record, AccountSettled, 1)
    assert isinstance(event, AccountSettled)
    lie = change_event(bundle, record, logged, replace(event, charge=event.charge + 7))
    assert of_day(record, event.account, day).terms
    assert of_day(Record.of(lie, proves_itself=False), event.account, day).terms == ()


def test_json_is_that_of_the_payments(record: Record, day: date) -> None:
    told = of_day(record, BUYER.address, day)
    assert told.to_json() == {
        "heading": told.heading,
        "sentence": told.sentence,
        "payments": [payment.to_json() for payment in told.payments],
        "total_neur": told.total_neur,
        "flat_neur": told.flat_neur,
        "unsettled": [],
    }


def test_only_an_accounts_bill_is_compared_with_tariffs(record: Record, day: date) -> None:
    told = of_day(record, SELLER.address, day)
    compared = re.search(
        r"you would have received (\S+) € .* you are (\S+) € (better|worse) off\.\Z", str(told)
    )
    assert compared is not None
    flat, saved = (int(Decimal(each) * NEUR_PER_EUR) for each in compared.groups()[:2])
    assert flat == -told.flat_neur
    assert (saved if compared[3] == "better" else -saved) == told.flat_neur - told.total_neur
    nobodys = of_day(record, UTILITY.address, day)
    assert str(nobodys).endswith(f"{euros(abs(nobodys.total_neur))}. {nobodys.rest}")
    assert "Without the market" not in of_slot(record, SLOT).sentence


def test_where_nothing_was_settled(record: Record) -> None:
    with pytest.raises(ExplainError, match="2001-01-01: no account"):
        of_day(record, BUYER.address, date(2001, 1, 1))
    for slot in (SLOT + 2, 7):
        with pytest.raises(ExplainError, match=f"slot {slot}: no account"):
            of_slot(record, slot)


def test_a_resettled_payment_shows_both_and_compares_the_reading(record: Record) -> None:
    """The seller's estimate and its 700 Wh: the old bill, the difference, the tariff on what was read."""
    both = of_account(record, SELLER.address, SILENT)
    assert isinstance(both, Statement)
    old, change = both.payments
    assert both.total_neur == old.posted_neur + change.posted_neur
    assert both.flat_neur == -700 * TARIFF.fit
    assert "would have received 0.049000000 € for 0.7 kWh" in change.flat_sentence


def test_the_utility_is_one_account_at_all_its_addresses(record: Record) -> None:
    """Its first address was settled, its second one asks."""
    first, second = (of_account(record, key.address, SLOT) for key in (UTILITY, NEW_UTILITY))
    assert first == second


def test_a_correction_is_a_payment_that_can_be_asked_for(bundle: Bundle, day: date, tmp_path: Path) -> None:
    """Four accounts settle in each of three slots, and one of them again."""
    done = CliRunner().invoke(app, ["audit", "explain", str(written(bundle, tmp_path / "bundle"))])
    assert done.exit_code == 2
    assert "(13 in all)" in done.stderr
    assert f"it settled slots {SLOT} to {SLOT + 1}, {SILENT} on {day}; its" in done.stderr


def test_what_is_not_settled_is_told_and_in_no_sum(bundle: Bundle, record: Record, day: date) -> None:
    """The record of a market that went on, cut before its last slots were settled."""
    settled = {slot.slot for slot in history(record) if slot.finished}
    last = max(logged.log.block_number for logged, _ in history(record).slots[SLOT].settled)
    beyond = record.blocks[-1].number - last
    early = Record.of(cut_short(bundle, beyond), proves_itself=False)
    traded = {
        slot.slot
        for slot in history(early)
        if not slot.finished and history(early).ids[SELLER.address] in history(early).positions(slot)
    }
    assert traded <= settled
    told = of_day(early, SELLER.address, day)
    assert traded
    assert set(told.unsettled) == traded
    assert "Not settled yet: slot" in told.sentence
    assert f"{len(list(history(early)))} slots, 1 of them settled (not slot" in " ".join(
        audit(early).verified
    )


@pytest.mark.parametrize("command", [("explain", "@{day}", "--out"), ("journal", "--out")])
def test_nothing_is_written_into_the_evidence(
    bundle: Bundle, day: date, tmp_path: Path, command: tuple[str, ...]
) -> None:
    source = written(bundle, tmp_path / "bundle")
    words = [word.format(day=day) for word in command[1:]]
    asked = ["audit", command[0], str(source), *words, str(source / "bills.csv")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 2
    assert "which is evidence; name another place" in done.stderr
    assert not (source / "bills.csv").exists()
