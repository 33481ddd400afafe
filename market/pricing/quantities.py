"""Everything of one period that has bounds, in one vector: devices, shedding, voltages, rated currents.

A quantity u has bounds low ≤ u ≤ high and costs linear·u + ½·curve·u². Four kinds stand one after the
other: units (generators; loads, as negative injections; the hub's import and export), the shares of
firm load that are shed, squared voltages by line, squared currents of rated lines. A unit answers to λ of
its bus, a share to λ·p̄ + λq·q̄, a voltage to the gradient that it leaves, a current to η.

Newton's methods differ in how they hold quantities within their bounds. Both say it in the same two
words, to be fed to the same matrix: a quantity in which the force stiffness·du + pull acts against its
price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions
from market.pricing.kkt import Answers, Currents, Kkt, Network, Point
from market.pricing.rules import tie_break_share
from market.units import Floats, Ints

WIDE = 1.0
"""pu. What counts as the range of a quantity that has none."""
ROOM = 10.0
"""Of everything that can be taken or given: what the hub's range is within."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What a point leaves of the equations: F and g, with the injections that F was taken with."""

    imbalance: Floats
    gradient: Floats


class Quantities:
    """One period's bounded quantities; `units`, `shares`, `voltages`, `currents` are their places."""

    def __init__(self, network: Network, feeder: Feeder, conditions: Conditions, period: int) -> None:
        devices, hub = conditions.devices, conditions.hub
        self.network = network
        self.import_price, self.export_price = (
            float(hub.import_price[period]),
            float(hub.export_price[period]),
        )
        gen_max, load_min = devices.gen_max[period], devices.load_min[period]
        load_max = devices.load_max[period]
        self.generators = np.flatnonzero(gen_max > 0)
        self.loads = np.flatnonzero(load_max > load_min)
        self.firm_p, self.firm_q = conditions.fixed_p[period], conditions.fixed_q[period]
        whole = np.hypot(self.firm_p, self.firm_q)
        self.shedding = np.flatnonzero(whole > 0)
        self.shed_p, self.shed_q = self.firm_p[self.shedding], self.firm_q[self.shedding]
        generators, loads = self.generators, self.loads
        room = ROOM * (1.0 + float(whole.sum() + gen_max.sum() + load_max.sum()))
        # one price for both directions: one unit for both
        hubs = 1 if self.import_price == self.export_price else 2
        self.bus: Ints = np.concatenate([devices.bus[generators], devices.bus[loads], np.zeros(hubs, int)])
        self.hubs = slice(len(self.bus) - hubs, len(self.bus))
        count, lines = len(self.bus), network.lines
        shares = len(self.shedding)
        self.units = slice(0, count)
        self.shares = slice(count, count + shares)
        self.voltages = slice(self.shares.stop, self.shares.stop + lines)
        self.currents = slice(self.voltages.stop, self.voltages.stop + len(network.rated))
        nothing = np.zeros(lines + len(network.rated))
        self.low = np.concatenate(
            [
                np.zeros(len(generators)),
                -load_max[loads],
                [0.0, -room] if hubs == 2 else [-room],
                np.zeros(shares),
                network.v_low,
                # a current is never below 0, and need not be told
                np.full(len(network.rated), -1.0),
            ]
        )
        self.high = np.concatenate(
            [
                gen_max[generators],
                -load_min[loads],
                [room, 0.0][:hubs],
                np.ones(shares),
                network.v_high,
                network.l_high,
            ]
        )
        shed_cost = conditions.voll * whole[self.shedding]
        self.linear = np.concatenate(
            [
                devices.gen_cost[period][generators],
                devices.load_value[period][loads],
                [self.import_price, self.export_price][:hubs],
                shed_cost,
                nothing,
            ]
        )
        self.curve = np.concatenate(
            [
                devices.gen_slope[period][generators],
                devices.load_slope[period][loads],
                np.zeros(hubs + shares),
                nothing,
            ]
        )
        self.scale = np.ones(len(self.low))
        self.scale[self.shares] = whole[self.shedding]
        self.tie_share = tie_break_share(feeder)
        self.centre = (self.import_price + self.export_price) / 2
        self.still_load = np.where(load_max > load_min, 0.0, load_min)
        still = np.bincount(devices.bus, self.still_load, network.buses)
        self._firm = np.array([-self.firm_p - still - self.tie_share * self.centre, -self.firm_q])
        self._firm[1, 0] = 0.0

    @property
    def count(self) -> int:
        """Number of quantities."""
        return len(self.low)

    def price(self, point: Point) -> Floats:
        """What units and shares earn at a point, €/h per pu; 0 for the network's quantities."""
        price = np.zeros(len(self.low))
        active = point.prices[0]
        price[self.units] = active[self.bus]
        price[self.shares] = active[self.shedding] * self.shed_p + (
            point.prices[1, self.shedding] * self.shed_q
        )
        return price

    def injected(self, amount: Floats) -> Floats:
        """Active and reactive injection by bus of units and shares, 2 × buses; entry 0 of reactive is 0."""
        buses = self.network.buses
        injected = np.zeros((2, buses))
        injected[0] = np.bincount(self.bus, amount[self.units], buses)
        shed = amount[self.shares]
        injected[0, self.shedding] += self.shed_p * shed
        injected[1, self.shedding] += self.shed_q * shed
        injected[1, 0] = 0.0
        return injected

    def residual(self, point: Point, at: Currents, amount: Floats) -> Residual:
        """F and g of a point, its quantities' amounts and the tie-break included."""
        injected = self._firm + self.injected(amount)
        injected[0] += self.tie_share * point.prices[0]
        return Residual(self.network.imbalance(point, at, injected), self.network.gradient(point, at))

    def network_amounts(self, point: Point, at: Currents, amount: Floats) -> None:
        """Write the point's voltages and rated currents into the amounts."""
        amount[self.voltages] = point.v[1:]
        amount[self.currents] = at.l[self.network.rated]

    def factor(self, kkt: Kkt, at: Currents, stiffness: Floats, *, convex: bool = False) -> Floats:
        """Factor the matrix with these stiffnesses; 1/stiffness."""
        network = self.network
        yields: Floats = 1.0 / stiffness
        active = np.asarray(np.bincount(self.bus, yields[self.units], network.buses) + self.tie_share)
        shares = yields[self.shares]
        by_p = self.shed_p * shares
        active[self.shedding] += self.shed_p * by_p
        mixed, reactive = np.zeros(network.buses), np.zeros(network.buses)
        mixed[self.shedding] = self.shed_q * by_p
        reactive[self.shedding] = self.shed_q**2 * shares
        kkt.factor(
            at,
            Answers(stiffness[self.voltages], active, mixed[1:], reactive[1:], yields[self.currents]),
            convex=convex,
        )
        return yields

    def step(
        self, kkt: Kkt, point: Point, left: Residual, pull: Floats, *, yields: Floats, price: Floats
    ) -> tuple[Point, Floats]:
        """Newton's step of the point and of its quantities, against stiffness·du + pull = price + dprice."""
        network = self.network
        free = (price - pull) * yields
        moved = self.injected(free)
        lines, buses = network.lines, network.buses
        imbalance = left.imbalance.copy()
        imbalance[:buses] += moved[0]
        imbalance[buses : buses + lines] += moved[1, 1:]
        gradient = left.gradient.copy()
        gradient[2] += pull[self.voltages]
        rated = (point.rating - pull[self.currents]) * yields[self.currents]
        step = kkt.solve(gradient, imbalance, rated)
        change = self.price(step)
        change *= yields
        change += free
        change[self.voltages] = step.v[1:]
        change[self.currents] = rated + step.rating * yields[self.currents]
        return step, change
