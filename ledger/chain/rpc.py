"""The same chain behind JSON-RPC: anvil, Besu, Geth, an L2, or Wattbook's own testnet.

A node is not believed: blocks and receipts are encoded again from what it answers, and must hash to
what it says. Time is moved by anvil's methods where the node has them; public networks are waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ledger.address import checksummed
from ledger.chain.encoding import Header, make_block, ordered_root, raw_receipt
from ledger.chain.protocol import (
    Block,
    ChainUnavailable,
    Log,
    LogFilter,
    Receipt,
    Reverted,
    TransactionRefused,
)
from ledger.chain.reverts import decode_revert, reverted
from ledger.keccak import keccak
from ledger.transactions import ACCESS_LIST, FEE_MARKET, LEGACY, Transaction, assemble

METHOD_NOT_FOUND = -32_601
REVERTED = 3
LOG_BLOCKS = 5_000
"""Blocks in one question for logs; public nodes answer no more than this, often."""

_FIRST_PAUSE_MS = 15
_LONGEST_PAUSE_MS = 1_000
_PATIENCE_MS = 120_000


def sleep_ms(milliseconds: int) -> None:
    """Wait, by the clock of the machine."""
    time.sleep(milliseconds / 1_000)


class NodeError(ChainUnavailable):
    """The node answered with an error object."""

    def __init__(self, method: str, error: Mapping[str, Any]) -> None:
        self.code = error.get("code")
        self.reason = str(error.get("message", "no message"))
        self.data = _revert_data(error.get("data"))
        super().__init__(f"{method}: {self.reason} ({self.code})")

    @property
    def unsupported(self) -> bool:
        """Whether the node does not have the method."""
        return self.code == METHOD_NOT_FOUND or "not supported" in self.reason.lower()


class RpcChain:
    """`Chain` and `Clock` over a node's JSON-RPC by HTTP.

    `patience_ms` is how long `receipt` waits for a block, `pause_ms` how anything waits.
    Raises ChainUnavailable where the node does not answer, or answers what does not hash.
    """

    def __init__(
        self, url: str, *, patience_ms: int = _PATIENCE_MS, pause_ms: Callable[[int], None] = sleep_ms
    ) -> None:
        from web3 import HTTPProvider  # noqa: PLC0415 (loads slowly)

        self.url = url
        self._provider = HTTPProvider(url, request_kwargs={"timeout": 60})
        self._patience_ms = patience_ms
        self._pause_ms = pause_ms
        self._sent: set[bytes] = set()
        self._time_moved = False
        self._chain_id = _integer(self._ask("eth_chainId"))

    # --- Clock ----------------------------------------------------------------------------------

    def now(self) -> int:
        """Unix second that the next block will carry at least."""
        least = _integer(self._ask("eth_getBlockByNumber", "latest", False)["timestamp"]) + 1
        try:
            pending = self._ask("eth_getBlockByNumber", "pending", False)
        except NodeError:
            return least
        return max(least, _integer(pending["timestamp"])) if pending else least

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

    def send(self, raw_transaction: bytes) -> bytes:
        """Hand over a signed transaction; returns its hash. Raises TransactionRefused."""
        try:
            transaction_hash = _bytes(self._ask("eth_sendRawTransaction", _hex(raw_transaction)))
        except NodeError as refusal:
            raise TransactionRefused(refusal.reason) from None
        self._sent.add(transaction_hash)
        return transaction_hash

    def receipt(self, transaction_hash: bytes) -> Receipt:
        """Receipt of a transaction, waiting until it is in a block. Raises ChainUnavailable on time-out."""
        waited_ms, pause_ms = 0, _FIRST_PAUSE_MS
        while True:
            answer = self._ask("eth_getTransactionReceipt", _hex(transaction_hash))
            if answer and answer.get("blockNumber"):
                self._sent.discard(transaction_hash)
                return _receipt(answer)
            if waited_ms >= self._patience_ms:
                raise ChainUnavailable(f"{_hex(transaction_hash)} is in no block after {waited_ms} ms")
            self._pause_ms(pause_ms)
            waited_ms += pause_ms
            pause_ms = min(2 * pause_ms, _LONGEST_PAUSE_MS)

    def mine(self) -> int:
        """Put into a block what was sent from here and waits, where the node has anvil's methods.

        Where nothing waits and time was not moved, no block is asked for. Returns the head's number.
        """
        self._sent = {sent for sent in self._sent if not self._ask("eth_getTransactionReceipt", _hex(sent))}
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
        return _integer(self._ask("eth_blockNumber"))

    def block(self, number: int | None = None) -> Block:
        """Block by number, the head without one. Raises KeyError where there is none."""
        answer = self._ask("eth_getBlockByNumber", "latest" if number is None else hex(number), True)
        if answer is None:
            raise KeyError(f"no block {number}")
        header = _header(answer)
        transactions = [self._raw_transaction(transaction) for transaction in answer["transactions"]]
        block = make_block(header.encode(), transactions)
        if block.hash != (claimed := _bytes(answer["hash"])):
            raise ChainUnavailable(
                f"block {block.number}: its header hashes to {_hex(block.hash)}, not to {_hex(claimed)}"
            )
        if ordered_root(transactions) != header.transactions_root:
            raise ChainUnavailable(f"block {block.number}: the transactions are not those of its header")
        return block

    def receipts(self, number: int) -> Sequence[Receipt]:
        """All receipts of a block. Raises KeyError where there is none."""
        answer = self._ask("eth_getBlockByNumber", hex(number), False)
        if answer is None:
            raise KeyError(f"no block {number}")
        receipts = [_receipt(each) for each in self._block_receipts(number, answer["transactions"])]
        if ordered_root([raw_receipt(receipt) for receipt in receipts]) != _bytes(answer["receiptsRoot"]):
            raise ChainUnavailable(f"block {number}: the receipts are not those of its header")
        return tuple(receipts)

    def logs(self, which: LogFilter) -> Sequence[Log]:
        """Logs in chain order, asked for in parts: nodes limit how many blocks one question may span."""
        last = self.head() if which.to_block is None else which.to_block
        question: dict[str, Any] = {
            "topics": [None if topic is None else [_hex(value) for value in topic] for topic in which.topics],
        }
        if which.addresses:
            question["address"] = list(which.addresses)
        found: list[Log] = []
        for first in range(which.from_block, last + 1, LOG_BLOCKS):
            part = {"fromBlock": hex(first), "toBlock": hex(min(first + LOG_BLOCKS - 1, last))}
            found += (_log(answer) for answer in self._ask("eth_getLogs", question | part))
        return found

    # --- state ----------------------------------------------------------------------------------

    def call(self, to: str, data: bytes, *, sender: str | None = None, block: int | None = None) -> bytes:
        """Execute without a transaction. Raises Reverted with the reason."""
        question = {"to": to, "data": _hex(data)} | ({} if sender is None else {"from": sender})
        return _bytes(self._execute("eth_call", question, _tag(block)))

    def estimate_gas(self, to: str | None, data: bytes, *, sender: str, value: int = 0) -> int:
        """Gas a transaction would need. Raises Reverted."""
        question = {"from": sender, "data": _hex(data), "value": hex(value)}
        return _integer(self._execute("eth_estimateGas", question | ({} if to is None else {"to": to})))

    def code(self, address: str) -> bytes:
        """Code at an address, empty for none."""
        return _bytes(self._ask("eth_getCode", address, "latest"))

    def nonce(self, address: str) -> int:
        """Next transaction nonce, waiting ones counted."""
        return _integer(self._ask("eth_getTransactionCount", address, "pending"))

    def balance(self, address: str) -> int:
        """Native coin, wei."""
        return _integer(self._ask("eth_getBalance", address, "latest"))

    # --- asking the node ------------------------------------------------------------------------

    def _ask(self, method: str, *params: Any) -> Any:
        """The node's answer. Raises NodeError, and ChainUnavailable where there is none."""
        try:
            response = self._provider.make_request(method, list(params))
        except Exception as failure:  # requests, decoding, web3: all mean that there is no answer
            raise ChainUnavailable(f"{self.url} does not answer: {_in_short(failure)}") from failure
        if isinstance(error := response.get("error"), Mapping):
            raise NodeError(method, error)
        if "result" not in response:
            raise ChainUnavailable(f"{self.url}: {method}: no result, no error")
        return response["result"]

    def _execute(self, method: str, *params: Any) -> Any:
        try:
            return self._ask(method, *params)
        except NodeError as failure:
            if failure.data:
                raise reverted(failure.data) from None
            if failure.code == REVERTED or "revert" in failure.reason.lower():
                raise Reverted(_plain(failure.reason)) from None
            if "gas" in failure.reason.lower() or "insufficient funds" in failure.reason.lower():
                raise Reverted(failure.reason) from None
            raise

    def _raw_transaction(self, answer: Mapping[str, Any]) -> bytes:
        """Raw bytes of a transaction, encoded from its fields or as the node gives them, by their hash."""
        claimed = _bytes(answer["hash"])
        if _integer(answer.get("type", "0x0")) in (LEGACY, ACCESS_LIST, FEE_MARKET):
            raw = _encoded(answer)
            if keccak(raw) == claimed:
                return raw
        for method in ("eth_getRawTransactionByHash", "debug_getRawTransaction"):
            try:
                raw = _bytes(self._ask(method, _hex(claimed)))
            except NodeError:
                continue
            if keccak(raw) == claimed:
                return raw
        raise ChainUnavailable(f"transaction {_hex(claimed)}: no bytes that hash to it")

    def _block_receipts(self, number: int, transaction_hashes: Sequence[str]) -> Sequence[Any]:
        try:
            answers = self._ask("eth_getBlockReceipts", hex(number))
        except NodeError:
            answers = None
        if answers is None:
            answers = [self._ask("eth_getTransactionReceipt", each) for each in transaction_hashes]
        return list(answers)


