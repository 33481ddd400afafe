"""The market's own transactions: every block of a session executed again by py-evm as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ledger.chain.embedded import CHAIN_ID, FUNDING_WEI, EmbeddedChain
from ledger.chain.encoding import decode_header, encode_receipt
from ledger.chain.evm import Account, Interpreter, Machine, blank_header
from ledger.chain.store import Memory, Store
from ledger.transactions import decode_transaction
from node.scenario.loading import load
from node.simulate import run
from tests.rpc.interpreters import INTERPRETERS


@pytest.fixture(scope="module")
def traded() -> EmbeddedChain:
    """A chain on which a market was deployed, and one slot of a day lived from charges to settlement."""
    opened: list[EmbeddedChain] = []

    class Kept(EmbeddedChain):
        def __init__(self, **options: Any) -> None:
            options["funded"] = tuple(options["funded"])
            super().__init__(**options)
            self.funded = options["funded"]
            opened.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "EmbeddedChain", Kept)
        run.simulate(load("ieee33-day", {"slots.count": "1", "prosumers.count": "20"}))
    return opened[0]


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_executed_again(traded: Any, interpreter: Interpreter) -> None:
    """Receipts (status, gas, logs) and state roots are those of the chain, block by block."""
    store = Store(Memory())
    genesis = decode_header(traded.block(0).header_rlp)
    machine = Machine(store, CHAIN_ID, blank_header(None, 0, 0, 0), interpreter=interpreter)
    for address in traded.funded:
        machine.put(address, Account(balance_wei=FUNDING_WEI))
    assert machine.persist() == genesis.state_root
    executed = 0
    for number in range(1, traded.head() + 1):
        header = decode_header(traded.block(number).header_rlp)
        before = decode_header(traded.block(number - 1).header_rlp)
        ancestors = [traded.block(ancestor).hash for ancestor in range(number - 1, -1, -1)]
        machine = Machine(
            store, CHAIN_ID, replace(header, state_root=before.state_root), ancestors, interpreter=interpreter
        )
        receipts, gas_used = [], 0
        for raw in traded.block(number).transactions:
            signed = decode_transaction(raw)
            assert signed.sender is not None
            execution = machine.apply(signed.transaction, signed.sender)
            gas_used += execution.gas_used
            status = int(execution.error is None)
            receipts.append(encode_receipt(signed.transaction.type, status, gas_used, execution.logs))
            executed += status
        assert receipts == list(traded.raw_receipts(number)), number
        assert (gas_used, machine.persist()) == (header.gas_used, header.state_root), number
        with store.together():
            pass
    assert executed > 40
    assert sum(len(receipt.logs) for n in range(traded.head() + 1) for receipt in traded.receipts(n)) > 100
