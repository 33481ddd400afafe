"""Two machines side by side, one with each interpreter, and everything a transaction leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from ledger.address import address_bytes
from ledger.chain.encoding import Header
from ledger.chain.evm import Account, Interpreter, Machine, _executable, blank_header
from ledger.chain.store import Memory, Store
from ledger.transactions import Transaction
from market.orders import NOBODY, Address

CONTRACT: Address = "0x" + "c0" * 20
OTHER: Address = "0x" + "c1" * 20
DELEGATED: Address = "0x" + "d0" * 20
"""An account without code of its own, that lets `CONTRACT` act for it (EIP-7702)."""
SENDER: Address = NOBODY
COINS_WEI = 10**18
DELEGATION = b"\xef\x01\x00"

INTERPRETERS: tuple[Interpreter, ...] = get_args(Interpreter)
HEADER: Header = blank_header(None, 1_700_000_000, 30_000_000, 0)


def push(value: int) -> bytes:
    """The shortest PUSH of a value that is not PUSH0."""
    encoded = value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
    return bytes([0x5F + len(encoded)]) + encoded


def call(opcode: int, to: Address, gas: int = 100_000, value: int = 0, size: int = 0) -> bytes:
    """A call with the first `size` bytes of memory as input and output, its success left on the stack."""
    coins = push(value) if opcode in (0xF1, 0xF2) else b""
    sizes = (push(size) + push(0)) * 2
    return sizes + coins + push(int(to, 16)) + push(gas) + bytes([opcode])


@dataclass(frozen=True)
class Outcome:
    """What a transaction did, calls within it included, and the state's root once it is written."""

    error: str | None
    frames: tuple[Any, ...] = field(repr=False)
    gas_left: int
    refund: int
    output: bytes
    logs: tuple[Any, ...]
    root: bytes


class World:
    """The state of one machine, block after block."""

    def __init__(self, interpreter: Interpreter, codes: Mapping[Address, bytes]) -> None:
        self.interpreter = interpreter
        self.store = Store(Memory())
        self.header = HEADER
        machine = self._machine()
        for address, code in codes.items():
            state = machine._state
            state.set_code(address_bytes(address), code)
            state.set_balance(address_bytes(address), COINS_WEI)
            state.set_storage(address_bytes(address), 1, 7)
            state.set_storage(address_bytes(address), 2, 2**255)
        machine.put(SENDER, Account(balance_wei=COINS_WEI))
        self._close(machine)

    def block(self, transactions: Sequence[Transaction]) -> list[Outcome]:
        """What each transaction of a block did; the root is the one after the block."""
        machine = self._machine()
        computations = []
        for transaction in transactions:
            machine._state.lock_changes()
            executable = _executable(transaction, address_bytes(SENDER))
            computations.append(machine._state.apply_transaction(executable))
        root = self._close(machine)
        return [_outcome(computation, root) for computation in computations]

    def _machine(self) -> Machine:
        return Machine(self.store, 31_337, self.header, [bytes([7]) * 32], interpreter=self.interpreter)

    def _close(self, machine: Machine) -> bytes:
        root = machine.persist()
        with self.store.together():
            pass
        later = self.header.timestamp + 12
        self.header = replace(blank_header(self.header, later, 30_000_000, 0), state_root=root)
        return root


def _outcome(computation: Any, root: bytes) -> Outcome:
    return Outcome(
        error=type(computation.error).__name__ if computation.is_error else None,
        frames=_frame(computation),
        gas_left=computation.get_gas_remaining(),
        refund=computation.get_gas_refund(),
        output=computation.output,
        logs=computation.get_log_entries(),
        root=root,
    )


def _frame(computation: Any) -> tuple[Any, ...]:
    """One call: whom it reached, how it ended, the gas, what came back; and those it made itself."""
    return (
        computation.msg.storage_address,
        type(computation.error).__name__ if computation.is_error else None,
        computation.get_gas_remaining(),
        bytes(computation.output),
        bytes(computation.return_data),
        tuple(_frame(child) for child in computation.children),
    )


def outcomes(codes: Mapping[Address, bytes], *blocks: Sequence[Transaction]) -> list[Outcome]:
    """Outcomes of all transactions, which both interpreters agree on."""
    fast, stock = (
        [outcome for block in blocks for outcome in world.block(block)]
        for world in (World(interpreter, codes) for interpreter in INTERPRETERS)
    )
    assert fast == stock, codes
    return fast


def outcome(
    code: bytes, data: bytes = b"", gas: int = 1_000_000, others: Mapping[Address, bytes] | None = None
) -> Outcome:
    """Outcome of a call of this code, which both interpreters agree on."""
    return outcomes({CONTRACT: code, **(others or {})}, [to_contract(data, gas)])[0]


def to_contract(data: bytes = b"", gas: int = 1_000_000, **more: Any) -> Transaction:
    """A transaction of `SENDER`; the nonce is not looked at."""
    return Transaction(None, 0, CONTRACT, data, gas=gas, **more)
