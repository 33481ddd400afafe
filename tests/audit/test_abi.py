"""Calldata and logs against eth-abi's independent encoder, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args

import eth_abi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import contracts
from ledger import abi, calls, events
from ledger.abi import AbiDecodeError, AbiError, AbiMismatchError
from ledger.address import checksummed
from ledger.calls import Call
from ledger.keccak import keccak
from market.events import Event
from market.orders import Order, OrdersFilled, Side

deterministic = settings(derandomize=True, deadline=None, max_examples=12)


def values(parameter: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Plain values of an ABI type, structs as tuples."""
    kind = parameter["type"]
    if kind.endswith("[]"):
        return st.lists(values({**parameter, "type": kind[:-2]}), max_size=3).map(tuple)
    if kind == "tuple":
        return st.tuples(*(values(component) for component in parameter["components"]))
    if kind == "address":
        return st.binary(min_size=20, max_size=20).map(checksummed)
    if kind == "bytes32":
        return st.binary(min_size=32, max_size=32)
    signed = kind.startswith("int")
    bits = int(kind.removeprefix("int" if signed else "uint"))
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


def plain(value: Any) -> Any:
    """A record as nested tuples, a signature's two halves side by side, as the ABI sees it."""
    if is_dataclass(value):
        flat: list[Any] = []
        for item in fields(value):
            inner = getattr(value, item.name)
            flat.extend(inner) if hasattr(inner, "_fields") else flat.append(plain(inner))
        return tuple(flat)
    return tuple(plain(item) for item in value) if isinstance(value, tuple) else value


FUNCTIONS = [
    entry
    for entry in contracts.load("Exchange").abi
    if entry["type"] == "function" and entry["stateMutability"] == "nonpayable"
]
EVENTS = [entry for entry in contracts.load("Exchange").abi if entry["type"] == "event"]


@pytest.mark.parametrize("entry", FUNCTIONS, ids=lambda entry: entry["name"])
@deterministic
@given(data=st.data())
def test_calldata_is_the_abis(entry: dict[str, Any], data: st.DataObject) -> None:
    arguments = data.draw(st.tuples(*(values(item) for item in entry["inputs"])))
    selector = keccak(abi.signature(entry).encode())[:4]
    types = [abi.canonical_type(item) for item in entry["inputs"]]
    calldata = selector + eth_abi.encode(types, arguments)
    call = calls.decode(calldata)
    assert plain(call) == arguments
    assert calls.encode(call) == calldata


@pytest.mark.parametrize("entry", EVENTS, ids=lambda entry: entry["name"])
@deterministic
@given(data=st.data())
def test_logs_are_the_abis(entry: dict[str, Any], data: st.DataObject) -> None:
    members = [(item, data.draw(values(item))) for item in entry["inputs"]]
    indexed = [eth_abi.encode([item["type"]], [value]) for item, value in members if item["indexed"]]
    rest = [(item["type"], value) for item, value in members if not item["indexed"]]
    topics = (keccak(abi.signature(entry).encode()), *indexed)
    log_data = eth_abi.encode([kind for kind, _ in rest], [value for _, value in rest])
    event = events.decode(topics, log_data)
    assert type(event).__name__ == entry["name"]
    assert plain(event) == tuple(value for _, value in members)
    assert events.encode(event) == (topics, log_data)


def test_every_record_has_its_entry() -> None:
    assert {entry["name"] for entry in EVENTS} == {record.__name__ for record in get_args(Event)}
    assert len(FUNCTIONS) == len(get_args(Call))


FILLED = OrdersFilled(1, checksummed(b"\1" * 20), 2, Side.BID, 0, -5, (1 << 40 | 3 << 32 | 10,))


def test_what_the_contract_would_never_write_is_refused() -> None:
    topics, data = events.encode(FILLED)
    with pytest.raises(AbiDecodeError, match="bytes cannot hold the 1 items"):
        events.decode(topics, data[:-1])
    with pytest.raises(AbiDecodeError, match="not of type uint8"):
        events.decode(topics, b"\1" + data[1:])
    with pytest.raises(AbiDecodeError, match="longer than 20 bytes"):
        events.decode((topics[0], topics[1], b"\1" + topics[2][1:]), data)
    with pytest.raises(AbiDecodeError, match="2 topics"):
        events.decode(topics[:2], data)
    with pytest.raises(events.UnknownEventError, match="0x0000"):
        events.decode((bytes(32),), data)
    with pytest.raises(calls.UnknownCallError, match="0xdeadbeef"):
        calls.decode(bytes.fromhex("deadbeef"))


def test_array_that_promises_more_than_it_has_is_refused() -> None:
    calldata = calls.encode(calls.Settle(1, (FILLED.taker,)))
    huge = calldata[:-64] + (2**255).to_bytes(32, "big") + calldata[-32:]
    with pytest.raises(AbiDecodeError, match="cannot hold"):
        calls.decode(huge)


def test_value_that_does_not_fit_is_refused() -> None:
    with pytest.raises(AbiError, match="-1 is not of type uint32"):
        calls.encode(calls.CloseGate(-1, 10))
    with pytest.raises(AbiError, match="'0x12' is not of type address"):
        calls.encode(calls.Settle(1, ("0x12",)))


def test_order_keeps_its_meaning() -> None:
    order = Order(FILLED.taker, 5, 1, Side.ASK, 0, -50, 100)
    codec = abi.record_codec(
        next(entry for entry in FUNCTIONS if entry["name"] == "placeOrder")["inputs"][0]["components"], Order
    )
    decoded = codec.decode(codec.encode(order), 0)
    assert decoded == order
    assert decoded.side is Side.ASK


def test_records_that_do_not_fit_the_abi_are_refused() -> None:
    @dataclass(frozen=True)
    class Short:
        slot: int

    @dataclass(frozen=True)
    class Wrong:
        slot: int
        accounts: int

    inputs = next(entry for entry in FUNCTIONS if entry["name"] == "settle")["inputs"]
    with pytest.raises(AbiMismatchError, match="Short has 1 members, the ABI 2: slot, batch"):
        abi.record_codec(inputs, Short)
    with pytest.raises(AbiMismatchError, match=r"Wrong\.accounts: batch: address\[\] needs tuple"):
        abi.record_codec(inputs, Wrong)
