"""FiT/retail on a feeder that keeps its limits: what breaks them is cut, and nobody is paid for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from market.feeder.powerflow import power_flow, violations
from market.units import Floats
from node.scenario.world import World
from node.studies.community import Day, alone_net, billed, on_tariff

SHARES = np.linspace(0.0, 1.0, 101)[:, None]
"""Of what can be cut: as a utility would tell everybody, in whole per cent."""


def curtailed(world: World) -> Day:
    """The day on FiT/retail, less the exports, or else the load, that limits leave no room for.

    In a slot that breaks limits every export is cut by the same share, the least that keeps them; where none
    does, flexible load is. Where neither helps nothing is cut.
    """
    net = np.array([_within_limits(world, slot) for slot in range(world.periods)])
    return billed(world, net, lambda net_wh: on_tariff(world, net_wh))


def _within_limits(world: World, slot: int) -> Floats:
    """What everybody may do, pu, consumption positive."""
    net, devices = alone_net(world, slot), world.actual.devices
    least = world.actual.firm_p[slot] + devices.load_min[slot] - devices.gen_max[slot]
    for cut in (np.maximum(net, 0.0), np.minimum(net, least)):
        choices = net + SHARES * (cut - net)
        kept = np.flatnonzero(_keeps(world, slot, choices))
        if len(kept):
            return np.asarray(choices[kept[0]])
    return net


def _keeps(world: World, slot: int, choices: Floats) -> NDArray[np.bool_]:
    """For each row of meters, whether the feeder keeps its limits with it."""
    actual = world.actual
    active = actual.passive_p[slot] + np.array([world.by_bus(net) for net in choices])
    reactive = np.tile(actual.passive_q[slot] + world.by_bus(actual.firm_q[slot]), (len(choices), 1))
    broken = violations(world.feeder, power_flow(world.feeder, active, reactive))
    return ~np.isin(np.arange(len(choices)), [each.period for each in broken])
