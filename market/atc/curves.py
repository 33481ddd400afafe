"""What a bus will inject at any price, as far as its answers to a few prices tell.

An answer to price λ is the power P(λ), its slope, and the prices between which that slope holds: a segment of
the bus's rising supply curve, exact. Between two segments the curve is known to rise from the end of one to
the start of the next; where the lines of both meet in between, it is taken to follow them to where they
cross, as it does around a single corner, else straight across. Beyond all segments the last line goes on.

So the model of a bus is a rising polyline, exact wherever it was asked, and a polyline is what linear and
quadratic generators add up to: the utility prices it like any other device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.prosumers import Response
from market.atc.rounds import Link
from market.pricing.conditions import Devices
from market.units import Floats, Ints

BEYOND_EUR_PER_MWH = 1e5
"""How far beyond the outermost segments a curve is drawn."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One exact piece of every bus's curve, arrays by injection bus: from (start, low) to (stop, high).

    start, stop: prices, equal where somebody is indifferent; low, high: powers there, pu; slope: of the line
    through them and beyond, inf never.
    """

    start: Floats
    stop: Floats
    low: Floats
    high: Floats
    slope: Floats


@dataclass(frozen=True, eq=False)
class Curves:
    """Supply curves of all injection buses, corners × buses: price and power, both rising."""

    price: Floats
    power: Floats

    def devices(self, buses: Ints, firm: Floats) -> Devices:
        """The curves as generators where T + firm is above 0, loads below, and a load that takes `firm`."""
        power = self.power + firm
        # who injects at any price always does, and who takes at any price
        price = np.concatenate([self.price[:1] - 1.0, self.price, self.price[-1:] + 1.0])
        power = np.concatenate([np.minimum(power[:1], 0.0), power, np.maximum(power[-1:], 0.0)])
        rise, run = np.diff(power, axis=0), np.diff(price, axis=0)
        slope = np.where(rise > 0, run / np.where(rise > 0, rise, 1.0), 0.0)
        above, below = np.maximum(power, 0.0), np.minimum(power, 0.0)
        gen_max, load_max = np.diff(above, axis=0), np.diff(below, axis=0)
        # prices at which a piece begins to inject, and at which it ends to take
        first = price[:-1] + slope * (above[:-1] - power[:-1])
        last = price[1:] - slope * (power[1:] - below[1:])
        kept = (rise > 0).any(axis=1)

        def column(rows: Floats, rigid: Floats) -> Floats:
            return np.concatenate([rows[kept], rigid[None]]).reshape(1, -1)

        none = np.zeros(len(buses))
        return Devices(
            bus=np.tile(buses, int(kept.sum()) + 1),
            gen_cost=column(first, none),
            gen_slope=column(slope, none),
            gen_max=column(gen_max, none),
            load_value=column(last, none),
            load_slope=column(slope, none),
            load_min=column(np.zeros_like(load_max), firm),
            load_max=column(load_max, firm),
        )


def segment(link: Link, price: Floats, response: Response, most: Floats) -> Segment:
    """The segments that an answer to prices by injection bus shows.

    `most` is each prosumer's highest power at its price, above `response.power` for who is indifferent.
    """
    free = np.isfinite(response.slope)
    at = link.spread(price)
    start = _extreme(link, np.where(free, response.low, at), np.maximum)
    stop = _extreme(link, np.where(free, response.high, at), np.minimum)
    start, stop = np.minimum(start, price), np.maximum(stop, price)
    slope = link.total(np.where(free, response.slope, 0.0))
    least, greatest = link.total(response.power), link.total(most)
    start = np.where(greatest > least, price, np.maximum(start, price - BEYOND_EUR_PER_MWH))
    stop = np.where(greatest > least, price, np.minimum(stop, price + BEYOND_EUR_PER_MWH))
    return Segment(start, stop, least - slope * (price - start), greatest + slope * (stop - price), slope)


def curves(segments: list[Segment]) -> Curves:
    """The curves through all segments, 3 corners a segment and 2 ends."""
    start, stop, low, high, slope = (
        np.stack([getattr(each, name) for each in segments])
        for name in ("start", "stop", "low", "high", "slope")
    )
    order = np.argsort(start, axis=0, kind="stable")
    start, stop, low, high, slope = (
        np.take_along_axis(array, order, axis=0) for array in (start, stop, low, high, slope)
    )
    # the same segment found twice, or two that touch, to the rounding of their ends
    start[1:] = np.maximum(start[1:], stop[:-1])
    stop = np.maximum.accumulate(np.maximum(stop, start), axis=0)
    crossing = _crossing(stop[:-1], high[:-1], slope[:-1], start[1:], low[1:], slope[1:])
    corners = [(start[0] - BEYOND_EUR_PER_MWH, low[0] - slope[0] * BEYOND_EUR_PER_MWH)]
    for i in range(len(start)):
        corners += [(start[i], low[i]), (stop[i], high[i])]
        if i + 1 < len(start):
            corners.append((crossing[0][i], crossing[1][i]))
    corners.append((stop[-1] + BEYOND_EUR_PER_MWH, high[-1] + slope[-1] * BEYOND_EUR_PER_MWH))
    price, power = (np.stack([corner[i] for corner in corners]) for i in (0, 1))
    return Curves(np.maximum.accumulate(price, axis=0), np.maximum.accumulate(power, axis=0))


def _crossing(  # noqa: PLR0917 - two lines
    x: Floats, y: Floats, left: Floats, x_next: Floats, y_next: Floats, right: Floats
) -> tuple[Floats, Floats]:
    """Where lines through (x, y) and (x_next, y_next) meet in between; the first point where they do not."""
    apart = left - right
    meets = (y_next - y + left * x - right * x_next) / np.where(apart != 0, apart, 1.0)
    between = (apart != 0) & (meets > x) & (meets < x_next)
    at = np.where(between, meets, x)
    return at, np.where(between, y + left * (at - x), y)


def _extreme(link: Link, by_prosumer: Floats, pick: np.ufunc) -> Floats:
    """The largest (np.maximum) or smallest (np.minimum) of a bus's prosumers."""
    found = np.full(link.buses, -np.inf if pick is np.maximum else np.inf)
    pick.at(found, link.column, by_prosumer)
    return found
