"""Everything of one period that has bounds, in one vector: devices, shedding, voltages, rated currents.

A quantity u has bounds low ≤ u ≤ high and costs linear·u + ½·curve·u². Four kinds stand one after the
other: units (generators; loads, as negative injections; the hub's import and export), the shares of
firm load that are shed, squared voltages by line, squared currents of rated lines in their units. A unit
answers to λ of its bus, a share to λ·p̄ + λq·q̄, a voltage to the gradient that it leaves, a current to η.

Newton's methods differ in how they hold quantities within their bounds. Both say it in the same two
words, to be fed to the same matrix: a quantity in which the force stiffness·du + pull acts against its
price.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions
from market.pricing.kkt import Answers, Currents, FlowEquations, Kkt, Point, Residual
from market.pricing.rules import tie_break_share
from market.units import Floats, Ints

WIDE = 1.0
"""pu. What counts as the range of a quantity that has none."""
NOTHING = 1e-3
"""pu. What the shares of buses without load count for, all together."""
ANSWERS = 1.0
"""€/MWh per pu. From this curvature on, a price says what a unit does to all digits of a power."""
HALVINGS = 12
"""How often the range between export and import price is halved where everyone balances in between."""
ROOM = 10.0
"""Of everything that can be taken or given: what the hub's range is within."""


LOW, FREE, HIGH = -1, 0, 1
Sides = npt.NDArray[np.int8]
"""Where quantities are: at a bound, or between."""


class Response(NamedTuple):
    """What answering units do at a price: amounts; by bus their sum, and how it answers to λ."""

    amount: Floats
    injected: Floats
    slope: Floats


class Answering:
    """Units of curved costs: each does what λ of its bus says, u = (λ − linear)/curve within its bounds."""

    def __init__(self, units: Quantities, count: int) -> None:
        of = slice(0, count)
        self.count = count
        self._buses = units.network.buses
        self._bus, self._linear = units.bus[of], units.linear[of]
        self._low, self._high = units.low[of], units.high[of]
        self._yields = 1.0 / units.curve[of]

    def at(self, price: Floats) -> Response:
        """Response to prices by bus."""
        wanted = price.take(self._bus)
        wanted -= self._linear
        wanted *= self._yields
        amount = np.maximum(wanted, self._low)
        np.minimum(amount, self._high, out=amount)
        slopes = (amount == wanted) * self._yields
        return Response(amount, self._by_bus(amount), self._by_bus(slopes))

    def _by_bus(self, of_units: Floats) -> Floats:
        return np.asarray(np.bincount(self._bus, of_units, self._buses), dtype=np.float64)


