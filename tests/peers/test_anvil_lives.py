"""Random lives of all markets, block by block the same on anvil: receipts, logs, gas, refusals, views.

The embedded chain goes first, with the contract's twin beside it. anvil then gets the very same signed
transactions at the same seconds, so that two implementations of the EVM must agree on each receipts root.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from ledger.chain.embedded import FUNDING_WEI, EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.protocol import Receipt
from ledger.chain.rpc import RpcChain
from ledger.exchange import Exchange
from tests.programs import find
from tests.twins.life import FIRST_SLOT_START
from tests.twins.lives import MARKETS, deployed, live
from tests.twins.pair import Pair

pytestmark = pytest.mark.needs("anvil")

LIVES = range(1_000_000, 1_000_004)
"""Of each market; numbers that no other test lives."""
TRANSACTIONS_MIN, FAILED_MIN = 2_000, 400
NUMBERS = {"timestamp": "timestamp", "gas_used": "gasUsed", "base_fee": "baseFeePerGas"}
ROOTS = {"transactions_root": "transactionsRoot", "receipts_root": "receiptsRoot", "logs_bloom": "logsBloom"}
"""What both headers say alike, by our name and anvil's."""

statuses = Counter[int]()


class Anvil:
    """A node's JSON-RPC, one question after the other over one connection."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, *params: Any) -> Any:
        """Answer to a question. Raises RuntimeError with what the node has against it."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = json.load(self._connection.getresponse())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """Let the connection go."""
        self._connection.close()

    def wait(self) -> None:
        """Until it answers."""
        for _ in range(200):
            try:
                self.ask("eth_chainId")
                return
            except OSError:
                self._connection.close()
                time.sleep(0.05)
        raise TimeoutError("anvil does not answer")


@contextmanager
def anvil(pair: Pair) -> Iterator[Anvil]:
    """A node at the beginning that the embedded chain had."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    genesis = pair.chain.block(0)
    options = {
        "--port": port,
        "--hardfork": "prague",
        "--timestamp": genesis.timestamp,
        "--gas-limit": genesis.gas_limit,
        "--block-base-fee-per-gas": pair.chain.block(1).base_fee,
    }
    words = [str(word) for option in options.items() for word in option]
    process = subprocess.Popen([str(find("anvil")), *words, "--no-mining", "--silent"])
    node = Anvil(port)
    try:
        node.wait()
        for person in pair.people:
            node.ask("anvil_setBalance", person, hex(FUNDING_WEI))
        yield node
    finally:
        node.close()
        process.terminate()
        process.wait()


def rebuild(chain: EmbeddedChain, node: Anvil) -> None:
    """Every block again, which has one transaction."""
    for number in range(1, chain.head() + 1):
        block = chain.block(number)
        (raw,) = block.transactions
        node.ask("eth_sendRawTransaction", "0x" + raw.hex())
        node.ask("evm_setNextBlockTimestamp", block.timestamp)
        node.ask("evm_mine")


def compare_block(chain: EmbeddedChain, node: Anvil, number: int) -> None:
    """Header and receipt of a block."""
    header, (ours,) = decode_header(chain.block(number).header_rlp), chain.receipts(number)
    block = node.ask("eth_getBlockByNumber", hex(number), False)
    theirs = node.ask("eth_getTransactionReceipt", "0x" + ours.transaction_hash.hex())
    assert substance_of(theirs) == substance(ours), ours
    seen = {ours_name: int(block[name], 16) for ours_name, name in NUMBERS.items()}
    seen |= {ours_name: bytes.fromhex(block[name][2:]) for ours_name, name in ROOTS.items()}
    assert seen == {name: getattr(header, name) for name in NUMBERS | ROOTS}, f"block {number}"
    statuses[ours.status] += 1


def substance(receipt: Receipt) -> tuple[Any, ...]:
    """Status, gas and logs as we have them."""
    logs = [
        (log.address.lower(), ["0x" + topic.hex() for topic in log.topics], "0x" + log.data.hex())
        for log in receipt.logs
    ]
    return receipt.status, receipt.gas_used, logs


def substance_of(answer: dict[str, Any]) -> tuple[Any, ...]:
    """The same as a node tells it."""
    logs = [(log["address"].lower(), log["topics"], log["data"]) for log in answer["logs"]]
    return int(answer["status"], 16), int(answer["gasUsed"], 16), logs


def compare_views(pair: Pair, node: Anvil) -> None:
    """What the contract shows in the end."""
    ours, theirs = pair.exchange, Exchange(RpcChain(node.url), pair.exchange.address)
    first = FIRST_SLOT_START // pair.terms.slot_seconds
    assert theirs.oracle_set() == ours.oracle_set()
    assert (theirs.arrears(), theirs.clearing(), theirs.backing()) == (
        ours.arrears(),
        ours.clearing(),
        ours.backing(),
    )
    for account in pair.twin.accounts:
        assert theirs.account_of(account.address) == ours.account_of(account.address)
    for slot in (first, first + 1):
        assert theirs.slot_of(slot) == ours.slot_of(slot)
        assert theirs.price_of(slot, 1) == ours.price_of(slot, 1)
        for account in pair.twin.accounts:
            asked = slot, account.address
            assert theirs.position_of(*asked) == ours.position_of(*asked)
            assert theirs.reading_of(*asked) == ours.reading_of(*asked)


@pytest.mark.parametrize("market", MARKETS)
def test_lives_are_the_same_on_anvil(market: str) -> None:
    pair = deployed(market)
    for number in LIVES:
        live(market, number, viewing=0)
        with anvil(pair) as node:
            rebuild(pair.chain, node)
            for block in range(1, pair.chain.head() + 1):
                compare_block(pair.chain, node, block)
            compare_views(pair, node)


def test_that_was_thousands_of_transactions_failed_ones_too() -> None:
    """Of the lives above, in the same file and so in the same process."""
    assert statuses[1] + statuses[0] >= TRANSACTIONS_MIN
    assert statuses[0] >= FAILED_MIN
