"""The fast interpreter where rules are broken or nearly so: each case by hand, and as py-evm has it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from ledger.address import address_bytes
from ledger.keys import CURVE_ORDER, derive
from ledger.transactions import Transaction
from tests.rpc.interpreters import (
    CONTRACT,
    DELEGATED,
    DELEGATION,
    OTHER,
    call,
    outcome,
    outcomes,
    push,
    to_contract,
)

STOP, ADD, KECCAK, CODECOPY, RETURNDATACOPY = b"\0", b"\1", b"\x20", b"\x39", b"\x3e"
POP, MLOAD, MSTORE, MSTORE8, SLOAD, SSTORE = b"\x50", b"\x51", b"\x52", b"\x53", b"\x54", b"\x55"
JUMP, JUMPI, GAS, JUMPDEST, TLOAD, TSTORE, MCOPY = (
    b"\x56",
    b"\x57",
    b"\x5a",
    b"\x5b",
    b"\x5c",
    b"\x5d",
    b"\x5e",
)
RETURN, REVERT, INVALID, SELFDESTRUCT = b"\xf3", b"\xfd", b"\xfe", b"\xff"
CREATE, CALL, CALLCODE, DELEGATECALL, CREATE2, STATICCALL = 0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA

RETURN_TOP = push(0) + MSTORE + push(32) + push(0) + RETURN
HUGE = 2**256 - 1
FAR = 2**63


def creation(initcode: bytes, opcode: int = CREATE, value: int = 0) -> bytes:
    """Code that creates a contract of initcode that is in the calldata."""
    salt = push(0) if opcode == CREATE2 else b""
    copy = push(len(initcode)) + push(0) * 2 + b"\x37"
    return copy + salt + push(len(initcode)) + push(0) + push(value) + bytes([opcode])


def initcode_of(code: bytes) -> bytes:
    """Initcode that leaves `code`."""
    head = push(len(code)) + b"\x80\x60\x0b\x5f" + CODECOPY + b"\x5f" + RETURN
    return head.ljust(11, STOP)[:11] + code if len(head) <= 11 else b""


@pytest.mark.parametrize(
    ("code", "error"),
    [
        # the stack holds 1 024 words
        (b"\x5f" * 1_024, None),
        (b"\x5f" * 1_025, "FullStack"),
        (b"\x5f" * 1_024 + b"\x80", "FullStack"),
        (b"\x5f" * 1_024 + POP + b"\x80", None),
        (b"\x5f" * 1_024 + b"\x9f", None),
        (b"\x5f" * 1_023 + push(1) + SLOAD + b"\x5f", "FullStack"),
        (JUMPDEST + b"\x5f\x5f\x56", "FullStack"),
        (JUMPDEST + b"\x5f\x5f\x5f\x56", "FullStack"),
        (ADD, "InsufficientStack"),
        (push(1) + ADD, "InsufficientStack"),
        (b"\x5f\x81", "InsufficientStack"),
        (b"\x5f" * 16 + b"\x9f", "InsufficientStack"),
        (b"\x5f" * 17 + b"\x9f", None),
        (push(0) + SSTORE, "InsufficientStack"),
        (JUMP, "InsufficientStack"),
        (push(6) + JUMPI, "InsufficientStack"),
        # more would be taken only behind a jump that leaves
        (push(1) + push(7) + JUMPI + ADD + STOP + JUMPDEST, None),
        (push(0) + push(7) + JUMPI + ADD + STOP + JUMPDEST, "InsufficientStack"),
        # where jumps may go
        (push(3) + JUMP + JUMPDEST, None),
        (push(4) + JUMP + STOP + JUMPDEST, None),
        (push(4) + JUMP + STOP, "InvalidJumpDestination"),
        (push(4) + JUMP + b"\x60\x5b", "InvalidInstruction"),
        (push(5) + JUMP + b"\x61\x60\x5b\x5b", "InvalidInstruction"),
        (b"\x5f\x35" + push(0xFF) + b"\x16" + JUMP + b"\x60\x5b", "InvalidInstruction"),
        (push(FAR) + JUMP, "InvalidJumpDestination"),
        (push(HUGE) + JUMP, "InvalidJumpDestination"),
        (push(1) + push(HUGE) + JUMPI, "InvalidJumpDestination"),
        (push(0) + push(HUGE) + JUMPI, None),
        (push(2) + b"\x35" + JUMP, "InvalidJumpDestination"),
        (push(1) + b"\x5f\x35" + JUMPI, "InvalidJumpDestination"),
        # a PUSH that the code's end cuts short
        (b"\x60", None),
        (b"\x7f\xff", None),
        (b"\x61\x5b", None),
        (b"", None),
        # memory
        (push(HUGE) + MLOAD, "OutOfGas"),
        (push(HUGE - 31) + MLOAD, "OutOfGas"),
        (push(FAR) + MLOAD, "OutOfGas"),
        (push(1) + push(FAR) + MSTORE, "OutOfGas"),
        (push(1) + push(HUGE) + MSTORE8, "OutOfGas"),
        (push(HUGE) + push(0) + KECCAK, "OutOfGas"),
        (push(0) + push(HUGE) + KECCAK, None),
        (push(1) + push(HUGE) + KECCAK, "OutOfGas"),
        (push(HUGE) + push(0) + push(0) + MCOPY, "OutOfGas"),
        (push(0) + push(HUGE) + push(HUGE) + MCOPY, None),
        (push(1) + push(HUGE) + push(0) + MCOPY, "OutOfGas"),
        (push(1) + push(0) + push(HUGE) + MCOPY, "OutOfGas"),
        (push(32) + push(HUGE) + push(0) + b"\x37" + push(0) + MLOAD, None),
        (push(0) + push(HUGE) + push(HUGE) + b"\x37", None),
        (push(HUGE) + push(0) + push(0) + b"\x37", "OutOfGas"),
        (push(32) + push(HUGE) + push(0) + CODECOPY + push(0) + MLOAD, None),
        (push(HUGE) + push(0) + push(0) + CODECOPY, "OutOfGas"),
        (push(1) + push(0) + push(0) + RETURNDATACOPY, "OutOfBoundsRead"),
        (push(0) + push(0) + push(0) + RETURNDATACOPY, None),
        (push(HUGE) + push(0) + RETURN, "OutOfGas"),
        (push(0) + push(HUGE) + RETURN, None),
        (push(HUGE) + push(0) + REVERT, "OutOfGas"),
        (push(0) + push(0) + REVERT, "Revert"),
        (INVALID, "InvalidInstruction"),
        (b"\x0c", "InvalidInstruction"),
        (b"\xef", "InvalidInstruction"),
        (push(HUGE) + b"\x35" + RETURN_TOP, None),
    ],
)
def test_rules(code: bytes, error: str | None) -> None:
    assert outcome(code, bytes([0] * 31 + [7, 8])).error == error


BRANCHES = (
    push(0) + MLOAD + push(1) + b"\x01" + push(0) + MSTORE + JUMPDEST  # a destination at 10
    + push(0) + MLOAD + b"\x80" + push(64) + MSTORE + push(5) + b"\x11" + push(2**16) + b"\x57"
)  # fmt: skip
STORING = push(9) + push(1) + SSTORE + push(2) + SLOAD + push(3) + SSTORE + push(0) + push(1) + SSTORE
LOGGING = push(7) + push(0) + MSTORE + push(5) + push(40) + push(3) + b"\xa1" + push(96) + push(0) + KECCAK
COPYING = push(70) + push(1) + push(33) + b"\x37" + push(50) + push(0) + push(90) + CODECOPY
CALLING = call(CALL, OTHER, 30_000, value=5, size=64) + call(STATICCALL, OTHER, 3_000) + LOGGING


@pytest.mark.parametrize("code", [BRANCHES, STORING, LOGGING + COPYING, CALLING, ADD * 3, b"\x5f" * 1_030])
def test_gas_may_run_out_at_any_opcode(code: bytes) -> None:
    """With less and less gas the same rule is the first to be broken, and the same gas is gone."""
    others = {OTHER: push(1) + push(5) + SSTORE + push(64) + push(0) + RETURN}
    needed = 200_000 - outcome(code, b"\1" * 40, 200_000, others).gas_left
    intrinsic = 21_000 + 40 * 16
    steps = range(intrinsic, min(needed, 200_000) + 2)
    chosen = {*steps[:120], *steps[-120:], *steps[:: max(1, len(steps) // 150)]}
    transactions = [to_contract(b"\1" * 40, gas) for gas in sorted(chosen)]
    ends = outcomes({CONTRACT: code, **others}, *([each] for each in transactions))
    assert "OutOfGas" in {end.error for end in ends}


@pytest.mark.parametrize("gas", [2_299, 2_300, 2_301, 2_400, 5_000, 22_100])
def test_change_of_storage_needs_more_gas_than_it_costs(gas: int) -> None:
    """EIP-2200 keeps what comes with a transfer from being enough."""
    end = outcome(call(CALL, OTHER, gas) + RETURN_TOP, others={OTHER: push(7) + push(1) + SSTORE})
    assert int.from_bytes(end.output, "big") == int(gas > 2_306)


@pytest.mark.parametrize(
    "values",
    [(first, second, third) for first in (0, 1, 7) for second in (0, 1, 7) for third in (0, 7)],
)
@pytest.mark.parametrize("slot", [1, 9])
def test_refunds(values: tuple[int, ...], slot: int) -> None:
    """Changes of a word that is 7, or none, before: in a transaction, and over two and over two blocks."""
    code = b"".join(push(32 * place) + b"\x35" + push(slot) + SSTORE for place in range(3))
    one, two = (
        to_contract(b"".join(value.to_bytes(32, "big") for value in each)) for each in (values, values[::-1])
    )
    ends = outcomes({CONTRACT: code}, [one, two], [two, one])
    assert all(end.error is None for end in ends)


@pytest.mark.parametrize(
    "change",
    [
        push(1) + push(1) + SSTORE,
        push(7) + push(1) + SSTORE,
        push(1) + push(1) + TSTORE,
        push(0) + push(0) + b"\xa0",
        push(0) * 3 + bytes([CREATE]),
        push(0) * 4 + bytes([CREATE2]),
        call(CALL, OTHER, value=1),
        push(0) + SELFDESTRUCT,
        SSTORE,
    ],
)
@pytest.mark.parametrize("depth", [1, 2])
def test_nothing_changes_in_a_static_call(change: bytes, depth: int) -> None:
    """Also not further down, where it is a plain call that would change something."""
    others = {OTHER: change + push(1) + push(0) + MSTORE + push(32) + push(0) + RETURN}
    if depth == 2:
        others = {DELEGATED: others[OTHER], OTHER: call(CALL, DELEGATED) + RETURN_TOP}
    end = outcome(call(STATICCALL, OTHER) + RETURN_TOP, others=others)
    assert (end.error, int.from_bytes(end.output, "big")) == (None, depth - 1)
    frame = end.frames[-1][0] if depth == 1 else end.frames[-1][0][-1][0]
    assert frame[1] == "WriteProtection"


def test_static_calls_may_read() -> None:
    others = {OTHER: push(1) + SLOAD + push(1) + TLOAD + ADD + call(CALL, DELEGATED) + POP + RETURN_TOP}
    code = call(STATICCALL, OTHER, size=32) + POP + push(0) + MLOAD + RETURN_TOP
    assert int.from_bytes(outcome(code, others=others).output, "big") == 7


@pytest.mark.parametrize("opcode", [CALL, CALLCODE, DELEGATECALL, STATICCALL])
def test_what_a_revert_says_comes_back_and_its_changes_do_not(opcode: int) -> None:
    said = push(0xBAD) + push(0) + MSTORE + push(40) + push(0) + REVERT
    change = b"" if opcode == STATICCALL else push(5) + push(1) + SSTORE + push(5) + push(0) + b"\xa0"
    code = call(opcode, OTHER) + b"\x3d" + push(0) + push(0) + RETURNDATACOPY + push(1) + SLOAD + push(64)
    end = outcome(code + MSTORE + push(96) + push(0) + RETURN, others={OTHER: change + said})
    words = [int.from_bytes(end.output[place : place + 32], "big") for place in (0, 64)]
    assert (words, end.logs) == ([0xBAD, 7], ())


def test_a_revert_goes_back_to_what_an_outer_call_changed() -> None:
    """Changed, called oneself, changed and reverted within: the outer change stays, and its price."""
    inner = push(3) + push(1) + SSTORE + push(3) + push(8) + SSTORE + push(0) * 2 + REVERT
    outer = push(2) + push(1) + SSTORE + call(CALL, CONTRACT) + POP + push(1) + SLOAD + push(8) + SLOAD + ADD
    code = b"\x33\x30\x14" + push(len(outer + RETURN_TOP) + 6) + JUMPI + outer + RETURN_TOP + JUMPDEST + inner
    assert code[len(outer + RETURN_TOP) + 6] == JUMPDEST[0]
    ends = outcomes({CONTRACT: code}, [to_contract(), to_contract()], [to_contract()])
    assert [int.from_bytes(end.output, "big") for end in ends] == [2, 2, 2]
    assert len(ends[0].frames[-1]) == 1


PRECOMPILES = [*range(1, 6), 9, 11, 12, 256]


@pytest.mark.parametrize("address", PRECOMPILES)
@pytest.mark.parametrize("gas", [0, 700, 100_000])
def test_precompiles(address: int, gas: int) -> None:
    filled = b"".join(push(3**100 + place) + push(32 * place) + MSTORE for place in range(4))
    to = "0x" + address.to_bytes(20, "big").hex()
    code = filled + call(CALL, to, gas, size=128) + call(STATICCALL, to, gas, size=128)
    assert outcome(code + push(0) + push(0) + RETURN).error is None


def test_recovery_of_a_signer() -> None:
    from ledger.keys import derive

    key, digest = derive(1, "signer"), bytes(range(32))
    signature = key.sign(digest)
    words = (digest, (27 + signature.y_parity).to_bytes(32, "big"), signature.r, signature.s)
    data = b"".join(word if isinstance(word, bytes) else word.to_bytes(32, "big") for word in words)
    code = push(128) + push(0) * 2 + b"\x37" + call(STATICCALL, "0x" + "00" * 19 + "01", size=128) + POP
    output = outcome(code + push(32) + push(0) + RETURN, data).output
    assert output[12:].hex() == key.address[2:].lower()


@pytest.mark.parametrize("opcode", [CALL, CALLCODE, DELEGATECALL, STATICCALL])
def test_delegated_accounts(opcode: int) -> None:
    """EIP-7702: the account's storage, the other's code; the price includes reaching both."""
    others = {
        DELEGATED: DELEGATION + bytes.fromhex(OTHER[2:]),
        OTHER: b"\x30" + push(2) + SLOAD + ADD + RETURN_TOP,
    }
    end = outcome(call(opcode, DELEGATED, size=32) + POP + call(opcode, DELEGATED), others=others)
    assert end.error is None
    transaction = Transaction(None, 0, DELEGATED, gas=100_000)
    assert outcomes({CONTRACT: b"", **others}, [transaction])[0].output


@pytest.mark.parametrize("to", ["precompile", "itself", "empty"])
def test_delegated_to_what_does_nothing(to: str) -> None:
    target = {"precompile": "0x" + "00" * 19 + "02", "itself": DELEGATED, "empty": OTHER}[to]
    others = {DELEGATED: DELEGATION + bytes.fromhex(target[2:])}
    end = outcome(call(CALL, DELEGATED, size=32) + RETURN_TOP, others=others)
    assert int.from_bytes(end.output, "big") == int(to != "itself")


def test_access_lists_and_what_was_accessed_before() -> None:
    """Listed words and addresses are warm from the start; others after their first access; none later."""
    code = (push(1) + SLOAD + push(1) + SLOAD + push(2) + SLOAD) + call(CALL, OTHER) + call(CALL, OTHER)
    listed: dict[str, Any] = {"access_list": ((CONTRACT, (bytes(31) + b"\1",)), (OTHER, ()))}
    bare, warm, again = outcomes(
        {CONTRACT: code, OTHER: STOP}, [to_contract(), to_contract(**listed), to_contract()]
    )
    # a word and an address less to reach, 1 900 and 2 400 of the list's own price more
    assert bare.gas_left == again.gas_left
    assert warm.gas_left - bare.gas_left == (2_100 - 100) + (2_600 - 100) - (2_400 * 2 + 1_900)


def test_access_is_forgotten_with_the_call_that_reverted() -> None:
    reader = push(4) + SLOAD + push(0) * 2 + REVERT
    code = call(DELEGATECALL, OTHER) + GAS + push(4) + SLOAD + POP + GAS + b"\x90\x03" + RETURN_TOP
    spent = int.from_bytes(outcome(code, others={OTHER: reader}).output, "big")
    assert spent == 2_100 + 3 + 2 + 2


def test_transient_storage() -> None:
    """Kept between calls of a transaction, undone with them, gone after it (EIP-1153)."""
    writer = push(1) + TLOAD + push(1) + ADD + push(1) + TSTORE
    code = writer + call(DELEGATECALL, OTHER) + call(DELEGATECALL, DELEGATED) + push(1) + TLOAD + RETURN_TOP
    others = {OTHER: writer, DELEGATED: writer + INVALID}
    ends = outcomes({CONTRACT: code, **others}, [to_contract(), to_contract()], [to_contract()])
    assert [int.from_bytes(end.output, "big") for end in ends] == [2, 2, 2]


LONG_CODE = push(24_577) + push(0) + RETURN
BAD_PREFIX = push(0xEF) + push(0) + MSTORE8 + push(1) + push(0) + RETURN


@pytest.mark.parametrize("opcode", [CREATE, CREATE2])
@pytest.mark.parametrize(
    ("initcode", "is_created"),
    [
        (b"", True),
        (initcode_of(push(5) + push(1) + SSTORE), True),
        (push(5) + push(1) + SSTORE + initcode_of(STOP), True),
        (push(5) + push(1) + SSTORE + push(4) + push(0) + REVERT, False),
        (INVALID, False),
        (push(24_576) + push(0) + RETURN, True),
        (LONG_CODE, False),
        (BAD_PREFIX, False),
        (push(0) + SELFDESTRUCT, True),
        (push(3) + push(1) + SSTORE + push(0) + SELFDESTRUCT, True),
        (JUMPDEST * 49_152, True),
    ],
)
def test_creation(opcode: int, initcode: bytes, is_created: bool) -> None:
    """Within a transaction, twice: the second CREATE2 meets the first one's address."""
    code = creation(initcode, opcode) + b"\x80\x3b" + push(0) + MSTORE + b"\x15\x15" + RETURN_TOP
    ends = outcomes(
        {CONTRACT: code},
        [to_contract(initcode, 12_000_000), to_contract(initcode, 12_000_000)],
        [to_contract(initcode, 12_000_000)],
    )
    assert int.from_bytes(ends[0].output, "big") == int(is_created), ends[0]


