"""Which clearing of a slot is due, and whose turn it is to coordinate it."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.state import SlotState
from market.atc.messages import Purpose
from market.slots import Tariff, Terms

CHARGES_AHEAD_SECONDS = 1_800
"""Charges are cleared from this long before a slot opens."""
MARGIN_SECONDS = 10
"""Nothing is begun nearer than this to the second from which the contract refuses it."""

TURN_EARLY, TURN_LATE = 0.1, 0.5
"""Shares of a turn by which a proposal may come before or after it: clocks differ, and rounds take time."""


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


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is to coordinate a clearing: by the chain's time alone, so that all oracles agree on it.

    Turns begin with another oracle in every slot, when the clearing can first be due.
    """

    slot: int
    first_second: int
    seconds: float
    oracles: int

    @classmethod
    def of(cls, terms: Terms, slot: int, purpose: Purpose, seconds: float, oracles: int) -> Turns:
        """Turns of `seconds` each."""
        charges = purpose is Purpose.CHARGES
        first = terms.opens(slot) - CHARGES_AHEAD_SECONDS if charges else terms.closing(slot)
        return cls(slot, first, seconds, oracles)

    def number(self, now: float) -> int:
        """How many turns are over at chain second `now`."""
        return max(int((now - self.first_second) // self.seconds), 0)

    def proposer(self, turn: int) -> int:
        """Index of the oracle whose turn it is."""
        return (self.slot + turn) % self.oracles

    def begun(self, oracle: int, now: float) -> float | None:
        """The second since when `oracle` may coordinate what it proposes now; None if it is out of turn."""
        early, late = (self.number(now + share * self.seconds) for share in (TURN_EARLY, -TURN_LATE))
        for turn in range(early, late - 1, -1):
            if self.proposer(turn) == oracle:
                return self.first_second + (turn - TURN_EARLY) * self.seconds
        return None


def tariff_of(state: SlotState) -> Tariff:
    """The tariff of a slot as the chain has it."""
    return Tariff(retail=state.retail, network_fee=state.network_fee, fit=state.fit)