# --- from JSON ----------------------------------------------------------------------------------


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _tag(block: int | None) -> str:
    return "latest" if block is None else hex(block)


def _integer(value: Any) -> int:
    """A quantity. Raises ChainUnavailable where it is none."""
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise ChainUnavailable(f"the node answers {value!r} for a number") from None


def _bytes(value: Any) -> bytes:
    """Data. Raises ChainUnavailable where it is none."""
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise ChainUnavailable(f"the node answers {value!r} for bytes") from None


def _address(value: Any) -> str:
    return checksummed(_bytes(value))


def _revert_data(value: Any) -> bytes:
    """Revert data where nodes put it: a string, or a string inside an object."""
    if isinstance(value, Mapping):
        value = value.get("data") or value.get("result")
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            return b""
    return b""


def _plain(reason: str) -> str:
    """The contract's own words in a node's message."""
    stripped = reason.removeprefix("execution reverted").removeprefix(":").strip()
    return stripped or decode_revert(b"")


_HEADER_FIELDS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("parentHash", _bytes),
    ("sha3Uncles", _bytes),
    ("miner", _bytes),
    ("stateRoot", _bytes),
    ("transactionsRoot", _bytes),
    ("receiptsRoot", _bytes),
    ("logsBloom", _bytes),
    ("difficulty", _integer),
    ("number", _integer),
    ("gasLimit", _integer),
    ("gasUsed", _integer),
    ("timestamp", _integer),
    ("extraData", _bytes),
    ("mixHash", _bytes),
    ("nonce", _bytes),
    ("baseFeePerGas", _integer),
    ("withdrawalsRoot", _bytes),
    ("blobGasUsed", _integer),
    ("excessBlobGas", _integer),
    ("parentBeaconBlockRoot", _bytes),
    ("requestsHash", _bytes),
)
"""Names of the fields of `Header`, in its order."""