def test_initcode_has_a_limit() -> None:
    assert outcome(creation(bytes(49_153)), bytes(49_153), 30_000_000).error == "OutOfGas"


@pytest.mark.parametrize("gas", [55_000, 60_000, 80_000, 300_000])
@pytest.mark.parametrize("initcode", [initcode_of(STORING), STORING, LONG_CODE, BAD_PREFIX, INVALID, JUMP])
def test_creation_by_transaction(initcode: bytes, gas: int) -> None:
    transaction = Transaction(None, 0, None, initcode, 3, gas)
    assert len(outcomes({CONTRACT: b""}, [transaction], [transaction])) == 2


def test_created_and_gone_in_one_transaction() -> None:
    """EIP-6780: its coins and storage go with it, also where the address is used again in the block."""
    child = push(1) + SLOAD + push(1) + ADD + push(1) + SSTORE + b"\x33" + SELFDESTRUCT
    initcode = push(4) + push(9) + SSTORE + initcode_of(child)[: 11 + len(child)]
    head = len(push(4) + push(9) + SSTORE)
    initcode = initcode.replace(b"\x80\x60\x0b", b"\x80\x60" + bytes([11 + head]), 1)
    make = creation(initcode, CREATE2, value=2)
    invoke = push(0) * 4 + push(0) + b"\x85\x5a" + bytes([CALL])
    code = make + invoke + invoke + RETURN_TOP
    ends = outcomes({CONTRACT: code}, [to_contract(initcode), to_contract(initcode)], [to_contract(initcode)])
    assert all(int.from_bytes(end.output, "big") == 1 for end in ends)


