"""Transactions waiting for a block, first come, first served, and what they must satisfy to wait.

A sender's transactions run in the order of their nonces. One may come before those that it follows, and
waits for them; one of the same nonce takes the place of an earlier one if it pays a tenth more.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ledger.chain.encoding import Header
from ledger.chain.evm import Machine
from ledger.chain.protocol import TransactionRefused
from ledger.chain.rules import (
    INITCODE_MAX_BYTES,
    Fork,
    blob_base_fee,
    blob_gas,
    blob_rules,
    floor_gas,
    intrinsic_gas,
    next_excess_blob_gas,
)
from ledger.transactions import BLOB, SignedTransaction, Transaction
from market.orders import Address

POOL_MAX = 20_000
NONCES_AHEAD_MAX = 64
"""How far a transaction may come before the one that its sender has to send first."""
REPLACEMENT_PERCENT = 110

_REFUSALS_KEPT = 1_024


class Pool:
    """The queue in order of arrival, with each sender's nonces and commitments."""

    def __init__(self, transactions: Iterable[SignedTransaction] = ()) -> None:
        self._queue: dict[bytes, SignedTransaction] = {}
        self._nonces: dict[Address, dict[int, SignedTransaction]] = defaultdict(dict)
        self._reached: dict[Address, int] = {}  # nonces of a sender that wait without a gap end before this
        self._committed_wei: Counter[Address] = Counter()
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

    def with_nonce(self, sender: Address, nonce: int) -> SignedTransaction | None:
        """A sender's waiting transaction with a nonce."""
        return self._nonces[sender].get(nonce) if sender in self._nonces else None

    def next_nonce(self, sender: Address, nonce: int) -> int:
        """First nonce from `nonce` on that no waiting transaction of the sender has."""
        if self.with_nonce(sender, nonce) is None:
            return nonce
        reached = max(nonce, self._reached.get(sender, 0))
        while self.with_nonce(sender, reached) is not None:
            reached += 1
        self._reached[sender] = reached
        return reached

    def ready(self, nonce_of: Callable[[Address], int]) -> Iterator[SignedTransaction]:
        """What can run one after another, given each sender's next nonce.

        The places are those of arrival; among themselves, a sender's transactions go by their nonces.
        """
        upcoming: dict[Address, int] = {}
        for signed in tuple(self._queue.values()):
            sender = _sender(signed)
            nonce = upcoming.get(sender, -1)
            if nonce < 0:
                nonce = nonce_of(sender)
            following = self.with_nonce(sender, nonce)
            upcoming[sender] = nonce + 1 if following is not None else nonce
            if following is not None:
                yield following

    def committed_wei(self, sender: Address) -> int:
        """The most that a sender's waiting transactions can cost."""
        return self._committed_wei[sender]

    def add(self, signed: SignedTransaction) -> None:
        """Queue a transaction that was checked, in place of one with its nonce."""
        sender, nonce = _sender(signed), signed.transaction.nonce
        if (replaced := self.with_nonce(sender, nonce)) is not None:
            self.drop(replaced, f"replaced by 0x{signed.hash.hex()}, which pays more")
        self._dropped.pop(signed.hash, None)
        self._queue[signed.hash] = signed
        self._nonces[sender][nonce] = signed
        self._committed_wei[sender] += cost_wei(signed.transaction)

    def remove(self, signed: SignedTransaction) -> None:
        """Take a transaction out, because it is in a block."""
        sender = _sender(signed)
        del self._queue[signed.hash]
        del self._nonces[sender][signed.transaction.nonce]
        self._committed_wei[sender] -= cost_wei(signed.transaction)
        if not self._nonces[sender]:
            del self._nonces[sender], self._committed_wei[sender]
            self._reached.pop(sender, None)

    def drop(self, signed: SignedTransaction, fault: str) -> None:
        """Take a transaction out because it can no longer run, and remember why."""
        self.remove(signed)
        self._reached.pop(_sender(signed), None)
        self._dropped[signed.hash] = fault
        if len(self._dropped) > _REFUSALS_KEPT:
            self._dropped.popitem(last=False)

    def why_dropped(self, transaction_hash: bytes) -> str | None:
        """Why a transaction was dropped, None if it was not."""
        return self._dropped.get(transaction_hash)


def _sender(signed: SignedTransaction) -> Address:
    assert signed.sender is not None, "refused when it was sent"
    return signed.sender


def cost_wei(transaction: Transaction) -> int:
    """The most a transaction can take from its sender."""
    blobs = blob_gas(transaction) * transaction.max_fee_per_blob_gas
    return transaction.gas * transaction.max_fee_per_gas + transaction.value + blobs


# --- rules --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a block asks of its transactions: fork, chain, gas limit, and fees in wei per gas."""

    fork: Fork
    chain_id: int
    gas_limit: int
    base_fee: int
    blob_base_fee: int

    def pays(self, transaction: Transaction) -> bool:
        """Whether a transaction pays the block's fees."""
        if transaction.type == BLOB and transaction.max_fee_per_blob_gas < self.blob_base_fee:
            return False
        return transaction.max_fee_per_gas >= self.base_fee


