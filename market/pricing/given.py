"""The inputs of a clearing as blocks of arrays, as `Point` has what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Storages
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.units import Floats, Ints

SELLS = np.array([1.0, -1.0])[:, None, None]
"""Generators give what the price pays for, loads take it: the sign of Point.devices in a balance."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """fixed: p̄, q̄, 2 × periods × buses; shed_cost: periods × buses; centre: c, periods × 1; share: ε/(n+1).

    Devices, 2 × periods × devices as Point.devices: one of power y has cost SELLS·price·y + ½·slope·y²,
    low ≤ y ≤ high.
    """

    fixed: Floats
    shed_cost: Floats
    centre: Floats
    share: float
    bus: Ints
    price: Floats
    slope: Floats
    low: Floats
    high: Floats
    import_price: Floats
    export_price: Floats
    voll: float
    hours: float
    storages: Storages

    @property
    def served_by_tie_break(self) -> float:
        """Most that the tie-break of a whole feeder injects at prices that are c ± VOLL, pu."""
        return float(self.voll * self.share * self.fixed.shape[2])


def given(feeder: Feeder, conditions: Conditions) -> Given:
    """The blocks of a clearing's inputs."""
    devices, hub = conditions.devices, conditions.hub
    return Given(
        fixed=np.array((conditions.fixed_p, conditions.fixed_q)),
        shed_cost=shed_cost(conditions),
        centre=tie_break_centre(conditions)[:, None],
        share=tie_break_share(feeder),
        bus=devices.bus,
        price=np.array((devices.gen_cost, devices.load_value)),
        slope=np.array((devices.gen_slope, devices.load_slope)),
        low=np.array((np.zeros_like(devices.load_min), devices.load_min)),
        high=np.array((devices.gen_max, devices.load_max)),
        import_price=hub.import_price,
        export_price=hub.export_price,
        voll=conditions.voll,
        hours=conditions.hours,
        storages=conditions.storages,
    )
