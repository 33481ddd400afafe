"""Batteries and electric vehicles behind the prosumers' meters, and when the vehicles are away.

Each kind of draw has a stream of its own, as in `world`; a vehicle's trips have one for each vehicle.
Energies are pu·h, powers pu.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.pricing.conditions import NO_STORAGES, Storages
from market.units import KW_PER_MW, Floats, Ints
from node.scenario.schema import ScenarioFile
from node.scenario.storage_sections import BatteriesSection, VehiclesSection
from node.scenario.streams import stream

DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
WEAR_RISE_EUR_PER_MWH = 1.0
"""How much more the last watt at full power wears than the first: one schedule is cheapest, not many."""


@dataclass(frozen=True, eq=False)
class Stores:
    """Who stores what: storages of the whole session, the prosumer of each, and its name in tables."""

    storages: Storages
    owner: Ints
    names: tuple[str, ...]

    def by_owner(self, of_storages: Floats, prosumers: int) -> Floats:
        """Sum a row of storages by prosumer."""
        return np.asarray(np.bincount(self.owner, of_storages, prosumers))


NO_STORES = Stores(NO_STORAGES, np.zeros(0, dtype=np.int64), ())


def draw(scenario: ScenarioFile, bus: Ints, base_mw: float) -> Stores:
    """The storages of a scenario; `bus` has one entry a prosumer."""
    if not scenario.stores:
        return NO_STORES
    kw = 1 / (KW_PER_MW * base_mw)
    parts = [
        _batteries(scenario, bus, kw) if scenario.batteries.share else None,
        _vehicles(scenario, bus, kw) if scenario.vehicles.share else None,
    ]
    there = [part for part in parts if part is not None]
    by_period = [np.hstack([part.by_period[i] for part in there]) for i in range(5)]
    by_storage = [np.concatenate([part.by_storage[i] for part in there]) for i in range(6)]
    owner = np.concatenate([part.owner for part in there])
    width = len(str(len(bus)))
    names = tuple(f"{part.kind}-{who + 1:0{width}d}" for part in there for who in part.owner)
    return Stores(Storages(bus[owner], *by_period, *by_storage), owner, names)


@dataclass(frozen=True, eq=False)
class _Kind:
    """One kind of storage: arrays in the order of Storages."""

    kind: str
    owner: Ints
    by_period: tuple[Floats, Floats, Floats, Floats, Floats]
    by_storage: tuple[Floats, Floats, Floats, Floats, Floats, Floats]


def _batteries(scenario: ScenarioFile, bus: Ints, kw: float) -> _Kind:
    section = scenario.batteries
    owner, energy, power = _sizes(section, len(bus), kw, stream(scenario.seed, "batteries"))
    every = np.ones((scenario.slots.count, 1))
    return _Kind(
        "battery",
        owner,
        (every * power, every * power, every * section.reserve * energy, every * energy, 0 * every * energy),
        _constants(scenario, section, section.start * energy, power),
    )


def _vehicles(scenario: ScenarioFile, bus: Ints, kw: float) -> _Kind:
    section, slots = scenario.vehicles, scenario.slots
    rng = stream(scenario.seed, "vehicles")
    owner, energy, power = _sizes(section, len(bus), kw, rng)
    need = rng.uniform(*section.need, len(owner)) * energy
    start = section.start * energy
    shape = (slots.count, len(owner))
    home, least, drain = np.ones(shape), np.zeros(shape), np.zeros(shape)
    gain = section.efficiency * power * slots.seconds / HOUR_SECONDS
    for k, who in enumerate(owner):
        trips = _trips(scenario, stream(scenario.seed, "trips", int(who)))
        since, level = 0, start[k]
        for leaves, back, share in trips:
            if leaves > 0:
                level = min(need[k], level + gain[k] * (leaves - since))
                least[leaves - 1, k] = level
            else:
                level = start[k] = need[k]
            home[max(leaves, 0) : back, k] = 0.0
            taken = min(share * energy[k], level)
            if back <= slots.count:
                drain[back - 1, k] = taken
            since, level = back, level - taken
    giving = home * power if section.gives_back else np.zeros(shape)
    return _Kind(
        "vehicle",
        owner,
        (home * power, giving, least, np.ones(shape) * energy, drain),
        _constants(scenario, section, start, power),
    )


def _sizes(
    section: BatteriesSection | VehiclesSection, prosumers: int, kw: float, rng: np.random.Generator
) -> tuple[Ints, Floats, Floats]:
    """Who has one, how much it holds, its power; at least one prosumer has."""
    has = rng.random(prosumers) < section.share
    energy = rng.uniform(*section.energy_kwh, prosumers) * kw
    power = rng.uniform(*section.power_kw, prosumers) * kw
    if not has.any():
        has[0] = True
    owner = np.flatnonzero(has)
    return owner, energy[owner], power[owner]


def _constants(
    scenario: ScenarioFile, section: BatteriesSection | VehiclesSection, start: Floats, power: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """What does not vary: start, efficiencies, wear and its rise, the worth of what is left."""
    tariff, every = scenario.tariff, np.ones(len(start))
    middle = (tariff.retail_eur_per_mwh - tariff.network_fee_eur_per_mwh + tariff.fit_eur_per_mwh) / 2
    worth = middle if section.final_value_eur_per_mwh is None else section.final_value_eur_per_mwh
    return (
        start,
        section.efficiency * every,
        section.efficiency * every,
        section.wear_eur_per_mwh * every,
        WEAR_RISE_EUR_PER_MWH / power,
        worth * every,
    )


def _trips(scenario: ScenarioFile, rng: np.random.Generator) -> list[tuple[int, int, float]]:
    """Each day's trip: slot it leaves in, first slot it is back for (both may lie outside), share used."""
    slots, section = scenario.slots, scenario.vehicles
    begins = int(slots.start.timestamp())
    ends = begins + slots.count * slots.seconds
    trips = []
    for day in range(begins // DAY_SECONDS, -(-ends // DAY_SECONDS)):
        hours = rng.uniform(*section.departure_hour), rng.uniform(*section.arrival_hour)
        share = float(rng.uniform(*section.trip))
        out, home = (day * DAY_SECONDS + hour * HOUR_SECONDS - begins for hour in hours)
        leaves, back = int(out // slots.seconds), int(-(-home // slots.seconds))
        if back > 0 and leaves < slots.count:
            trips.append((leaves, back, share))
    return trips
