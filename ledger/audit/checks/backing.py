"""`backing`: what the utility owes is funded after every transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict
from ledger.history import ROLE_UTILITY
from ledger.record import Record
from market.accounts import UTILITY_ID
from market.events import (
    AccountRegistered,
    AccountResettled,
    AccountSettled,
    Deposited,
    RoleAccepted,
    Withdrawn,
)
from market.findings import Finding
from market.orders import Address

NAME = "backing"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict a transaction that moved money: utility balance + clearing − arrears ≥ 0 after it."""
    ids: dict[Address, int] = {}
    balances: defaultdict[int, int] = defaultdict(int)
    clearing = 0
    for sent in record.sent:
        moved = False
        for event in sent.events:
            match event:
                case AccountRegistered():
                    ids[event.account] = event.id
                case RoleAccepted(role=role, holder=holder) if role == ROLE_UTILITY:
                    ids[holder] = UTILITY_ID
                case Deposited():
                    balances[ids[event.account]] += event.amount
                    moved = True
                case Withdrawn():
                    balances[ids[event.account]] -= event.amount
                    moved = True
                case AccountSettled() | AccountResettled():
                    rest = event.charge + event.closeout + event.imbalance + event.penalty
                    trades = event.trades if isinstance(event, AccountSettled) else 0
                    balances[ids[event.account]] -= rest + trades
                    balances[UTILITY_ID] += rest
                    clearing += trades
                    moved = True
        if moved:
            arrears = -sum(min(0, money) for number, money in balances.items() if number != UTILITY_ID)
            backing = balances[UTILITY_ID] + clearing - arrears
            where = f"{sent.where} backing of the utility, neur"
            yield Finding(NAME, where, "0 or more", f"{backing:_}", "unfunded") if backing < 0 else PASSED
