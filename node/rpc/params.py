"""Reading parameters: quantities, data, addresses, blocks, transactions. All raise InvalidParamsError."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.address import checksummed
from ledger.chain.calls import Call
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.evm import Account
from ledger.chain.protocol import LogFilter
from ledger.transactions import ACCESS_LIST, FEE_MARKET, LEGACY, AccessList
from market.orders import NOBODY, Address
from node.rpc.errors import InvalidParamsError

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*\Z")

EARLIEST, PENDING = "earliest", "pending"
LOG_BLOCKS_MAX = 10_000
"""Blocks that one question for logs may span."""
ADDRESSES_MAX = 1_000
TOPICS_MAX = 4
HASH_DIGITS = 2 + 64
HEAD_TAGS = frozenset(["latest", "safe", "finalized"])


def quantity(value: Any, name: str = "quantity") -> int:
    """An integer from `0x…` or a JSON number, as anvil takes both."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 256:
        return value
    if isinstance(value, str) and _QUANTITY.match(value):
        return int(value, 16)
    raise InvalidParamsError(f"{name}: {_excerpt(value)} is not a quantity")


def data(value: Any, name: str = "data", length: int | None = None) -> bytes:
    """Bytes from `0x…`, of a given length if there is one."""
    if not isinstance(value, str) or not _DATA.match(value):
        raise InvalidParamsError(f"{name}: {_excerpt(value)} is not hexadecimal data")
    decoded = bytes.fromhex(value[2:])
    if length is not None and len(decoded) != length:
        raise InvalidParamsError(f"{name}: {len(decoded)} bytes instead of {length}")
    return decoded


def address(value: Any, name: str = "address") -> Address:
    """An address, in any capitals."""
    return checksummed(data(value, name, 20))


