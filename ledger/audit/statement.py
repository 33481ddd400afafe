"""Several payments in one account of them: an account's day, old and new bills of it, or everybody's slot.

Each payment is explained by itself (`ledger.audit.explain`); a statement puts them in order and adds them up.
A settlement that a late reading corrected stands with its correction: the old bill, then the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import chain
from typing import Any

from ledger.audit import plain
from ledger.audit.explain import ExplainError, Explanation, explain
from ledger.audit.plain import euros
from ledger.audit.verdict import clock, slots_text
from ledger.history import History, SlotHistory, history
from ledger.record import Logged, Record
from market.accounts import UTILITY_ID
from market.comparison import Term, added
from market.events import AccountResettled, AccountSettled, TradesCleared
from market.orders import Address


@dataclass(frozen=True, slots=True)
class Statement:
    """Payments in chain order by slot, and what they come to, n€, positive when the accounts pay."""

    heading: str
    payments: tuple[Explanation, ...]
    unsettled: tuple[int, ...] = ()
    """Slots in which they traded, and which are not settled: no part of any sum here."""
    closed_slot: bool = False
    """Whether these are all payments of a settled slot, whose trades cancel out."""
    whole: str = ""
    """Of the utility, whose payments are its trades alone: what `audit explain` calls its whole result."""

    @property
    def total_neur(self) -> int:
        """Sum of what was posted."""
        return sum(payment.posted_neur for payment in self.payments)

    @property
    def flat_neur(self) -> int:
        """What the metered energy costs on retail and feed-in tariff alone, by the bills that tell it."""
        return sum(payment.flat_neur or 0 for payment in self.payments)

    @property
    def compares(self) -> bool:
        """Whether it is one account's, with a meter: only that would have had a bill without the market."""
        metered = any(payment.flat_neur is not None for payment in self.payments)
        return metered and len({payment.account for payment in self.payments}) == 1

    @property
    def terms(self) -> tuple[Term, ...]:
        """Parts of the payments less what the meter costs without the market, by each slot's last bill.

        Nothing where they do not add up: where no rule gives what was paid, none says why.
        """
        last = {payment.slot: payment.terms for payment in self.payments}
        found = added(term for parts in last.values() for term in parts)
        difference_neur = self.total_neur - self.flat_neur
        return found if sum(term.difference_neur for term in found) == difference_neur else ()

    @property
    def sentence(self) -> str:
        """What it all comes to, and where it compares what retail and feed-in tariff alone would have."""
        if self.closed_slot:
            return plain.sum_of_slot(self.total_neur)
        total = f"In all: {'to pay' if self.total_neur >= 0 else 'to receive'} {euros(abs(self.total_neur))}."
        told = [total]
        if self.compares:
            how = "at retail and feed-in tariff"
            told += [plain.comparison(self.total_neur, self.flat_neur, how), *plain.of_causes(self.terms)]
        if self.unsettled:
            told.append(f"Not settled yet: {slots_text(self.unsettled)}.")
        if self.rest:
            told.append(self.rest)
        return " ".join(told)

    @property
    def rest(self) -> str:
        """Of the utility, what these payments leave out and where it is; else nothing."""
        if not self.whole:
            return ""
        return f"That is what it traded; its result, with charges, other load and the import: {self.whole}."

    def to_json(self) -> dict[str, Any]:
        """`heading, sentence, payments, total_neur, flat_neur, unsettled`; as `Explanation.to_json`."""
        return {
            "heading": self.heading,
            "sentence": self.sentence,
            "payments": [payment.to_json() for payment in self.payments],
            "total_neur": self.total_neur,
            "flat_neur": self.flat_neur,
            "unsettled": list(self.unsettled),
        }

    def __str__(self) -> str:
        return "\n\n".join([self.heading, *(str(payment) for payment in self.payments), self.sentence])


@dataclass(frozen=True, slots=True)
class Bills:
    """Everybody's day: a statement an account, by number; the first is the utility's share of the trades."""

    heading: str
    statements: Mapping[int, Statement]

    @property
    def total_neur(self) -> int:
        """What all accounts pay together, n€: what the utility receives beside what it traded."""
        return sum(each.total_neur for each in self.statements.values())

    def to_json(self) -> dict[str, Any]:
        """`heading, accounts, total_neur`; accounts as `Statement.to_json`, by their numbers."""
        return {
            "heading": self.heading,
            "accounts": {number: each.to_json() for number, each in self.statements.items()},
            "total_neur": self.total_neur,
        }

    def __str__(self) -> str:
        told = self.statements.items()
        lines = [f"{plain.account(number).capitalize()}: {each.sentence}" for number, each in told]
        return "\n".join([self.heading, *lines, self._to_the_utility])

    @property
    def _to_the_utility(self) -> str:
        """The one sum of these bills that is not 0, and what the utility's trades make of it."""
        beside, statement = self.total_neur, self.statements.get(UTILITY_ID)
        got = f"{'receives' if beside >= 0 else 'pays'} {euros(abs(beside))}"
        trades_neur = 0 if statement is None else statement.total_neur
        return (
            f"Together: the utility {got} for charges, close-outs and imbalances, and with its trades has"
            f" {euros(beside - trades_neur)} from the market."
        )


