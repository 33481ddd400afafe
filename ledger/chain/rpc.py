"""The same chain behind JSON-RPC: anvil, Besu, Geth, an L2, or Wattbook's own testnet.

A node is not believed: blocks and receipts are encoded again from what it answers, and must hash to
what it says. Time is moved by anvil's methods where the node has them; public networks are waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger.chain.answers import (
    NodeError,
    header_of,
    hexadecimal,
    in_short,
    integer,
    log_of,
    octets,
    plain,
    raw_transaction,
    receipt_of,
    tag,
    unreachable,
    unsealed,
)
from ledger.chain.encoding import make_block, ordered_root, raw_receipt
from ledger.chain.protocol import (
    TRANSACTION_GAS_MAX,
    Block,
    ChainUnavailable,
    Halted,
    Log,
    LogFilter,
    Receipt,
    Reverted,
    TransactionRefused,
)
from ledger.chain.reverts import reverted
from ledger.chain.transport import HttpTransport
from ledger.keccak import keccak
from ledger.transactions import ACCESS_LIST, FEE_MARKET, LEGACY

REVERTED = 3
LOG_BLOCKS = 5_000
"""Blocks in one question for logs; public nodes answer no more than this, often."""

_FIRST_PAUSE_MS = 15
_LONGEST_PAUSE_MS = 1_000
_PATIENCE_MS = 120_000
_OUTAGE_MS = 60_000
_STUCK_MS = 45_000
_HALTED = "EVM error "
"""What anvil says before the machine's rule."""
_NEVER_TWICE = {"evm_mine"}
"""Not asked again after a lost connection: the first question may have been heard."""

Replacement = Callable[[int], bytes]
"""From the newest base fee to raw bytes that take the place of a waiting transaction."""


def sleep_ms(milliseconds: int) -> None:
    """Wait, by the clock of the machine."""
    time.sleep(milliseconds / 1_000)


