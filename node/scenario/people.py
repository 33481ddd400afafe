"""Who lives on the feeder: prosumers drawn from a seed, or told one by one in `[[prosumer]]`.

Loads follow the scenario's profiles where prosumers are drawn. Who is told has the same load and the same
generator in every slot: a case somebody wants to look at, to the last kilowatt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from market.feeder import FeederError
from market.feeder.model import Feeder
from market.pricing.conditions import Devices
from market.units import KW_PER_MW, Floats, Ints
from node.scenario.schema import ScenarioFile, ToldProsumer
from node.scenario.shapes import AZIMUTHS_DEG, Shapes, shapes
from node.scenario.streams import stream


@dataclass(frozen=True, eq=False)
class People:
    """Prosumers with what they take and can do, pu: peaks by prosumer, `firm_p` periods × prosumers.

    flexible_share: the part of a prosumer's largest load that is flexible; shapes: how everything on the
    feeder goes over time.
    """

    bus: Ints
    load_peak: Floats
    flexible_share: Floats
    generator_peak: Floats
    firm_p: Floats
    devices: Devices
    shapes: Shapes


def people(scenario: ScenarioFile, feeder: Feeder) -> People:
    """Those of a scenario. Raises FeederError where one is told to live where no bus is."""
    return _told(scenario, feeder) if scenario.prosumer else _drawn(scenario, feeder)


# --- told ---------------------------------------------------------------------------------------


def _told(scenario: ScenarioFile, feeder: Feeder) -> People:
    told = scenario.prosumer
    bus = np.array([_bus(feeder, each) for each in told], dtype=np.int64)

    def pu(kilowatts: list[float]) -> Floats:
        return np.array(kilowatts) / (KW_PER_MW * feeder.base_mw)

    firm, generator = pu([each.firm_kw for each in told]), pu([each.generator_kw for each in told])
    least, most = (pu([each.flexible_kw[end] for each in told]) for end in (0, 1))
    worth_of_last, worth_of_first = (
        np.array([each.flexible_value_eur_per_mwh[end] for each in told]) for end in (0, 1)
    )
    cost_of_first, cost_of_last = (
        np.array([each.generator_cost_eur_per_mwh[end] for each in told]) for end in (0, 1)
    )
    load_slope = _slope(worth_of_first - worth_of_last, most - least)
    always = np.ones((scenario.slots.count, 1))
    peak = firm + most
    return People(
        bus=bus,
        load_peak=peak,
        flexible_share=np.divide(most, peak, out=np.zeros(len(told)), where=peak > 0),
        generator_peak=generator,
        firm_p=always * firm,
        devices=Devices(
            bus=bus,
            gen_cost=always * cost_of_first,
            gen_slope=always * _slope(cost_of_last - cost_of_first, generator),
            gen_max=always * generator,
            load_value=always * (worth_of_last + load_slope * most),
            load_slope=always * load_slope,
            load_min=always * least,
            load_max=always * most,
        ),
        shapes=shapes(scenario, bus, np.zeros(len(told), dtype=np.int64)),
    )


def _bus(feeder: Feeder, told: ToldProsumer) -> int:
    """Number of the bus by its name; nobody lives at the substation."""
    if told.bus not in feeder.bus_names[1:]:
        first, last = feeder.bus_names[1], feeder.bus_names[-1]
        raise FeederError(f"prosumer.bus = {told.bus!r}: {feeder.name} has buses {first} to {last}")
    return feeder.bus_names.index(told.bus)


def _slope(rise: Floats, width: Floats) -> Floats:
    """€/MWh per pu; 0 for what cannot move."""
    return np.divide(rise, width, out=np.zeros(len(width)), where=width > 0)


# --- drawn --------------------------------------------------------------------------------------


def _drawn(scenario: ScenarioFile, feeder: Feeder) -> People:
    """Load profiles with individual noise, PV under one sky."""
    section = scenario.prosumers
    rng = stream(scenario.seed, "prosumers")
    bus = _place(section.count, feeder, rng)
    load_peak = _split_load(section.load_share, bus, feeder, rng)
    pv_peak = _split_pv(scenario, len(bus), feeder, rng)
    draws = _draws(scenario, len(bus))
    shape = shapes(scenario, bus, draws.roof)
    noise = np.exp(stream(scenario.seed, "load").normal(0.0, 0.15, (scenario.slots.count, len(bus))))
    load = shape.own * noise * load_peak
    return People(
        bus=bus,
        load_peak=load_peak,
        flexible_share=np.full(len(bus), section.flexible_share),
        generator_peak=pv_peak,
        firm_p=load * (1.0 - section.flexible_share),
        devices=_devices(draws, bus, load * section.flexible_share, shape.sun * pv_peak, pv_peak),
        shapes=shape,
    )


def _place(count: int, feeder: Feeder, rng: np.random.Generator) -> Ints:
    """One prosumer on each loaded bus first, in random order, then by the buses' load."""
    loaded = np.flatnonzero(feeder.nominal_p_mw > 0)
    loaded = loaded[loaded > 0]
    first = rng.permutation(loaded)[:count]
    weights = feeder.nominal_p_mw[loaded] / feeder.nominal_p_mw[loaded].sum()
    rest = rng.choice(loaded, count - len(first), p=weights)
    return np.sort(np.concatenate([first, rest])).astype(np.int64)


