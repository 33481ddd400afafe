"""`backing`: what the utility owes is funded after every transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, at
from ledger.history import Money, money_of
from ledger.record import Record
from market.accounts import UTILITY_ID
from market.events import (
    AccountSettled,
    Deposited,
    Withdrawn,
)
from market.findings import Finding
from market.orders import Address

NAME = "backing"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict a transaction that moved money: utility balance − advances − others' debts ≥ 0 after it."""
    ids: dict[Address, int] = {}
    balances: defaultdict[int, int] = defaultdict(int)
    clearing: defaultdict[int, int] = defaultdict(int)
    for sent in record.sent:
        moved = False
        for logged, number, money in money_of(sent, ids):
            if number is None:
                yield Finding(NAME, at(logged), "a known account", money.account, "nobody's balance")
                continue
            own, utilitys = _moved(money)
            balances[number] += own
            balances[UTILITY_ID] += utilitys
            if isinstance(money, AccountSettled):
                clearing[money.slot] += money.trades
            moved = True
        if moved:
            debts = -sum(min(0, money) for number, money in balances.items() if number != UTILITY_ID)
            advances = -sum(min(0, paid_in) for paid_in in clearing.values())
            backing = balances[UTILITY_ID] - advances - debts
            where = f"{sent.where} backing of the utility, neur"
            yield Finding(NAME, where, "0 or more", f"{backing:_}", "unfunded") if backing < 0 else PASSED


def _moved(event: Money) -> tuple[int, int]:
    """What an event adds to its account, and to the utility."""
    match event:
        case Deposited():
            return event.amount, 0
        case Withdrawn():
            return -event.amount, 0
        case _:
            rest = event.charge + event.closeout + event.imbalance + event.penalty
            trades = event.trades if isinstance(event, AccountSettled) else 0
            return -rest - trades, rest
