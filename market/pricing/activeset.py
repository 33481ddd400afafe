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
from market.pricing.kkt import HELD, REFINEMENTS, Currents, FlowEquations, Kkt, Point, Residual
from market.pricing.quantities import FREE, HIGH, LOW, Quantities, Response, Sides
from market.units import Floats

STEPS = 16
EXACT = 1e-14
"""Residual at which Newton ends, in pu and shares of the largest price."""
SETTLED = 1e-12
"""Residual that will do; steps go on as long as they make it less."""
OUTSIDE = 5e-12
"""pu beyond a bound, or share of the largest price on the wrong side of 0, that changes sides: half of what a
certificate grants a finished answer."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What there is at a point: what everyone does and earns, what the equations leave.

    price, force: of the quantities that do not answer prices by themselves, €/h per unit; top: the largest
    price, at least 1.
    """

    currents: Currents
    left: Residual
    response: Response
    price: Floats
    force: Floats
    top: float


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """Sides for the next step; what is held, what the network's own quantities miss of their bounds."""

    sides: Sides
    held: npt.NDArray[np.bool_]
    missed: Floats
    error: float


class _Walk:
    """Newton's way from a guess: where it is, and how the next step is made."""

    def __init__(self, quantities: Quantities, kkt: Kkt, guess: Guess) -> None:
        self.answering, self.q, self.kkt = quantities.answering, quantities.others, kkt
        self.point, self.amount, self.sides = guess.point, guess.amount.copy(), guess.sides
        self._soft = _softness(self.q, guess)
        self._limits, self._bounded = slice(self.q.voltages.start, None), slice(0, self.q.voltages.start)
        self._again = False
        self._yields: Floats = self.amount
        self.steps = 0

    def look(self) -> _View:
        """What everyone who answers prices does, and the forces on all others."""
        q, network, point = self.q, self.q.network, self.point
        currents = network.currents(point)
        left = network.residual(point, currents)
        response = self.answering.at(point.prices[0])
        q.network_amounts(point, currents, self.amount)
        price = q.price(point)
        force = price - q.linear - q.curve * self.amount
        force[q.voltages] = left.forces[2 * network.lines + 1 :]
        force[q.currents] = point.rating
        top = max(1.0, float(np.abs(point.prices[0]).max()))
        return _View(currents, left, response, price, force, top)

    def choose(self, view: _View) -> _Choice:
        """The sides that the forces ask for, the guess's own at first; puts what is held at its bound."""
        q, amount = self.q, self.amount
        sides = _sides(q, amount, view.force, self.sides, view.top) if self.steps else self.sides
        held = sides != FREE
        bound = np.where(sides == LOW, q.low, q.high)
        np.copyto(amount[self._bounded], bound[self._bounded], where=held[self._bounded])
        view.left.imbalance[:2] += q.supplied(self.point, amount, view.response.injected)
        missed = np.where(held, amount - bound, 0.0)[self._limits]
        return _Choice(sides, held, missed, _error(q, view, held, missed))

    def settled(self, view: _View, choice: _Choice) -> Settled:
        """The present point, finished."""
        view.force[~choice.held] = 0.0
        self.point.rating[:] = view.force[self.q.currents]
        every = np.concatenate([view.response.amount, self.amount])
        return Settled(self.point, view.currents, every, choice.sides, view.force, choice.error, self.steps)

    def step(self, view: _View, choice: _Choice) -> bool:
        """Go one step with these sides; whether it leads anywhere."""
        q, held, limits = self.q, choice.held, self._limits
        near = choice.error <= NEAR
        softened = self.steps < len(self._soft)
        # once near, the matrix of the step before will do; where one such step does not, all digits count
        self._again = near and choice.sides is self.sides and not softened and not self._again
        self.sides = choice.sides
        # a limit that holds takes what force there is, and brings its quantity to the bound
        pull = np.where(held, view.price, q.linear + q.curve * self.amount)
        pull[limits] = np.where(held[limits], view.force[limits] + HELD * choice.missed, 0.0)
        if not self._again:
            soft = self._soft[self.steps if softened else -1]
            stiffness = np.where(held, HELD, soft)
            self._yields = q.factor(self.kkt, view.currents, stiffness, view.response.slope)
        refinements = REFINEMENTS if near and not self._again else 0
        step, change = q.step(self.kkt, self.point, view.left, pull, self._yields, view.price, refinements)
        self.steps += 1
        if not np.abs(step.flow).max() <= FAR:
            return False
        self.point = self.point.moved(step)
        if len(q.network.rated):
            self.point.rating[self.sides[q.currents] == FREE] = 0.0
        change[held] = 0.0
        self.amount += change
        return bool(self.point.v.min() > 0)


@np.errstate(over="ignore", invalid="ignore")  # a singular matrix is told by where its steps go
def settle(quantities: Quantities, kkt: Kkt, guess: Guess, exact: float = EXACT) -> Settled | None:
    """Newton from a guess to a residual of `exact`, or as near as it gets.

    None where sides go on changing, or a step goes nowhere.
    """
    walk = _Walk(quantities, kkt, guess)
    best: Settled | None = None
    while walk.steps <= STEPS:
        view = walk.look()
        if view.top > guess.dearest:
            return best
        choice = walk.choose(view)
        stays = choice.sides is walk.sides
        if best is not None and not (stays and choice.error < best.residual):
            return best
        if stays and choice.error <= SETTLED:
            best = walk.settled(view, choice)
            if best.residual <= exact:
                return best
        if not walk.step(view, choice):
            return best
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


def _error(q: Quantities, view: _View, held: npt.NDArray[np.bool_], missed: Floats) -> float:
    """Largest residual of the equations for these sides, powers in pu, prices as shares of the largest."""
    flows = 2 * q.network.lines
    loose = view.force / q.scale
    loose[held] = 0.0
    prices = max(float(np.abs(view.left.forces[:flows]).max()), float(np.abs(loose).max(initial=0.0)))
    powers = max(float(np.abs(view.left.imbalance).max()), float(np.abs(missed).max(initial=0.0)))
    return max(powers, prices / view.top)


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


def _lowest(network: FlowEquations, v: Floats) -> npt.NDArray[np.bool_]:
    """Lines whose bus has no neighbour of a lower voltage."""
    lowest = np.ones(network.lines, dtype=bool)
    inner = network.inner
    above = network.parent[inner] - 1
    lowest[above[v[inner] < v[above]]] = False
    lowest[inner[v[above] < v[inner]]] = False
    return lowest