class RpcChain:
    """`Chain` and `Clock` over a node's JSON-RPC by HTTP.

    `patience_ms` is how long `receipt` waits for a block, `stuck_ms` how long before it has the transaction
    replaced (`on_stuck`), `outage_ms` how long a node that answered once may be gone, `pause_ms` how
    anything waits, `transaction_gas_max` the most gas that the network lets a transaction ask for. Raises
    ChainUnavailable where the node does not answer, or answers what does not hash.
    """

    def __init__(
        self,
        url: str,
        *,
        patience_ms: int = _PATIENCE_MS,
        stuck_ms: int = _STUCK_MS,
        outage_ms: int = _OUTAGE_MS,
        pause_ms: Callable[[int], None] = sleep_ms,
        transaction_gas_max: int = TRANSACTION_GAS_MAX,
    ) -> None:
        self.url = url
        self.transaction_gas_max = transaction_gas_max
        self._transport = HttpTransport(url)
        self._patience_ms = patience_ms
        self._stuck_ms = stuck_ms
        self._pause_ms = pause_ms
        self._sent: set[bytes] = set()
        self._replacements: dict[bytes, Replacement] = {}
        self._time_moved = False
        self._outage_ms = 0  # a URL where nobody answers is refused at once
        self._chain_id = integer(self._ask("eth_chainId"))
        self._outage_ms = outage_ms

    # --- Clock ----------------------------------------------------------------------------------

    def now(self) -> int:
        """Unix second that the next block will carry at least."""
        least = integer(self._ask("eth_getBlockByNumber", "latest", False)["timestamp"]) + 1
        try:
            pending = self._ask("eth_getBlockByNumber", "pending", False)
        except NodeError:
            return least
        return max(least, integer(pending["timestamp"])) if pending else least

    def advance_to(self, timestamp: int) -> None:
        """Return once the next block's timestamp is at least `timestamp`, waiting where it must."""
        while (now := self.now()) < timestamp:
            try:
                self._ask("evm_setNextBlockTimestamp", timestamp)
            except NodeError as failure:
                if not failure.unsupported:
                    raise
                self._pause_ms(min(1_000 * (timestamp - now), _LONGEST_PAUSE_MS))
            else:
                self._time_moved = True
                return

    # --- transactions ---------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """Chain id that transactions and signatures name."""
        return self._chain_id

    def send(self, raw: bytes) -> bytes:
        """Hand over a signed transaction; returns its hash. Raises TransactionRefused.

        One that the node has already is handed over: the answer to an earlier try may have been lost.
        """
        transaction_hash = keccak(raw)
        try:
            self._ask("eth_sendRawTransaction", hexadecimal(raw))
        except NodeError as refusal:
            if self._ask("eth_getTransactionByHash", hexadecimal(transaction_hash)) is None:
                raise TransactionRefused(refusal.reason) from None
        self._sent.add(transaction_hash)
        return transaction_hash

    def on_stuck(self, transaction_hash: bytes, replacement: Replacement) -> None:
        """Let `receipt` have a transaction replaced that stays out of blocks."""
        self._replacements[transaction_hash] = replacement

    def receipt(self, transaction_hash: bytes) -> Receipt:
        """Receipt of a transaction or of what took its place, waiting until one of them is in a block.

        Raises ChainUnavailable on time-out.
        """
        family, waited_ms, pause_ms, stuck_at_ms = [transaction_hash], 0, _FIRST_PAUSE_MS, self._stuck_ms
        while True:
            for each in family:
                answer = self._ask("eth_getTransactionReceipt", hexadecimal(each))
                if answer and answer.get("blockNumber"):
                    self._replacements.pop(transaction_hash, None)
                    self._sent.difference_update(family)
                    return receipt_of(answer)
            if waited_ms >= self._patience_ms:
                raise ChainUnavailable(f"{hexadecimal(transaction_hash)} is in no block after {waited_ms} ms")
            if waited_ms >= stuck_at_ms and transaction_hash in self._replacements:
                family += self._replaced(transaction_hash)
                stuck_at_ms += self._stuck_ms
            self._pause_ms(pause_ms)
            waited_ms += pause_ms
            pause_ms = min(2 * pause_ms, _LONGEST_PAUSE_MS)

    def _replaced(self, transaction_hash: bytes) -> list[bytes]:
        """What takes the place of a waiting transaction; nothing where the node would not have it."""
        base_fee = integer(self._ask("eth_getBlockByNumber", "latest", False).get("baseFeePerGas", "0x0"))
        try:
            return [self.send(self._replacements[transaction_hash](base_fee))]
        except TransactionRefused:  # the first one got into a block meanwhile, or the sender has no more
            return []

    def mine(self) -> int:
        """Put into a block what was sent from here and waits, where the node has anvil's methods.

        Where nothing waits and time was not moved, no block is asked for. Returns the head's number.
        """
        self._sent = {
            sent for sent in self._sent if not self._ask("eth_getTransactionReceipt", hexadecimal(sent))
        }
        if self._sent or self._time_moved:
            try:
                self._ask("evm_mine")
            except NodeError as failure:
                if not failure.unsupported:
                    raise
            self._time_moved = False
        return self.head()

    # --- blocks ---------------------------------------------------------------------------------

    def head(self) -> int:
        """Number of the newest block."""
        return integer(self._ask("eth_blockNumber"))

    def block(self, number: int | None = None) -> Block:
        """Block by number, the head without one. Raises KeyError where there is none."""
        answer = self._ask("eth_getBlockByNumber", "latest" if number is None else hex(number), True)
        if answer is None:
            raise KeyError(f"no block {number}")
        header = header_of(answer)
        claimed = octets(answer["hash"])
        if keccak(header.encode()) != claimed:
            header = unsealed(header)
        transactions = [self._raw_transaction(transaction) for transaction in answer["transactions"]]
        block = make_block(header.encode(), transactions)
        if block.hash != claimed:
            raise ChainUnavailable(
                f"block {block.number}: its header hashes to {hexadecimal(block.hash)},"
                f" not to {hexadecimal(claimed)}"
            )
        # hardhat's first block, which has none, says another root than that of no transactions
        if (block.number or transactions) and ordered_root(transactions) != header.transactions_root:
            raise ChainUnavailable(f"block {block.number}: the transactions are not those of its header")
        return block

    def receipts(self, number: int) -> Sequence[Receipt]:
        """All receipts of a block. Raises KeyError where there is none."""
        answer = self._ask("eth_getBlockByNumber", hex(number), False)
        if answer is None:
            raise KeyError(f"no block {number}")
        receipts = [receipt_of(each) for each in self._block_receipts(number, answer["transactions"])]
        if ordered_root([raw_receipt(receipt) for receipt in receipts]) != octets(answer["receiptsRoot"]):
            raise ChainUnavailable(f"block {number}: the receipts are not those of its header")
        return tuple(receipts)

    def logs(self, which: LogFilter) -> Sequence[Log]:
        """Logs in chain order, asked for in parts: nodes limit how many blocks one question may span."""
        last = self.head() if which.to_block is None else which.to_block
        question: dict[str, Any] = {
            "topics": [
                None if topic is None else [hexadecimal(value) for value in topic] for topic in which.topics
            ],
        }
        if which.addresses:
            question["address"] = list(which.addresses)
        found: list[Log] = []
        for first in range(which.from_block, last + 1, LOG_BLOCKS):
            part = {"fromBlock": hex(first), "toBlock": hex(min(first + LOG_BLOCKS - 1, last))}
            found += (log_of(answer) for answer in self._ask("eth_getLogs", question | part))
        return found

    # --- state ----------------------------------------------------------------------------------

    def call(
        self,
        to: str | None,
        data: bytes,
        *,
        sender: str | None = None,
        block: int | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> bytes:
        """Execute without a transaction. Raises Reverted with the reason."""
        question = {"data": hexadecimal(data)}
        question |= {} if to is None else {"to": to}
        question |= {} if sender is None else {"from": sender}
        question |= {"value": hex(value)} if value else {}
        question |= {} if gas is None else {"gas": hex(gas)}
        return octets(self._execute("eth_call", question, tag(block)))

    def estimate_gas(self, to: str | None, data: bytes, *, sender: str, value: int = 0) -> int:
        """Gas a transaction would need. Raises Reverted."""
        question = {"from": sender, "data": hexadecimal(data), "value": hex(value)}
        return integer(self._execute("eth_estimateGas", question | ({} if to is None else {"to": to})))

    def code(self, address: str) -> bytes:
        """Code at an address, empty for none."""
        return octets(self._ask("eth_getCode", address, "latest"))

    def nonce(self, address: str) -> int:
        """Next transaction nonce, waiting ones counted."""
        return integer(self._ask("eth_getTransactionCount", address, "pending"))

    def balance(self, address: str) -> int:
        """Native coin, wei."""
        return integer(self._ask("eth_getBalance", address, "latest"))

    # --- asking the node ------------------------------------------------------------------------

    def _ask(self, method: str, *params: Any) -> Any:
        """The node's answer. Raises NodeError, and ChainUnavailable where there is none."""
        response = self._response(method, params)
        if isinstance(error := response.get("error"), Mapping):
            raise NodeError(method, error)
        if "result" not in response:
            raise ChainUnavailable(f"{self.url}: {method}: no result, no error")
        return response["result"]

    def _response(self, method: str, params: Sequence[Any]) -> Mapping[str, Any]:
        """What the node answers, asked again with growing pauses while it cannot be reached."""
        waited_ms, pause_ms = 0, _FIRST_PAUSE_MS
        while True:
            try:
                response = self._transport.ask(method, params)
            except Exception as failure:  # requests, decoding: all mean that there is no answer
                again = unreachable(failure) and method not in _NEVER_TWICE
                if not again or waited_ms >= self._outage_ms:
                    raise ChainUnavailable(f"{self.url} does not answer: {in_short(failure)}") from failure
            else:
                return response
            self._pause_ms(pause_ms)
            waited_ms += pause_ms
            pause_ms = min(2 * pause_ms, _LONGEST_PAUSE_MS)

    def _execute(self, method: str, *params: Any) -> Any:
        try:
            return self._ask(method, *params)
        except NodeError as failure:
            if failure.data:
                raise reverted(failure.data) from None
            if failure.code == REVERTED or "revert" in failure.reason.lower():
                raise Reverted(plain(failure.reason)) from None
            if (rule := failure.reason.removeprefix(_HALTED)) != failure.reason:
                raise Halted(rule) from None
            if "gas" in failure.reason.lower() or "insufficient funds" in failure.reason.lower():
                raise Reverted(failure.reason) from None
            raise

    def _raw_transaction(self, answer: Mapping[str, Any]) -> bytes:
        """Raw bytes of a transaction, encoded from its fields or as the node gives them, by their hash."""
        claimed = octets(answer["hash"])
        if integer(answer.get("type", "0x0")) in (LEGACY, ACCESS_LIST, FEE_MARKET):
            raw = raw_transaction(answer)
            if keccak(raw) == claimed:
                return raw
        for method in ("eth_getRawTransactionByHash", "debug_getRawTransaction"):
            try:
                raw = octets(self._ask(method, hexadecimal(claimed)))
            except NodeError:
                continue
            if keccak(raw) == claimed:
                return raw
        raise ChainUnavailable(f"transaction {hexadecimal(claimed)}: no bytes that hash to it")

    def _block_receipts(self, number: int, transaction_hashes: Sequence[str]) -> Sequence[Any]:
        try:
            answers = self._ask("eth_getBlockReceipts", hex(number))
        except NodeError:
            answers = None
        if answers is None:
            answers = [self._ask("eth_getTransactionReceipt", each) for each in transaction_hashes]
        return list(answers)
