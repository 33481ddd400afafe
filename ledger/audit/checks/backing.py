"""`backing`: what the utility owes is funded after every transaction, and sellers' pay is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, at
from ledger.history import Movement, movements
from ledger.record import Record
from market.accounts import UTILITY_ID
from market.events import Deposited, Withdrawn
from market.findings import Finding

NAME = "backing"


def check(record: Record) -> Iterator[Verdict]:
    """After each transaction that moved money: utility balance − others' debts ≥ 0, slots' clearing ≥ 0."""
    balances: defaultdict[int, int] = defaultdict(int)
    clearing: defaultdict[int, int] = defaultdict(int)
    for sent, moved in movements(record):
        touched: set[int] = set()
        for each in moved:
            if each.account is None:
                yield Finding(
                    NAME, at(each.logged), "a known account", each.event.account, "nobody's balance"
                )
                continue
            balances[each.account] += _own(each)
            balances[UTILITY_ID] += each.to_utility_neur
            if each.cleared_neur:
                slot = getattr(each.event, "slot", 0)
                clearing[slot] += each.cleared_neur
                touched.add(slot)
        if any(each.account is not None for each in moved):
            debts = -sum(min(0, money) for number, money in balances.items() if number != UTILITY_ID)
            yield _kept(
                f"{sent.where} backing of the utility, neur", balances[UTILITY_ID] - debts, "unfunded"
            )
        for slot in sorted(touched):
            yield _kept(
                f"{sent.where} clearing of slot {slot}, neur", clearing[slot], "paid before it was paid in"
            )


def _own(moved: Movement) -> int:
    """What a movement adds to its account's balance."""
    match moved.event:
        case Deposited():
            return moved.event.amount
        case Withdrawn():
            return -moved.event.amount
        case _:
            return -moved.cleared_neur - moved.to_utility_neur


def _kept(where: str, amount_neur: int, otherwise: str) -> Verdict:
    return Finding(NAME, where, "0 or more", f"{amount_neur:,}", otherwise) if amount_neur < 0 else PASSED
