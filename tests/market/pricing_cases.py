"""Seeded clearings for the tests of pricing: small functions that draw conditions, nothing random else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from market.feeder import Feeder
from market.pricing.conditions import Conditions, Hub, Primal, Solution
from market.pricing.optimality import injections
from node.bench import random_slots as drawing

NEAR_HUB = 10.0
"""€/MWh by which a generator may ask for less or more than the hub."""
NO_DEVICES = np.zeros((1, 0))


def bare(
    feeder: Feeder, import_price: float = 120.0, export_price: float = 40.0, scale: float = 1.0
) -> Conditions:
    """One hour at a share of the feeder's nominal load, nobody flexible."""
    return Conditions.firm(feeder, scale, Hub(np.array([import_price]), np.array([export_price])), hours=1.0)


def draw(seed: int, **kind: Any) -> tuple[Feeder, Conditions]:
    """What `node.bench.random_slots.drawn` draws with a seed."""
    return drawing.drawn(np.random.default_rng(seed), **kind)


def usual(seed: int) -> tuple[Feeder, Conditions]:
    """Random conditions as they are on most days."""
    return drawing.usual(np.random.default_rng([11, seed]), np.random.default_rng(seed))


def stressed(seed: int) -> tuple[Feeder, Conditions]:
    """Random conditions of ten kinds in turn."""
    return drawing.stressed(seed % 10, np.random.default_rng([seed, 33]), np.random.default_rng(seed))


def elsewhere(seed: int) -> tuple[Feeder, Conditions]:
    """The ten kinds on other feeders; at prices near 0 generators ask for about the hub price."""
    rng = np.random.default_rng([seed, 34])
    names = drawing.FEEDERS[1:]
    name = names[seed // 10 % len(names)]
    feeder, conditions = drawing.stressed(seed % 10, rng, np.random.default_rng([seed, 35]), name)
    if seed % 10 > 1:
        return feeder, conditions
    hub, devices = conditions.hub, conditions.devices
    low, high = float(hub.export_price[0]) - NEAR_HUB, float(hub.import_price[0]) + NEAR_HUB
    cost = rng.uniform(low, high, devices.gen_cost.shape)
    return feeder, replace(conditions, devices=replace(devices, gen_cost=cost))


def add_load(conditions: Conditions, bus: int, power: float, *, reactive: bool = False) -> Conditions:
    """The same conditions with a little more firm load at a bus, in every period."""
    name = "fixed_q" if reactive else "fixed_p"
    changed = getattr(conditions, name).copy()
    changed[:, bus] += power
    return replace(conditions, **{name: changed})


def firm(conditions: Conditions) -> np.ndarray:
    """What is firm of the active load, and can be shed: fixed, and the least of every device, by bus."""
    found = conditions.fixed_p.copy()
    for column, bus in enumerate(conditions.devices.bus):
        found[:, bus] += conditions.devices.load_min[:, column]
    return found


def consumption(feeder: Feeder, conditions: Conditions, primal: Primal) -> tuple[np.ndarray, np.ndarray]:
    """Net consumption of a schedule by bus, active and reactive, periods × buses."""
    given = conditions.fixed_p - injections(feeder, conditions, primal) - primal.elastic
    return given - primal.shed * firm(conditions), conditions.fixed_q * (1 - primal.shed)


CASES: dict[str, dict[str, Any]] = {
    "no devices": {"count": 0, "scale": 0.5},
    "plenty": {"scale": 0.5, "seed": 3},
    "voltage low": {"scale": 2.0},
    "shedding": {"scale": 50.0},
    "export": {"generation": 1.0, "scale": 0.1},
    "balanced": {"v_min": 0.97, "seed": 7},
    "voltage high": {"generation": 1.0, "scale": 0.3, "v_max": 1.002, "export_price": 10.0},
    "flat hub": {"import_price": 80.0, "export_price": 80.0},
    "rated": {"rated": True, "scale": 3.0, "v_min": 0.8},
    "all linear": {"linear": 1.0},
    "four periods": {"periods": 4},
}
"""Named cases that between them bind every kind of limit; see test_pricing_clearing."""


def case(name: str) -> tuple[Feeder, Conditions]:
    """A named case."""
    return draw(**{"seed": 1, **CASES[name]})


def price_error(found: Solution, expected: Solution) -> float:
    """Largest difference of DLMPs, relative to max(|λ|, 1 €/MWh)."""
    central = expected.duals.price
    return float(np.max(np.abs(found.duals.price - central) / np.maximum(np.abs(central), 1.0)))
