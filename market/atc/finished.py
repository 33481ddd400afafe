"""The default: alternating directions to where they settle, then answers with slopes to the last digit.

The first rounds need no more of a prosumer than powers and a weight, and come near from anywhere. The last
ones ask for slopes too and end exactly, also where the first get stuck: linear costs, load that is shed,
prices many times apart, lines that carry next to nothing, where the utility's solver may fail at targets on
the way. Where storages couple periods the first rounds are all there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from market.atc.alternating import ACCELERATED, AlternatingDirections
from market.atc.prosumers import LowerLevel
from market.atc.rounds import Agreement, Link, Utility
from market.atc.second_order import SECOND_ORDER, SecondOrder
from market.atc.upper import UpperLevel
from market.pricing.admission import ClearingFailed
from market.units import Floats


@dataclass(frozen=True, slots=True)
class Finished:
    """A Method. first: rounds without slopes, at most `handover` of them where others can follow."""

    name: str
    first: AlternatingDirections
    finish: SecondOrder
    handover: int

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        if not isinstance(upper, UpperLevel) or upper.coupled:
            return self.first(upper, lower, price)
        try:
            near = replace(self.first, max_rounds=self.handover, probes=0)(upper, lower, price)
        except ClearingFailed:
            return self.finish(upper, lower, price)
        exact = self.finish(upper, lower, Link.between(upper, lower).spread(near.grant.price))
        return replace(
            exact,
            rounds=near.rounds + exact.rounds,
            messages=near.messages + exact.messages,
            numbers=near.numbers + exact.numbers,
        )


ATC = Finished("atc", ACCELERATED, SECOND_ORDER, handover=20)
"""What the oracles of a simulation use; between processes nobody is asked for slopes."""