def flag(value: Any, name: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise InvalidParamsError(f"{name}: {_excerpt(value)} is neither true nor false")
    return value


def mapping(value: Any, name: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, Mapping):
        raise InvalidParamsError(f"{name}: {_excerpt(value)} is not an object")
    return value


def block(chain: EmbeddedChain, value: Any = "latest") -> int | None:
    """Number of the block a tag, number, hash or EIP-1898 object names; None for the pending one."""
    if isinstance(value, Mapping):
        if "blockHash" in value:
            return block_by_hash(chain, value["blockHash"])
        value = value.get("blockNumber")
    if value is None or (isinstance(value, str) and value in HEAD_TAGS):
        return chain.head()
    if value == EARLIEST:
        return 0
    if value == PENDING:
        return None
    if isinstance(value, str) and len(value) == HASH_DIGITS:
        return block_by_hash(chain, value)
    number = quantity(value, "block")
    if number > chain.head():
        raise InvalidParamsError(f"block: {number} is beyond the head {chain.head()}")
    return number


def is_tag(value: Any) -> bool:
    """Whether a block is named by a word."""
    return isinstance(value, str) and value in HEAD_TAGS | {EARLIEST, PENDING}


def block_by_hash(chain: EmbeddedChain, value: Any) -> int:
    """Number of the block with a hash."""
    number = chain.block_number(data(value, "block hash", 32))
    if number is None:
        raise InvalidParamsError(f"block hash: no block {value}")
    return number


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A transaction object of eth_call, eth_estimateGas or eth_sendTransaction."""

    sender: Address | None
    to: Address | None
    data: bytes
    value: int
    gas: int | None
    nonce: int | None
    gas_price: int | None
    max_fee_per_gas: int | None
    max_priority_fee_per_gas: int | None
    chain_id: int | None
    access_list: AccessList
    type: int

    def call(self, sender: Address = NOBODY) -> Call:
        """As a message to execute; `sender` where the request names none."""
        price = self.gas_price
        most = self.max_fee_per_gas if price is None else price
        tip = self.max_priority_fee_per_gas if price is None else price
        return Call(
            self.to,
            self.data,
            self.sender or sender,
            self.value,
            self.gas,
            most or 0,
            min(tip or 0, most or 0),
            self.access_list,
        )


def call_request(value: Any) -> CallRequest:
    """A transaction object; `input` and `data` may both be there if they agree."""
    fields = mapping(value, "transaction")
    payloads = {data(fields[name], name) for name in ("input", "data") if fields.get(name) is not None}
    if len(payloads) > 1:
        raise InvalidParamsError("transaction: `input` and `data` differ")
    if fields.get("gasPrice") is not None and fields.get("maxFeePerGas") is not None:
        raise InvalidParamsError("transaction: both `gasPrice` and `maxFeePerGas`")

    def optional(name: str) -> int | None:
        return None if fields.get(name) is None else quantity(fields[name], name)

    return CallRequest(
        sender=None if fields.get("from") is None else address(fields["from"], "from"),
        to=None if fields.get("to") in (None, "", "0x") else address(fields["to"], "to"),
        data=payloads.pop() if payloads else b"",
        value=optional("value") or 0,
        gas=optional("gas"),
        nonce=optional("nonce"),
        gas_price=optional("gasPrice"),
        max_fee_per_gas=optional("maxFeePerGas"),
        max_priority_fee_per_gas=optional("maxPriorityFeePerGas"),
        chain_id=optional("chainId"),
        access_list=_access_list(fields.get("accessList") or []),
        type=_type(fields),
    )


def _type(fields: Mapping[str, Any]) -> int:
    """Type of a transaction (EIP-2718): the one it names, or the first that has all its fields."""
    for name in ("authorizationList", "blobs", "blobVersionedHashes", "maxFeePerBlobGas"):
        if fields.get(name) is not None:
            raise InvalidParamsError(f"transaction: `{name}` is not supported; sign it and send it raw")
    priced, listed = fields.get("gasPrice") is not None, fields.get("accessList") is not None
    capped = fields.get("maxFeePerGas") is not None or fields.get("maxPriorityFeePerGas") is not None
    if fields.get("type") is None:
        return FEE_MARKET if not priced else ACCESS_LIST if listed else LEGACY
    kind = quantity(fields["type"], "type")
    if kind not in (LEGACY, ACCESS_LIST, FEE_MARKET):
        raise InvalidParamsError(f"type: {kind} is none of 0, 1, 2; sign it and send it raw")
    for name, is_there, types in (
        ("gasPrice", priced, (LEGACY, ACCESS_LIST)),
        ("maxFeePerGas` and `maxPriorityFeePerGas", capped, (FEE_MARKET,)),
        ("accessList", listed, (ACCESS_LIST, FEE_MARKET)),
    ):
        if is_there and kind not in types:
            raise InvalidParamsError(f"transaction: a type {kind} has no `{name}`")
    return kind


def _access_list(value: Any) -> AccessList:
    entries = [mapping(entry, "access list") for entry in items(value, "access list")]
    return tuple(
        (
            address(entry.get("address"), "access list"),
            tuple(
                data(slot, "access list", 32) for slot in items(entry.get("storageKeys") or [], "access list")
            ),
        )
        for entry in entries
    )


def overrides(value: Any) -> dict[Address, Account]:
    """Accounts that a call finds otherwise: {address: {balance, nonce, code, state, stateDiff}}."""
    found: dict[Address, Account] = {}
    for name, entry in mapping({} if value is None else value, "overrides").items():
        fields = mapping(entry, "overrides")
        if unknown := set(fields) - {"balance", "nonce", "code", "state", "stateDiff"}:
            raise InvalidParamsError(f"overrides: {_excerpt(min(unknown))} is not supported")
        if fields.get("state") is not None and fields.get("stateDiff") is not None:
            raise InvalidParamsError("overrides: both `state` and `stateDiff`")
        words = fields.get("state", fields.get("stateDiff"))
        found[address(name, "overrides")] = Account(
            balance_wei=None if fields.get("balance") is None else quantity(fields["balance"], "balance"),
            nonce=None if fields.get("nonce") is None else quantity(fields["nonce"], "nonce"),
            code=None if fields.get("code") is None else data(fields["code"], "code"),
            storage={
                storage_key(slot): quantity(word, "word")
                for slot, word in mapping({} if words is None else words, "overrides").items()
            },
            storage_emptied=fields.get("state") is not None,
        )
    return found


_BLOCK_OVERRIDES: dict[str, tuple[str, Callable[[Any, str], Any]]] = {
    "number": ("number", quantity),
    "time": ("timestamp", quantity),
    "gasLimit": ("gas_limit", quantity),
    "baseFeePerGas": ("base_fee", quantity),
    "baseFee": ("base_fee", quantity),
    "feeRecipient": ("coinbase", lambda value, name: data(value, name, 20)),
    "coinbase": ("coinbase", lambda value, name: data(value, name, 20)),
    "prevRandao": ("mix_hash", lambda value, name: data(value, name, 32)),
    "random": ("mix_hash", lambda value, name: data(value, name, 32)),
}
"""What Geth and anvil call a block's fields in the fourth parameter of eth_call, and we in a header."""


def block_overrides(value: Any) -> dict[str, Any]:
    """Fields of its block that a call finds otherwise, as a header has them."""
    found: dict[str, Any] = {}
    for name, given in mapping({} if value is None else value, "block overrides").items():
        if name not in _BLOCK_OVERRIDES:
            raise InvalidParamsError(f"block overrides: {_excerpt(name)} is not supported")
        field, read = _BLOCK_OVERRIDES[name]
        found[field] = read(given, name)
    return found


def storage_key(value: Any) -> int:
    """A slot of storage: a quantity, or data of up to 32 bytes."""
    if isinstance(value, str) and not _QUANTITY.match(value):
        raise InvalidParamsError(f"storage key: {_excerpt(value)} is not hexadecimal of up to 32 bytes")
    return quantity(value, "storage key")


def subscribed_logs(value: Any) -> LogFilter:
    """Logs to come, of a subscription; a range of blocks has no meaning there."""
    fields = mapping({} if value is None else value, "filter")
    return LogFilter(0, None, _addresses(fields), _topics(fields))


def _addresses(fields: Mapping[str, Any]) -> tuple[Address, ...]:
    wanted = fields.get("address")
    addresses = wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]
    if len(addresses) > ADDRESSES_MAX:
        raise InvalidParamsError(f"filter: {len(addresses)} addresses, more than {ADDRESSES_MAX}")
    return tuple(address(each) for each in addresses)


