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
NOTHING = 1e-3
"""pu. What the shares of buses without load count for, all together."""
ROOM = 10.0
"""Of everything that can be taken or given: what the hub's range is within."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What a point leaves of the equations, F and g, laid out as Network has them."""

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
        # a bus without load has a share too, of nothing, which costs something
        worth = np.where(whole > 0, whole, NOTHING / network.buses)
        # reactive power is compensated at the substation, where nobody is asked for it
        self._shed_q = self.firm_q.copy()
        self._shed_q[0] = 0.0
        generators, loads = self.generators, self.loads
        room = ROOM * (1.0 + float(whole.sum() + gen_max.sum() + load_max.sum()))
        # one price for both directions: one unit for both
        hubs = 1 if self.import_price == self.export_price else 2
        self.bus: Ints = np.concatenate([devices.bus[generators], devices.bus[loads], np.zeros(hubs, int)])
        self.hubs = slice(len(self.bus) - hubs, len(self.bus))
        count, lines = len(self.bus), network.lines
        shares = network.buses
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
        self.linear = np.concatenate(
            [
                devices.gen_cost[period][generators],
                devices.load_value[period][loads],
                [self.import_price, self.export_price][:hubs],
                conditions.voll * worth,
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
        self.count = len(self.low)
        self.scale = np.ones(self.count)
        self.scale[self.shares] = worth
        self.tie_share = tie_break_share(feeder)
        self.centre = (self.import_price + self.export_price) / 2
        self.still_load = np.where(load_max > load_min, 0.0, load_min)
        still = np.bincount(devices.bus, self.still_load, network.buses)
        self._firm = np.array([-self.firm_p - still - self.tie_share * self.centre, -self.firm_q])
        self._firm[1, 0] = 0.0

    def price(self, point: Point) -> Floats:
        """What units and shares earn at a point, €/h per pu; 0 for the network's quantities."""
        price = np.zeros(self.count)
        active, reactive = point.prices[0], point.prices[1]
        np.take(active, self.bus, out=price[self.units], mode="clip")
        shares = price[self.shares]
        np.multiply(active, self.firm_p, out=shares)
        shares += reactive * self._shed_q
        return price

    def injected(self, amount: Floats) -> Floats:
        """Active and reactive injection by bus of units and shares, 2 × buses; entry 0 of reactive is 0."""
        shed = amount[self.shares]
        injected = np.empty((2, self.network.buses))
        np.multiply(self.firm_p, shed, out=injected[0])
        np.multiply(self._shed_q, shed, out=injected[1])
        injected[0] += np.bincount(self.bus, amount[self.units], self.network.buses)
        return injected

    def residual(self, point: Point, at: Currents, amount: Floats) -> Residual:
        """F and g of a point, its quantities' amounts and the tie-break included."""
        injected = self.injected(amount)
        injected += self._firm
        injected[0] += self.tie_share * point.prices[0]
        network = self.network
        return Residual(network.imbalance(point, at, injected), network.gradient(point, at))

    def network_amounts(self, point: Point, at: Currents, amount: Floats) -> None:
        """Write the point's voltages and rated currents into the amounts."""
        amount[self.voltages] = point.v[1:]
        amount[self.currents] = at.l[self.network.rated]

    def factor(self, kkt: Kkt, at: Currents, stiffness: Floats, *, convex: bool = False) -> Floats:
        """Factor the matrix with these stiffnesses; 1/stiffness."""
        buses = self.network.buses
        yields: Floats = 1.0 / stiffness
        voltage = np.zeros(buses)
        voltage[1:] = stiffness[self.voltages]
        shares = yields[self.shares]
        by_p, by_q = self.firm_p * shares, self._shed_q * shares
        active = self.firm_p * by_p
        active += self.tie_share
        active += np.bincount(self.bus, yields[self.units], buses)
        answers = Answers(voltage, active, self.firm_p * by_q, self._shed_q * by_q, yields[self.currents])
        kkt.factor(at, answers, convex=convex)
        return yields

    def step(  # noqa: PLR0917 - what a linear system is made of
        self,
        kkt: Kkt,
        point: Point,
        left: Residual,
        pull: Floats,
        yields: Floats,
        price: Floats,
        refinements: int,
    ) -> tuple[Point, Floats]:
        """Newton's step of the point and of its quantities, against stiffness·du + pull = price + dprice."""
        lines = self.network.lines
        free = price - pull
        free *= yields
        imbalance = left.imbalance.copy()
        imbalance[:2] += self.injected(free)
        gradient = left.gradient.copy()
        gradient[2 * lines + 1 :] += pull[self.voltages]
        rated = (point.rating - pull[self.currents]) * yields[self.currents]
        step = kkt.solve(gradient, imbalance, rated, refinements)
        change = self.price(step)
        change *= yields
        change += free
        change[self.voltages] = step.v[1:]
        change[self.currents] = rated + step.rating * yields[self.currents]
        return step, change
