"""An interior point on the true power flow: from nowhere to near the optimum of one period.

Every quantity's two bounds get a slack and a multiplier with slack·multiplier = μ·weight; weights are
ranges in pu, so that μ is in €/MWh: a device sees its price blurred by about μ. Predictor and corrector
after S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM Journal on
Optimization 2(4):575–601, 1992. The flow's equations are the exact ones, so that where the relaxation is
not exact the way leads to a stationary point of the true power flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.pricing.guess import Guess
from market.pricing.kkt import Kkt, Point
from market.pricing.quantities import FREE, HIGH, LOW, Quantities
from market.units import Floats

START_PRICES, START_VOLL = 10.0, 0.3
"""First μ, at least so many import prices and values of lost load: nothing is ruled out yet."""
START_SLACK = 0.05
"""pu², and of a rated current in its unit: least slack that the first point is believed to have."""
START_TRADE_PU = 0.3
"""What the hub takes and gives at first."""
START_SHED = 0.1, 0.97
"""Shares of firm load that are shed at first: so many that SERVED_PU is left, within these bounds."""
SERVED_PU = 1.0
LIMITS_WEIGHT = 1.0
"""pu: weight in μ of all voltage limits, and of all ratings, together."""
BACK = 0.995
"""Share of the way to the first bound that a step goes."""
DEEPER = 1.2
"""A step may take this part less of a voltage than there is."""
STEPS = 400
"""Ratings a ten thousandth of the feeder's load take 150, smaller ones up to all; others, 20 to 60."""
KEPT = 0.01
"""Share of what prices of flows are still off by that μ stays above: it would end at bounds on the way."""
FAR = 1e9
"""pu. What no step goes but one of a singular matrix; currents, measured by small ratings, may."""
FEASIBLE = 1e-6
"""pu. Largest imbalance, or quantity off its slack, at which Newton may take over."""


@dataclass(slots=True, eq=False)
class Interior:
    """A point between its bounds; slacks and multipliers of low and high bounds, 2 × quantities."""

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
    limits = slice(q.voltages.start, None)
    whole = q.scale[q.shares]
    weight: Floats = np.minimum(q.high - q.low, 1.0)
    weight[q.shares] = whole
    weight[limits] = LIMITS_WEIGHT / q.network.lines * q.scale[limits]
    amount = (q.low + q.high) / 2
    amount[q.hubs] = np.clip(0.0, q.low[q.hubs] + START_TRADE_PU, q.high[q.hubs] - START_TRADE_PU)
    amount[q.shares] = np.clip(1 - SERVED_PU / max(float(whole.sum()), SERVED_PU), *START_SHED)
    amount[q.voltages] = q.network.v0
    amount[q.currents] = 0.0
    slack = np.array([amount - q.low, q.high - amount])
    np.maximum(slack[:, limits], START_SLACK, out=slack[:, limits])
    blur = max(START_PRICES * max(q.import_price, 1.0), START_VOLL * voll)
    dual = blur * weight / slack
    point = q.network.flat(q.import_price)
    point.rating[:] = (dual[1] - dual[0])[q.currents]
    return Interior(point, amount, slack, dual, weight, blur)


@np.errstate(over="ignore", invalid="ignore")  # a singular matrix is told by where its steps go
def approach(quantities: Quantities, kkt: Kkt, at: Interior, blur: float) -> bool:
    """Walk `at` along the central path until μ is below `blur`; whether it got there."""
    q, network = quantities, quantities.network
    total = 2 * float(at.weight.sum())
    while at.steps < STEPS:
        currents = network.currents(at.point)
        q.network_amounts(at.point, currents, at.amount)
        left = network.residual(at.point, currents)
        left.imbalance[:2] += q.supplied(at.point, at.amount)
        room = np.array([at.amount - q.low, q.high - at.amount])
        room -= at.slack
        at.blur = float((at.slack * at.dual).sum()) / total
        if at.blur <= blur and max(np.abs(left.imbalance).max(), np.abs(room * q.scale).max()) <= FEASIBLE:
            return True
        at.steps += 1
        unbalanced = float(np.abs(left.forces[: 2 * network.lines]).max())
        ratio = at.dual / at.slack
        price = q.price(at.point)
        yields = q.factor(kkt, currents, q.curve + ratio[0] + ratio[1], convex=True)
        closing = ratio * room
        base = q.linear + q.curve * at.amount + closing[0] - closing[1]
        # where the step would lead that goes for μ = 0 at once
        _, change = q.step(kkt, at.point, left, base, yields, price, 0)
        if not np.abs(change[: q.currents.start]).max() <= FAR:
            return False
        slack, dual = _turns(at, ratio, room, change)
        length = min(1.0, _length(at.slack, slack), _length(at.dual, dual))
        ahead = float(((at.slack + length * slack) * (at.dual + length * dual)).sum()) / total
        aim = max(at.blur * (ahead / at.blur) ** 3, min(at.blur, KEPT * unbalanced))
        target = aim * at.weight - slack * dual
        target /= at.slack
        step, change = q.step(kkt, at.point, left, base - target[0] + target[1], yields, price, 0)
        slack, dual = _turns(at, ratio, room, change)
        dual += target
        length = min(_length(at.slack, slack), _length(at.dual, dual), _length(at.point.v, DEEPER * step.v))
        length = min(1.0, BACK * length)
        if not length > 0:
            return False
        at.point = at.point.moved(step, length)
        at.amount += length * change
        at.slack += length * slack
        at.dual += length * dual
    return False


def _turns(at: Interior, ratio: Floats, room: Floats, change: Floats) -> tuple[Floats, Floats]:
    """Changes of slacks and multipliers that a change of amounts brings, towards μ = 0."""
    slack = np.array([change, -change])
    slack += room
    dual = ratio * slack
    dual += at.dual
    return slack, np.negative(dual, out=dual)


def _length(of: Floats, step: Floats) -> float:
    """How many times the step may be gone until the first of what is positive is 0; 1e6 at most."""
    return 1.0 / max(-float((step / of).min()), 1e-6)


def guess(quantities: Quantities, at: Interior) -> Guess:
    """Held at a bound whose multiplier is a larger share of the prices than its slack is of the range."""
    q = quantities
    reach: Floats = np.minimum(q.high - q.low, 1.0)
    top = max(1.0, float(np.abs(at.point.prices[0]).max()))
    held = at.dual * reach > top * q.scale * at.slack
    sides = np.where(held[0], LOW, np.where(held[1], HIGH, FREE)).astype(np.int8)
    return Guess(at.point, at.amount[q.curved :], sides[q.curved :])
