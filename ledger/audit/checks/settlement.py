"""`settlement`: every posting re-derived in integers from fills, readings, prices and the tariff."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from ledger.audit.verdict import PASSED, Verdict, at, compare
from ledger.history import History, SlotHistory, history
from ledger.record import Logged, Record
from market.accounts import UTILITY_ID, Position
from market.events import AccountSettled
from market.findings import Finding
from market.messages import Reading
from market.settlement import Cause, Valuation, amount_neur, delivered_wh, settle, settle_trades

NAME = "settlement"

_UNITS = {"contracted": "Wh", "metered": "Wh", "delivered": "Wh", "rule": "", "basis": ""}
"""Of what is not money."""


def check(record: Record) -> Iterator[Verdict]:
    """One verdict an account and slot, or one for each figure of it that is wrong."""
    known = history(record)
    for slot in known:
        positions = known.positions(slot)
        valuation = known.valuation(slot)
        for logged, posted in slot.settled:
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
    posted: AccountSettled,
    position: Position,
    valuation: Valuation,
) -> Iterator[Verdict]:
    number = known.ids[posted.account]
    who = "utility" if number == UTILITY_ID else f"account {number}"
    where = f"{at(logged, slot.terms)} {who} {posted.account}"
    if number == UTILITY_ID:
        expected = _of_utility(slot, posted, position, valuation)
    elif posted.account in slot.readings:
        expected = _of_member(slot, posted, position, known.bus(number), valuation)
    else:
        yield Finding(NAME, where, "a reading before settlement", "none", "settled without a reading")
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
    slot: SlotHistory, posted: AccountSettled, position: Position, bus: int, valuation: Valuation
) -> AccountSettled:
    metered = slot.readings[posted.account][1]
    reading = Reading(metered.account, metered.slot, metered.net_energy, metered.certified, metered.epoch)
    postings = settle(position, reading, bus, valuation)
    return AccountSettled(
        slot=slot.slot,
        account=posted.account,
        rule=int(valuation.rule),
        basis=0,
        contracted=position.net_wh,
        metered=reading.net_energy,
        delivered=delivered_wh(position.net_wh, reading.net_energy),
        trades=amount_neur(postings, Cause.TRADES),
        charge=amount_neur(postings, Cause.CHARGE),
        closeout=amount_neur(postings, Cause.CLOSEOUT),
        imbalance=amount_neur(postings, Cause.IMBALANCE),
        penalty=amount_neur(postings, Cause.PENALTY),
    )
