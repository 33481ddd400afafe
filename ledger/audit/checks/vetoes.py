"""`vetoes`: what the utility took back broke a limit, the one it named, and no less would have been enough.

Before each veto the AC flow of the fills that stand, beside the load outside the market, must break the limit
that the veto names; with one lot less taken back, it must still break one. The last fill goes first by the
contract's own rule, which `matching` replays; here the chain's fills are taken as they are told.

Feeder, limits and load are those that the slot's charges were cleared with: what the chain knows of them when
fills can be vetoed. The load outside the market is known where these inputs have no devices, or where agents'
answers stand for these. Elsewhere traders' own firm load is part of it, and would count twice with the fills
that cover it: such a slot is not judged, but told as assumed (`unjudged`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.audit.checks import responses
from ledger.audit.checks.pricing import CHARGES, period_of
from ledger.audit.verdict import PASSED, Verdict, amount_difference, at, text
from ledger.history import History, SlotHistory, history
from ledger.record import Logged, Record
from ledger.trades import between_buses, limit_named, take_back, without_last
from market.accounts import UTILITY_ID
from market.feeder.contracted import Carrier, least_cut, reason_of
from market.feeder.model import FeederError
from market.feeder.powerflow import PowerFlowError
from market.findings import Finding
from market.orders import Address, Fill, FillVetoed
from market.pricing.certificate import decode_inputs
from market.pricing.wire import FormatError

NAME = "vetoes"
NO_FLOW = "a flow that has no solution"


def check(record: Record) -> Iterator[Verdict]:
    """Two verdicts a veto: the limit that it names was broken, and it took back no more than was needed."""
    known = history(record)
    for slot in known:
        carrier = carrier_of(record, slot) if slot.of(FillVetoed) else None
        if carrier is not None:
            yield from _judged(known, slot, carrier)


def unjudged(record: Record) -> list[int]:
    """Slots with vetoes of which the record does not show the load outside the market. Raises NoHistory."""
    return [slot.slot for slot in history(record) if slot.of(FillVetoed) and carrier_of(record, slot) is None]


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


def _judged(known: History, slot: SlotHistory, carrier: Carrier) -> Iterator[Verdict]:
    """The slot's vetoes in their order; what was filled was filled before them, when the gate was open."""
    standing = [fill for _, fill in slot.fills]
    for logged, veto in slot.of(FillVetoed):
        feeder = _Standing(carrier, tuple(standing), known)
        yield from _of_veto(slot, logged, veto, feeder)
        take_back(standing, veto.quantity)


def _of_veto(slot: SlotHistory, logged: Logged, veto: FillVetoed, standing: _Standing) -> Iterator[Verdict]:
    where, lot_wh = f"{at(logged, slot.terms)} veto of {veto.quantity:_} Wh", slot.terms.lot_wh
    broken = standing.broken(0)
    named = limit_named(veto.reason, veto.element)
    if not broken:
        yield Finding(NAME, where, "a limit that the fills break", f"none; it names {named}", "undue")
        return
    if NO_FLOW in broken or named in broken:
        yield PASSED
    else:
        yield Finding(NAME, where, " or ".join(broken), named, "not a limit that is broken")
    if standing.broken(veto.quantity - lot_wh):
        yield PASSED
    else:
        enough = least_cut(veto.quantity, lot_wh, lambda cut_wh: not standing.broken(cut_wh))
        difference = amount_difference(enough, veto.quantity)
        yield Finding(NAME, f"{where}, Wh enough", text(enough), text(veto.quantity), difference)


@dataclass(frozen=True)
class _Standing:
    """Fills that stand before a veto, and what carries them."""

    carrier: Carrier
    fills: tuple[Fill, ...]
    known: History

    def broken(self, vetoed_wh: int) -> tuple[str, ...]:
        """Limits that break, as vetoes name them, with so much of the last fills taken back."""
        trades = between_buses(without_last(self.fills, vetoed_wh), self._bus)
        try:
            found = self.carrier.broken(trades)
        except PowerFlowError:
            return (NO_FLOW,)
        return tuple(limit_named(reason_of(each), each.bus) for each in found)

    def _bus(self, address: Address) -> int:
        return self.known.bus(self.known.ids.get(address, UTILITY_ID))
