"""An interior point on the true power flow: from nowhere to near the optimum of one period.

Every quantity's two bounds get a slack and a multiplier with slack·multiplier = μ·weight; weights are
ranges in pu, so that μ is in €/MWh: a device sees its price blurred by about μ. Predictor and corrector
after S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM Journal on
Optimization 2(4):575–601, 1992. The flow's equations are the exact ones, so that where the relaxation is
not exact the way leads to a local optimum of the true power flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from market.pricing.activeset import FREE, HIGH, LOW, Sides
from market.pricing.kkt import Kkt, Point
from market.pricing.quantities import Quantities
from market.units import Floats

START_VOLL = 0.3
"""First μ, in prices of lost load: nothing is ruled out yet."""
START_SLACK = 0.05
"""pu², and of a rated current: least slack that the first point is believed to have."""
LIMIT_WEIGHT = 0.1
"""pu: weight of voltage limits and ratings in μ."""
BACK = 0.995
"""Share of the way to the first bound that a step goes."""
STEPS = 100
SERVED_PU = 1.0
"""Firm load that the first point serves at most."""


@dataclass(slots=True, eq=False)
class Interior:
    """A point between its bounds: amounts, slacks and multipliers of low and high bounds, 2 × quantities."""

    point: Point
    amount: Floats
    slack: Floats
    dual: Floats
    weight: Floats
    blur: float
    steps: int = 0


def start(quantities: Quantities, voll: float) -> Interior:
    """Nothing flows, everyone is in the middle of its range."""
    q = quantities
    price = max(q.import_price, 1.0)
    point = q.network.flat(q.import_price)
    amount = (q.low + q.high) / 2
    amount[q.hubs] = np.clip(0.0, q.low[q.hubs] + 0.3, q.high[q.hubs] - 0.3)
    amount[q.shares] = np.clip(1 - SERVED_PU / max(1e-9, q.scale[q.shares].sum()), 0.1, 0.97)
    amount[q.voltages] = q.network.v0
    amount[q.currents] = 0.0
    slack = np.array([amount - q.low, q.high - amount])
    np.maximum(slack, START_SLACK, out=slack, where=_limits(q))
    blur = max(10 * price, START_VOLL * voll)
    weight = weights(q)
    dual = blur * weight / slack
    point.rating[:] = (dual[1] - dual[0])[q.currents]
    return Interior(point, amount, slack, dual, weight, blur)


def _limits(quantities: Quantities) -> npt.NDArray[np.bool_]:
    limits = np.zeros(quantities.count, dtype=bool)
    limits[quantities.voltages.start :] = True
    return limits


def weights(quantities: Quantities) -> Floats:
    """Weight of every quantity in μ, pu."""
    q = quantities
    weight: Floats = np.minimum(q.high - q.low, 1.0)
    weight[q.shares] = q.scale[q.shares]
    weight[q.voltages.start :] = LIMIT_WEIGHT
    return weight


def approach(quantities: Quantities, kkt: Kkt, at: Interior, blur: float) -> bool:
    """Walk `at` along the central path until μ and residuals are below; whether it got there."""
    q, network = quantities, quantities.network
    weight = at.weight
    total = 2 * float(weight.sum())
    while at.steps < STEPS:
        currents = network.currents(at.point)
        q.network_amounts(at.point, currents, at.amount)
        left = q.residual(at.point, currents, at.amount)
        room = np.array([at.amount - q.low, q.high - at.amount])
        gap = room - at.slack
        at.blur = float(np.vdot(at.slack, at.dual)) / total
        price = q.price(at.point)
        own = q.linear + q.curve * at.amount - price
        infeasible = max(np.abs(left.imbalance).max(), np.abs(gap).max())
        force = own - at.dual[0] + at.dual[1]
        g = left.gradient.copy()
        g[2] += force[q.voltages]
        unstationary = max(
            np.abs(g).max(), np.abs(force[: q.voltages.start] / q.scale[: q.voltages.start]).max(initial=0)
        )
        if at.blur <= blur and infeasible <= 1e-6 and unstationary <= blur:
            return True
        at.steps += 1
        ratio = at.dual / at.slack
        stiffness = q.curve + ratio[0] + ratio[1]
        yields = q.factor(kkt, currents, stiffness, convex=True)
        base = q.linear + q.curve * at.amount + ratio[0] * gap[0] - ratio[1] * gap[1]
        _, change = q.step(kkt, at.point, left, base, yields=yields, price=price)
        move = np.array([change, -change]) + gap
        turn = -at.dual - ratio * move
        length = min(_length(at.slack, move), _length(at.dual, turn))
        ahead = float(np.vdot(at.slack + length * move, at.dual + length * turn)) / total
        target = at.blur * (ahead / at.blur) ** 3 * weight - move * turn
        push = target / at.slack
        step, change = q.step(kkt, at.point, left, base - push[0] + push[1], yields=yields, price=price)
        move = np.array([change, -change]) + gap
        turn = push - at.dual - ratio * move
        length = BACK * min(
            _length(at.slack, move), _length(at.dual, turn), _length(at.point.v, 1.2 * step.v)
        )
        length = min(1.0, length)
        at.point = at.point.moved(step, length)
        at.amount = at.amount + length * change
        at.slack = at.slack + length * move
        at.dual = at.dual + length * turn
        if not np.isfinite(at.point.v).all():
            return False
    return False


def _length(of: Floats, step: Floats) -> float:
    """How many times the step may be gone until the first of what is positive is 0; 1/BACK at most."""
    return 1.0 / max(float((-step / of).max(initial=0.0)), BACK)


def shares_of_range(quantities: Quantities, at: Interior) -> Sides:
    """Held at a bound whose multiplier is a larger share of the prices than its slack is of the range."""
    top = max(1.0, float(np.abs(at.point.prices[0]).max()))
    held = at.dual * at.weight > top * at.slack
    return np.where(held[0], LOW, np.where(held[1], HIGH, FREE)).astype(np.int8)
