"""A level above feeders: many of them behind one connection, brought together by one price.

    min Σ_f C_f + H(M),  M = Σ_f M_f    M_f: net import of feeder f, MW

C_f is what the feeder's devices, its shedding and its tie-break cost; H(M) is what the connection takes: its
import price for what all feeders import together, its export price for what they give back, ½·slope·M² on
top, and M within its rating. Both levels have a copy of every M_f. Feeder f answers a price λ with the net
import of its own clearing, whose hub sells and buys at λ: a slot like any other to its oracle. The level
above looks for the λ at which it would supply what they answer together.

What feeders take falls as λ rises and what the connection supplies rises, so the λ wanted is between any two
of which one leaves too little and one too much: no weight or step size decides about it (R. P. Brent,
Algorithms for Minimization Without Derivatives, 1973, chapter 4). A round asks every feeder once: a number
down, a number up.

The tie-break is centred on the middle of the hub's prices, here λ itself. It is the one thing that moves what
a feeder takes the wrong way, by 1e-6 pu for each €/MWh that its buses are dearer than λ at the most.

RatingError   a connection's slope or rating below 0
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.optimize import brentq

from market.atc.regions import Held, Holds, here
from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, ConditionsError, HubError, refuse_storages
from market.pricing.conditions import Clearing, Conditions, Hub, Solution
from market.pricing.newton import NewtonClearing
from market.units import Floats

Case = tuple[Feeder, Conditions]
"""A feeder and what it is cleared with; the connection's price stands in for its hub's."""

BALANCE_TOLERANCE = 1e-9
"""Share of all feeders' base by which what they take may miss what is supplied: as exact as `atc` ends."""
PRICE_MAX_EUR_PER_MWH = 1e6
"""No price is looked for beyond: at far lower ones everything is shed."""
ROUNDS_MAX = 200


class RatingError(ConditionsError):
    """A connection that cannot be; the message says why."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What stands above the feeders: a transformer, or a purchase whose price rises with it.

    import_price, export_price: €/MWh of the first MW either way; slope: €/MWh more for each MW;
    import_max_mw, export_max_mw: its rating. Raises HubError where it buys for more than it sells, and
    RatingError.
    """

    import_price: float
    export_price: float
    import_max_mw: float = np.inf
    export_max_mw: float = np.inf
    slope: float = 0.0

    def __post_init__(self) -> None:
        asked, bid = self.import_price, self.export_price
        if not -np.inf < bid <= asked < np.inf:
            raise HubError(f"connection: asks {asked:g} €/MWh, expected its bid {bid:g} €/MWh or more")
        for name in ("import_max_mw", "export_max_mw", "slope"):
            if not getattr(self, name) >= 0:
                raise RatingError(f"connection: {name} is {getattr(self, name):g}, expected 0 or more")

    def supply_mw(self, price: float) -> tuple[float, float]:
        """The least and the most that it supplies at a price, MW; what it takes back is negative."""
        imported = self._crossing(price - self.import_price, self.import_max_mw)
        exported = self._crossing(self.export_price - price, self.export_max_mw)
        return imported[0] - exported[1], imported[1] - exported[0]

    def _crossing(self, margin: float, most_mw: float) -> tuple[float, float]:
        """The least and the most that crosses one way, where the first MW leaves so much of the price."""
        if self.slope > 0:
            crossing = min(max(margin / self.slope, 0.0), most_mw)
            return crossing, crossing
        return most_mw if margin > 0 else 0.0, most_mw if margin >= 0 else 0.0


@dataclass(frozen=True, eq=False)
class SharedRound:
    """A price that all were asked, what each takes at it, and how much of that is not supplied, MW."""

    price: float
    net_import_mw: Floats
    excess_mw: float


@dataclass(frozen=True, eq=False)
class Shared:
    """Where both levels agree: the last round, every feeder's clearing at its price, and all rounds."""

    agreed: SharedRound
    solutions: tuple[Solution, ...]
    rounds: tuple[SharedRound, ...]


