"""What an audit has to believe, it says; and what nothing in a record shows, it does not pretend to find."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import calls
from ledger.audit import audit
from ledger.bundle import Bundle
from ledger.record import Record
from ledger.transactions import LEGACY, Transaction, sign_transaction
from market.slots import Rule
from tests.audit.forge import change_status, cut_short, with_unreadable, without_transaction
from tests.audit.small_market import RELAYER, SELLER, UTILITY, SmallMarket


def test_omission_shows_nowhere_but_at_the_head(bundle: Bundle) -> None:
    """What `tail-left-out` is found by is all that it can be found by."""
    assert audit(Record.of(cut_short(bundle, 2), proves_itself=False)).ok


@pytest.mark.parametrize("kind", [calls.Deposit, calls.Withdraw])
def test_money_that_is_said_not_to_have_moved_is_named_as_assumed(
    bundle: Bundle, record: Record, kind: type
) -> None:
    """Of tokens and gas the record knows what receipts say, so the report says where it believed them."""
    moved = [each for each in record.sent if isinstance(each.call, kind)][-1]
    lie = change_status(bundle, moved.block, moved.index, 0)
    report = audit(Record.of(lie, proves_itself=False))
    assert any("want of gas or tokens" in line and moved.where in line for line in report.assumed)
    assert report.ok


def test_what_a_chain_also_brings_is_no_finding() -> None:
    """A transfer of before EIP-155 between others, and a deposit that a rule refuses, not the token."""
    market = SmallMarket(Rule.DLMP)
    legacy = Transaction(None, market.chain.nonce(RELAYER.address), SELLER.address, type=LEGACY)
    sent = market.chain.send(sign_transaction(RELAYER, replace(legacy, max_fee_per_gas=10**10)))
    odd = market.exchange.deposit(UTILITY.address, 1, sender=UTILITY)
    assert [market.chain.receipt(each).status for each in (sent, odd)] == [1, 0]
    report = audit(Record.of(market.bundle(), proves_itself=False))
    assert report.ok
    assert not any("want of gas or tokens" in line for line in report.assumed)


def test_bytes_that_cannot_be_read_hide_no_missing_transaction(bundle: Bundle, record: Record) -> None:
    last = {each.block: each for each in record.sent}
    left_out = next(each for each in last.values() if type(each.call).__name__ == "Settle")
    lie = without_transaction(bundle, left_out.block, left_out.index)
    lie = with_unreadable(lie, left_out.block - 1)
    report = audit(Record.of(lie, proves_itself=False))
    assert [each.difference for each in report.findings if each.check == "nonces"]
    assert any("kinds that are not read here" in line for line in report.assumed)


def test_what_oracles_and_the_utility_may_invent_is_named(record: Record) -> None:
    report = audit(record)
    for words in ("feeder, limits and loads", "wholesale price", "genesis.json"):
        assert any(words in line for line in report.assumed)
    assert f"exchange {record.exchange}" in report.verified