def _topics(fields: Mapping[str, Any]) -> tuple[tuple[bytes, ...] | None, ...]:
    topics = items(fields.get("topics") or [], "topics")
    if len(topics) > TOPICS_MAX:
        raise InvalidParamsError(f"filter: {len(topics)} topics, more than {TOPICS_MAX}")
    return tuple(_topic(each) for each in topics)


def log_filter(chain: EmbeddedChain, value: Any) -> LogFilter:
    """A filter object. Blocks beyond the head are allowed: they are to come."""
    fields = mapping(value, "filter")
    if fields.get("blockHash") is not None:
        if fields.get("fromBlock") is not None or fields.get("toBlock") is not None:
            raise InvalidParamsError("filter: both `blockHash` and a range")
        first = block_by_hash(chain, fields["blockHash"])
        last: int | None = first
    else:
        first = _filter_block(chain, fields.get("fromBlock"))
        open_ended = fields.get("toBlock") in (None, "latest", PENDING)
        last = None if open_ended else _filter_block(chain, fields["toBlock"])
    which = LogFilter(first, last, _addresses(fields), _topics(fields))
    check_span(chain, which)
    return which


def check_span(chain: EmbeddedChain, which: LogFilter) -> None:
    """Refuse a question for the logs of more than 10 000 blocks."""
    first, last, head = which.from_block, which.to_block, chain.head()
    if min(head if last is None else last, head) - first >= LOG_BLOCKS_MAX:
        raise InvalidParamsError(
            f"filter: blocks {first} to {head if last is None else last} are more than {LOG_BLOCKS_MAX};"
            " ask for them in parts"
        )


def _filter_block(chain: EmbeddedChain, value: Any) -> int:
    if isinstance(value, str) and value in HEAD_TAGS | {PENDING, EARLIEST}:
        return 0 if value == EARLIEST else chain.head()
    return chain.head() if value is None else quantity(value, "block")


def _topic(value: Any) -> tuple[bytes, ...] | None:
    if value is None:
        return None
    if isinstance(value, list):
        if any(each is None for each in value):
            return None
        if len(value) > ADDRESSES_MAX:
            raise InvalidParamsError(f"filter: {len(value)} choices of a topic, more than {ADDRESSES_MAX}")
        return tuple(data(each, "topic", 32) for each in value) or None
    return (data(value, "topic", 32),)


def items(value: Any, name: str) -> list[Any]:
    """A JSON list."""
    if not isinstance(value, list):
        raise InvalidParamsError(f"{name}: {_excerpt(value)} is not a list")
    return value


def _excerpt(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
