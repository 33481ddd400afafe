"""Other chains that a market's blocks can be built on again: anvil and hardhat as processes, eth-tester.

What is timed is one client's work from signed transactions to their receipts. Nodes get them over HTTP, a
hundred requests a batch; eth-tester takes calls of Python, as our own chain does.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from ledger.chain.embedded import FUNDING_WEI, EmbeddedChain
from market.orders import Address
from node.bench.peers import ENDING_SECONDS, WORDS, kill
from node.bench.row import WrongWork
from node.bench.timing import now_seconds

REQUESTS_A_BATCH = 100
BLOCKS_MAX = 50
POLL_SECONDS = 0.1
CALL_SECONDS = 20.0
"""What a node gets for an answer."""
RUN_SECONDS = 60.0
"""What a node gets to start, to build the market's blocks, and for each run."""
ETH_TESTER_CHAIN_ID = 131_277_322_940_537
"""The one that eth-tester always has."""
_HARDHAT_CONFIG = """module.exports = {{ networks: {{ hardhat: {{
  chainId: {chain_id}, hardfork: "prague", blockGasLimit: {gas_limit}, initialBaseFeePerGas: {base_fee},
  initialDate: new Date({timestamp} * 1000).toISOString(), loggingEnabled: false,
  mining: {{ auto: false, interval: 0, mempool: {{ order: "fifo" }} }},
}} }} }};
"""


class Rebuilt(Protocol):
    """A chain with the market's blocks, which can go back to its end."""

    def reopen(self) -> None:
        """Forget what came after the market's blocks."""

    def execute(self, transactions: Sequence[bytes]) -> None:
        """Send them, and mine until all have receipts."""


class Node:
    """A node's process over HTTP, with anvil's or hardhat's methods.

    One that fails or takes too long is asked nothing more: `ended` says how, and its runs do nothing then.
    """

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._process = process
        self._snapshot = ""
        self._begun = now_seconds()
        self.ended: str | None = None

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """What is asked inside gets a run's time; notes how the node ended where it does not get through."""
        self._begun = now_seconds()
        try:
            yield
        except (OSError, HTTPException, WrongWork) as failure:
            self.ended = self._how_it_ended(failure)
            self.close()

    def _how_it_ended(self, failure: Exception) -> str:
        """In words, by what asking it came to."""
        after = f"after {now_seconds() - self._begun:.3g} s"
        if isinstance(failure, WrongWork):
            return f"{failure}, {after}"
        if isinstance(failure, TimeoutError):
            return f"given up {after}"
        with suppress(subprocess.TimeoutExpired):
            return f"ended with status {self._process.wait(ENDING_SECONDS)}, {after}"
        return f"broke the connection, {after}"

    def ask(self, *questions: tuple[str, Sequence[Any]]) -> list[Any]:
        """Answers to questions, asked in batches.

        Raises WrongWork with the first one's error, and OSError or HTTPException where none come.
        """
        answers: list[Any] = []
        for first in range(0, len(questions), REQUESTS_A_BATCH):
            answers += self._batch(questions[first : first + REQUESTS_A_BATCH])
        return answers

    def _batch(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        requests = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(questions)
        ]
        self._set_patience()
        self._connection.request("POST", "/", json.dumps(requests), {"Content-Type": "application/json"})
        return _results(self._connection.getresponse().read(), [method for method, _ in questions])

    def _set_patience(self) -> None:
        """For the next answer. Raises TimeoutError where the run's time is over."""
        left = RUN_SECONDS - (now_seconds() - self._begun)
        if left <= 0:
            raise TimeoutError
        self._connection.timeout = min(CALL_SECONDS, left)
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._connection.timeout)

    def start(self, chain: EmbeddedChain, funded: Address) -> None:
        """Wait until it answers, and build the chain's blocks."""
        with self._bounded():
            self._wait()
        if self.ended is None:
            with self._bounded():
                self._build(chain, funded)

    def _wait(self) -> None:
        """Until it answers. Raises ConnectionError where it ended before."""
        while True:
            try:
                self.ask(("eth_chainId", []))
                return
            except ConnectionError:
                if self._process.poll() is not None:
                    raise
                self.close()
                time.sleep(POLL_SECONDS)

    def _build(self, chain: EmbeddedChain, funded: Address) -> None:
        """Build the chain's blocks from the same transactions at the same seconds."""
        self.ask(("hardhat_setBalance", [funded, hex(FUNDING_WEI)]))
        for number in range(1, chain.head() + 1):
            block = chain.block(number)
            self.ask(*(("eth_sendRawTransaction", ["0x" + raw.hex()]) for raw in block.transactions))
            self.ask(("evm_setNextBlockTimestamp", [block.timestamp]))
            self.ask(("evm_mine", []))
        (self._snapshot,) = self.ask(("evm_snapshot", []))

    def reopen(self) -> None:
        """Forget what came after the market's blocks."""
        if self.ended is None:
            self.close()  # nodes end connections that were idle while others had their turn
            with self._bounded():
                self.ask(("evm_revert", [self._snapshot]))
                (self._snapshot,) = self.ask(("evm_snapshot", []))

    def execute(self, transactions: Sequence[bytes]) -> None:
        """Send them, and mine until all have receipts; it has ended where one failed."""
        if self.ended is None:
            with self._bounded():
                self._execute(transactions)

    def _execute(self, transactions: Sequence[bytes]) -> None:
        sent = self.ask(*(("eth_sendRawTransaction", ["0x" + raw.hex()]) for raw in transactions))
        for _ in range(BLOCKS_MAX):
            self.ask(("evm_mine", []))
            if self.ask(("eth_getTransactionReceipt", [sent[-1]]))[0]:
                break
        receipts = self.ask(*(("eth_getTransactionReceipt", [each]) for each in sent))
        _check([isinstance(receipt, dict) and receipt.get("status") == "0x1" for receipt in receipts])

    def close(self) -> None:
        """Let the connection go; the next question opens another."""
        self._connection.close()