def of_everyone(record: Record, day: date) -> Bills:
    """Everybody's statement of a day (UTC).

    Raises ExplainError where nobody was settled, NoHistory where the record does not show its deployment.
    """
    known = history(record)
    payers = {
        known.ids[payer]: payer
        for slot in known
        if day_of(slot) == day
        for _, payer in postings(slot, known.ids)
        if payer in known.ids
    }
    if not payers:
        raise ExplainError(f"{day}: no account was settled there")
    statements = {number: of_day(record, payers[number], day) for number in sorted(payers)}
    return Bills(f"Bills of {day}, {len(statements)} accounts:", statements)


def of_day(record: Record, account: Address, day: date) -> Statement:
    """All payments of an account for slots that start on a day (UTC).

    Raises ExplainError where there is none, NoHistory where the record does not show its deployment.
    """
    known = history(record)
    found = [
        explain(record, place)
        for slot in known
        if day_of(slot) == day
        for place, payer in postings(slot, known.ids)
        if account in known.ids and known.ids.get(payer) == known.ids[account]
    ]
    if not found:
        raise ExplainError(f"{account} on {day}: no account was settled there")
    traded = tuple(
        slot.slot
        for slot in known
        if day_of(slot) == day and slot.finished is None and known.ids[account] in known.positions(slot)
    )
    told = {payment.slot for payment in found}
    unsettled = tuple(slot for slot in traded if slot not in told)
    whole = f"utility@{day}" if known.ids[account] == UTILITY_ID else ""
    return Statement(f"{_who(known, account)}, {account}, on {day}:", tuple(found), unsettled, whole=whole)


def of_account(record: Record, account: Address, number: int) -> Explanation | Statement:
    """What an account pays for a slot: its payment, or where a late reading corrected it the old bill, the
    difference, and the comparison with tariffs on the final reading.

    An account is meant by any address it ever had. Raises ExplainError, NoHistory.
    """
    known = history(record)
    slot, account_id = known.slots.get(number), known.ids.get(account)
    places = (
        []
        if slot is None or account_id is None
        else [place for place, payer in postings(slot, known.ids) if known.ids.get(payer) == account_id]
    )
    if slot is None or not places:
        raise ExplainError(f"payment of {account} in slot {number}: no account was settled there")
    payments = tuple(explain(record, place) for place in places)
    if len(payments) == 1:
        return payments[0]
    heading = f"{_who(known, account)}, {account}, in slot {number}, by an estimate, then by its reading:"
    return Statement(heading, payments)


def of_slot(record: Record, number: int) -> Statement:
    """All payments of a slot; trades cancel out, so that they come to what the utility gets beside them.

    Raises ExplainError where there is none, NoHistory where the record does not show its deployment.
    """
    known = history(record)
    slot = known.slots.get(number)
    found = [explain(record, place) for place, _ in postings(slot, known.ids)] if slot is not None else []
    if slot is None or not found:
        raise ExplainError(f"slot {number}: no account was settled there")
    heading = f"Slot {number} ({clock(slot.terms.start(number))} on {day_of(slot)}), {len(found)} payments:"
    trades_neur = sum(event.trades for _, event in slot.settled)
    return Statement(heading, tuple(found), closed_slot=slot.finished is not None and trades_neur == 0)


def postings(slot: SlotHistory, ids: Mapping[Address, int]) -> list[tuple[str, Address]]:
    """Places and accounts of what was settled, and of what was resettled, in chain order.

    What was cleared of an account's trades is in its settlement, and stands for itself where there is none.
    """
    settled = {ids.get(event.account) for _, event in slot.settled}
    early = [(logged, event) for logged, event in slot.cleared if ids.get(event.account) not in settled]
    every: Iterator[tuple[Logged, AccountSettled | AccountResettled | TradesCleared]] = chain(
        slot.settled, slot.resettled, early
    )
    posted = sorted(every, key=lambda each: each[0].place)
    return [(logged.where, event.account) for logged, event in posted]


def day_of(slot: SlotHistory) -> date:
    """The day (UTC) on which a slot starts."""
    return datetime.fromtimestamp(slot.terms.start(slot.slot), UTC).date()


def _who(known: History, account: Address) -> str:
    return plain.account(known.ids.get(account)).capitalize()