def _split_load(share: float, bus: Ints, feeder: Feeder, rng: np.random.Generator) -> Floats:
    """Each bus's prosumer share of the nominal load, split unevenly among its prosumers, pu."""
    weight = rng.uniform(0.5, 1.5, len(bus))
    total = np.bincount(bus, weight, feeder.buses)
    return weight / total[bus] * feeder.nominal_p_mw[bus] * share / feeder.base_mw


def _split_pv(scenario: ScenarioFile, count: int, feeder: Feeder, rng: np.random.Generator) -> Floats:
    """Peak of each prosumer's PV, pu; at least one has some where the scenario wants any."""
    weight = rng.uniform(0.5, 1.5, count) * (rng.random(count) < scenario.prosumers.pv_share)
    if scenario.prosumers.pv_mw == 0:
        return np.zeros(count)
    if not weight.any():
        weight[0] = 1.0
    return cast(Floats, weight / weight.sum() * scenario.prosumers.pv_mw / feeder.base_mw)


@dataclass(frozen=True, eq=False)
class _Draws:
    """What each prosumer's devices are like: one entry each."""

    low: Floats
    high: Floats
    floor: Floats
    gen_cost: Floats
    gen_rise: Floats
    roof: Ints


def _draws(scenario: ScenarioFile, count: int) -> _Draws:
    section, rng = scenario.prosumers, stream(scenario.seed, "devices")
    return _Draws(
        low=rng.uniform(*section.flexible_value_low_eur_per_mwh, count),
        high=rng.uniform(*section.flexible_value_high_eur_per_mwh, count),
        floor=rng.uniform(*section.flexible_floor, count),
        gen_cost=rng.uniform(0.0, 5.0, count),
        gen_rise=rng.uniform(5.0, 15.0, count),
        roof=rng.integers(0, len(AZIMUTHS_DEG), count),
    )


def _devices(draws: _Draws, bus: Ints, flexible: Floats, gen_max: Floats, pv_peak: Floats) -> Devices:
    count = len(bus)
    load_min = draws.floor * flexible
    width = flexible - load_min
    slope = np.divide(draws.high - draws.low, width, out=np.zeros_like(width), where=width > 0)
    rise = np.divide(draws.gen_rise, pv_peak, out=np.zeros(count), where=pv_peak > 0)
    ones = np.ones((len(flexible), 1))
    return Devices(
        bus=bus,
        gen_cost=ones * draws.gen_cost,
        gen_slope=ones * rise,
        gen_max=gen_max,
        load_value=draws.low + slope * flexible,
        load_slope=slope,
        load_min=load_min,
        load_max=flexible,
    )
