"""What translated runs leave to an interpreter: opcodes one at a time, and the price of storage.

Opcodes are py-evm's, but for SSTORE, which there reads a word through four calls and describes each
change in words. The prices are those of EIP-2200 as EIP-2929 and EIP-3529 left them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth.exceptions import InsufficientStack, OutOfGas, WriteProtection
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.logic.invalid import InvalidOpcode

JUMP, JUMPI, JUMPDEST, SSTORE, SELFDESTRUCT = 0x56, 0x57, 0x5B, 0x55, 0xFF

GAS_COLD_WORD = 2_100
GAS_WARM_WORD = 100
GAS_NEW_WORD = 20_000
GAS_CHANGED_WORD = 5_000 - GAS_COLD_WORD
GAS_RESERVED_AT_CHANGE = 2_300
"""With no more gas than this, storage cannot change: a transfer of coins comes with so much."""
REFUND_CLEARED_WORD = 4_800


def load_word(frame: Any, slot: int) -> tuple[int, int]:
    """The word that SLOAD finds, and what it costs."""
    accounts, address = frame.state._account_db, frame.msg.storage_address
    gas = GAS_WARM_WORD
    if not accounts.is_storage_warm(address, slot):
        accounts.mark_storage_warm(address, slot)
        gas = GAS_COLD_WORD
    word: int = accounts.get_storage(address, slot)
    return word, gas


def store_word(frame: Any, gas: int, slot: int, word: int) -> int:
    """What SSTORE does; returns the gas left. Raises OutOfGas, WriteProtection."""
    if gas < 0:
        raise OutOfGas("run")
    if frame.msg.is_static:
        raise WriteProtection("SSTORE")
    if gas <= GAS_RESERVED_AT_CHANGE:
        raise OutOfGas("SSTORE")
    accounts, address = frame.state._account_db, frame.msg.storage_address
    now = accounts.get_storage(address, slot)
    before = accounts.get_storage(address, slot, from_journal=False)
    price, refund = _change(before, now, word)
    if not accounts.is_storage_warm(address, slot):
        accounts.mark_storage_warm(address, slot)
        price += GAS_COLD_WORD
    if gas < price:
        raise OutOfGas("SSTORE")
    frame.refund_gas(refund)
    if word != now:
        accounts.set_storage(address, slot, word)
    return gas - price


class _StoreWord:
    """SSTORE, in the form of py-evm's opcodes."""

    mnemonic = "SSTORE"
    gas_cost = 0

    def __call__(self, computation: Any) -> None:
        """Change a word. Raises WriteProtection, OutOfGas, InsufficientStack, in this order."""
        stack, meter = computation._stack.values, computation._gas_meter
        if computation.msg.is_static:
            raise WriteProtection(self.mnemonic)
        if meter.gas_remaining <= GAS_RESERVED_AT_CHANGE:
            raise OutOfGas(self.mnemonic)
        if len(stack) < 2:
            raise InsufficientStack(self.mnemonic)
        slot, word = stack.pop(), stack.pop()
        meter.gas_remaining = store_word(computation, meter.gas_remaining, slot, word)


def _change(before: int, now: int, word: int) -> tuple[int, int]:
    """Gas and refund of a change, given the word before the transaction (EIP-2200, EIP-3529)."""
    if word == now:
        return GAS_WARM_WORD, 0
    if now == before:
        if not before:
            return GAS_NEW_WORD, 0
        return GAS_CHANGED_WORD, 0 if word else REFUND_CLEARED_WORD
    refund = 0
    if before:
        refund += REFUND_CLEARED_WORD * ((not word) - (not now))
    if word == before:
        refund += (GAS_CHANGED_WORD if before else GAS_NEW_WORD) - GAS_WARM_WORD
    return GAS_WARM_WORD, refund


def quiet(opcodes: Mapping[int, Any]) -> dict[int, Any]:
    """Opcodes of py-evm since Cancun, SELFDESTRUCT without the warning that it is deprecated.

    That is for authors of contracts: it tells nothing to who runs them, and would end an execution
    where warnings are errors.
    """
    return {**opcodes, SELFDESTRUCT: opcodes[SELFDESTRUCT].__wrapped__}


_STORE = {SSTORE: _StoreWord()}
CANCUN: dict[int, Any] = {**quiet(CancunComputation.opcodes), **_STORE}
PRAGUE: dict[int, Any] = {**quiet(PragueComputation.opcodes), **_STORE}
"""Opcodes of the forks by number."""


def interpret(frame: Any, at: int) -> int:
    """Execute opcode by opcode from `at` to the next jump or its destination; returns where code goes on.

    This is how py-evm goes on, so that the first rule to be broken is the one that is named. Raises VMError.
    """
    stack, stream, opcodes = frame._stack.values, frame.code, frame.opcodes
    stream.program_counter = at
    for opcode in stream:
        execute = opcodes.get(opcode) or InvalidOpcode(opcode)
        execute(computation=frame)
        if stack and type(stack[-1]) is bytes:  # translated runs calculate with numbers only
            stack[-1] = int.from_bytes(stack[-1], "big")
        if opcode in (JUMP, JUMPI) or stream.peek() == JUMPDEST:
            break
    after: int = stream.program_counter
    return after
