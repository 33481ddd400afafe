"""A market that kept the rules: everything is verified, and what is assumed is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from ledger import bundle as bundles
from ledger.audit import UnknownCheckError, audit, checks
from ledger.audit.report import SHOWN, CheckResult, Report
from ledger.bundle import Bundle, collect, decode, encode
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import Chain
from ledger.exchange import Exchange
from ledger.record import Record, RecordError
from market.events import (
    AccountResettled,
    AccountSettled,
    ChargesPosted,
    OraclesRotated,
    PricesPosted,
    ReadingEstimated,
)
from market.findings import Finding
from market.orders import FillVetoed, OrderRejected, OrdersFilled, OrderVoided, VoidReason
from market.settlement import Basis
from tests.audit.forge import same_second
from tests.audit.small_market import BUYER, NEIGHBOUR, SELLER, SILENT, SLOT, SmallMarket, traded, written
from tests.audit.tamper_quorum import charges_of_a_day
from tests.audit.tampering import Ground

NAMES = [name for name, _ in checks()]


@pytest.mark.parametrize("rule", ["bundle", "tariff_bundle"])
def test_clean_market_is_found_clean(rule: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    bundle: Bundle = request.getfixturevalue(rule)
    record = Record.from_bundle(written(bundle, tmp_path / "bundle"))
    report = audit(record, head=bundle.checkpoint.hash)
    assert report.findings == ()
    assert report.ok
    assert [result.name for result in report.checks] == NAMES
    empty = [result.name for result in report.checks if not result.items]
    assert empty == ["vetoes"], "its inputs have devices; test_assumed has a market whose vetoes are judged"
    assert not any("head" in line for line in report.assumed)


def test_market_has_what_the_checks_are_about(record: Record) -> None:
    happened = [logged.event for logged in record.logged]
    assert sum(isinstance(event, OrdersFilled) for event in happened) >= 4
    assert any(isinstance(event, OrderRejected) for event in happened)
    reasons = {event.reason for event in happened if isinstance(event, OrderVoided)}
    assert {type(sent.call).__name__ for sent in record.sent if sent.status == 0} == {
        "PlaceOrder",
        "CloseGate",
        "Pause",
    }
    assert any(isinstance(event, AccountSettled) and event.penalty for event in happened)
    assert [event.epoch for event in happened if isinstance(event, OraclesRotated)] == [1, 2]
    assert {VoidReason.CANCELLED, VoidReason.OWN_ORDER, VoidReason.GATE_CLOSED} <= reasons
    assert [event.quantity for event in happened if isinstance(event, FillVetoed)] == [200, 100]
    estimated = {event.account: event for event in happened if isinstance(event, ReadingEstimated)}
    assert estimated[SELLER.address].basis == Basis.CONTRACT
    assert estimated[NEIGHBOUR.address].basis == Basis.FORECAST
    silent = {event.account: event for event in happened if isinstance(event, AccountSettled)}
    assert [silent[who.address].basis for who in (BUYER, SELLER, NEIGHBOUR)] == [0, 1, 2]
    assert [event.account for event in happened if isinstance(event, AccountResettled)] == [SELLER.address]


class Behind:
    """A chain whose head is read before its last prices come."""

    def __init__(self, chain: EmbeddedChain, head: int) -> None:
        self._chain, self._head = chain, head

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def head(self) -> int:
        return self._head


def test_a_chain_that_goes_on_while_it_is_read_is_clean(
    bundle: Bundle, record: Record, traded_market: SmallMarket
) -> None:
    """Proofs of what comes after the head are named by nothing in the bundle."""
    first_named: dict[bytes, int] = {}
    for logged in record.logged:
        if isinstance(logged.event, ChargesPosted | PricesPosted):
            first_named.setdefault(logged.event.certificate_hash, logged.log.block_number)
    last = max(first_named.values())
    behind = cast(Chain, Behind(traded_market.chain, last - 1))
    early = collect(
        Exchange(behind, traded_market.exchange.address),
        certificates=traded_market.certificates,
        inputs=traded_market.inputs,
    )
    assert early.checkpoint.number == last - 1
    assert len(early.certificates) < len(bundle.certificates)
    assert audit(Record.of(decode(encode(early)), proves_itself=True)).findings == ()


def test_bundle_reads_back_as_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    again = bundles.read(written(bundle, tmp_path / "bundle"))
    for name in ("headers", "transactions", "receipts", "artifacts", "certificates", "inputs"):
        assert getattr(again, name) == getattr(bundle, name)
    assert again.checkpoint.hash == bundle.checkpoint.hash
    assert bundles.encode(again) == bundles.encode(bundle)


def test_same_market_gives_the_same_bytes(bundle: Bundle) -> None:
    assert bundles.encode(traded()) == bundles.encode(bundle)


def test_without_a_known_head_the_report_says_so(record: Record) -> None:
    assert any("head" in line for line in audit(record).assumed)


def test_node_proves_no_prices_and_the_report_says_so(traded_market: SmallMarket) -> None:
    record = Record.from_chain(traded_market.chain)
    assert record.exchange == traded_market.exchange.address
    report = audit(record)
    assert report.ok
    slots = f"slots {SLOT} to {SLOT + 1}, {SILENT}"
    for kind in ("charges", "prices"):
        assert f"{kind} of {slots}, whose certificates are not at hand (--proofs)" in report.assumed
    assert not any("as given" in line for line in report.assumed), "no certificate takes anything as given"


def test_bundle_made_of_a_chain_and_its_proofs_audits_as_the_chain_did(
    traded_market: SmallMarket, bundle: Bundle, tmp_path: Path
) -> None:
    record = Record.from_chain(traded_market.chain, proofs=[written(bundle, tmp_path / "proofs")])
    assert record.proofs_missing == ()
    kept = Record.from_bundle(written(record.bundle, tmp_path / "kept"))
    online, offline = audit(record), audit(kept)
    assert (online.ok, offline.ok, offline.assumed) == (True, True, online.assumed)
    of_headers, *others = zip(online.checks, offline.checks, strict=True)
    assert of_headers[0].items < of_headers[1].items, "a chain has no files, nor a manifest"
    assert all(one == other for one, other in others)


def test_chain_without_exchange_has_no_record() -> None:
    with pytest.raises(RecordError, match="0 exchanges found"):
        Record.from_chain(EmbeddedChain())


def test_blocks_of_one_second_are_no_finding(bundle: Bundle) -> None:
    """Local clients make several blocks a second, and their headers say so."""
    assert audit(Record.of(same_second(bundle), proves_itself=False)).ok


def test_charges_of_slots_cleared_together_are_no_finding(bundle: Bundle) -> None:
    assert audit(Record.of(charges_of_a_day(Ground.of(bundle)), proves_itself=False)).ok


def test_a_check_that_has_nothing_to_look_at_says_so(record: Record) -> None:
    report = audit(record, names=["checkpoint"])
    assert (report.ok, report.items, report.checks[0].verdict) == (True, 0, "nothing")
    assert report.verified[-1] == "passed: nothing"
    told = report.to_json()
    assert (told["ok"], told["checks"][0]["ok"], told["checks"][0]["status"]) == (None, None, "nothing")


def test_wrong_head_is_found(record: Record) -> None:
    report = audit(record, head=bytes(32))
    assert {finding.check for finding in report.findings} == {"checkpoint"}


def test_named_checks_run_alone(record: Record) -> None:
    report = audit(record, names=["matching", "headers"])
    assert [result.name for result in report.checks] == ["headers", "matching"]
    assert any(line.startswith("whatever these checks would find") for line in report.assumed)
    assert "passed: headers, matching" in report.verified
    alone = audit(record, names=["settlement"])
    assert any(line.endswith("as the record says") for line in alone.verified), "nobody looked at the hashes"
    assert "12 postings" in alone.verified
    with pytest.raises(UnknownCheckError, match="'fills': there are headers, "):
        audit(record, names=["fills"])


def test_report_as_json_has_the_promised_keys(record: Record) -> None:
    told = json.loads(json.dumps(audit(record).to_json()))
    assert set(told) == {"ok", "checks", "verified", "assumed", "believed"}
    assert all(set(check) == {"name", "ok", "status", "items", "findings"} for check in told["checks"])
    said = {check["name"]: (check["ok"], check["status"]) for check in told["checks"]}
    assert said.pop("checkpoint") == (None, "nothing"), "no head is known to hold the record to"
    assert said.pop("vetoes") == (None, "nothing"), "the load beside the fills is not known"
    assert set(said.values()) == {(True, "ok")}
    wrong = audit(record, ["checkpoint"], head=bytes(32)).to_json()
    assert (wrong["ok"], wrong["checks"][0]["ok"], wrong["checks"][0]["status"]) == (False, False, "wrong")


def test_every_check_is_documented() -> None:
    page = (Path(__file__).parents[2] / "ledger" / "audit" / "README.md").read_text()
    assert [name for name in NAMES if f"| `{name}` |" not in page] == []


def test_people_are_told_the_first_of_many_findings() -> None:
    many = tuple(Finding("matching", f"block {number}", "1", "2", "") for number in range(SHOWN + 3))
    report = Report((CheckResult("matching", "", 20, many),), (), ())
    text = str(report)
    assert text.count("error[matching]") == SHOWN
    assert "matching: 3 more, of which most follow from the first" in text
    assert len(report.to_json()["checks"][0]["findings"]) == SHOWN + 3
