"""What an audit has to believe, it says; and what nothing in a record shows, it does not pretend to find."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest

from ledger import calls
from ledger.audit import audit
from ledger.bundle import Bundle
from ledger.record import Record
from market.pricing.certificate import Accuracy, Claim
from market.pricing.conditions import SlotPrices
from market.slots import Rule
from tests.audit.forge import (
    begun_late,
    change_status,
    cut_short,
    scale_tokens,
    with_unreadable,
    without_transaction,
)
from tests.audit.small_market import (
    NEIGHBOUR,
    NEW_UTILITY,
    SILENT,
    SLOT,
    SmallMarket,
    shared,
    small_feeder,
)
from tests.audit.tamper_vetoes import vetoed

CLAIMS = 6
"""Where a certificate's two bytes of claims stand, behind magic and version."""


@dataclass
class ModestMarket(SmallMarket):
    """Its oracles claim less than their certificates prove, as long as they are modest."""

    modest: bool = True

    def clear(self, load: float) -> tuple[SlotPrices, bytes, bytes]:
        prices, input_hash, certificate_hash = super().clear(load)
        if self.modest:
            proof = self.certificates[-1]
            self.certificates[-1] = (
                proof[:CLAIMS] + bytes([Claim.LOCAL, Accuracy.STOPPED]) + proof[CLAIMS + 2 :]
            )
            certificate_hash = sha256(self.certificates[-1]).digest()
        return prices, input_hash, certificate_hash


def test_vetoes_beside_a_load_that_is_not_known_are_believed(record: Record) -> None:
    """The small market's inputs have devices; those of the market with a veto have load alone."""
    judged, believed = audit(vetoed().record), audit(record)
    assert judged.ok and next(each for each in judged.checks if each.name == "vetoes").items == 3
    assert not [line for line in judged.assumed if line.startswith("vetoes of")]
    (line,) = [line for line in believed.assumed if line.startswith("vetoes of")]
    assert line.startswith(f"vetoes of slot {SILENT} were due")
    without = replace(vetoed().record.bundle, inputs={}, certificates={})
    (line,) = [line for line in audit(Record.of(without, proves_itself=False)).assumed if "vetoes" in line]
    assert line.startswith(f"vetoes of slot {SLOT} were due")


def test_omission_shows_nowhere_but_at_the_head(bundle: Bundle) -> None:
    """What `tail-left-out` is found by is all that it can be found by."""
    assert audit(Record.of(cut_short(bundle, 2), proves_itself=False)).ok


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (calls.Deposit, f"Deposit of {NEIGHBOUR.address} 50,000,000,000 neur"),
        (calls.Withdraw, f"Withdraw of {NEW_UTILITY.address} 2,000,000,000 neur"),
    ],
)
def test_money_that_is_said_not_to_have_moved_is_named_as_assumed(
    bundle: Bundle, record: Record, kind: type, failure: str
) -> None:
    """Of tokens and gas the record knows what receipts say, so the report says where it believed them."""
    moved = [each for each in record.sent if isinstance(each.call, kind)][-1]
    report = audit(Record.of(change_status(bundle, moved.block, moved.index, 0), proves_itself=False))
    assert report.ok
    [line] = [line for line in report.assumed if "want of gas or tokens" in line]
    assert line.startswith(f"{moved.where} {failure} failed for want of gas or tokens")
    assert "--replay proves it" in line
    word = {calls.Deposit: "deposit", calls.Withdraw: "withdrawal"}[kind]
    assert report.conclusion == f"clean, but 1 {word} is believed to have failed, which --replay decides"
    [believed] = report.to_json()["believed"]
    assert set(believed) == {"where", "call", "account", "amount_neur"}
    assert failure == f"{believed['call']} of {believed['account']} {believed['amount_neur']:,} neur"


def test_no_failure_that_is_believed_is_left_unnamed(bundle: Bundle, record: Record) -> None:
    """However many there are; that a replay proves them is promised only where there is a genesis."""
    failed = [each for each in record.sent if isinstance(each.call, calls.Withdraw)]
    lie = bundle
    for each in failed:
        lie = change_status(lie, each.block, each.index, 0)
    report = audit(Record.of(replace(lie, genesis=b""), proves_itself=False))
    lines = [line for line in report.assumed if "want of gas or tokens" in line]
    assert [line.partition(" Withdraw ")[0] for line in lines] == [each.where for each in failed]
    assert not any("--replay proves" in line for line in lines)
    assert report.conclusion == "clean, but 2 withdrawals are believed to have failed, which --replay decides"


def test_what_a_chain_also_brings_is_no_finding() -> None:
    """A transfer of before EIP-155 between others, and a deposit that a rule refuses, not the token."""
    report = audit(Record.of(shared(SmallMarket(Rule.DLMP)).bundle(), proves_itself=False))
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
    one = f"one throughout, 'two buses' (0x{small_feeder().hash.hex()})"
    for words in (
        "feeder, limits and loads",
        one,
        "wholesale price",
        "scenario 'small' and seed 7",
        "token's code",
    ):
        assert any(words in line for line in report.assumed)
    assert f"exchange {record.exchange}" in report.verified


def test_what_certificates_do_not_say_is_named() -> None:
    """Charges of another feeder, and a certificate that claims no more than a local, approximate optimum."""
    market = ModestMarket(Rule.DLMP)
    market.post_charges(SLOT, 0.8)
    market.feeder = replace(small_feeder(), name="rebuilt", r_pu=small_feeder().r_pu * 2)
    market.modest = False
    market.post_charges(SLOT + 1, 0.8)
    report = audit(Record.of(market.bundle(), proves_itself=False))
    assert report.ok
    of_feeders = next(line for line in report.assumed if "feeder, limits and loads" in line)
    for name, slot in (("two buses", SLOT), ("rebuilt", SLOT + 1)):
        assert re.search(f"'{name}' \\(0x[0-9a-f]{{64}}\\) in charges of slot {slot}\\b", of_feeders)
    for words in ("a local optimum", "a method comes that stops early"):
        [line] = [line for line in report.assumed if words in line]
        assert line.startswith(f"charges of slot {SLOT}: ")


@pytest.mark.parametrize(("divisor", "decimals"), [(1, 6), (1_000, 3)])
def test_decimals_are_believed_where_the_tokens_creation_is_not_at_hand(
    bundle: Bundle, record: Record, divisor: int, decimals: int
) -> None:
    """The first block made the token: whoever leaves it away may choose the scale, and is said to."""
    assert not any("decimals" in line for line in audit(record, ["conservation"]).assumed)
    later = begun_late(scale_tokens(bundle, record, divisor), 2)
    report = audit(Record.of(later, proves_itself=False), ["headers", "conservation"])
    assert report.ok
    assert any(f"the token has {decimals} decimals, as its deposits moved" in line for line in report.assumed)


def test_what_only_the_bundles_maker_says_is_named(bundle: Bundle) -> None:
    """A notice is held to nothing, and a genesis to nothing where the record begins too late."""
    later = replace(begun_late(bundle, 3), notice=b"of somebody")
    report = audit(Record.of(later, proves_itself=False), ["headers"])
    assert report.ok
    for words in ("NOTICE: ", "begins at block 3, too late"):
        assert any(words in line for line in report.assumed)