class PricedFeeder:
    """One feeder, cleared at whatever price is named from above: an answer depends on that price alone."""

    def __init__(self, clearing: Callable[[Feeder], Clearing], case: Case) -> None:
        self._feeder, self._conditions = case
        self._clearing = clearing(self._feeder)

    def solution(self, price: float) -> Solution:
        """Its clearing where the hub sells and buys at a price. Raises PricingError."""
        hub = Hub(np.array([price]), np.array([price]))
        return self._clearing(self._feeder, replace(self._conditions, hub=hub))

    def net_import_mw(self, price: float) -> float:
        """What it takes then."""
        return self._feeder.base_mw * float(self.solution(price).primal.net_import[0])


def share(
    connection: Connection,
    cases: Sequence[Case],
    holds: Holds = here,
    clearing: Callable[[Feeder], Clearing] = NewtonClearing,
) -> Shared:
    """The price at which a connection supplies what the feeders behind it take, in one period.

    `holds` says where feeders are cleared, `clearing` how: `AtcClearing` puts their prosumers below them.
    Raises ConditionsError where there is no feeder or another number of periods than one, StorageError for
    storages, and ClearingFailed where the feeders' answers jump over what is supplied: somebody there is
    indifferent, and a price alone does not say how much of that is wanted.
    """
    _admit(cases)
    held = holds(partial(PricedFeeder, clearing), cases)
    rounds = _Rounds(connection, held, [feeder.base_mw for feeder, _ in cases])
    agreed = rounds.agreed()
    solutions = tuple(held.ask("solution", [(agreed.price,)] * len(cases)))
    return Shared(agreed, solutions, tuple(rounds.made.values()))


def _admit(cases: Sequence[Case]) -> None:
    if not cases:
        raise ConditionsError("connection: no feeder is behind it, expected one at least")
    for feeder, conditions in cases:
        if conditions.periods != 1:
            raise ConditionsError(
                f"feeder {feeder.name}: {conditions.periods} periods, expected 1: no two share a price"
            )
        refuse_storages(conditions, "a shared connection")


class _Rounds:
    """The rounds of one clearing, by price: none is asked twice."""

    def __init__(self, connection: Connection, feeders: Held, base_mw: Sequence[float]) -> None:
        self.made: dict[float, SharedRound] = {}
        self._connection, self._feeders, self._count = connection, feeders, len(base_mw)
        self._tolerance_mw = BALANCE_TOLERANCE * sum(base_mw)

    def agreed(self) -> SharedRound:
        """The round in which nothing is missing or left over. Raises ClearingFailed."""
        low, high = self._between()
        if self._excess_mw(low) and self._excess_mw(high):
            brentq(self._excess_mw, low, high, xtol=1e-12, maxiter=ROUNDS_MAX, disp=False)
        nearest = min(self.made.values(), key=lambda each: abs(each.excess_mw))
        if nearest.excess_mw:
            raise ClearingFailed(
                f"connection: what feeders take jumps at {nearest.price:g} €/MWh,"
                f" to {nearest.excess_mw:.1e} MW from what is supplied"
            )
        return nearest

    def _between(self) -> tuple[float, float]:
        """A price that leaves too little, or just enough, and one that leaves too much, or just enough."""
        ask, bid = self._connection.import_price, self._connection.export_price
        step = max(ask - bid, 1.0)
        if self._excess_mw(ask) == 0:
            return ask, ask
        if self._excess_mw(ask) > 0:
            return self._outwards(ask, step)
        if self._excess_mw(bid) >= 0:
            return bid, ask
        high, low = self._outwards(bid, -step)
        return low, high

    def _outwards(self, price: float, step: float) -> tuple[float, float]:
        """The last price that does not go far enough beyond the connection's own, and the first that does."""
        sign = np.sign(step)
        while abs(step) <= PRICE_MAX_EUR_PER_MWH:
            if sign * self._excess_mw(price + step) <= 0:
                return price, price + step
            price, step = price + step, 2.0 * step
        raise ClearingFailed(f"connection: feeders do not fit its rating at {price:g} €/MWh")

    def _excess_mw(self, price: float) -> float:
        """By how much feeders take more than is supplied; within the tolerance it is 0."""
        if price not in self.made:
            answers = np.array(self._feeders.ask("net_import_mw", [(price,)] * self._count))
            taken = float(answers.sum())
            excess = taken - float(np.clip(taken, *self._connection.supply_mw(price)))
            missing = excess if abs(excess) > self._tolerance_mw else 0.0
            self.made[price] = SharedRound(price, answers, missing)
        return self.made[price].excess_mw