def conditions_of(header: Header, fork: Fork, chain_id: int) -> Conditions:
    """What the block with a header asks of its transactions."""
    blob_fee = blob_base_fee(header.excess_blob_gas or 0, fork)
    return Conditions(fork, chain_id, header.gas_limit, header.base_fee or 0, blob_fee)


def conditions_after(parent: Header, fork: Fork, chain_id: int, gas_limit: int, base_fee: int) -> Conditions:
    """What the block after `parent` asks of its transactions."""
    blob_fee = blob_base_fee(next_excess_blob_gas(parent, fork), fork)
    return Conditions(fork, chain_id, gas_limit, base_fee, blob_fee)


def check_transaction(signed: SignedTransaction, conditions: Conditions) -> Address:
    """Check what a transaction says by itself; returns its sender. Raises TransactionRefused."""
    transaction, sender, fork = signed.transaction, signed.sender, conditions.fork
    if sender is None:
        raise TransactionRefused("signature: nobody signed it, or s is in the upper half")
    if transaction.chain_id not in (None, conditions.chain_id):
        raise TransactionRefused(f"chain id: {transaction.chain_id} is not {conditions.chain_id}")
    if transaction.type == BLOB and fork < Fork.CANCUN:
        raise TransactionRefused(f"type 3: blobs come with Cancun, and the block is in {fork.name.title()}")
    if transaction.gas > conditions.gas_limit:
        raise TransactionRefused(f"gas: {transaction.gas} is more than the block's {conditions.gas_limit}")
    least = max(intrinsic_gas(transaction, fork), floor_gas(transaction, fork))
    if transaction.gas < least:
        raise TransactionRefused(f"intrinsic gas too low: {transaction.gas}, needs {least}")
    if transaction.to is None and fork >= Fork.SHANGHAI and len(transaction.data) > INITCODE_MAX_BYTES:
        raise TransactionRefused(f"initcode: {len(transaction.data)} bytes exceed {INITCODE_MAX_BYTES}")
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise TransactionRefused("fee: the priority fee is above the maximum fee")
    if transaction.max_fee_per_gas < conditions.base_fee:
        raise TransactionRefused(
            f"fee: max fee per gas {transaction.max_fee_per_gas} is less than"
            f" block base fee {conditions.base_fee}"
        )
    if blob_gas(transaction) > blob_rules(fork).max_gas:
        raise TransactionRefused(f"blobs: {len(transaction.blob_hashes)} are more than a block takes")
    if not conditions.pays(transaction):
        raise TransactionRefused(
            f"fee: max fee per blob gas {transaction.max_fee_per_blob_gas} is less than"
            f" {conditions.blob_base_fee}"
        )
    return sender


def admit(signed: SignedTransaction, pool: Pool, machine: Machine, conditions: Conditions) -> None:
    """Check the rules a transaction must satisfy to be queued after the head. Raises TransactionRefused."""
    sender, transaction = check_transaction(signed, conditions), signed.transaction
    least = machine.nonce(sender)
    expected = pool.next_nonce(sender, least)
    if not least <= transaction.nonce <= expected + NONCES_AHEAD_MAX:
        fault = "low" if transaction.nonce < least else "high"
        raise TransactionRefused(f"nonce too {fault}: {transaction.nonce}, expected {expected}")
    committed_wei = pool.committed_wei(sender)
    if (earlier := pool.with_nonce(sender, transaction.nonce)) is not None:
        _check_replacement(transaction, earlier.transaction)
        committed_wei -= cost_wei(earlier.transaction)
    balance, needed = machine.balance(sender) - committed_wei, cost_wei(transaction)
    if balance < needed:
        raise TransactionRefused(
            f"insufficient funds for gas * price + value: has {balance} wei, needs {needed}"
        )
    if machine.code(sender):
        raise TransactionRefused(f"sender {sender} is a contract")
    if len(pool) >= POOL_MAX:
        raise TransactionRefused(f"{len(pool)} transactions wait already; try again after a block")


def _check_replacement(transaction: Transaction, earlier: Transaction) -> None:
    for name in ("max_fee_per_gas", "max_priority_fee_per_gas", "max_fee_per_blob_gas"):
        least = -(-getattr(earlier, name) * REPLACEMENT_PERCENT // 100)
        if getattr(transaction, name) < least:
            raise TransactionRefused(
                f"replacement transaction underpriced: {name} {getattr(transaction, name)}, needs {least}"
            )


def unfit(transaction: Transaction, sender: Address, machine: Machine) -> str | None:
    """Why a transaction cannot run in this state, None where it can."""
    expected = machine.nonce(sender)
    if transaction.nonce != expected:
        return f"nonce: {transaction.nonce}, expected {expected}"
    if machine.balance(sender) < cost_wei(transaction):
        return f"insufficient funds: {sender} no longer has {cost_wei(transaction)} wei"
    if machine.code(sender):
        return f"sender {sender} is a contract"
    return None
