"""What an audit has to believe, it says; and what nothing in a record shows, it does not pretend to find."""

from __future__ import annotations

from ledger.audit import audit
from ledger.bundle import Bundle
from ledger.record import Record
from tests.audit.forge import change_status, cut_short, with_unreadable, without_transaction


def test_omission_shows_nowhere_but_at_the_head(bundle: Bundle) -> None:
    """What `tail-left-out` is found by is all that it can be found by."""
    assert audit(Record.of(cut_short(bundle, 2), proves_itself=False)).ok


def test_a_deposit_that_is_said_to_have_failed_is_named_as_assumed(bundle: Bundle, record: Record) -> None:
    """Of tokens and gas the record knows what receipts say, so the report says where it believed them."""
    deposit = next(each for each in reversed(record.sent) if type(each.call).__name__ == "Deposit")
    lie = change_status(bundle, deposit.block, deposit.index, 0)
    assumed = audit(Record.of(lie, proves_itself=False)).assumed
    assert any("want of gas or tokens" in line and deposit.where in line for line in assumed)


def test_bytes_that_cannot_be_read_hide_no_missing_transaction(bundle: Bundle, record: Record) -> None:
    last = {each.block: each for each in record.sent}
    left_out = next(each for each in last.values() if type(each.call).__name__ == "Settle")
    lie = without_transaction(bundle, left_out.block, left_out.index)
    lie = with_unreadable(lie, left_out.block - 1)
    report = audit(Record.of(lie, proves_itself=False))
    assert [each.difference for each in report.findings if each.check == "nonces"]
    assert any("kinds that are not read here" in line for line in report.assumed)
