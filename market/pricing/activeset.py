"""Newton with an active set: from a point near the optimum of one period to machine precision.

Each quantity is free or held at one of its bounds. For a choice of them the optimality conditions are
smooth equations; after each step what left its bounds is held there, what a price of the wrong sign holds
is set free, any number at once. Of neighbouring buses whose voltages are beyond a limit the worst is held
alone: that mends the others, and to hold them all would leave prices that nobody answers to. Near the
optimum this ends after a few steps, quadratically; far from it, it may not, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from market.pricing.kkt import Kkt, Network, Point
from market.pricing.quantities import Quantities
from market.units import Floats

STEPS = 12
SETTLED = 1e-10
"""Newton ends when prices, relative to the largest, and powers move by less, and nobody changes sides."""
OUTSIDE = 1e-10
"""pu beyond a bound, or share of the largest price on the wrong side of 0, that changes sides."""
PROXIMAL = 1e-6
"""€/MWh per pu. Curvature lent to linear quantities in the step alone: who is alike shares alike."""
HELD = 1e10
"""Stiffness of what is held."""
LOOSE = 1e-12
"""Stiffness of a limit that does not hold."""

LOW, FREE, HIGH = -1, 0, 1
Sides = npt.NDArray[np.int8]


@dataclass(slots=True, eq=False)
class Settled:
    """A point with its quantities: amounts, sides, and the forces that hold them, positive downwards."""

    point: Point
    amount: Floats
    sides: Sides
    force: Floats
    steps: int


def settle(quantities: Quantities, kkt: Kkt, point: Point, amount: Floats, sides: Sides) -> Settled | None:
    """Newton from here; None where sides go on changing or the matrix is singular."""
    q, network = quantities, quantities.network
    amount = np.where(sides == LOW, q.low, np.where(sides == HIGH, q.high, amount))
    limits = slice(q.voltages.start, None)
    curve = np.maximum(q.curve, PROXIMAL * q.scale)
    curve[limits] = LOOSE
    point = replace(point, rating=np.where((sides == HIGH)[q.currents], point.rating, 0.0))
    for steps in range(1, STEPS + 1):
        held = sides != FREE
        currents = network.currents(point)
        q.network_amounts(point, currents, amount)
        left = q.residual(point, currents, amount)
        stiffness = np.where(held, HELD, curve)
        bound = np.where(sides == LOW, q.low, q.high)
        price = q.price(point)
        pull = q.linear + q.curve * amount
        # a limit that holds takes what force there is, and brings its quantity to the bound
        force = np.concatenate([-left.gradient[2], point.rating])
        pull[limits] = np.where(held[limits], force + HELD * (amount[limits] - bound[limits]), 0.0)
        # what is held stays where it is
        np.copyto(pull[: limits.start], price[: limits.start], where=held[: limits.start])
        yields = q.factor(kkt, currents, stiffness)
        step, change = q.step(kkt, point, left, pull, yields=yields, price=price)
        point = point.moved(step, 1.0)
        if not (np.isfinite(point.v).all() and point.v.min() > 0):
            return None
        free = ~held
        amount = np.where(free, amount + change, bound)
        top = max(1.0, float(np.abs(point.prices[0]).max()))
        force = q.price(point) - q.linear - q.curve * amount
        force[q.voltages] = -network.gradient(point, network.currents(point))[2]
        force[q.currents] = point.rating
        force[free] = 0.0
        point = replace(point, rating=force[q.currents])
        moved = max(
            float(np.abs(step.prices).max()) / top,
            float(np.abs(step.flow).max()),
            float(np.abs(step.v).max()),
        )
        others = _sides(q, amount, force, sides, top)
        changed = int(np.count_nonzero(others != sides))
        if not changed and moved <= SETTLED:
            return Settled(point, amount, sides, force, steps)
        amount = np.where(others == LOW, q.low, np.where(others == HIGH, q.high, amount))
        sides = others
    return None


def _sides(q: Quantities, amount: Floats, force: Floats, sides: Sides, top: float) -> Sides:
    """Hold what left its bounds, free what is held by a force of the wrong sign."""
    wrong = OUTSIDE * top * q.scale
    low, high = sides == LOW, sides == HIGH
    free = ~(low | high)
    others = sides.copy()
    others[(low & (force > wrong)) | (high & (force < -wrong))] = FREE
    below, above = free & (amount < q.low - OUTSIDE), free & (amount > q.high + OUTSIDE)
    if below.any():
        below[q.voltages] &= _lowest(q.network, amount[q.voltages])
        others[below] = LOW
    if above.any():
        above[q.voltages] &= _lowest(q.network, -amount[q.voltages])
        others[above] = HIGH
    return others


def _lowest(network: Network, v: Floats) -> npt.NDArray[np.bool_]:
    """Lines whose bus has no neighbour of a lower voltage."""
    lowest = np.ones(network.lines, dtype=bool)
    inner = network.inner
    above = network.parent[inner] - 1
    falls = v[inner] < v[above]
    lowest[above[falls]] = False
    lowest[inner[v[above] < v[inner]]] = False
    return lowest
