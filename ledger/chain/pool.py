"""Transactions waiting for a block, first come, first served, and what they must satisfy to wait.

There are no gaps and no replacements: a sender's next transaction carries the next nonce.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator

from ledger.chain.encoding import Header
from ledger.chain.evm import INITCODE_MAX_BYTES, Machine, floor_gas, intrinsic_gas, next_base_fee
from ledger.chain.protocol import TransactionRefused
from ledger.transactions import SignedTransaction, Transaction
from market.orders import Address

_REFUSALS_KEPT = 1_024


class Pool:
    """The queue in order of arrival, with each sender's count and commitments."""

    def __init__(self, transactions: Iterable[SignedTransaction] = ()) -> None:
        self._queue: dict[bytes, SignedTransaction] = {}
        self._count: Counter[Address | None] = Counter()
        self._committed_wei: Counter[Address | None] = Counter()
        self._dropped: OrderedDict[bytes, str] = OrderedDict()
        for signed in transactions:
            self.add(signed)

    def __iter__(self) -> Iterator[SignedTransaction]:
        return iter(self._queue.values())

    def __len__(self) -> int:
        return len(self._queue)

    def get(self, transaction_hash: bytes) -> SignedTransaction | None:
        """A waiting transaction by hash."""
        return self._queue.get(transaction_hash)

    def count(self, sender: Address | None) -> int:
        """How many of a sender's transactions wait."""
        return self._count[sender]

    def committed_wei(self, sender: Address | None) -> int:
        """The most that a sender's waiting transactions can cost."""
        return self._committed_wei[sender]

    def add(self, signed: SignedTransaction) -> None:
        """Queue a transaction that was checked."""
        self._dropped.pop(signed.hash, None)
        self._queue[signed.hash] = signed
        self._count[signed.sender] += 1
        self._committed_wei[signed.sender] += cost_wei(signed.transaction)

    def remove(self, signed: SignedTransaction) -> None:
        """Take a transaction out, because it is in a block."""
        del self._queue[signed.hash]
        self._count[signed.sender] -= 1
        self._committed_wei[signed.sender] -= cost_wei(signed.transaction)

    def drop(self, signed: SignedTransaction, fault: str) -> None:
        """Take a transaction out because it can no longer run, and remember why."""
        self.remove(signed)
        self._dropped[signed.hash] = fault
        if len(self._dropped) > _REFUSALS_KEPT:
            self._dropped.popitem(last=False)

    def why_dropped(self, transaction_hash: bytes) -> str | None:
        """Why a transaction was dropped, None if it was not."""
        return self._dropped.get(transaction_hash)


def cost_wei(transaction: Transaction) -> int:
    """The most a transaction can take from its sender."""
    return transaction.gas * transaction.max_fee_per_gas + transaction.value


def admit(signed: SignedTransaction, pool: Pool, machine: Machine, head: Header, chain_id: int) -> None:
    """Check the rules a transaction must satisfy to be queued after `head`. Raises TransactionRefused."""
    transaction, sender = signed.transaction, signed.sender
    if sender is None:
        raise TransactionRefused("signature: nobody signed it, or s is in the upper half")
    if transaction.chain_id not in (None, chain_id):
        raise TransactionRefused(f"chain id: {transaction.chain_id} is not {chain_id}")
    expected = machine.nonce(sender) + pool.count(sender)
    if transaction.nonce != expected:
        fault = "low" if transaction.nonce < expected else "high"
        raise TransactionRefused(f"nonce too {fault}: {transaction.nonce}, expected {expected}")
    _check_gas(transaction, head)
    balance, needed = machine.balance(sender) - pool.committed_wei(sender), cost_wei(transaction)
    if balance < needed:
        raise TransactionRefused(
            f"insufficient funds for gas * price + value: has {balance} wei, needs {needed}"
        )
    if machine.code(sender):
        raise TransactionRefused(f"sender {sender} is a contract")


def unfit(transaction: Transaction, sender: Address, machine: Machine) -> str | None:
    """What changed since a transaction was queued so that it can no longer run."""
    expected = machine.nonce(sender)
    if transaction.nonce != expected:
        return f"nonce too high: {transaction.nonce}, expected {expected}, since an earlier one was dropped"
    if machine.balance(sender) < cost_wei(transaction):
        return f"insufficient funds: {sender} no longer has {cost_wei(transaction)} wei"
    return None


def _check_gas(transaction: Transaction, head: Header) -> None:
    if transaction.gas > head.gas_limit:
        raise TransactionRefused(f"gas: {transaction.gas} is more than the block's {head.gas_limit}")
    least = max(intrinsic_gas(transaction), floor_gas(transaction))
    if transaction.gas < least:
        raise TransactionRefused(f"intrinsic gas too low: {transaction.gas}, needs {least}")
    if transaction.to is None and len(transaction.data) > INITCODE_MAX_BYTES:
        raise TransactionRefused(f"initcode: {len(transaction.data)} bytes exceed {INITCODE_MAX_BYTES}")
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise TransactionRefused("fee: the priority fee is above the maximum fee")
    base_fee = next_base_fee(head)
    if transaction.max_fee_per_gas < base_fee:
        raise TransactionRefused(
            f"fee: max fee per gas {transaction.max_fee_per_gas} is less than block base fee {base_fee}"
        )