def test_calls_may_be_1_024_deep() -> None:
    code = push(0) * 5 + b"\x30" + GAS + bytes([CALL]) + RETURN_TOP
    frame, depth = outcome(code, gas=10**12).frames, 0
    while frame[-1]:
        frame, depth = frame[-1][0], depth + 1
    assert depth == 1_024


@pytest.mark.parametrize("value", [10**18, 10**18 + 1])
def test_coins_that_are_not_there(value: int) -> None:
    end = outcome(call(CALL, OTHER, value=value) + RETURN_TOP, others={OTHER: STOP})
    assert int.from_bytes(end.output, "big") == int(value <= 10**18)


# --- the precompile that is not py-evm's ----------------------------------------------------------


def recovery_inputs() -> Iterator[bytes]:
    """Signatures, their high-s forms, and what signs nothing, in every length of input."""
    rng, key = Random("ecrecover"), derive(1, "signer")
    for _ in range(20):
        message = rng.randbytes(32)
        signature = key.sign(message)
        v, r, s = 27 + signature.y_parity, signature.r, signature.s
        for recovery, scalar in (
            (v, s),
            (55 - v, CURVE_ORDER - s),
            (55 - v, s),
            (v, 0),
            (v, CURVE_ORDER),
            (26, s),
        ):
            yield message + recovery.to_bytes(32, "big") + r + scalar.to_bytes(32, "big")
        yield message + v.to_bytes(32, "big") + rng.randbytes(32) + s.to_bytes(32, "big")
        yield message + v.to_bytes(32, "big") + bytes(32) + s.to_bytes(32, "big")
        yield message + (v + (1 << 64)).to_bytes(32, "big") + r + s.to_bytes(32, "big")
    whole = message + v.to_bytes(32, "big") + r + s.to_bytes(32, "big")
    yield from (whole[:length] for length in (0, 1, 32, 64, 96, 127))
    yield whole + b"more"


def test_ecrecover() -> None:
    """Through a contract that hands its input on, asks for 32 bytes and returns all that came back."""
    copied = bytes.fromhex("365f5f37")  # CALLDATACOPY of everything
    returned = bytes.fromhex("3d5f5f3e3d5ff3")  # RETURNDATACOPY and RETURN of everything
    called = bytes.fromhex("60205f365f6001") + push(10_000) + b"\xfa"  # STATICCALL to address 1
    found = [outcome(copied + called + b"\x50" + returned, data).output for data in recovery_inputs()]
    signer = address_bytes(derive(1, "signer").address).rjust(32, b"\0")
    assert found.count(signer) == 41
    assert 40 <= found.count(b"") < len(found) - 41
    poor = bytes.fromhex("60205f5f5f6001") + push(2_999) + b"\xfa"
    assert outcome(poor + bytes.fromhex("5f5260205ff3")).output == bytes(32)  # not enough gas: fails
