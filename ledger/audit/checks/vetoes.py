"""`vetoes`: what the utility took back broke a limit, the one it named, it was the least that is enough,
and after the last veto no limit breaks.

Before each veto the AC flow of the fills that stand, beside the load outside the market, must break the limit
that the veto names. No veto takes back more than the least, from the last fill on, with which no limit breaks
(`market.feeder.contracted.least_taken_back`, which says what it assumes); where nothing is enough, that is
all. Once the time of vetoes is over, a limit may break only where nothing is left to take back. The last fill
goes first by the contract's own rule, which `matching` replays; here the chain's fills are taken as told.

Feeder, limits and load are those that the slot's charges were cleared with: what the chain knows of them when
fills can be vetoed. The load outside the market is known where these inputs have no devices, or where agents'
answers stand for these. Elsewhere traders' own firm load is part of it, and would count twice with the fills
that cover it: such a slot is not judged, but told as assumed (`unjudged`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.audit.checks import responses
from ledger.audit.checks.pricing import CHARGES, period_of
from ledger.audit.verdict import PASSED, Verdict, amount_difference, at, text
from ledger.history import History, SlotHistory, history, slots_of
from ledger.record import Logged, Record
from ledger.trades import Standing, limit_named
from market.accounts import UTILITY_ID
from market.feeder.contracted import Carrier, reason_of
from market.feeder.model import FeederError
from market.feeder.powerflow import PowerFlowError
from market.findings import Finding
from market.orders import Address, FillVetoed
from market.pricing.certificate import decode_inputs
from market.pricing.wire import FormatError

NAME = "vetoes"
NO_FLOW = "a flow that has no solution"


def check(record: Record) -> Iterator[Verdict]:
    """Two verdicts a veto: its limit was broken, no less was enough; one a slot: none is left broken."""
    known = history(record)
    until = record.blocks[-1].header.timestamp
    for slot in known:
        carrier = carrier_of(record, slot) if slot.of(FillVetoed) else None
        if carrier is not None:
            yield from _judged(known, slot, carrier, over=until >= slot.terms.closing(slot.slot))


def unjudged(record: Record) -> list[int]:
    """Slots with vetoes of which the record does not show the load outside the market."""
    return [
        slot.slot for slot in slots_of(record) if slot.of(FillVetoed) and carrier_of(record, slot) is None
    ]


def carrier_of(record: Record, slot: SlotHistory) -> Carrier | None:
    """Feeder and load outside the market by the inputs of the slot's charges; None if these do not tell."""
    given = slot.charges_posted and record.bundle.inputs.get(slot.charges_posted[1].input_hash)
    if not given:
        return None
    try:
        answered = responses.read(given)
        feeder, load = decode_inputs(given) if answered is None else (answered.feeder, answered.conditions)
    except (FormatError, FeederError, ValueError):  # told by `charges`
        return None
    period = period_of(CHARGES, slot, load)
    told_apart = not load.devices.count and not load.storages.count
    if period is None or not told_apart or feeder.buses != slot.terms.buses:
        return None
    return Carrier(feeder, load.fixed_p[period], load.fixed_q[period], load.hours)


def _judged(known: History, slot: SlotHistory, carrier: Carrier, *, over: bool) -> Iterator[Verdict]:
    """The slot's vetoes in their order, and what they leave where the time of vetoes is `over`."""

    def bus_of(address: Address) -> int:
        return known.bus(known.ids.get(address, UTILITY_ID))

    # All was filled before the first veto, while the gate was open.
    standing = Standing(tuple(fill for _, fill in slot.fills), bus_of, carrier)
    for logged, veto in slot.of(FillVetoed):
        yield from _of_veto(slot, logged, veto, standing)
        standing = standing.without(veto.quantity)
    if over:
        yield _of_the_rest(slot, standing)


def _of_veto(slot: SlotHistory, logged: Logged, veto: FillVetoed, standing: Standing) -> Iterator[Verdict]:
    where = f"{at(logged, slot.terms)} veto of {veto.quantity:,} Wh"
    broken = _broken(standing)
    named = limit_named(veto.reason, veto.element)
    if not broken:
        yield Finding(NAME, where, "a limit that the fills break", f"none; it names {named}", "undue")
        return
    if NO_FLOW in broken or named in broken:
        yield PASSED
    else:
        yield Finding(NAME, where, " or ".join(broken), named, "not a limit that is broken")
    enough_wh = standing.least(slot.terms.lot_wh)
    if veto.quantity <= enough_wh:
        yield PASSED
    else:
        difference = amount_difference(enough_wh, veto.quantity)
        yield Finding(NAME, f"{where}, Wh enough", text(enough_wh), text(veto.quantity), difference)


def _of_the_rest(slot: SlotHistory, standing: Standing) -> Verdict:
    """No limit breaks after the last veto, or there is nothing left to take back."""
    broken = _broken(standing) if standing.fills else ()
    if not broken:
        return PASSED
    last, _ = slot.of(FillVetoed)[-1]
    where = f"{at(last, slot.terms)} the last veto, limits broken after it"
    least_wh = standing.least(slot.terms.lot_wh)
    return Finding(NAME, where, "none", " and ".join(broken), f"{least_wh:,} Wh of fills too many")


def _broken(standing: Standing) -> tuple[str, ...]:
    """Limits that break, as vetoes name them."""
    try:
        found = standing.broken()
    except PowerFlowError:
        return (NO_FLOW,)
    return tuple(limit_named(reason_of(each), each.bus) for each in found)
