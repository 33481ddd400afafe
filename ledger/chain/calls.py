"""Messages that are executed without a transaction: to read, to learn the gas, to learn what is accessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ledger.chain.encoding import Header
from ledger.chain.evm import Execution, Machine
from ledger.chain.pool import cost_wei
from ledger.chain.protocol import Halted, TransactionRefused
from ledger.chain.reverts import reverted
from ledger.chain.rules import Fork, floor_gas, intrinsic_gas
from ledger.transactions import AccessList, Transaction
from market.orders import NOBODY, Address


@dataclass(frozen=True, slots=True)
class Call:
    """A message to execute without a transaction; a creation where `to` is None.

    `gas` None is the block's limit. Nobody pays for gas unless `max_fee_per_gas` is given.
    """

    to: Address | None
    data: bytes = b""
    sender: Address = NOBODY
    value: int = 0
    gas: int | None = None
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    access_list: AccessList = ()


def begun(call: Call, header: Header, fork: Fork, machine: Machine) -> Transaction:
    """The call as a transaction of a block. Raises TransactionRefused where it cannot even begin."""
    transaction = Transaction(
        chain_id=None,
        nonce=0,
        to=call.to,
        data=call.data,
        value=call.value,
        gas=min(call.gas or header.gas_limit, header.gas_limit),
        max_fee_per_gas=call.max_fee_per_gas,
        max_priority_fee_per_gas=call.max_priority_fee_per_gas,
        access_list=call.access_list,
    )
    needed = intrinsic_gas(transaction, fork)
    if transaction.gas < needed:
        raise TransactionRefused(f"intrinsic gas too low: {transaction.gas}, needs {needed}")
    if call.max_fee_per_gas and call.max_fee_per_gas < (header.base_fee or 0):
        raise TransactionRefused(
            f"fee: max fee per gas {call.max_fee_per_gas} is less than block base fee {header.base_fee}"
        )
    if machine.balance(call.sender) < (cost := cost_wei(transaction)):
        raise TransactionRefused(
            f"insufficient funds for gas * price + value: {call.sender} needs {cost} wei"
        )
    return transaction


def succeeded(execution: Execution) -> Execution:
    """The execution itself. Raises Reverted if the contract refused, Halted if the machine stopped it."""
    if execution.error is None:
        return execution
    raise reverted(execution.output) if execution.reverted else Halted(execution.error)


def least_gas(machine: Machine, transaction: Transaction, sender: Address, fork: Fork) -> int:
    """Gas limit under which a transaction succeeds, at most 1/64 above the least. Raises Reverted."""
    limit = transaction.gas
    execution = succeeded(machine.simulate(transaction, sender))

    def suffices(gas: int) -> bool:
        return machine.simulate(replace(transaction, gas=gas), sender).error is None

    low = max(execution.gas_spent, floor_gas(transaction, fork))
    if suffices(low):
        return low
    # a call keeps 1/64 of the gas back (EIP-150), so what is spent may not be enough to spend it
    high = min(low + low // 16, limit)
    if not suffices(high):
        low, high = high, limit
    while high - low > low // 64:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def names_all(access_list: AccessList, accessed: AccessList) -> bool:
    """Whether an access list names all that is accessed."""
    return set(_flat(accessed)) <= set(_flat(access_list))


def merged(first: AccessList, second: AccessList) -> AccessList:
    """What either access list names, each once."""
    slots: dict[Address, dict[bytes, None]] = {}
    for address, words in (*first, *second):
        slots.setdefault(address, {}).update(dict.fromkeys(words))
    return tuple((address, tuple(words)) for address, words in slots.items())


def _flat(access_list: AccessList) -> Iterator[tuple[Address, bytes | None]]:
    """Accounts and words of an access list."""
    for address, slots in access_list:
        yield address, None
        yield from ((address, slot) for slot in slots)
