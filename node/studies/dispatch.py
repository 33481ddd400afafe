"""The best that all could do together within the feeder's limits: what a day's mechanisms are held to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.pricing.conditions import Conditions, Hub
from market.units import Floats, eur_per_mwh
from node.scenario.world import World
from node.studies.community import Day, metered, wh_per_pu

BY_HUB, BY_WHOLESALE = "best by hub prices", "best by wholesale"
"""What these dispatches are called beside mechanisms."""


def dispatched(world: World) -> dict[str, Day]:
    """The day by the central optimum, without bills: at the hub's prices, which Wattbook clears by, and at
    wholesale prices, by which welfare is counted.

    Raises ClearingFailed.
    """
    return {BY_HUB: _best(world, wholesale=False), BY_WHOLESALE: _best(world, wholesale=True)}


def _best(world: World, *, wholesale: bool) -> Day:
    from market.pricing.newton import NewtonClearing  # noqa: PLC0415 - loads solvers

    clear = NewtonClearing(world.feeder)
    net: list[Floats] = []
    for slot in range(world.periods):
        conditions = world.conditions(slot, world.actual)
        priced = _at_wholesale(world, slot, conditions) if wholesale else conditions
        primal = clear(world.feeder, priced).primal
        net.append(world.actual.firm_p[slot] + primal.load[0] - primal.gen[0])
    net_wh = np.rint(np.array(net) * wh_per_pu(world)).astype(np.int64)
    return metered(world, net_wh, np.zeros(net_wh.shape))


def _at_wholesale(world: World, slot: int, conditions: Conditions) -> Conditions:
    price = np.atleast_1d(eur_per_mwh(world.wholesale[slot]))
    return replace(conditions, hub=Hub(price, price))
