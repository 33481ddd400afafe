"""What becomes of a block's transactions, and the header that says so; for our blocks and those of others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.chain.encoding import (
    Header,
    Withdrawal,
    encode_receipt,
    ordered_root,
    receipt_bloom,
    union,
)
from ledger.chain.evm import Machine
from ledger.chain.imported import BlockRefused, Foreign
from ledger.chain.pool import Conditions, check_transaction, unfit
from ledger.chain.protocol import TransactionRefused
from ledger.chain.rules import blob_gas, blob_rules
from ledger.transactions import SignedTransaction
from market.orders import Address

WEI_PER_GWEI = 10**9


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into a block: transactions, their receipts, the gas and blob gas all of them used."""

    included: tuple[SignedTransaction, ...]
    receipts: tuple[bytes, ...]
    gas_used: int
    blob_gas_used: int


class _Filling:
    """A block's content as it grows."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._included: list[SignedTransaction] = []
        self._receipts: list[bytes] = []
        self.gas_used = 0
        self.blob_gas_used = 0

    def apply(self, signed: SignedTransaction, sender: Address) -> None:
        """Execute a transaction that satisfies all rules."""
        transaction = signed.transaction
        execution = self._machine.apply(transaction, sender)
        self.gas_used += execution.gas_used
        self.blob_gas_used += blob_gas(transaction)
        status = int(execution.error is None)
        self._included.append(signed)
        self._receipts.append(encode_receipt(transaction.type, status, self.gas_used, execution.logs))

    def content(self) -> Content:
        """All of it."""
        return Content(tuple(self._included), tuple(self._receipts), self.gas_used, self.blob_gas_used)


def fill(
    machine: Machine,
    conditions: Conditions,
    candidates: Iterable[SignedTransaction],
    drop: Callable[[SignedTransaction, str], None],
) -> Content:
    """Execute what fits, in order, up to the first that needs more gas than the block has left.

    What pays less than the base fee, or asks for more gas than a whole block has, waits with its sender's
    later ones, and nobody else does. What can no longer run is handed to `drop` with the reason.
    """
    filling = _Filling(machine)
    behind: set[Address] = set()
    for signed in candidates:
        transaction, sender = signed.transaction, signed.sender
        assert sender is not None, "refused when it was sent"
        too_large = transaction.gas > conditions.gas_limit
        if sender in behind or too_large or not conditions.pays(transaction):
            behind.add(sender)
            continue
        if filling.gas_used + transaction.gas > conditions.gas_limit:
            break
        if filling.blob_gas_used + blob_gas(transaction) > blob_rules(conditions.fork).max_gas:
            behind.add(sender)
            continue
        if fault := unfit(transaction, sender, machine):
            drop(signed, fault)
            behind.add(sender)
            continue
        filling.apply(signed, sender)
    return filling.content()


def replay(machine: Machine, conditions: Conditions, foreign: Foreign) -> Content:
    """Execute the transactions of a block built elsewhere. Raises BlockRefused at the first rule broken."""
    filling = _Filling(machine)
    for index, signed in enumerate(foreign.transactions):
        try:
            sender = check_transaction(signed, conditions)
        except TransactionRefused as refusal:
            raise BlockRefused(f"block {foreign.header.number} transaction {index}: {refusal}") from None
        if fault := unfit(signed.transaction, sender, machine):
            raise BlockRefused(f"block {foreign.header.number} transaction {index}: {fault}")
        if filling.gas_used + signed.transaction.gas > conditions.gas_limit:
            raise BlockRefused(f"block {foreign.header.number} transaction {index}: gas beyond the limit")
        filling.apply(signed, sender)
    return filling.content()


def sealed(
    machine: Machine, header: Header, content: Content, withdrawals: Sequence[Withdrawal] = ()
) -> Header:
    """The header with what executing its block came to; the state's changes go to the store."""
    for withdrawal in withdrawals:
        machine.credit(withdrawal.to, withdrawal.amount_gwei * WEI_PER_GWEI)
    return replace(
        header,
        state_root=machine.persist(),
        transactions_root=ordered_root([signed.raw for signed in content.included]),
        receipts_root=ordered_root(content.receipts),
        logs_bloom=union(receipt_bloom(receipt) for receipt in content.receipts),
        gas_used=content.gas_used,
        withdrawals_root=(
            None
            if header.withdrawals_root is None
            else ordered_root([withdrawal.encode() for withdrawal in withdrawals])
        ),
        blob_gas_used=None if header.blob_gas_used is None else content.blob_gas_used,
    )
