"""The record of a market that goes on: read again where there is more, and audited after a rest."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest

from ledger.record import Record
from node.api.archive import Growing
from node.api.sources import LiveSource, RecordSource
from node.api.verification import Verification, Verified
from tests.audit.small_market import SILENT
from tests.audit.visiting import get, items, visiting
from tests.patience import eventually


def test_a_market_that_goes_on_tells_the_same_bills_and_is_audited(
    live_source: LiveSource, api: httpx.Client, record: Record
):
    read: list[Record] = []
    archive = Growing(live_source, lambda: read.append(record) or record)  # type: ignore[func-returns-value]
    with visiting(live_source, archive) as live:
        for payment in items(api, f"/v1/settlements?slot={SILENT}"):
            bill = f"/v1/bills/{payment['block']}:{payment['log']}"
            assert get(live, bill) == get(api, bill)
        page = live.get(bill.removeprefix("/v1")).text
        assert f"wattbook audit URL --exchange {record.exchange}" in page
        told = live.get("/v1/bills/1:0")
        assert (told.status_code, told.json()["type"]) == (404, "urn:wattbook:problem:unknown-payment")
        assert len(read) == 1
        assert get(live, "/audit.json")["checked_here"]


def test_without_a_record_there_are_no_bills(live_source: LiveSource):
    with visiting(live_source) as live:
        answer = live.get("/v1/bills/184:7")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:wattbook:problem:unknown-payment")


def test_a_record_is_read_again_where_it_ends_too_soon_or_the_chain_went_back(
    source: RecordSource, record: Record
):
    head = record.blocks[-1].number
    shorter = replace(record, blocks=record.blocks[:-1])
    told = [shorter, record, record]
    archive = Growing(source, lambda: told.pop(0))
    assert archive.reaching(head - 1) is archive.reaching(1) is shorter
    assert archive.reaching(head) is archive.reaching(head - 1) is record
    source_of_less = RecordSource(shorter)
    gone_back = Growing(source_of_less, lambda: record)
    assert gone_back.reaching(1) is record
    assert not gone_back._holds(record)


def test_the_audit_runs_again_where_there_is_more_after_a_rest(record: Record):
    seconds = [0.0]
    runs: list[int] = []

    class Slow:
        finished = False

        def reaching(self, block: int) -> Record:
            runs.append(block)
            seconds[0] += 2.0
            return record

    head = record.blocks[-1].number
    verification = Verification(Slow(), lambda: seconds[0])

    def newest(block: int) -> Verified:
        return eventually(lambda: verification.newest(block), 0.01)

    assert newest(head).report.ok
    assert newest(head).block == head
    assert newest(head + 1).block == head
    assert runs == [head], "nothing is new, and then it rests for ten times as long as it took"
    seconds[0] += 20.0
    newest(head + 1)
    eventually(lambda: len(runs) == 2, 0.01)
    assert runs == [head, head + 1]


def test_an_audit_that_breaks_off_is_told_and_begun_again(record: Record, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("threading.excepthook", lambda failure: None)
    seconds, head = [0.0], record.blocks[-1].number

    class Broken:
        finished = False
        fails = True

        def reaching(self, block: int) -> Record:
            seconds[0] += 1.0
            if self.fails:
                raise ValueError("nobody thought of this")
            return record

    archive = Broken()
    verification = Verification(archive, lambda: seconds[0])

    assert verification.newest(head) is None
    eventually(lambda: verification.broke_off, 0.01)
    archive.fails = False
    assert verification.newest(head) is None
    assert verification.broke_off, "it rests first"
    seconds[0] += 10.0
    eventually(lambda: verification.newest(head) is not None, 0.01)
    assert not verification.broke_off
    assert verification.newest(head - 1) is None, "the chain went back"
