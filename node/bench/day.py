"""The demo's day with any number of prosumers: what prices and ATC are measured on."""

from __future__ import annotations

import numpy as np

from market.pricing.conditions import Solution
from node.scenario.loading import load
from node.scenario.world import World, build

SCENARIO = "ieee33-day"


def demo_day(prosumers: int) -> World:
    """IEEE 33-bus, 24 hourly slots, with the demo's seed."""
    return build(load(SCENARIO, {"prosumers.count": str(prosumers)}))


def price_error(found: Solution, expected: Solution) -> float:
    """Largest difference of DLMPs, relative to max(|λ|, 1 €/MWh)."""
    right = expected.duals.price
    return float(np.max(np.abs(found.duals.price - right) / np.maximum(np.abs(right), 1.0)))
