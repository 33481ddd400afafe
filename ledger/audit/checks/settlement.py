"""`settlement`: every posting re-derived in integers from fills, readings, prices and the tariff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from ledger.audit.verdict import PASSED, Verdict, at, compare
from ledger.history import History, Measured, SlotHistory, history
from ledger.record import Logged, Record
from market.accounts import UTILITY_ID, Position
from market.events import AccountResettled, AccountSettled
from market.findings import Finding
from market.settlement import (
    Basis,
    Cause,
    Valuation,
    amount_neur,
    delivered_wh,
    resettle,
    settle,
    settle_trades,
)

NAME = "settlement"

Posted = AccountSettled | AccountResettled

_UNITS = {"contracted": "Wh", "metered": "Wh", "delivered": "Wh", "rule": "", "basis": ""}
"""Of what is not money."""


def check(record: Record) -> Iterator[Verdict]:
    """One verdict a posting, or one for each figure of it that is wrong."""
    known = history(record)
    for slot in known:
        positions = known.positions(slot)
        valuation = known.valuation(slot)
        postings: list[tuple[Logged, Posted]] = [*slot.settled, *slot.resettled]
        for logged, posted in postings:
            number = known.ids.get(posted.account)
            if number is None or valuation is None:
                what = "account" if number is None else "slot"
                yield Finding(NAME, at(logged, slot.terms), f"a known {what}", "a stranger", "not settled so")
            else:
                yield from _posting(known, slot, logged, posted, positions.get(number, Position()), valuation)


def _posting(  # noqa: PLR0917 - one posting, and all that it depends on
    known: History,
    slot: SlotHistory,
    logged: Logged,
    posted: Posted,
    position: Position,
    valuation: Valuation,
) -> Iterator[Verdict]:
    number = known.ids[posted.account]
    who = "utility" if number == UTILITY_ID else f"account {number}"
    where = f"{at(logged, slot.terms)} {who} {posted.account}"
    measured = slot.measured(posted.account, before=logged)
    expected: Posted
    if isinstance(posted, AccountResettled):
        estimated = _settled_by(slot, logged, posted)
        if estimated is None or measured is None or measured.basis != Basis.READING:
            wanted = "a settlement by estimate, and a reading since"
            yield Finding(NAME, where, wanted, "not so", "nothing to resettle")
            return
        expected = _change(posted, position, estimated, measured, known.bus(number), valuation)
    elif number == UTILITY_ID:
        expected = _of_utility(slot, posted, position, valuation)
    elif measured is not None:
        expected = _of_member(posted, position, measured, known.bus(number), valuation)
    else:
        wanted = "a reading or an estimate before settlement"
        yield Finding(NAME, where, wanted, "neither", "settled by nothing")
        return
    if expected == posted:
        yield PASSED
        return
    for item in fields(posted):
        wanted, found = getattr(expected, item.name), getattr(posted, item.name)
        if wanted != found:
            unit = _UNITS.get(item.name, "neur")
            hint = f"wattbook audit explain BUNDLE {logged.where}"
            yield compare(NAME, f"{where} {item.name} {unit}".rstrip(), wanted, found, hint=hint)


def _of_utility(
    slot: SlotHistory, posted: AccountSettled, position: Position, valuation: Valuation
) -> AccountSettled:
    trades = amount_neur(settle_trades(position))
    rule = int(valuation.rule)
    return AccountSettled(slot.slot, posted.account, rule, 0, position.net_wh, 0, 0, trades, 0, 0, 0, 0)


def _of_member(
    posted: AccountSettled, position: Position, measured: Measured, bus: int, valuation: Valuation
) -> AccountSettled:
    postings = settle(position, measured, bus, valuation)
    return AccountSettled(
        slot=posted.slot,
        account=posted.account,
        rule=int(valuation.rule),
        basis=measured.basis,
        contracted=position.net_wh,
        metered=measured.net_energy,
        delivered=delivered_wh(position.net_wh, measured.net_energy),
        trades=amount_neur(postings, Cause.TRADES),
        charge=amount_neur(postings, Cause.CHARGE),
        closeout=amount_neur(postings, Cause.CLOSEOUT),
        imbalance=amount_neur(postings, Cause.IMBALANCE),
        penalty=amount_neur(postings, Cause.PENALTY),
    )


def _settled_by(slot: SlotHistory, logged: Logged, posted: AccountResettled) -> Measured | None:
    """The estimate by which the account had settled at this place; None where it had not, or by a reading."""
    for place, settled in slot.settled:
        if settled.account == posted.account and place.place < logged.place:
            measured = slot.measured(posted.account, before=place)
            return measured if measured is not None and measured.basis != Basis.READING else None
    return None


def _change(  # noqa: PLR0917 - both settlements, and what they depend on
    posted: AccountResettled,
    position: Position,
    estimated: Measured,
    reading: Measured,
    bus: int,
    valuation: Valuation,
) -> AccountResettled:
    changes = resettle(position, estimated, reading, bus, valuation)
    return AccountResettled(
        slot=posted.slot,
        account=posted.account,
        metered=reading.net_energy,
        delivered=delivered_wh(position.net_wh, reading.net_energy),
        charge=amount_neur(changes, Cause.CHARGE),
        closeout=amount_neur(changes, Cause.CLOSEOUT),
        imbalance=amount_neur(changes, Cause.IMBALANCE),
        penalty=amount_neur(changes, Cause.PENALTY),
    )