def _header(answer: Mapping[str, Any]) -> Header:
    values = []
    for name, read in _HEADER_FIELDS:
        if answer.get(name) is None:
            break
        values.append(read(answer[name]))
    if len(values) < 15:
        raise ChainUnavailable(f"a block without {_HEADER_FIELDS[len(values)][0]}")
    return Header(*values)


def _encoded(answer: Mapping[str, Any]) -> bytes:
    """Raw bytes of a transaction of type 0, 1 or 2 from its fields."""
    kind = _integer(answer.get("type", "0x0"))
    price = _integer(answer["maxFeePerGas"] if kind == FEE_MARKET else answer["gasPrice"])
    v = _integer(answer.get("yParity", answer["v"]) if kind else answer["v"])
    transaction = Transaction(
        chain_id=_integer(answer["chainId"]) if kind else None,
        nonce=_integer(answer["nonce"]),
        to=None if answer.get("to") is None else _address(answer["to"]),
        data=_bytes(answer["input"]),
        value=_integer(answer["value"]),
        gas=_integer(answer["gas"]),
        max_fee_per_gas=price,
        max_priority_fee_per_gas=_integer(answer["maxPriorityFeePerGas"]) if kind == FEE_MARKET else price,
        access_list=tuple(
            (_address(entry["address"]), tuple(_bytes(key) for key in entry["storageKeys"]))
            for entry in answer.get("accessList") or ()
        ),
        type=kind,
    )
    return assemble(transaction, v, _integer(answer["r"]), _integer(answer["s"]))


def _in_short(failure: Exception) -> str:
    """Why there was no answer; the reason below requests' own account of its retries."""
    from requests.exceptions import ConnectionError, Timeout  # noqa: PLC0415 - loads slowly

    if isinstance(failure, Timeout):
        return "no reply in time"
    if isinstance(failure, ConnectionError):
        reason = str(getattr(failure.args[0] if failure.args else failure, "reason", failure))
        return reason.rpartition(": ")[2]
    return str(failure)


def _log(answer: Mapping[str, Any]) -> Log:
    return Log(
        address=_address(answer["address"]),
        topics=tuple(_bytes(topic) for topic in answer["topics"]),
        data=_bytes(answer["data"]),
        block_number=_integer(answer["blockNumber"]),
        block_hash=_bytes(answer["blockHash"]),
        transaction_hash=_bytes(answer["transactionHash"]),
        transaction_index=_integer(answer["transactionIndex"]),
        log_index=_integer(answer["logIndex"]),
    )


def _receipt(answer: Mapping[str, Any]) -> Receipt:
    created = answer.get("contractAddress")
    return Receipt(
        transaction_hash=_bytes(answer["transactionHash"]),
        block_number=_integer(answer["blockNumber"]),
        block_hash=_bytes(answer["blockHash"]),
        transaction_index=_integer(answer["transactionIndex"]),
        sender=_address(answer["from"]),
        to=None if answer.get("to") is None else _address(answer["to"]),
        contract=None if created is None else _address(created),
        status=_integer(answer["status"]),
        gas_used=_integer(answer["gasUsed"]),
        cumulative_gas_used=_integer(answer["cumulativeGasUsed"]),
        logs_bloom=_bytes(answer["logsBloom"]),
        logs=tuple(_log(log) for log in answer["logs"]),
        type=_integer(answer.get("type", "0x0")),
    )
