"""Calls that an audit believes to have failed: their receipts say so, and no rule derived here refuses them.

Of gas and of the token's refusals a record shows nothing but receipts. Executing the chain again proves them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger import calls
from ledger.audit.replay import Step, replay
from ledger.audit.verdict import counted
from ledger.history import NoHistory
from ledger.record import Record
from market.orders import Address


@dataclass(frozen=True, slots=True)
class BelievedFailure:
    """A call at its place, whose account it is about, and how much money it would have moved; n€."""

    where: str
    call: str
    account: Address
    amount_neur: int | None = None

    def __str__(self) -> str:
        """As people read it: place, call, account, amount."""
        amount = "" if self.amount_neur is None else f" {self.amount_neur:,} neur"
        return f"{self.where} {self.call} of {self.account}{amount}"


def believed_failures(record: Record) -> tuple[BelievedFailure, ...]:
    """Every call that is believed to have failed, in chain order."""
    try:
        steps = replay(record).steps
    except NoHistory:
        return ()
    return tuple(_failure(step) for step in steps if step.believed)


def _failure(step: Step) -> BelievedFailure:
    sent, call = step.sent, step.sent.call
    assert sent.sender is not None, "the twin answers to nobody"
    name = type(call).__name__
    match call:
        case calls.Deposit(account=account, amount=amount):
            return BelievedFailure(sent.where, name, account, amount)
        case calls.Withdraw(amount=amount):
            return BelievedFailure(sent.where, name, sent.sender, amount)
        case _:
            return BelievedFailure(sent.where, name, sent.sender)


def told(failures: tuple[BelievedFailure, ...]) -> str:
    """How many deposits and withdrawals there are among them, as a clause; empty where there are none."""
    counts = [
        (sum(each.call == kind.__name__ for each in failures), word)
        for kind, word in ((calls.Deposit, "deposit"), (calls.Withdraw, "withdrawal"))
    ]
    named = [counted(count, word) for count, word in counts if count]
    verb = "is" if sum(count for count, _ in counts) == 1 else "are"
    return f"{' and '.join(named)} {verb} believed to have failed" if named else ""
