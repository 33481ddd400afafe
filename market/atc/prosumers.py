"""The lower level: prosumers as arrays, each answer in closed form.

Prosumer k has a generator and a flexible load behind one meter, with cost
C(g, d) = b·g + ½a·g² − u·d + ½β·d², 0 ≤ g ≤ g_max, d_min ≤ d ≤ d_max, and injects p = g − d.
At a marginal price μ it generates clip((μ − b)/a) and consumes clip((u − μ)/β), so (μ, p) moves
along a rising polyline with four corners. A linear device (a = 0 or β = 0) makes a vertical piece
of it, a rigid one none. Both questions of the upper level ask for a point of that polyline:

- best response to a price λ: where μ = λ;
- proximal step min C + ½ρ(p − z)²: where p(μ) + μ/ρ = z, since ρ(z − p) is the marginal price.

Powers are pu, prices €/MWh, slopes pu per €/MWh, weights ρ €/MWh per pu.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from market.pricing.conditions import Devices
from market.units import Floats, Ints

CORNERS = 4
GEN_EMPTY, GEN_FULL, LOAD_FULL, LOAD_EMPTY = range(CORNERS)
"""What happens at each corner as the price rises; the first of a pair always comes before the second."""

PIN_EUR_PER_MWH_PER_PU = 1e12
"""A weight that pins a power to its target, whatever price that takes."""


@dataclass(frozen=True, eq=False)
class Response:
    """Answers to one question, one entry a prosumer.

    power: injection p; price: marginal price μ; slope: dp/dμ there (inf for an indifferent linear
    device); low, high: the prices between which that slope holds; gen, load: the devices behind p.
    """

    power: Floats
    price: Floats
    slope: Floats
    low: Floats
    high: Floats
    gen: Floats
    load: Floats


class LowerLevel(Protocol):
    """Whoever answers the utility's targets; answers show powers and prices, never cost parameters."""

    @property
    def bus(self) -> Ints:
        """Bus of each prosumer."""
        ...

    def elasticity(self, window: float) -> Floats:
        """How much each power may move per price, pu per €/MWh, spread over at least a window of prices."""
        ...

    def respond(self, target: Floats, weight: Floats) -> Response:
        """Proximal step: min C(p) + ½·weight·(p − target)², one entry a prosumer."""
        ...

    def at_price(self, price: Floats) -> Response:
        """Best response to a price, one entry a prosumer; who is indifferent takes the lowest power."""
        ...

    def range(self) -> tuple[Floats, Floats]:
        """Least and greatest power of each prosumer that its devices' limits allow."""
        ...


class LowerLevels(Protocol):
    """Makes the lower level of one period's devices: closed forms, in one piece or in regions."""

    def __call__(self, devices: Devices) -> LowerLevel:
        """Who answers for them, entries in the devices' order."""
        ...


@runtime_checkable
class DisclosesCost(Protocol):
    """A lower level that tells what a power costs, as Benders decomposition asks."""

    def cost(self, response: Response) -> Floats:
        """C_k of an answer, €/h per pu of base, one entry a prosumer."""
        ...


