"""The inputs of a clearing as blocks of arrays, as `Point` has what comes out of it.

Whoever answers prices is an agent: generators, flexible loads, shedding, the tie-break. An agent of amount y
is paid price·y, has cost·y + ½·slope·y² of its own, and low ≤ y ≤ high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Storages
from market.pricing.point import Point
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.units import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """fixed: p̄ and q̄, 2 × periods × buses; firm: what of load can be shed, likewise; hub prices:
    periods; the rest by agent, periods × agents.

    Agents are the devices' generation, their load, shedding by bus, and the tie-break by bus. A load's cost
    is −u, of a bus without load nothing can be shed, and the tie-break has no bounds.
    """

    fixed: Floats
    firm: Floats
    bus: Ints
    cost: Floats
    slope: Floats
    low: Floats
    high: Floats
    import_price: Floats
    export_price: Floats
    hours: float
    storages: Storages
    most_tie_break: float

    def amounts(self, at: Point) -> Floats:
        """What the agents do at a point."""
        return np.concatenate((*at.devices, *at.buses[3:]), axis=1)

    def prices(self, prices: Floats) -> Floats:
        """What the agents are paid at λ and λq: λ, −λ, what firm load pays for its bus's energy, λ."""
        at_device = prices[0].take(self.bus, axis=1)
        pays = np.add.reduce(prices * self.firm, axis=0)
        return np.concatenate((at_device, -at_device, pays, prices[0]), axis=1)

    def by_kind(self, of_agents: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Generation, load, shedding and tie-break of an array by agent, each 1 × periods × places."""
        devices, buses = len(self.bus), self.fixed.shape[2]
        ends = (devices, 2 * devices, 2 * devices + buses)
        rows = of_agents[None]
        parts = zip((0, *ends), (*ends, 2 * (devices + buses)), strict=True)
        generation, load, shedding, tie_break = (rows[..., start:end] for start, end in parts)
        return generation, load, shedding, tie_break


def given(feeder: Feeder, conditions: Conditions) -> Given:
    """The blocks of a clearing's inputs."""
    devices, hub, share = conditions.devices, conditions.hub, tie_break_share(feeder)
    shedding = shed_cost(conditions)
    none = np.zeros_like(shedding)
    centre = tie_break_centre(conditions)[:, None] + none
    nothing = np.zeros_like(devices.gen_max)
    return Given(
        fixed=np.array((conditions.fixed_p, conditions.fixed_q)),
        firm=np.array((conditions.firm_p, conditions.fixed_q)),
        bus=devices.bus,
        cost=np.concatenate((devices.gen_cost, -devices.load_value, shedding, centre), axis=1),
        slope=np.concatenate((devices.gen_slope, devices.load_slope, none, none + 1 / share), axis=1),
        low=np.concatenate((nothing, devices.load_min, none, none - np.inf), axis=1),
        high=np.concatenate((devices.gen_max, devices.load_max, np.sign(shedding), none + np.inf), axis=1),
        import_price=hub.import_price,
        export_price=hub.export_price,
        hours=conditions.hours,
        storages=conditions.storages,
        most_tie_break=conditions.voll * share * feeder.buses,
    )
