"""What a node answers, in our records; its blocks and transactions are encoded again from their fields.

Raises ChainUnavailable where an answer is none, NodeError where the node answered with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import rlp

from ledger import rlp_bytes
from ledger.address import checksummed
from ledger.chain.encoding import Header
from ledger.chain.protocol import ChainUnavailable, Log, Receipt
from ledger.chain.reverts import decode_revert
from ledger.transactions import FEE_MARKET, Transaction, assemble

METHOD_NOT_FOUND = -32_601
_AWAY = {429, 502, 503, 504}
"""HTTP status of a server that may answer later."""


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


def hexadecimal(value: bytes) -> str:
    """Bytes as JSON-RPC has them."""
    return "0x" + value.hex()


def tag(block: int | None) -> str:
    """A block's name in a question; the head's without one."""
    return "latest" if block is None else hex(block)


def integer(value: Any) -> int:
    """A quantity. Raises ChainUnavailable where it is none."""
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise ChainUnavailable(f"the node answers {value!r} for a number") from None


def octets(value: Any) -> bytes:
    """Data. Raises ChainUnavailable where it is none."""
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise ChainUnavailable(f"the node answers {value!r} for bytes") from None


def _address(value: Any) -> str:
    return checksummed(octets(value))


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


def plain(reason: str) -> str:
    """The contract's own words in a node's message."""
    stripped = reason.removeprefix("execution reverted").removeprefix(":").strip()
    return stripped or decode_revert(b"")


_HEADER_FIELDS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("parentHash", octets),
    ("sha3Uncles", octets),
    ("miner", octets),
    ("stateRoot", octets),
    ("transactionsRoot", octets),
    ("receiptsRoot", octets),
    ("logsBloom", octets),
    ("difficulty", integer),
    ("number", integer),
    ("gasLimit", integer),
    ("gasUsed", integer),
    ("timestamp", integer),
    ("extraData", octets),
    ("mixHash", octets),
    ("nonce", octets),
    ("baseFeePerGas", integer),
    ("withdrawalsRoot", octets),
    ("blobGasUsed", integer),
    ("excessBlobGas", integer),
    ("parentBeaconBlockRoot", octets),
    ("requestsHash", octets),
)
"""Names of the fields of `Header`, in its order."""


def header_of(answer: Mapping[str, Any]) -> Header:
    """A block's header. Raises ChainUnavailable where a field is missing."""
    values = []
    for name, read in _HEADER_FIELDS:
        if answer.get(name) is None:
            break
        values.append(read(answer[name]))
    if len(values) < 15:
        raise ChainUnavailable(f"a block without {_HEADER_FIELDS[len(values)][0]}")
    return Header(*values)


def unsealed(header: Header) -> Header:
    """The header as a network under QBFT hashes it: without its seals, the round 0 (Besu's BftBlockHashing).

    Its extra data is [vanity, validators, vote, round, seals]; any other header stays as it is.
    """
    try:
        items = rlp.decode(header.extra_data)
    except rlp.exceptions.RLPException:
        return header
    if not isinstance(items, list) or len(items) != 5:
        return header
    return replace(header, extra_data=rlp_bytes.encode([*items[:3], b"", []]))


def raw_transaction(answer: Mapping[str, Any]) -> bytes:
    """Raw bytes of a transaction of type 0, 1 or 2 from its fields."""
    kind = integer(answer.get("type", "0x0"))
    price = integer(answer["maxFeePerGas"] if kind == FEE_MARKET else answer["gasPrice"])
    v = integer(answer.get("yParity", answer["v"]) if kind else answer["v"])
    transaction = Transaction(
        chain_id=integer(answer["chainId"]) if kind else None,
        nonce=integer(answer["nonce"]),
        to=None if answer.get("to") is None else _address(answer["to"]),
        data=octets(answer["input"]),
        value=integer(answer["value"]),
        gas=integer(answer["gas"]),
        max_fee_per_gas=price,
        max_priority_fee_per_gas=integer(answer["maxPriorityFeePerGas"]) if kind == FEE_MARKET else price,
        access_list=tuple(
            (_address(entry["address"]), tuple(octets(key) for key in entry["storageKeys"]))
            for entry in answer.get("accessList") or ()
        ),
        type=kind,
    )
    return assemble(transaction, v, integer(answer["r"]), integer(answer["s"]))


def unreachable(failure: Exception) -> bool:
    """Whether there was no answer at all, or none of the node's: a proxy says that it is away, or busy."""
    from requests.exceptions import ConnectionError, HTTPError, Timeout  # noqa: PLC0415 - loads slowly

    if isinstance(failure, HTTPError):
        return failure.response is not None and failure.response.status_code in _AWAY
    return isinstance(failure, ConnectionError | Timeout)


def in_short(failure: Exception) -> str:
    """Why there was no answer; the reason below requests' own account of its retries."""
    from requests.exceptions import ConnectionError, Timeout  # noqa: PLC0415 - loads slowly

    if isinstance(failure, Timeout):
        return "no reply in time"
    if isinstance(failure, ConnectionError):
        reason = str(getattr(failure.args[0] if failure.args else failure, "reason", failure))
        return reason.rpartition(": ")[2]
    return str(failure)


def log_of(answer: Mapping[str, Any]) -> Log:
    """An event."""
    return Log(
        address=_address(answer["address"]),
        topics=tuple(octets(topic) for topic in answer["topics"]),
        data=octets(answer["data"]),
        block_number=integer(answer["blockNumber"]),
        block_hash=octets(answer["blockHash"]),
        transaction_hash=octets(answer["transactionHash"]),
        transaction_index=integer(answer["transactionIndex"]),
        log_index=integer(answer["logIndex"]),
    )


def receipt_of(answer: Mapping[str, Any]) -> Receipt:
    """A receipt with its events."""
    created = answer.get("contractAddress")
    return Receipt(
        transaction_hash=octets(answer["transactionHash"]),
        block_number=integer(answer["blockNumber"]),
        block_hash=octets(answer["blockHash"]),
        transaction_index=integer(answer["transactionIndex"]),
        sender=_address(answer["from"]),
        to=None if answer.get("to") is None else _address(answer["to"]),
        contract=None if created is None else _address(created),
        status=integer(answer["status"]),
        gas_used=integer(answer["gasUsed"]),
        cumulative_gas_used=integer(answer["cumulativeGasUsed"]),
        logs_bloom=octets(answer["logsBloom"]),
        logs=tuple(log_of(log) for log in answer["logs"]),
        type=integer(answer.get("type", "0x0")),
    )
