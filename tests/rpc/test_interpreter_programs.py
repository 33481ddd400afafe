"""Random programs, several of them calling each other over some blocks, with each interpreter."""

from __future__ import annotations

from random import Random

import pytest

from ledger.address import address_bytes
from ledger.transactions import Transaction
from market.orders import Address
from tests.rpc.interpreters import (
    CONTRACT,
    DELEGATED,
    DELEGATION,
    OTHER,
    Outcome,
    call,
    outcomes,
    push,
    to_contract,
)

pytestmark = pytest.mark.filterwarnings("ignore:SELFDESTRUCT opcode present:DeprecationWarning")

SEEDS = range(24)
WORLDS_A_SEED = 25

OPERANDS = {
    0: [0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, *range(0x41, 0x49), 0x4A, 0x58, 0x59, 0x5A, 0x5B],
    1: [0x15, 0x19, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x50, 0x51, 0x54, 0x5C],
    2: [*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15), *range(0x16, 0x19), *range(0x1A, 0x1E)],
    3: [0x08, 0x09, 0x37, 0x39, 0x3E, 0x5E, 0xA1, 0xF0],
    4: [0x3C, 0xA2, 0xF5],
}  # fmt: skip
"""Opcodes by how many words they take."""
OPERANDS[2] += [0x20, 0x52, 0x53, 0x55, 0x55, 0x55, 0x5D, 0xA0]
OF_MEMORY = {0x20, 0x37, 0x39, 0x3C, 0x3E, 0x51, 0x52, 0x53, 0x5E, 0xA0, 0xA1, 0xA2, 0xF0, 0xF5}
"""Opcodes whose operands say where in memory, or how much of it: large ones end a program."""
PUSHING = {*range(0x01, 0x21), *range(0x30, 0x37), 0x38, 0x3A, 0x3B, 0x3D, 0x3F, *range(0x40, 0x4B), 0x51}
PUSHING |= {0x54, 0x58, 0x59, 0x5A, 0x5C, 0xF0, 0xF5}
HALTS = [0x00, 0xF3, 0xFD, 0xFE, 0xFF, 0x0C]
CALLS = [0xF1, 0xF2, 0xF4, 0xFA]
PLACES = [OTHER, DELEGATED, CONTRACT, "0x" + "00" * 19 + "02", "0x" + "00" * 19 + "04", "0x" + "ee" * 20]


def operand(rng: Random) -> int:
    """Mostly small, so that memory, slots and shifts meet; at times an edge, an address, or anything."""
    kind = rng.random()
    if kind < 0.72:
        return small(rng)
    if kind < 0.86:
        return rng.choice((2**255, 2**256 - 1, 2**255 - 1, 255, 256, 2**64, 2**128 + 1))
    if kind < 0.9:
        return int(rng.choice(PLACES), 16)
    return rng.getrandbits(rng.choice((16, 160, 256)))


def small(rng: Random) -> int:
    return rng.choice((0, 0, 1, 1, 2, 3, 5, 31, 32, 33, 64, rng.randrange(120)))


def operands(rng: Random, opcode: int) -> list[int]:
    """What an opcode may take, the top of the stack last."""
    count = next(count for count, opcodes in OPERANDS.items() if opcode in opcodes)
    if opcode == 0x3E and rng.random() < 0.9:
        return [0, 0, small(rng)]  # of what a call returned only nothing is there for certain
    if opcode == 0x55 and rng.random() < 0.8:
        return [rng.choice((0, 0, 1, 7, small(rng))), rng.randrange(4)]
    if opcode in OF_MEMORY and rng.random() < 0.98:
        return [small(rng) for _ in range(count)]
    return [operand(rng) for _ in range(count)]