class Quantities:
    """One period's bounded quantities; `units`, `shares`, `voltages`, `currents` are their places.

    Units whose cost is curved come first. `generators` and `loads` are the devices that can trade at all,
    `of_generators` and `of_loads` the places of their units.
    """

    def __init__(self, network: FlowEquations, feeder: Feeder, conditions: Conditions, period: int) -> None:
        devices, hub = conditions.devices, conditions.hub
        self.network = network
        self.import_price, self.export_price = (
            float(hub.import_price[period]),
            float(hub.export_price[period]),
        )
        self.price_scale = max(1.0, abs(self.import_price))
        """€/MWh: what tolerances of prices are shares of where no price is known yet."""
        gen_max, load_min = devices.gen_max[period], devices.load_min[period]
        load_max = devices.load_max[period]
        self.generators = generators = np.flatnonzero(gen_max > 0)
        self.loads = loads = np.flatnonzero(load_max > load_min)
        gen_cost, load_value = devices.gen_cost[period], devices.load_value[period]
        gen_slope, load_slope = devices.gen_slope[period], devices.load_slope[period]
        # lower and upper bound, cost and its slope; a load is a negative injection
        of_units = np.concatenate(
            [
                np.array([np.zeros_like(gen_max), gen_max, gen_cost, gen_slope]).take(generators, axis=1),
                np.array([-load_max, -load_min, load_value, load_slope]).take(loads, axis=1),
            ],
            axis=1,
        )
        bus = np.concatenate([devices.bus.take(generators), devices.bus.take(loads)])
        place = np.arange(len(bus))
        curved = of_units[3] >= ANSWERS
        if not curved.all():
            order = np.concatenate([np.flatnonzero(curved), np.flatnonzero(~curved)])
            of_units, bus = of_units.take(order, axis=1), bus.take(order)
            place[order] = np.arange(len(bus))
        self.of_generators, self.of_loads = place[: len(generators)], place[len(generators) :]
        self.firm_p, self.firm_q = conditions.firm_p[period], conditions.fixed_q[period]
        whole = np.hypot(self.firm_p, self.firm_q)
        # a bus without load has a share too, of nothing, which costs something
        worth = np.where(whole > 0, whole, NOTHING / network.buses)
        # reactive power is compensated at the substation, where nobody is asked for it
        self._shed_q = self.firm_q.copy()
        self._shed_q[0] = 0.0
        room = ROOM * (1.0 + float(whole.sum() + gen_max.sum() + load_max.sum()))
        # one price for both directions: one unit for both
        hubs = 1 if self.import_price == self.export_price else 2
        self.bus: Ints = np.concatenate([bus, np.zeros(hubs, np.int64)])
        self.curved = int(np.count_nonzero(curved))
        count, lines, buses = len(self.bus), network.lines, network.buses
        self.units = slice(0, count)
        self.hubs = slice(count - hubs, count)
        self.shares = slice(count, count + buses)
        self.voltages = slice(self.shares.stop, self.shares.stop + lines)
        self.currents = slice(self.voltages.stop, self.voltages.stop + len(network.rated))
        nothing = np.zeros(lines + len(network.rated))
        # a current is never below 0, and need not be told
        no_current = np.full(len(network.rated), -1.0)
        low, high, linear, curve = of_units
        lowest_hub = [0.0, -room] if hubs == 2 else [-room]
        hub_prices = [self.import_price, self.export_price][:hubs]
        self.low = np.concatenate([low, lowest_hub, np.zeros(buses), network.v_low, no_current])
        self.high = np.concatenate([high, [room, 0.0][:hubs], np.ones(buses), network.v_high, network.l_high])
        self.linear = np.concatenate([linear, hub_prices, conditions.voll * worth, nothing])
        self.curve = np.concatenate([curve, np.zeros(hubs + buses), nothing])
        self.count = len(self.low)
        self.scale = np.ones(self.count)
        self.scale[self.shares] = worth
        self.scale[self.currents] = np.sqrt(network.l_unit)
        self.tie_share = tie_break_share(feeder)
        self.centre = (self.import_price + self.export_price) / 2
        self.still_load = np.where(load_max > load_min, 0.0, load_min)
        still = np.bincount(devices.bus, self.still_load, buses)
        self._firm = np.array(
            [-conditions.fixed_p[period] - still - self.tie_share * self.centre, -self.firm_q]
        )
        self._firm[1, 0] = 0.0

    @cached_property
    def answering(self) -> Answering:
        """Units that answer prices by themselves."""
        return Answering(self, self.curved)

    @cached_property
    def others(self) -> Quantities:
        """All but the units that answer prices by themselves."""
        others, skipped = copy(self), self.curved
        for name in ("bus", "low", "high", "linear", "curve", "scale"):
            setattr(others, name, getattr(self, name)[skipped:])
        others.units = slice(0, self.units.stop - skipped)
        for name in ("hubs", "shares", "voltages", "currents"):
            place = getattr(self, name)
            setattr(others, name, slice(place.start - skipped, place.stop - skipped))
        others.count, others.curved = self.count - skipped, 0
        return others

    def units_of(self, gen: Floats, load: Floats) -> Floats:
        """Amounts of the devices' units, from generation and load by device."""
        amount = np.empty(self.units.stop - (self.hubs.stop - self.hubs.start))
        amount[self.of_generators], amount[self.of_loads] = gen[self.generators], -load[self.loads]
        return amount

    def price_at_one_bus(self) -> float:
        """Price at which everyone balances who is at one bus with the hub; the hub's own where it trades."""
        devices = slice(0, self.hubs.start)
        linear, low, high = self.linear[devices], self.low[devices], self.high[devices]
        yields = 1.0 / np.maximum(self.curve[devices], ANSWERS)
        taken = -float(self._firm[0].sum())

        def surplus(price: float) -> float:
            wanted = (price - linear) * yields
            return float(np.minimum(np.maximum(wanted, low), high).sum()) - taken

        cheap, dear = self.export_price, self.import_price
        if surplus(dear) <= 0:
            return dear
        if surplus(cheap) >= 0:
            return cheap
        for _ in range(HALVINGS):
            middle = (cheap + dear) / 2
            cheap, dear = (cheap, middle) if surplus(middle) > 0 else (middle, dear)
        return (cheap + dear) / 2

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

    def supplied(self, point: Point, amount: Floats, others: Floats | float = 0.0) -> Floats:
        """Injection by bus, 2 × buses, of quantities, others and the tie-break, less what is taken."""
        injected = self.injected(amount)
        injected += self._firm
        active = injected[0]
        active += self.tie_share * point.prices[0]
        active += others
        return injected

    def network_amounts(self, point: Point, at: Currents, amount: Floats) -> None:
        """Write the point's voltages and rated currents into the amounts."""
        amount[self.voltages] = point.v[1:]
        amount[self.currents] = at.l[self.network.rated] / self.network.l_unit

    def factor(
        self, kkt: Kkt, at: Currents, stiffness: Floats, others: Floats | float = 0.0, *, convex: bool = False
    ) -> Floats:
        """Factor the matrix with these stiffnesses, and how others answer λ by bus; 1/stiffness."""
        buses = self.network.buses
        yields: Floats = 1.0 / stiffness
        voltage = np.zeros(buses)
        voltage[1:] = stiffness[self.voltages]
        shares = yields[self.shares]
        by_p, by_q = self.firm_p * shares, self._shed_q * shares
        active = self.firm_p * by_p
        active += self.tie_share + others
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
        lines, buses = self.network.lines, self.network.buses
        free = price - pull
        free *= yields
        rated = (point.rating - pull[self.currents]) * yields[self.currents]
        right = np.concatenate([left.vector, rated])
        right[2 * lines + 1 : 3 * lines + 1] -= pull[self.voltages]
        balances = right[3 * lines + 1 : 5 * lines + 3].reshape(2, buses)
        balances += self.injected(free)
        step = kkt.solve(right, refinements)
        change = self.price(step)
        change *= yields
        change += free
        change[self.voltages] = step.v[1:]
        change[self.currents] = rated + step.rating * yields[self.currents]
        return step, change
