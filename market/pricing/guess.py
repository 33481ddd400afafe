"""Where Newton with an active set may start: from an earlier solution, or as if there were no lines.

A guess says what the network carries, and of all quantities that do not answer prices by themselves
what they do and at which bound they are. What is linear is not smooth: from a guess made without the
lines it is spread over a little of the price at first, so that not everyone at a bus moves at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.pricing.conditions import Solution
from market.pricing.kkt import Point
from market.pricing.quantities import FREE, HIGH, LOW, Quantities, Sides
from market.units import Floats

INDIFFERENT = 1e-7
"""Share of the largest price within which a linear device is at its price: it goes on being marginal."""
WIDTHS = 5.0, 0.5, 0.05
"""€/MWh over which what is linear goes from bound to bound, in the first steps of a guess without lines."""
DEAREST = 5.0
"""Import prices; where prices rise above them, a guess without lines has led astray: limits hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Guess:
    """A point; amounts and sides of the quantities that do not answer prices by themselves.

    widths: €/MWh over which linear ones go from bound to bound, by step; dearest: €/MWh beyond which
    no price is believed.
    """

    point: Point
    amount: Floats
    sides: Sides
    widths: tuple[float, ...] = ()
    dearest: float = np.inf


def as_before(quantities: Quantities, earlier: Solution, period: int) -> Guess:
    """What an earlier solution says of this period."""
    q, primal, duals = quantities.others, earlier.primal, earlier.duals
    point = q.network.flat(0.0)
    point.flow[0], point.flow[1] = primal.p[period, 1:], primal.q[period, 1:]
    point.v[:] = primal.v[period]
    prices = point.prices
    prices[0], prices[1], prices[2] = duals.price[period], duals.reactive[period], duals.voltage[period]
    point.rating[:] = duals.current[period, 1:][q.network.rated] * q.network.l_unit
    # who trades with the hub goes with its price
    imported = float(primal.net_import[period])
    if imported:
        prices[0] += (q.import_price if imported > 0 else q.export_price) - prices[0, 0]
    amount = np.zeros(q.count)
    amount[: q.hubs.start] = quantities.units_of(primal.gen[period], primal.load[period])[quantities.curved :]
    amount[q.hubs] = imported
    amount[q.shares] = primal.shed[period]
    worth = q.price(point) - q.linear
    near = INDIFFERENT * max(1.0, float(np.abs(prices[0]).max())) * q.scale
    sides = (worth > near).astype(np.int8)
    sides[worth < -near] = LOW
    voltages = (duals.v_high[period, 1:] > 0).astype(np.int8)
    voltages[duals.v_low[period, 1:] > 0] = LOW
    sides[q.voltages], sides[q.currents] = voltages, np.where(point.rating > 0, HIGH, FREE)
    np.maximum(amount, q.low, out=amount)
    np.minimum(amount, q.high, out=amount)
    return Guess(point, amount, sides)


def without_lines(quantities: Quantities) -> Guess:
    """Everyone at one bus, at the price at which they balance there; nothing flows, no limit holds."""
    q = quantities.others
    price = quantities.price_at_one_bus()
    point = q.network.flat(price)
    worth = q.price(point) - q.linear
    sides = np.where(worth < 0, LOW, HIGH).astype(np.int8)
    sides[q.voltages] = sides[q.currents] = FREE
    amount = np.where(sides == LOW, q.low, q.high)
    # who trades with the hub has its price; where neither import nor export pays, nobody does
    amount[q.hubs] = 0.0
    sides[q.hubs] = np.where(q.linear[q.hubs] == price, FREE, np.where(q.high[q.hubs] > 0, LOW, HIGH))
    return Guess(point, amount, sides, WIDTHS, DEAREST * max(abs(q.import_price), 1.0))
