"""Both levels answer at once, each to what the other said last: TDQA and the auxiliary problem principle.

**TDQA**, the truncated diagonal quadratic approximation: the cross term of ½ρ(t − p)² is linearised at the
last copies, so that levels need not wait for each other; each then takes the share τ of its step (Y. Li, Z.
Lu, J. Michalek, "Diagonal quadratic approximation for parallelization of analytical target cascading",
Journal of Mechanical Design 130(5):051402, 2008).

**APP**, the auxiliary problem principle: each level minimises its own cost, the multiplier's term linearised
at the last gap, y + γ(t − p), and a proximal term ½β(t − t')² around its last copy, β = 2γ (G. Cohen,
"Auxiliary problem principle and decomposition of optimization problems", Journal of Optimization Theory and
Applications 32(3):277–305, 1980; B. Kim and R. Baldick, IEEE Transactions on Power Systems 12(2):932–939,
1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from market.atc.alternating import first_weights
from market.atc.prosumers import LowerLevel, Response
from market.atc.rounds import Agreement, Link, Round, Utility, is_over
from market.units import Floats


@dataclass(frozen=True, eq=False)
class Exchange:
    """What each level knows of the other: copies t_k, powers p_k, multipliers y_k."""

    copy: Floats
    power: Floats
    multiplier: Floats


class Rule(Protocol):
    """The proximal question for each level, and what follows from their answers."""

    def questions(self, last: Exchange, rho: Floats) -> tuple[Floats, Floats, Floats]:
        """Target of the utility's copies, target of the prosumers, and the weight of both, by prosumer."""
        ...

    def after(self, last: Exchange, copy: Floats, power: Floats, rho: Floats) -> Exchange:
        """The next exchange."""
        ...


@dataclass(frozen=True, slots=True)
class TruncatedDiagonal:
    """TDQA with step τ."""

    step: float

    def questions(self, last: Exchange, rho: Floats) -> tuple[Floats, Floats, Floats]:
        """Copies answer the last powers, powers the last copies."""
        return last.power - last.multiplier / rho, last.copy + last.multiplier / rho, rho

    def after(self, last: Exchange, copy: Floats, power: Floats, rho: Floats) -> Exchange:
        """τ of each step, and of the multiplier's."""
        copy = last.copy + self.step * (copy - last.copy)
        power = last.power + self.step * (power - last.power)
        return Exchange(copy, power, last.multiplier + self.step * rho * (copy - power))


@dataclass(frozen=True, slots=True)
class AuxiliaryProblem:
    """APP with γ = ρ, β = 2ρ."""

    def questions(self, last: Exchange, rho: Floats) -> tuple[Floats, Floats, Floats]:
        """Each level stays near its own last answer."""
        price = (last.multiplier + rho * (last.copy - last.power)) / (2.0 * rho)
        return last.copy - price, last.power + price, 2.0 * rho

    def after(self, last: Exchange, copy: Floats, power: Floats, rho: Floats) -> Exchange:
        """Whole steps, y ← y + γ(t − p)."""
        return Exchange(copy, power, last.multiplier + rho * (copy - power))


@dataclass(frozen=True, slots=True)
class Parallel:
    """A Method. rule: TDQA or APP; kappa: κ of the weights."""

    name: str
    rule: Rule
    kappa: float
    patience: int = 400
    max_rounds: int = 2_000

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        link = Link.between(upper, lower)
        rho = first_weights(lower, self.kappa)
        power = lower.at_price(price).power
        last = Exchange(power, power, price)
        rounds: list[Round] = []
        weight = None
        while True:
            to_utility, to_prosumers, asked = self.rule.questions(last, rho)
            share = 1.0 / asked
            if weight is None:
                weight = 1.0 / link.total(share)
                upper.reweigh(weight)
            target = link.total(to_utility)
            grant = upper.answer(target)
            response: Response = lower.respond(to_prosumers, asked)
            rounds.append(link.measure(grant, response))
            if rounds[-1].settled or is_over(rounds, self.patience, self.max_rounds):
                return Agreement.by_one_number(grant, response, rounds, len(price))
            moved = link.spread(weight * (grant.injection - target))
            last = self.rule.after(last, to_utility + share * moved, response.power, rho)


TDQA = Parallel("tdqa", TruncatedDiagonal(step=0.5), kappa=1.0)
APP = Parallel("app", AuxiliaryProblem(), kappa=0.5)
