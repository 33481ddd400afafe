"""Three levels and more: utility, regions, perhaps regions of those, prosumers.

Neighbouring levels share powers: the utility and the uppermost regions one a bus, T_b = R_b, and so down the
regions; the lowest region and its prosumers one each, t_k = p_k. A region decides nothing of its own: it sees
to it that what it was granted is what it grants, R_b = Σ t_k. With two copies of every shared power, one for
either side, alternate levels are solved together: first the utility, every second region below it and so on,
then the others, each at the state z of the powers it shares,

    X = argmin cost + Σ ½ρ(x − z)²          of levels 0, 2, …
    Y = argmin cost + Σ ½ρ(y − (2X − z))²   of levels 1, 3, …
    z ← z + α(Y − X)

(P.-L. Lions and B. Mercier, SIAM Journal on Numerical Analysis 16(6):964–979, 1979), accelerated like two
levels. With two levels this is `alternating`, its utility being its own region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.alternating import first_weights
from market.atc.anderson import Anderson
from market.atc.prosumers import LowerLevel, Response
from market.atc.rounds import Agreement, Grant, Link, Round, Utility, is_over
from market.units import Floats

States = list[Floats]
"""One array a pair of neighbouring levels, the utility's first: by injection bus, the last by prosumer."""


@dataclass(frozen=True, slots=True)
class Levels:
    """A Method. regions: how many levels of them, at least one; the rest as in AlternatingDirections.

    closeness: the share of what the stopping rule allows within which the rounds end.
    """

    name: str
    regions: int = 1
    kappa: float = 1.0
    relaxation: float = 1.6
    memory: int = 5
    patience: int = 400
    max_rounds: int = 2_000
    closeness: float = 1.0

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until all levels agree; see Method."""
        link = Link.between(upper, lower)
        cascade = _Cascade(upper, lower, link, self.regions, first_weights(lower, self.kappa))
        states = cascade.first(price)
        acceleration = Anderson(self.memory, np.concatenate(cascade.weights)) if self.memory else None
        rounds: list[Round] = []
        while True:
            even = cascade.answers(0, states)
            odd = cascade.answers(1, [2.0 * x - z for x, z in zip(even, states, strict=True)])
            grant, response = cascade.found
            rounds.append(link.measure(grant, response))
            if rounds[-1].excess <= self.closeness or is_over(rounds, self.patience, self.max_rounds):
                begun = 2 * len(price)
                said = begun + 2 * len(rounds) * sum(len(each) for each in states)
                messages = begun + 2 * len(rounds) * cascade.pairs
                return Agreement(grant, response, tuple(rounds), messages, numbers=said)
            flat = np.concatenate(states)
            residual = self.relaxation * (np.concatenate(odd) - np.concatenate(even))
            flat = flat + residual if acceleration is None else acceleration.advance(flat, residual)
            states = np.split(flat, np.cumsum([len(each) for each in states])[:-1])


class _Cascade:
    """The levels of one clearing and their last answers."""

    def __init__(self, upper: Utility, lower: LowerLevel, link: Link, regions: int, rho: Floats) -> None:
        self._upper, self._lower, self._link = upper, lower, link
        self._depth = regions + 1
        by_bus = 1.0 / link.total(1.0 / rho)
        self.weights: States = [by_bus] * regions + [rho]
        self._grant: Grant | None = None
        self._response: Response | None = None
        upper.reweigh(by_bus)

    @property
    def pairs(self) -> int:
        """Who talks to whom: regions are as many as injection buses."""
        return (self._depth - 1) * self._link.buses + len(self._link.column)

    @property
    def found(self) -> tuple[Grant, Response]:
        """The last answers of both ends."""
        assert self._grant is not None and self._response is not None
        return self._grant, self._response

    def first(self, price: Floats) -> States:
        """States at which everybody would give the same answer to these prices again."""
        power = self._lower.at_price(price).power
        mean = self._link.mean(price)
        # a copy of the even side has its price below its state's, one of the odd side above
        states = []
        for i, weight in enumerate(self.weights):
            at, paid = (power, price) if i == self._depth - 1 else (self._link.total(power), mean)
            states.append(at + (-1.0 if i % 2 == 0 else 1.0) * paid / weight)
        return states

    def answers(self, parity: int, states: States) -> States:
        """The copies of the levels of a parity, one array a pair of levels."""
        copies: States = [np.zeros(0)] * self._depth
        for level in range(parity, self._depth + 1, 2):
            if level == 0:
                self._grant = self._upper.answer(states[0])
                copies[0] = self._grant.injection
            elif level == self._depth:
                self._response = self._lower.respond(states[-1], self.weights[-1])
                copies[-1] = self._response.power
            else:
                copies[level - 1], copies[level] = self._passed_on(level, states)
        return copies

    def _passed_on(self, level: int, states: States) -> tuple[Floats, Floats]:
        """What a region takes from above and gives below, nearest to both states: R_b = Σ t."""
        above, below = states[level - 1], states[level]
        weight, rho = self.weights[level - 1], self.weights[level]
        if level < self._depth - 1:
            price = (above - below) / (1.0 / weight + 1.0 / rho)
            return above - price / weight, below + price / rho
        missing = above - self._link.total(below)
        price = missing / (1.0 / weight + self._link.total(1.0 / rho))
        return above - price / weight, below + self._link.spread(price) / rho


THREE_LEVELS = Levels("three-levels")
"""Utility, regions, prosumers."""
FOUR_LEVELS = Levels("four-levels", regions=2)
"""Utility, areas, regions, prosumers."""
