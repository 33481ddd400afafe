"""Seeded clearings with batteries and vehicles: `pricing_cases` with storages, and the cases worth a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from market.feeder import Feeder
from market.pricing.conditions import Conditions, Hub, Storages
from tests.market.pricing_cases import draw


def batteries(feeder: Feeder, periods: int, count: int, seed: int = 3, **changes: Any) -> Storages:
    """Half full, empty in two to five hours, 95 % in and 93 % out; `changes` replaces fields."""
    rng = np.random.default_rng(seed)
    every = np.ones((periods, 1))
    holds = rng.uniform(0.02, 0.08, count)
    power = holds * rng.uniform(0.2, 0.5, count)
    storages = Storages(
        bus=rng.integers(1, feeder.buses, count),
        charge_max=every * power,
        discharge_max=every * power,
        energy_min=0.1 * every * holds,
        energy_max=every * holds,
        drain=0.0 * every * holds,
        energy_start=0.5 * holds,
        charge_efficiency=np.full(count, 0.95),
        discharge_efficiency=np.full(count, 0.93),
        wear=rng.uniform(2, 6, count),
        wear_slope=2 / power,
        final_value=np.full(count, 90.0),
    )
    return replace(storages, **changes)


def vehicles(feeder: Feeder, periods: int, count: int, seed: int = 5) -> Storages:
    """Leave after a third of the time with 80 %, are back after two, 30 % emptier."""
    storages = batteries(feeder, periods, count, seed)
    leaves, back = periods // 3, 2 * periods // 3
    home = np.ones((periods, 1))
    home[leaves:back] = 0.0
    least, drain = np.zeros((periods, count)), np.zeros((periods, count))
    least[leaves - 1] = 0.8 * storages.energy_max[0]
    drain[back - 1] = 0.3 * storages.energy_max[0]
    power = 0.5 * storages.energy_max[0]
    return replace(
        storages,
        charge_max=home * power,
        discharge_max=0.0 * home * power,
        energy_min=least,
        drain=drain,
        wear_slope=2 / power,
    )


def with_storages(case: tuple[Feeder, Conditions], storages: Storages) -> tuple[Feeder, Conditions]:
    """A case of `pricing_cases` whose periods storages couple."""
    feeder, conditions = case
    return feeder, replace(conditions, storages=storages)


def negative(price: float = -150.0, periods: int = 4) -> tuple[Feeder, Conditions]:
    """Full batteries, and prices so far below 0 that burning energy in them would pay."""
    feeder, conditions = draw(2, periods=periods, generation=1.0, scale=0.3, linear=0.0)
    hub = Hub(np.full(periods, price + 5.0), np.full(periods, price))
    storages = batteries(feeder, periods, 5)
    full = replace(storages, energy_start=storages.energy_max[0])
    return with_storages((feeder, replace(conditions, hub=hub)), full)


def reverse_flow(periods: int = 3) -> tuple[Feeder, Conditions]:
    """Subsidised generation presses against an upper voltage limit: the relaxation has slack."""
    feeder, conditions = draw(
        1, periods=periods, generation=1.0, scale=0.05, v_min=0.9, v_max=1.001, export_price=1.0
    )
    subsidised = replace(conditions.devices, gen_cost=conditions.devices.gen_cost - 120.0)
    return with_storages((feeder, replace(conditions, devices=subsidised)), batteries(feeder, periods, 5))


def case(name: str) -> tuple[Feeder, Conditions]:
    """A named case."""
    return CASES[name]()


def _drawn(periods: int, count: int, cars: int = 0, hours: float = 1.0, **kind: Any) -> Any:
    def make() -> tuple[Feeder, Conditions]:
        feeder, conditions = draw(**{"seed": 1, "scale": 0.5, **kind}, periods=periods)
        kinds = [batteries(feeder, periods, count)] * (count > 0)
        kinds += [vehicles(feeder, periods, cars)] * (cars > 0)
        return with_storages((feeder, replace(conditions, hours=hours)), beside(*kinds))

    return make


def beside(*parts: Storages) -> Storages:
    """Storages one beside the other."""
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in vars(parts[0])
    }
    return Storages(**arrays)


CASES = {
    "one period": _drawn(1, 3),
    "batteries": _drawn(4, 8),
    "quarter hours": _drawn(8, 6, hours=0.25),
    "vehicles": _drawn(6, 0, cars=6),
    "both": _drawn(6, 5, cars=4),
    "only load": _drawn(4, 5, generation=0.0),
    "all linear": _drawn(4, 5, linear=1.0),
    "voltage low": _drawn(4, 8, scale=2.0),
    "rated": _drawn(4, 8, rated=True, scale=3.0, v_min=0.8),
    "export": _drawn(4, 8, generation=1.0, scale=0.1),
}
"""Cases on which the relaxation is exact."""