class Tester:
    """eth-tester over py-evm, a block for each transaction: it takes none that follows a waiting one."""

    def __init__(self, chain: EmbeddedChain, funded: Address) -> None:
        from eth_tester import EthereumTester, PyEVMBackend  # noqa: PLC0415 - not always installed

        _follow_parents()
        genesis = chain.block(0)
        parameters = PyEVMBackend.generate_genesis_params(
            {"timestamp": genesis.timestamp, "gas_limit": genesis.gas_limit}
        )
        account = {"balance": FUNDING_WEI, "nonce": 0, "code": b"", "storage": {}}
        backend = PyEVMBackend(parameters, {bytes.fromhex(funded[2:]): account})
        self._tester = EthereumTester(backend)
        for number in range(1, chain.head() + 1):
            block = chain.block(number)
            pending = backend.chain.header
            backend.chain.header = pending.copy(timestamp=max(pending.timestamp, block.timestamp))
            self.execute(block.transactions)
        self._tester.mine_block()
        self._snapshot = self._tester.take_snapshot()

    def reopen(self) -> None:
        """Forget what came after the market's blocks."""
        self._tester.revert_to_snapshot(self._snapshot)
        self._snapshot = self._tester.take_snapshot()

    def execute(self, transactions: Sequence[bytes]) -> None:
        """Send them. Raises WrongWork where one failed."""
        sent = [self._tester.send_raw_transaction("0x" + raw.hex()) for raw in transactions]
        _check([self._tester.get_transaction_receipt(each)["status"] == 1 for each in sent])


def _follow_parents() -> None:
    """Let py-evm's own chains go on by a second a block, and not with this machine's clock."""
    from eth.vm.forks.london import headers  # noqa: PLC0415 - only for eth-tester

    headers.new_timestamp_from_parent = lambda parent: parent.timestamp + 1


def _results(said: bytes, methods: Sequence[str]) -> list[Any]:
    """Results by what was asked. Raises WrongWork with the first error, and where it is no answer."""
    try:
        found = {answer["id"]: answer for answer in json.loads(said)}
        for number, method in enumerate(methods):
            if "error" in found[number]:
                raise WrongWork(f"{method}: {found[number]['error'].get('message')}")
        return [found[number]["result"] for number in range(len(methods))]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise WrongWork(f"said {said[:WORDS].decode('utf-8', 'replace')!r}, which is no answer") from None


def _check(done: Sequence[bool]) -> None:
    """Raises WrongWork where a transaction was not."""
    if not all(done):
        raise WrongWork(f"{done.count(False)} of {len(done)} transactions failed")


@contextmanager
def node(name: str, chain: EmbeddedChain, funded: Address) -> Iterator[Node | str | None]:
    """anvil or hardhat with the market's blocks; how it ended before, or None where it is not installed."""
    program = shutil.which(name)
    if program is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        words = _anvil_words(chain) if name == "anvil" else _hardhat_words(chain, Path(folder))
        try:
            process = subprocess.Popen(
                [program, *words, "--port", str(port)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder if name == "anvil" else Path(program).resolve().parents[1],
                start_new_session=True,
            )
        except OSError as error:
            yield f"cannot be started: {error.strerror}"
            return
        other = Node(port, process)
        try:
            other.start(chain, funded)
            yield other if other.ended is None else other.ended
        finally:
            other.close()
            kill(process)
            process.wait()


def _anvil_words(chain: EmbeddedChain) -> list[str]:
    genesis, base_fee = chain.block(0), chain.block(1).base_fee
    options = ["--timestamp", genesis.timestamp, "--gas-limit", genesis.gas_limit]
    options += ["--block-base-fee-per-gas", base_fee, "--hardfork", "prague", "--order", "fifo"]
    return [*(str(option) for option in options), "--no-mining", "--silent"]


def _hardhat_words(chain: EmbeddedChain, folder: Path) -> list[str]:
    genesis = chain.block(0)
    config = folder / "hardhat.config.js"
    config.write_text(
        _HARDHAT_CONFIG.format(
            chain_id=chain.chain_id,
            gas_limit=genesis.gas_limit,
            base_fee=chain.block(1).base_fee,
            timestamp=genesis.timestamp,
        )
    )
    return ["--config", str(config), "node"]
