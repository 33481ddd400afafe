"""A chain's blocks built again elsewhere, from the very same signed transactions at the same seconds.

On py-evm's own interpreter every header has to come out the same, state root included. anvil keeps other
accounts, and so has other state roots: there each receipts root, receipt and view is compared.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

from ledger.chain.embedded import FUNDING_WEI, EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.protocol import Receipt
from ledger.exchange import Exchange
from market.orders import Address
from node.rpc.views import raw_block
from tests.programs import find

NUMBERS = {
    "timestamp": "timestamp",
    "gas_used": "gasUsed",
    "gas_limit": "gasLimit",
    "base_fee": "baseFeePerGas",
}
ROOTS = {"transactions_root": "transactionsRoot", "receipts_root": "receiptsRoot", "logs_bloom": "logsBloom"}
"""What both headers say alike, by our name and anvil's."""


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
def anvil(*words: Any, fork: str = "prague") -> Iterator[Anvil]:
    """A node of its own with these options."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", port, "--hardfork", fork, "--silent", *words]
    process = subprocess.Popen([str(find("anvil")), *(str(word) for word in options)])
    node = Anvil(port)
    try:
        node.wait()
        yield node
    finally:
        node.close()
        process.terminate()
        process.wait()


@contextmanager
def on_anvil(chain: EmbeddedChain, funded: Iterable[Address]) -> Iterator[Anvil]:
    """anvil, after every block of the chain was built there again."""
    genesis = chain.block(0)
    beginning = ["--timestamp", genesis.timestamp, "--gas-limit", genesis.gas_limit]
    beginning += ["--block-base-fee-per-gas", chain.block(1).base_fee]
    with anvil(*beginning, "--no-mining", "--order", "fifo") as node:
        for address in funded:
            node.ask("anvil_setBalance", address, hex(FUNDING_WEI))
        for number in range(1, chain.head() + 1):
            block = chain.block(number)
            for raw in block.transactions:
                node.ask("eth_sendRawTransaction", "0x" + raw.hex())
            node.ask("evm_setNextBlockTimestamp", block.timestamp)
            node.ask("evm_mine")
        yield node


def compare_on_stock(chain: EmbeddedChain, funded: Iterable[Address]) -> None:
    """Import every block by py-evm's own interpreter, which refuses one that says anything else."""
    begin = chain.block(0).timestamp
    stock = EmbeddedChain(genesis_timestamp=begin, funded=tuple(funded), interpreter="stock")
    assert stock.block(0) == chain.block(0)
    for number in range(1, chain.head() + 1):
        assert stock.import_block(raw_block(chain.block(number))) == chain.block(number)
        assert stock.raw_receipts(number) == chain.raw_receipts(number)


def compare_blocks(chain: EmbeddedChain, node: Anvil) -> None:
    """Header and receipts of every block; one by one, so that a difference has a name."""
    for number in range(1, chain.head() + 1):
        header = decode_header(chain.block(number).header_rlp)
        for ours in chain.receipts(number):
            theirs = node.ask("eth_getTransactionReceipt", "0x" + ours.transaction_hash.hex())
            assert substance_of(theirs) == substance(ours), ours
        block = node.ask("eth_getBlockByNumber", hex(number), False)
        seen: dict[str, int | bytes] = {name: int(block[theirs], 16) for name, theirs in NUMBERS.items()}
        seen |= {name: bytes.fromhex(block[theirs][2:]) for name, theirs in ROOTS.items()}
        assert seen == {name: getattr(header, name) for name in NUMBERS | ROOTS}, f"block {number}"


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


def compare_views(
    ours: Exchange, theirs: Exchange, slots: Sequence[int], accounts: Sequence[Address]
) -> None:
    """What the contract shows in the end."""
    assert theirs.oracle_set() == ours.oracle_set()
    assert (theirs.uncovered(), theirs.backing()) == (ours.uncovered(), ours.backing())
    for account in accounts:
        assert theirs.account_of(account) == ours.account_of(account)
    for slot in slots:
        assert theirs.slot_of(slot) == ours.slot_of(slot)
        assert theirs.price_of(slot, 1) == ours.price_of(slot, 1)
        for account in accounts:
            assert theirs.position_of(slot, account) == ours.position_of(slot, account)
            assert theirs.reading_of(slot, account) == ours.reading_of(slot, account)
