"""Thousands of random transactions, block by block the same on anvil: receipts, logs and gas, refusals too.

The embedded chain goes first. Its blocks are then rebuilt by anvil from the very same signed transactions
at the same seconds, so that two implementations of the EVM must agree on each header's receipts root.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from ledger import calls, sending
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.protocol import Receipt
from ledger.chain.rpc import RpcChain
from ledger.eip712 import digest
from ledger.exchange import Exchange
from ledger.keys import derive
from ledger.transactions import Transaction, sign_transaction
from market.messages import CancelRequest
from market.orders import Flag, Order, OrderPlaced, OrderRejected, OrdersFilled, Side
from node.bench.open_slot import SLOT, TERMS, OpenSlot
from tests.programs import find

pytestmark = pytest.mark.needs("anvil")

TRADERS, ROUNDS, PER_BLOCK = 60, 120, 20
TRANSACTIONS_MIN = 2_000
WEI = 10**24
NUMBERS = {
    "number": "number",
    "timestamp": "timestamp",
    "gas_limit": "gasLimit",
    "gas_used": "gasUsed",
    "base_fee": "baseFeePerGas",
}
ROOTS = {"transactions_root": "transactionsRoot", "receipts_root": "receiptsRoot", "logs_bloom": "logsBloom"}
"""What both headers say alike, by our name and theirs."""
ASKED_AT_ONCE = 40


# --- the session --------------------------------------------------------------------------------


class Flow:
    """Random calls on an open slot, drawn so that each kind succeeds often and fails at times."""

    def __init__(self, market: OpenSlot) -> None:
        self.market = market
        self.rng = np.random.default_rng(7)
        self.orders: list[Order] = []
        self.nonces = Counter[int]()

    def order(self) -> Order:
        """A good order mostly; else one that is dust, off the range, expired, replayed, or too large."""
        rng, market = self.rng, self.market
        trader = int(rng.integers(TRADERS))
        side = Side(int(rng.integers(2)))
        price = 115_000 + 500 * int(rng.integers(-12, 13))
        order = market.order(trader, self.nonces[trader] % 256, side, price, 100 * int(rng.integers(1, 30)))
        self.nonces[trader] += 1
        match int(rng.integers(24)):
            case 0:
                return replace(order, quantity_wh=order.quantity_wh + 1)
            case 1:
                return replace(order, limit_ueur_per_kwh=5_000_000)
            case 2:
                return replace(order, expiry=1)
            case 3:
                return replace(order, quantity_wh=40_000_000)
            case 4:
                return replace(order, energy_class=1)
            case 5 if self.orders:
                return self.orders[int(rng.integers(len(self.orders)))]
            case 6:
                return replace(order, flags=Flag.IMMEDIATE_OR_CANCEL)
            case _:
                return order

    def act(self) -> None:
        """Send one transaction, or several that belong together."""
        market, exchange = self.market, self.market.exchange
        match int(self.rng.integers(12)):
            case 0:
                signed = [market.sign(self.kept()) for _ in range(8)]
                exchange.place_orders(signed, sender=market.relayer)
            case 1 | 2 if self.orders:
                self.cancel()
            case 3:
                exchange.deposit(
                    self.somebody().address, int(self.rng.integers(10**9)), sender=market.relayer
                )
            case 4:
                exchange.withdraw(int(self.rng.integers(10**9)), sender=market.relayer)
            case 5:
                self.run_out_of_gas()
            case 6:
                order = self.kept()
                forged = market.sign(replace(order, quantity_wh=order.quantity_wh + 100)).signature
                exchange.place_order(order, forged, sender=market.relayer)
            case _:
                order = self.kept()
                exchange.place_order(order, market.sign(order).signature, sender=market.relayer)

    def kept(self) -> Order:
        self.orders.append(self.order())
        return self.orders[-1]

    def somebody(self) -> Any:
        """A trader, or one who is not registered."""
        who = int(self.rng.integers(TRADERS + 6))
        return self.market.traders[who] if who < TRADERS else derive(1, "stranger", who)

    def cancel(self) -> None:
        """Where the order rests, or rested, or never did; mostly signed by its trader."""
        market, exchange = self.market, self.market.exchange
        order = self.orders[int(self.rng.integers(len(self.orders)))]
        request = CancelRequest(order.trader, order.slot, order.nonce)
        owner = next(key for key in market.traders if key.address == order.trader)
        key = owner if self.rng.random() < 0.9 else market.relayer
        exchange.cancel_order(request, key.sign(digest(exchange.domain, request)), sender=market.relayer)

    def run_out_of_gas(self) -> None:
        """Enough to begin with, and not to end."""
        market, chain, order = self.market, self.market.chain, self.kept()
        call = calls.PlaceOrder(order, market.sign(order).signature)
        transaction = Transaction(
            chain_id=chain.chain_id,
            nonce=chain.nonce(market.relayer.address),
            to=market.exchange.address,
            data=calls.encode(call),
            gas=int(self.rng.integers(30_000, 60_000)),
            max_fee_per_gas=10**13,
            max_priority_fee_per_gas=sending.PRIORITY_FEE_WEI,
        )
        chain.send(sign_transaction(market.relayer, transaction))


@pytest.fixture(scope="module")
def market() -> OpenSlot:
    """A market after a long session, from deployment to settlement."""
    market = OpenSlot.create(TRADERS)
    flow = Flow(market)
    for _ in range(ROUNDS):
        for _ in range(PER_BLOCK):
            flow.act()
        market.chain.mine()
    market.settle()
    exchange, relayer = market.exchange, market.relayer
    everybody = [trader.address for trader in market.traders]
    exchange.settle_all(SLOT, everybody, sender=relayer)  # none is left
    exchange.resettle(SLOT, everybody[:10], sender=relayer)  # nor was one estimated
    exchange.close_gate(SLOT, 10, sender=relayer)  # reverts
    market.chain.mine()
    return market


def receipts_of(chain: EmbeddedChain) -> list[Receipt]:
    return [receipt for number in range(1, chain.head() + 1) for receipt in chain.receipts(number)]


def test_session_is_as_varied_as_it_is_meant_to_be(market: OpenSlot) -> None:
    receipts = receipts_of(market.chain)
    assert len(receipts) >= TRANSACTIONS_MIN
    assert 300 <= sum(receipt.status == 0 for receipt in receipts) <= len(receipts) // 2
    events = market.events(*receipts)
    kinds = Counter(type(event) for event in events)
    assert kinds[OrderPlaced] >= 1_000 and kinds[OrdersFilled] >= 500
    assert len({event.code for event in events if isinstance(event, OrderRejected)}) >= 5
    assert TERMS.end(SLOT) <= market.chain.block().timestamp


# --- the same on anvil --------------------------------------------------------------------------


class Anvil:
    """A node's JSON-RPC, many questions at a time."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, questions: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        if not questions:
            return []
        body = [
            {"jsonrpc": "2.0", "id": i, "method": method, "params": params}
            for i, (method, params) in enumerate(questions)
        ]
        request = Request(self.url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as response:
            answers = {answer["id"]: answer for answer in json.load(response)}
        return [answers[i]["result"] for i in range(len(questions))]


@pytest.fixture(scope="module")
def anvil(market: OpenSlot) -> Iterator[Anvil]:
    """anvil, after every block of the session was built there again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    genesis = market.chain.block(0)
    options = {
        "--port": port,
        "--hardfork": "prague",
        "--timestamp": genesis.timestamp,
        "--gas-limit": genesis.gas_limit,
        "--block-base-fee-per-gas": market.chain.block(1).base_fee,
    }
    words = [str(word) for option in options.items() for word in option]
    process = subprocess.Popen([str(find("anvil")), *words, "--no-mining", "--order", "fifo", "--silent"])
    node = Anvil(port)
    try:
        for _ in range(100):
            try:
                node.ask([("anvil_setBalance", [market.relayer.address, hex(WEI)])])
                break
            except OSError:
                time.sleep(0.1)
        for number in range(1, market.chain.head() + 1):
            block = market.chain.block(number)
            sent = [("eth_sendRawTransaction", ["0x" + raw.hex()]) for raw in block.transactions]
            node.ask(sent)  # questions asked together are answered in any order
            node.ask([("evm_setNextBlockTimestamp", [block.timestamp])])
            node.ask([("evm_mine", [])])
        yield node
    finally:
        process.terminate()
        process.wait()


def test_every_block_has_the_same_receipts(market: OpenSlot, anvil: Anvil) -> None:
    """The receipts root covers status, cumulative gas, bloom and logs of every transaction."""
    for numbers in parts(range(1, market.chain.head() + 1)):
        theirs = anvil.ask([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        for number, their in zip(numbers, theirs, strict=True):
            ours = decode_header(market.chain.block(number).header_rlp)
            assert seen(their) == {name: getattr(ours, name) for name in NUMBERS | ROOTS}, f"block {number}"


def test_every_receipt_is_the_same(market: OpenSlot, anvil: Anvil) -> None:
    """One by one, so that a difference has a name."""
    for receipts in parts(receipts_of(market.chain)):
        questions = [("eth_getTransactionReceipt", ["0x" + each.transaction_hash.hex()]) for each in receipts]
        for ours, theirs in zip(receipts, anvil.ask(questions), strict=True):
            found = (int(theirs["status"], 16), int(theirs["gasUsed"], 16))
            assert found == (ours.status, ours.gas_used), ours
            logs = [(log["address"], log["topics"], log["data"]) for log in theirs["logs"]]
            assert logs == [
                (log.address.lower(), ["0x" + topic.hex() for topic in log.topics], "0x" + log.data.hex())
                for log in ours.logs
            ]


def test_views_answer_the_same_at_the_end(market: OpenSlot, anvil: Anvil) -> None:
    ours, theirs = market.exchange, Exchange(RpcChain(anvil.url), market.exchange.address)
    assert theirs.slot_of(SLOT) == ours.slot_of(SLOT)
    for trader in market.traders:
        assert theirs.account_of(trader.address) == ours.account_of(trader.address)
        assert theirs.position_of(SLOT, trader.address) == ours.position_of(SLOT, trader.address)


def seen(answer: dict[str, Any]) -> dict[str, int | bytes]:
    """A block as a node tells it, in our header's terms."""
    numbers = {ours: int(answer[theirs], 16) for ours, theirs in NUMBERS.items()}
    return numbers | {ours: bytes.fromhex(answer[theirs][2:]) for ours, theirs in ROOTS.items()}


def parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """So many as are asked at once."""
    return (items[first : first + ASKED_AT_ONCE] for first in range(0, len(items), ASKED_AT_ONCE))
