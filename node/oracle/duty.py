"""Which clearing of a slot is due, and whose turn it is to coordinate it."""

from __future__ import annotations

from ledger.state import SlotState
from market.atc.messages import Purpose
from market.slots import Tariff, Terms

CHARGES_AHEAD_SECONDS = 1_800
"""Charges are cleared from this long before a slot opens."""
MARGIN_SECONDS = 10
"""Nothing is begun nearer than this to the second from which the contract refuses it."""


def slots_in_question(terms: Terms, now: int) -> range:
    """The slots of which something can be due at chain second `now`."""
    first = (now - terms.price_grace) // terms.slot_seconds - 1
    last = (now + terms.open_lead + CHARGES_AHEAD_SECONDS) // terms.slot_seconds
    return range(max(first, 0), last + 1)


def due(terms: Terms, slot: int, state: SlotState, now: int) -> Purpose | None:
    """What a slot needs of the oracles now: its vector posted, or its chunks completed."""
    if not state.scheduled or state.settled:
        return None
    opens = terms.opens(slot)
    if not state.charges_complete and opens - CHARGES_AHEAD_SECONDS <= now < opens - MARGIN_SECONDS:
        return Purpose.CHARGES
    priced = state.gate_closed and state.charges_complete and not state.prices_complete
    return Purpose.PRICES if priced and now < terms.prices_due(slot) - MARGIN_SECONDS else None


def is_over(terms: Terms, slot: int, state: SlotState, now: int) -> bool:
    """Whether nothing can become due of a slot any more."""
    if state.settled or state.prices_complete or now >= terms.prices_due(slot):
        return True
    return now >= terms.opens(slot) and not state.charges_complete


def proposer(slot: int, turn: int, oracles: int) -> int:
    """Index of the oracle whose turn it is; turns begin with another one in every slot."""
    return (slot + turn) % oracles


def tariff_of(state: SlotState) -> Tariff:
    """The tariff of a slot as the chain has it."""
    return Tariff(retail=state.retail, network_fee=state.network_fee, fit=state.fit)
