"""Every block executed again by another engine: what nothing but execution can show is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.audit import CannotReplay, audit
from ledger.audit.checks import execution
from ledger.audit.report import Report
from ledger.bundle import Bundle
from ledger.chain.encoding import decode_header
from ledger.chain.evm import Account
from ledger.chain.genesis import genesis_document, read_genesis
from ledger.keys import derive
from ledger.record import Record
from market.events import AccountSettled
from tests.audit.forge import change_header, change_status, edit_receipt, found, place_of, rebuilt
from tests.audit.small_market import BUYER, SmallMarket, written

BLOCK = 8
"""Any block of the small market that is neither its first nor its last."""


@pytest.fixture(scope="module")
def one_slot() -> Bundle:
    """The morning alone, which takes a third of the time to execute."""
    market = SmallMarket.of_one_slot()
    return market.bundle()


def replayed(bundle: Bundle) -> Report:
    return audit(Record.of(bundle, proves_itself=False), execute=True)


def told(report: Report) -> list[tuple[str, str]]:
    return [(each.check, each.where) for each in report.findings]


def test_an_honest_market_comes_to_the_same_state(one_slot: Bundle) -> None:
    report = replayed(one_slot)
    assert report.ok
    executed = report.checks[-1]
    sent = sum(len(block) for block in one_slot.transactions)
    assert (executed.name, executed.items) == ("execution", 2 + sent + len(one_slot.headers) - 1)
    assert not any("executed" in line for line in report.assumed)
    assert any("executed" in line for line in audit(Record.of(one_slot, proves_itself=False)).assumed)


def test_a_wrong_state_root_is_found(one_slot: Bundle) -> None:
    lie = change_header(one_slot, BLOCK, state_root=bytes(32))
    assert audit(Record.of(lie, proves_itself=False)).ok, "no rule of the market is broken"
    assert told(replayed(lie)) == [("execution", f"block {BLOCK} state root")]


def test_a_state_that_no_transaction_made_is_found_once(one_slot: Bundle) -> None:
    """Somebody was given coins between two blocks, and all states after it have them."""
    lie = one_slot
    for number in range(BLOCK, BLOCK + 3):
        lie = change_header(lie, number, state_root=number.to_bytes(32, "big"))
    assert told(replayed(lie)) == [("execution", f"block {BLOCK} state root")]


def test_a_deposit_that_did_not_fail_is_found(one_slot: Bundle) -> None:
    """The other checks have to believe its receipt."""
    record = Record.of(one_slot, proves_itself=False)
    sent = next(each for each in reversed(record.sent) if type(each.call).__name__ == "Deposit")
    lie = change_status(one_slot, sent.block, sent.index, 0)
    assert ("execution", f"{sent.where} status") in told(replayed(lie))
    assert ("execution", f"{sent.where} logs") in told(replayed(lie))


def test_an_event_with_one_unit_more_is_found(one_slot: Bundle) -> None:
    record = Record.of(one_slot, proves_itself=False)
    logged, _ = found(record, AccountSettled, 2)
    place = place_of(record, logged)

    def edit(logs: list[Any]) -> list[Any]:
        address, topics, data = logs[place.log]
        logs[place.log] = (address, topics, data[:-1] + bytes([data[-1] ^ 1]))
        return logs

    lie = rebuilt(edit_receipt(one_slot, place, edit), place.block)
    where = f"block {logged.log.block_number} log {logged.log.log_index}"
    executed = [each for each in replayed(lie).findings if each.check == "execution"]
    assert any(where in each.where and each.expected != each.found for each in executed)
    assert all(topic.hex() in executed[0].found for topic in logged.log.topics)


def test_what_may_not_run_ends_it(one_slot: Bundle) -> None:
    """Without its predecessor a transaction's nonce is one too high."""
    first = next(at for at, sent in enumerate(one_slot.transactions) if sent)
    empty = tuple(() if at == first else block for at, block in enumerate(one_slot.transactions))
    receipts = tuple(() if at == first else block for at, block in enumerate(one_slot.receipts))
    lie = rebuilt(replace(one_slot, transactions=empty, receipts=receipts), first)
    findings = [each for each in replayed(lie).findings if each.check == "execution"]
    assert findings[-1].difference == "nothing after it was executed"
    assert "nonce" in findings[-1].found


# --- the genesis --------------------------------------------------------------------------------


def test_another_genesis_is_found(one_slot: Bundle) -> None:
    document = json.loads(one_slot.genesis)
    document["alloc"][BUYER.address] = {"balance": "0x1"}
    lie = replace(one_slot, genesis=json.dumps(document).encode())
    assert told(audit(Record.of(lie, proves_itself=False))) == [("headers", "genesis.json block 0")]
    assert told(replayed(lie)) == [(check, "genesis.json block 0") for check in ("headers", "execution")]


def test_a_record_from_the_second_block_on_is_enough(one_slot: Bundle) -> None:
    parts = {name: getattr(one_slot, name)[1:] for name in ("headers", "transactions", "receipts")}
    later = replace(one_slot, manifest=replace(one_slot.manifest, first_block=1), **parts)
    assert replayed(later).ok


def test_what_is_missing_is_said(one_slot: Bundle) -> None:
    for lacking, message in (
        (replace(one_slot, genesis=b""), "without the chain's genesis.json"),
        (replace(one_slot, genesis=b"{"), "genesis.json: "),
        (replace(one_slot, genesis=b"[]"), "not an object"),
        (replace(one_slot, genesis=b"{}"), "config"),
        (change_header(one_slot, BLOCK, withdrawals_root=bytes(32)), f"block {BLOCK} has withdrawals"),
    ):
        with pytest.raises(CannotReplay, match=message):
            replayed(lacking)
    parts = {name: getattr(one_slot, name)[2:] for name in ("headers", "transactions", "receipts")}
    with pytest.raises(CannotReplay, match="begins at block 2"):
        replayed(replace(one_slot, **parts))


def test_a_market_read_from_its_chain_is_executed_with_the_genesis_alone(one_slot: Bundle) -> None:
    market = SmallMarket.of_one_slot()
    record = Record.from_chain(market.chain, genesis=one_slot.genesis)
    assert record.blocks[0].number == 1
    assert audit(record, ["headers"], execute=True).ok


def test_a_genesis_is_read_as_it_was_written(one_slot: Bundle) -> None:
    genesis = read_genesis(json.loads(one_slot.genesis))
    contract = Account(balance_wei=7, nonce=1, code=b"\x60\x00", storage={1: 2, 3: 0})
    more = replace(genesis, accounts=((derive(7, "contract").address, contract),))
    for each in (genesis, more):
        again = read_genesis(genesis_document(each))
        assert again.header == each.header
        assert again.schedule == each.schedule
        assert genesis_document(again) == genesis_document(each)
    assert decode_header(one_slot.headers[0]).timestamp == genesis.header.timestamp


def test_genesis_travels_with_the_bundle(one_slot: Bundle, tmp_path: Path) -> None:
    record = Record.from_bundle(written(one_slot, tmp_path / "bundle"))
    assert execution.beginning(record) == read_genesis(json.loads(one_slot.genesis))
