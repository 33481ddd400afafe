"""Translated code against py-evm's own loop: the same result for any code."""

from __future__ import annotations

from typing import Any

import pytest
from eth.vm.forks.prague.computation import PragueComputation
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.chain.encoding import Header
from ledger.chain.evm import Machine, blank_header
from ledger.chain.store import Memory, Store
from ledger.chain.translate import TranslatedComputation
from ledger.transactions import Transaction
from market.orders import NOBODY

GAS = 200_000
CONTRACT = "0x" + "c0" * 20
HEADER: Header = blank_header(None, 1_700_000_000, 30_000_000, 0)

deterministic = settings(derandomize=True, deadline=None, max_examples=40)


def outcome(kind: Any, code: bytes, data: bytes, gas: int) -> tuple[Any, ...]:
    """What a caller sees of a contract with this code, and the state after it."""
    machine = Machine(Store(Memory()), 31_337, HEADER)
    state = machine._state
    state.computation_class = kind
    target = bytes.fromhex(CONTRACT[2:])
    state.set_code(target, code)
    state.set_balance(target, 10**18)
    state.set_storage(target, 1, 7)
    execution = machine.apply(Transaction(None, 0, CONTRACT, data, gas=gas), NOBODY)
    burnt = execution.error is not None and execution.error != "revert"
    return (
        "burnt" if burnt else execution.error,  # which rule is broken first may differ, its effect not
        execution.output,
        execution.gas_spent,
        execution.gas_used,
        execution.logs,
        machine.persist(),
    )


def same(code: bytes, data: bytes = b"", gas: int = GAS) -> tuple[Any, ...]:
    ours = outcome(TranslatedComputation, code, data, gas)
    assert ours == outcome(PragueComputation, code, data, gas)
    return ours


def push(value: int) -> bytes:
    encoded = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes([0x5F + len(encoded)]) + encoded


EDGES = [0, 1, 2, 31, 32, 255, 256, 2**255 - 1, 2**255, 2**255 + 1, 2**256 - 2, 2**256 - 1]
words = st.sampled_from(EDGES) | st.integers(0, 2**256 - 1) | st.integers(0, 300)
RETURN_TOP = bytes.fromhex("5f5260205ff3")
ARITHMETIC = [*range(0x01, 0x0C), *range(0x10, 0x1E)]


@pytest.mark.parametrize("opcode", ARITHMETIC)
@deterministic
@given(st.lists(words, min_size=3, max_size=3), st.booleans())
def test_arithmetic(opcode: int, operands: list[int], from_calldata: bool) -> None:
    """On numbers in the code, which are folded, and on numbers that are not known before."""
    if from_calldata:
        loads = b"".join(push(32 * place) + b"\x35" for place in range(3))
        code, data = loads, b"".join(operand.to_bytes(32, "big") for operand in operands)
    else:
        code, data = b"".join(map(push, operands)), b""
    error, output, *_ = same(code + bytes([opcode]) + RETURN_TOP, data)
    assert (error, len(output)) == (None, 32)


# opcodes that any code may reach: arithmetic, stack, memory, storage, flow, environment, logs, halts
OPCODES = [
    *ARITHMETIC,
    *(0x20, 0x30, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3D, 0x3E),
    *(0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48),
    *(0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x58, 0x59, 0x5A, 0x5B, 0x5C, 0x5D, 0x5E, 0x5F),
    *range(0x80, 0xA3),
    *(0xF1, 0xFA, 0xF3, 0xFD, 0xFE, 0x00, 0x0C),
]
small = st.integers(0, 96).map(push)
jumps = st.tuples(st.integers(0, 120), st.sampled_from([b"\x56", b"\x57"])).map(lambda j: push(j[0]) + j[1])
pieces = st.one_of(
    small, small, words.map(push), st.sampled_from(OPCODES).map(lambda opcode: bytes([opcode])), jumps
)
programs = st.lists(pieces, max_size=60).map(b"".join)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(programs, st.binary(max_size=70))
def test_any_code(code: bytes, data: bytes) -> None:
    same(b"".join(push(place) for place in range(5)) + code, data)


@deterministic
@given(st.binary(max_size=80))
def test_any_bytes(code: bytes) -> None:
    same(code)


@deterministic
@given(programs, st.integers(21_000, 24_000))
def test_running_out_of_gas(code: bytes, gas: int) -> None:
    same(code, gas=gas)


LOOP = bytes.fromhex("60c8 5b 6001 90 03 80 6002 57 00")
"""Counts 200 down to 0."""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (LOOP, None),
        (b"\x5f" * 1_024, None),
        (b"\x5f" * 1_025, "burnt"),
        (b"\x5b\x5f\x5f\x5b" + b"\x5f\x5f\x5f\x56" * 2, "burnt"),
        (b"\x01", "burnt"),
        (b"\x5f\x81", "burnt"),
        (b"\x5f\x90", "burnt"),
        (bytes.fromhex("600456 00 605b"), "burnt"),  # a JUMPDEST inside a PUSH
        (bytes.fromhex("600456 00 5b"), None),
        (bytes.fromhex("61ffff56"), "burnt"),
        (bytes.fromhex("5f 61ffff 57"), None),  # a jump that is not taken may point anywhere
        (push(2**256 - 1) + b"\x51", "burnt"),
        (push(2**255) + push(0) + b"\x20", "burnt"),
        (push(2**255) + push(0) + push(1) + b"\x5e", "burnt"),
        (push(0) + push(2**200) + push(2**201) + b"\x5e", None),  # copies nothing, from anywhere
        (push(0) + push(2**200) + b"\x20", None),  # hashes nothing
        (b"\x60", None),  # the pushed byte is missing
        (bytes.fromhex("5f5ffd"), "revert"),
    ],
)
def test_corners(code: bytes, error: str | None) -> None:
    assert same(code)[0] == error
