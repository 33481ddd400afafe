"""Newton with an active set: from a point near the optimum of one period to machine precision.

Units of curved costs answer prices by themselves: P_b(λ_b), with its slope. Every other quantity is free or
held at one of its bounds. For a choice of them the optimality conditions are piecewise smooth equations;
after each step what left its bounds is held there, what a force of the wrong sign holds is set free, any
number at once. Of neighbouring buses whose voltages are beyond a limit the worst is held alone: that mends
the others, and to hold them all would leave prices that nobody answers to. Near the optimum this ends after
a few steps, quadratically; far from it, it may not, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from market.pricing.guess import Guess
from market.pricing.kkt import HELD, REFINEMENTS, Currents, Kkt, Network, Point, Residual
from market.pricing.quantities import FREE, HIGH, LOW, Quantities, Sides
from market.units import Floats

STEPS = 16
EXACT = 1e-14
"""Residual at which Newton ends, in pu and shares of the largest price."""
SETTLED = 1e-12
"""Residual that will do; steps go on as long as they make it less."""
OUTSIDE = 1e-10
"""pu beyond a bound, or share of the largest price on the wrong side of 0, that changes sides."""
PROXIMAL = 1e-4
"""€/MWh per pu. Curvature lent to linear quantities in the step alone: who is alike shares alike."""
NEAR = 1e-9
"""Residual above which every step has a matrix of its own, and none is refined: the next mends it."""
LOOSE = 1e-12
"""Stiffness of a limit that does not hold."""
FAR = 10.0
"""pu. Nothing that is near the optimum moves as far as this in a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """A point with the amounts of all quantities.

    sides, force: where those are that do not answer prices by themselves, and what holds them there,
    positive upwards.
    """

    point: Point
    currents: Currents
    amount: Floats
    sides: Sides
    force: Floats
    residual: float
    steps: int


@np.errstate(over="ignore", invalid="ignore")  # a singular matrix is told by where its steps go
def settle(quantities: Quantities, kkt: Kkt, guess: Guess, exact: float = EXACT) -> Settled | None:
    """Newton from a guess to a residual of `exact`, or as near as it gets.

    None where sides go on changing, or a step goes nowhere.
    """
    answering, q, network = quantities.answering, quantities.others, quantities.network
    limits, bounded = slice(q.voltages.start, None), slice(0, q.voltages.start)
    soft = _softness(q, guess)
    point, amount, sides = guess.point, guess.amount.copy(), guess.sides
    best: Settled | None = None
    again = False
    for steps in range(STEPS + 1):
        currents = network.currents(point)
        left = network.residual(point, currents)
        response = answering.at(point.prices[0])
        q.network_amounts(point, currents, amount)
        price = q.price(point)
        force = price - q.linear - q.curve * amount
        force[q.voltages] = left.forces[2 * network.lines + 1 :]
        force[q.currents] = point.rating
        top = max(1.0, float(np.abs(point.prices[0]).max()))
        if top > guess.dearest:
            return best
        others = _sides(q, amount, force, sides, top) if steps else sides
        held = others != FREE
        bound = np.where(others == LOW, q.low, q.high)
        np.copyto(amount[bounded], bound[bounded], where=held[bounded])
        left.imbalance[:2] += q.supplied(point, amount, response.injected)
        missed = np.where(held, amount - bound, 0.0)[limits]
        error = _error(q, left, force, held, missed, top)
        if best is not None and (others is not sides or error >= best.residual):
            return best
        if others is sides and error <= SETTLED:
            force[~held] = 0.0
            point.rating[:] = force[q.currents]
            every = np.concatenate([response.amount, amount])
            best = Settled(point, currents, every, sides, force, error, steps)
            if error <= exact:
                return best
        # once near, the matrix of the step before will do; where one such step does not, all digits count
        again = error <= NEAR and others is sides and steps >= len(soft) and not again
        sides = others
        # a limit that holds takes what force there is, and brings its quantity to the bound
        pull = np.where(held, price, q.linear + q.curve * amount)
        pull[limits] = np.where(held[limits], force[limits] + HELD * missed, 0.0)
        if not again:
            stiffness = np.where(held, HELD, soft[min(steps, len(soft) - 1)])
            yields = q.factor(kkt, currents, stiffness, response.slope)
        refinements = REFINEMENTS if error <= NEAR and not again else 0
        step, change = q.step(kkt, point, left, pull, yields, price, refinements)
        if not np.abs(step.flow).max() <= FAR:
            return best
        point = point.moved(step)
        if not point.v.min() > 0:
            return best
        if len(network.rated):
            point.rating[sides[q.currents] == FREE] = 0.0
        change[held] = 0.0
        amount += change
    return best


def _softness(q: Quantities, guess: Guess) -> list[Floats]:
    """Stiffnesses of what is free, by step; the last ones stay."""
    limits = slice(q.voltages.start, None)
    soft = np.maximum(q.curve, PROXIMAL * q.scale)
    soft[limits] = LOOSE
    if not guess.widths:
        return [soft]
    per_width = q.scale / np.minimum(q.high - q.low, 1.0)
    per_width[limits] = per_width[q.hubs] = 0.0
    return [*(np.maximum(soft, width * per_width) for width in guess.widths), soft]


def _error(  # noqa: PLR0917 - what a step is to make 0
    q: Quantities, left: Residual, force: Floats, held: npt.NDArray[np.bool_], missed: Floats, top: float
) -> float:
    """Largest residual of the equations for these sides, powers in pu, prices as shares of the largest."""
    flows = 2 * q.network.lines
    loose = force / q.scale
    loose[held] = 0.0
    prices = max(float(np.abs(left.forces[:flows]).max()), float(np.abs(loose).max(initial=0.0)))
    powers = max(float(np.abs(left.imbalance).max()), float(np.abs(missed).max(initial=0.0)))
    return max(powers, prices / top)


def _sides(q: Quantities, amount: Floats, force: Floats, sides: Sides, top: float) -> Sides:
    """Hold what left its bounds, free what is held by a force of the wrong sign; `sides` itself if none."""
    loose = sides * force < -OUTSIDE * top * q.scale
    out = np.maximum(q.low - amount, amount - q.high) > OUTSIDE
    out &= sides == FREE
    if not (loose.any() or out.any()):
        return sides
    high = amount > q.high
    below, above = out & ~high, out & high
    voltage = amount[q.voltages]
    if below[q.voltages].any():
        below[q.voltages] &= _lowest(q.network, voltage)
    if above[q.voltages].any():
        above[q.voltages] &= _lowest(q.network, -voltage)
    others = sides.copy()
    others[loose] = FREE
    others[below] = LOW
    others[above] = HIGH
    return others


def _lowest(network: Network, v: Floats) -> npt.NDArray[np.bool_]:
    """Lines whose bus has no neighbour of a lower voltage."""
    lowest = np.ones(network.lines, dtype=bool)
    inner = network.inner
    above = network.parent[inner] - 1
    lowest[above[v[inner] < v[above]]] = False
    lowest[inner[v[above] < v[inner]]] = False
    return lowest
