"""ATC with any penalty: both levels answer in turn until they stand still, then the penalty is updated.

An inner round asks the utility for T and λ, which price the copies t_k = p_k + c_k(λ), and the prosumers
for the p_k that answer those copies. The outer update follows when the prosumers moved by a small share of
the gap that is left, or after so many inner rounds. What the utility minimises,

    f(T) + min { Σ_k φ_k(t_k − p_k) : Σ_{k at b} t_k = T_b },

is known to it by λ alone: a quadratic ½w_b(T_b − Z_b)² where φ' is a straight line, and a sequence of such
quadratics, by Newton's method on λ, where it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from market.atc.alternating import first_weights
from market.atc.penalties import Augmented, Exponential, Penalty, Quadratic
from market.atc.prosumers import LowerLevel, Response
from market.atc.rounds import Agreement, Grant, Link, Round, Utility, is_over
from market.units import Floats

NEWTON_STEPS = 30
NEWTON_TOLERANCE = 1e-10
"""Relative change of λ at which the utility's own sequence of quadratics ends."""
BISECTIONS = 70
"""Halvings of a price range of 10⁶ €/MWh: to the last digit of a float."""
PRICE_RANGE_EUR_PER_MWH = 1e6

First = Callable[[Floats, Floats], Penalty]
"""The first penalty of everybody, from first prices and first weights."""


@dataclass(frozen=True, slots=True)
class Nested:
    """A Method by its settings.

    first: the penalty to begin with; kappa: κ of its weights; inner_share: prosumers stand still when they
    moved by no more than this share of the gap; inner_rounds: so many at most between updates.
    """

    name: str
    first: First
    kappa: float
    inner_share: float
    inner_rounds: int
    patience: int = 400
    max_rounds: int = 2_000

    def __call__(self, upper: Utility, lower: LowerLevel, price: Floats) -> Agreement:
        """Rounds until both levels agree; see Method."""
        link = Link.between(upper, lower)
        penalty = self.first(price, first_weights(lower, self.kappa))
        response = lower.at_price(price)
        by_bus = link.mean(price)
        rounds: list[Round] = []
        inner = 0
        while True:
            grant, copy = _utility(upper, link, penalty, response.power, by_bus)
            by_bus = grant.price
            before, response = response, _prosumers(lower, penalty, copy)
            rounds.append(link.measure(grant, response))
            if rounds[-1].settled or is_over(rounds, self.patience, self.max_rounds):
                return Agreement.by_one_number(grant, response, rounds, len(price))
            gap = copy - response.power
            inner += 1
            moved = float(np.abs(response.power - before.power).max(initial=0.0))
            if moved <= self.inner_share * float(np.abs(gap).max(initial=0.0)) or inner >= self.inner_rounds:
                penalty, inner = penalty.after(gap), 0


def _utility(
    upper: Utility, link: Link, penalty: Penalty, power: Floats, price: Floats
) -> tuple[Grant, Floats]:
    """What the utility grants and its copies t_k, from a first guess of λ by injection bus."""
    for _ in range(NEWTON_STEPS):
        at = link.spread(price)
        stretch = penalty.stretch(at)
        weight = 1.0 / link.total(stretch)
        # the straight line through the copies at this price: t = meets + stretch·λ
        meets = power + penalty.gap(at) - stretch * at
        upper.reweigh(weight)
        grant = upper.answer(link.total(meets))
        found = grant.price
        moved = np.abs(found - price) / np.maximum(np.abs(found), 1.0)
        price = found
        if penalty.is_affine or float(moved.max(initial=0.0)) <= NEWTON_TOLERANCE:
            break
    # T, not λ, says what the utility decided: its copies add up to it to the last digit
    stretch = penalty.stretch(link.spread(price))
    copy = power + penalty.gap(link.spread(price))
    missing = grant.injection - link.total(copy)
    return grant, np.asarray(copy + stretch * link.spread(missing / link.total(stretch)))


def _prosumers(lower: LowerLevel, penalty: Penalty, copy: Floats) -> Response:
    """Each prosumer's argmin C_k(p) + φ_k(t_k − p)."""
    if penalty.is_affine:
        zero = np.zeros_like(copy)
        weight = 1.0 / penalty.stretch(zero)
        return lower.respond(copy + penalty.price(zero) / weight, weight)
    low = np.full(len(copy), -PRICE_RANGE_EUR_PER_MWH)
    high = -low
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        # a dearer power is a larger one, and a smaller gap is left
        short = lower.at_price(middle).power + penalty.gap(middle) < copy
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    price = 0.5 * (low + high)
    weight = 1.0 / penalty.stretch(price)
    # a proximal step at the answer's own slope: it also ends inside the vertical piece of a linear device
    return lower.respond(copy - penalty.gap(price) + price / weight, weight)


QUADRATIC = Nested(
    "quadratic",
    lambda _price, weight: Quadratic(np.zeros_like(weight), weight, growth=2.0),
    kappa=0.1,
    inner_share=0.05,
    inner_rounds=20,
    patience=40,
    max_rounds=200,
)
"""A penalty that only grows. Prices are ρ·gap, so that no gap means no price: it ends with a small gap."""
AUGMENTED = Nested(
    "augmented",
    lambda price, weight: Augmented(price, weight, growth=1.1),
    kappa=0.5,
    inner_share=0.1,
    inner_rounds=20,
)
"""The augmented Lagrangian with inner rounds and a growing weight."""
EXPONENTIAL = Nested(
    "exponential",
    lambda price, weight: Exponential.at(price, weight, growth=1.0),
    kappa=1.0,
    inner_share=0.1,
    inner_rounds=1,
)
"""The exponential penalty, its multipliers updated after each round."""