class Prosumers:
    """The devices of one period as polylines; implements LowerLevel.

    The devices must be admissible (`market.pricing.admission`): bounds in order, no negative slope.
    """

    def __init__(self, devices: Devices, period: int = 0) -> None:
        self._bus = devices.bus
        gen = (devices.gen_cost[period], devices.gen_slope[period], devices.gen_max[period])
        load = (
            *(devices.load_value[period], devices.load_slope[period]),
            *(devices.load_min[period], devices.load_max[period]),
        )
        self._gen_cost, self._gen_slope, self._gen_max = gen
        self._load_value, self._load_slope, self._load_min, self._load_max = load
        with np.errstate(divide="ignore"):
            self._gen_yield, self._load_yield = 1.0 / self._gen_slope, 1.0 / self._load_slope
        self._gen_rises = (self._gen_cost, self._gen_cost + self._gen_slope * self._gen_max)
        self._load_rises = tuple(
            self._load_value - self._load_slope * load for load in (self._load_max, self._load_min)
        )
        self._ranges = np.stack([self._gen_max, self._load_max - self._load_min])
        self._widths = np.stack([self._gen_slope, self._load_slope]) * self._ranges

    @property
    def bus(self) -> Ints:
        """Bus of each prosumer."""
        return self._bus

    @cached_property
    def _corners(self) -> _Corners:
        """The polylines, which at_price does not need."""
        return _corners(
            (self._gen_cost, self._gen_slope, self._gen_max),
            (self._load_value, self._load_slope, self._load_min, self._load_max),
        )

    @property
    def count(self) -> int:
        """Number of prosumers."""
        return len(self._bus)

    def elasticity(self, window: float) -> Floats:
        """1/a + 1/β, each at most the device's range over `window` €/MWh: finite for linear devices."""
        return np.asarray((self._ranges / np.maximum(self._widths, window)).sum(axis=0))

    def respond(self, target: Floats, weight: Floats) -> Response:
        """Proximal step, exact: min C(p) + ½·weight·(p − target)²; weights positive and finite."""
        corners = self._corners
        return self._crossing(corners.power + corners.price / weight - target, weight)

    def at_price(self, price: Floats) -> Response:
        """Best response to a price; who is indifferent between powers takes the lowest of them."""
        with np.errstate(invalid="ignore"):
            gen = np.clip((price - self._gen_cost) * self._gen_yield, 0.0, self._gen_max)
            load = np.clip((self._load_value - price) * self._load_yield, self._load_min, self._load_max)
        # whoever is linear is indifferent at its price, which is nothing times infinity
        np.copyto(gen, 0.0, where=np.isnan(gen))
        np.copyto(load, self._load_max, where=np.isnan(load))
        low, high = np.full(len(gen), -np.inf), np.full(len(gen), np.inf)
        for corner in (*self._gen_rises, *self._load_rises):
            passed = corner < price
            np.maximum(low, np.where(passed, corner, -np.inf), out=low)
            np.minimum(high, np.where(passed, np.inf, corner), out=high)
        of_gen, of_load = (
            np.where((start <= low) & (high <= stop), gain, 0.0)
            for (start, stop), gain in (
                (self._gen_rises, self._gen_yield),
                (self._load_rises, self._load_yield),
            )
        )
        return Response(gen - load, np.broadcast_to(price, gen.shape), of_gen + of_load, low, high, gen, load)

    def range(self) -> tuple[Floats, Floats]:
        """Power at the lowest and at the highest price."""
        return self._corners.power[0], self._corners.power[-1]

    def cost(self, response: Response) -> Floats:
        """b·g + ½a·g² − u·d + ½β·d²."""
        generation = self._gen_cost * response.gen + 0.5 * self._gen_slope * response.gen**2
        return np.asarray(
            generation - self._load_value * response.load + 0.5 * self._load_slope * response.load**2
        )

    def at_power(self, power: Floats) -> Response:
        """The devices and the marginal price at a given power, as near as the devices come to it."""
        return self.respond(power, np.full(self.count, PIN_EUR_PER_MWH_PER_PU))

    def _crossing(self, excess: Floats, price_per_excess: Floats) -> Response:
        """The point of each polyline at which a quantity rising along it reaches zero.

        `excess` holds its values at the corners. Beyond the outer corners p stays constant and only
        the price moves, by `price_per_excess` for each unit of the quantity.
        """
        corners = self._corners
        k = np.arange(excess.shape[1])
        passed = (excess < 0).sum(axis=0)
        first, last = np.maximum(passed - 1, 0), np.minimum(passed, CORNERS - 1)
        outside = first == last
        start, gap = excess[first, k], excess[last, k] - excess[first, k]
        share = np.where(outside, 0.0, -start / np.where(outside, 1.0, gap))
        gen, load = (_between(a[first, k], a[last, k], share) for a in (corners.gen, corners.load))
        prices, powers = corners.price, corners.power
        low, high = prices[first, k], prices[last, k]
        price = _between(low, high, share) - np.where(outside, start * price_per_excess, 0.0)
        rise, run = powers[last, k] - powers[first, k], high - low
        slope = np.where(run > 0, rise / np.where(run > 0, run, 1.0), np.where(rise > 0, np.inf, 0.0))
        return Response(
            power=gen - load,
            price=price,
            slope=slope,
            low=np.where(passed == 0, -np.inf, low),
            high=np.where(passed == CORNERS, np.inf, high),
            gen=gen,
            load=load,
        )


def cost(devices: Devices, gen: Floats, load: Floats) -> Floats:
    """Cost of generation less value of load by period, €/h per pu of base."""
    return np.asarray(np.sum(cost_by_device(devices, gen, load), axis=-1))


def cost_by_device(devices: Devices, gen: Floats, load: Floats) -> Floats:
    """The same by period and device."""
    generation = devices.gen_cost * gen + 0.5 * devices.gen_slope * gen**2
    value = devices.load_value * load - 0.5 * devices.load_slope * load**2
    return np.asarray(generation - value)


@dataclass(frozen=True, eq=False)
class _Corners:
    """Price, generation, load and power there, corners × prosumers, in rising order of price."""

    price: Floats
    gen: Floats
    load: Floats

    @cached_property
    def power(self) -> Floats:
        """What is injected."""
        return self.gen - self.load


def _corners(gen: tuple[Floats, ...], load: tuple[Floats, ...]) -> _Corners:
    """The polylines' corners."""
    gen_cost, gen_slope, gen_max = gen
    load_value, load_slope, load_min, load_max = load
    prices = np.empty((CORNERS, len(gen_cost)))
    prices[GEN_EMPTY] = gen_cost
    prices[GEN_FULL] = gen_cost + gen_slope * gen_max
    prices[LOAD_FULL] = load_value - load_slope * load_max
    prices[LOAD_EMPTY] = load_value - load_slope * load_min
    order = np.argsort(prices, axis=0, kind="stable")
    place = np.argsort(order, axis=0)
    price = np.take_along_axis(prices, order, axis=0)
    at = np.arange(CORNERS)[:, None]
    # a linear device jumps from one bound to the other at its second corner, whose price is the first's
    gen_share = _share(price, prices[GEN_EMPTY], prices[GEN_FULL], at >= place[GEN_FULL])
    load_share = _share(price, prices[LOAD_FULL], prices[LOAD_EMPTY], at >= place[LOAD_EMPTY])
    return _Corners(price, gen_share * gen_max, load_max - load_share * (load_max - load_min))


def _share(price: Floats, low: Floats, high: Floats, past: np.typing.NDArray[np.bool_]) -> Floats:
    """How far the device has moved at a price, 0 to 1; a linear one jumps to 1 where `past` says."""
    width = high - low
    linear = width <= 0
    moved = np.clip((price - low) / np.where(linear, 1.0, width), 0.0, 1.0)
    return np.where(linear, past, np.where(past, 1.0, moved))


def _between(start: Floats, end: Floats, share: Floats) -> Floats:
    return start + share * (end - start)