def program(rng: Random) -> bytes:
    """Code that mostly finds on the stack what it needs, with loops, branches and calls."""
    code, height = bytearray(), 0
    destinations: list[int] = []
    for _ in range(rng.randrange(4, 40)):
        kind = rng.random()
        if kind < 0.2:
            code += push(operand(rng))
            height += 1
        elif kind < 0.34 and height:
            depth = rng.randrange(min(height, 16))
            swap = rng.random() < 0.5 and depth + 1 < height
            code.append((0x90 if swap else 0x80) + depth)
            height += not swap
        elif kind < 0.42:
            destinations.append(len(code))
            code.append(0x5B)
        elif kind < 0.5 and destinations:
            jump_back(code, rng.choice(destinations))
        elif kind < 0.55:
            height -= skip_ahead(code, rng, height)
        elif kind < 0.6:
            code += call(
                rng.choice(CALLS), rng.choice(PLACES), rng.choice((3_000, 60_000)), rng.random() < 0.2, 40
            )
            height += 1
        else:
            opcode = rng.choice(OPERANDS[rng.choice((0, 1, 1, 2, 2, 2, 2, 3, 3, 4))])
            words = operands(rng, opcode)
            given = words if opcode in OF_MEMORY or rng.random() < 0.7 else words[height:]
            code += b"".join(map(push, given))
            code.append(opcode)
            height += len(given) - len(words) + (opcode in PUSHING)
        if rng.random() < 0.003:
            code.append(rng.randrange(256))
    code += push(operand(rng) % 200) + push(0) + bytes([rng.choice((0x00, 0xF3, 0xF3, 0xF3, 0xFD))])
    if rng.random() < 0.15:
        code.append(rng.choice(HALTS))
    return bytes(code)


def jump_back(code: bytearray, destination: int) -> None:
    """Go through a loop again while a counter in memory is small."""
    counter = push(0x1E0)
    code += counter + b"\x51" + push(1) + b"\x01" + b"\x80" + counter + b"\x52"
    code += push(6) + b"\x11" + push(destination) + b"\x57"


def skip_ahead(code: bytearray, rng: Random, height: int) -> int:
    """Skip some opcodes, always or where a word says so; returns how many words that took."""
    conditional = rng.random() < 0.7
    if conditional and not height:
        code += push(operand(rng))
    skipped = rng.choice((b"", b"\x5f\x50", b"\x60\x5b\x50", b"\x34\x50"))
    place = len(code) + 4 + len(skipped)
    code += b"\x61" + place.to_bytes(2, "big") + (b"\x57" if conditional else b"\x56") + skipped
    code[place : place + 1] = b"\x5b"
    return int(conditional and height > 0)


def world(rng: Random) -> list[Outcome]:
    codes: dict[Address, bytes] = {CONTRACT: program(rng), OTHER: program(rng)}
    codes[DELEGATED] = DELEGATION + address_bytes(rng.choice((CONTRACT, OTHER)))
    transactions = []
    for _ in range(3):
        data, gas = rng.randbytes(rng.randrange(70)), rng.choice((30_000, 100_000, 400_000, 1_000_000))
        if rng.random() < 0.15:
            transactions.append(Transaction(None, 0, None, program(rng), rng.randrange(2), 53_000 + 3 * gas))
        else:
            transactions.append(to_contract(data, gas, value=rng.randrange(2)))
    return outcomes(codes, transactions[:2], transactions[2:])


@pytest.mark.parametrize("seed", SEEDS)
def test_programs(seed: int) -> None:
    rng = Random(f"programs {seed}")
    ends = [end for _ in range(WORLDS_A_SEED) for end in world(rng)]
    # programs that only fail at once would show little
    assert sum(end.error is None for end in ends) > len(ends) // 3
    assert sum(len(end.frames[-1]) for end in ends) > len(ends) // 5


@pytest.mark.parametrize("seed", range(4))
def test_bytes(seed: int) -> None:
    """Any bytes at all, behind enough of a stack to get somewhere."""
    rng = Random(f"bytes {seed}")
    words = b"".join(push(operand(rng)) for _ in range(12))
    for _ in range(150):
        code = (words if rng.random() < 0.8 else b"") + rng.randbytes(rng.randrange(1, 60))
        outcomes({CONTRACT: code}, [to_contract(rng.randbytes(40), rng.choice((25_000, 100_000)))])
