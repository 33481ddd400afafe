"""PyPSA's optimum on our conditions, as planners price: without losses, voltages and reactive power."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Solution
from market.units import Floats
from node.bench.peers import PYPSA, compared
from node.bench.row import Row
from node.bench.timing import Trial


def row(  # noqa: PLR0917 - a name, what was cleared, how
    name: str,
    feeder: Feeder,
    conditions: Conditions,
    right: Solution,
    ours: Trial,
    runs: int,
    patience: float,
) -> Row:
    """Our trial beside PyPSA's `optimize`, model and all, with how far its prices are from the right ones."""
    found = compared(ours, PYPSA, question(feeder, conditions), patience, runs)
    about = "" if found.found is None else f"linear, {right_to(np.array(found.found), right)}"
    return found.row(name, PYPSA.title, about, "ms")


def right_to(price: Floats, right: Solution) -> str:
    """In words, how near prices of one period come to the right ones, of max(|λ|, 1)."""
    expected = right.duals.price[0]
    apart = np.abs(price - expected) / np.maximum(np.abs(expected), 1.0)
    return f"λ right to {apart.max():.0e}"


def question(feeder: Feeder, conditions: Conditions) -> dict[str, Any]:
    """Feeder and the first period of conditions as the adapter takes them, pu and €/MWh."""
    return {
        "base_mw": feeder.base_mw,
        "parent": feeder.parent.tolist(),
        "r_pu": feeder.r_pu.tolist(),
        "x_pu": feeder.x_pu.tolist(),
        "firm_p": conditions.fixed_p[0].tolist(),
        "import_price": float(conditions.hub.import_price[0]),
        "export_price": float(conditions.hub.export_price[0]),
        "devices": list(_devices(conditions)),
    }


def _devices(conditions: Conditions) -> Iterator[dict[str, Any]]:
    """Generators and loads that there are."""
    devices = conditions.devices
    none = np.zeros_like(devices.gen_max[0])
    kinds = {
        "gen": (none, devices.gen_max[0], devices.gen_cost[0], devices.gen_slope[0]),
        "load": (devices.load_min[0], devices.load_max[0], devices.load_value[0], devices.load_slope[0]),
    }
    for kind, (low, high, cost, slope) in kinds.items():
        for place in np.flatnonzero(high > 0):
            yield {
                "kind": kind,
                "bus": int(devices.bus[place]),
                "low": float(low[place]),
                "high": float(high[place]),
                "cost": float(cost[place]),
                "slope": float(slope[place]),
            }
