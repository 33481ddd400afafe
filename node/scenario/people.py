"""Who lives on the feeder: prosumers drawn from a seed, or told one by one in `[[prosumer]]`.

Loads follow the scenario's profiles where prosumers are drawn. Who is told has the same load and the same
generator in every slot: a case somebody wants to look at, to the last kilowatt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from market.feeder import FeederError
from market.feeder.model import Feeder
from market.pricing.conditions import Devices
from market.units import KW_PER_MW, Floats, Ints
from node.scenario.feeders import bus_number
from node.scenario.schema import ScenarioFile
from node.scenario.series import Series
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


def people(scenario: ScenarioFile, feeder: Feeder, series: Series | None = None) -> People:
    """Those of a scenario, with the loads and PV of its file where it has one.

    Raises FeederError where one is told to live where no bus is, and for PV of a file that is nobody's.
    """
    if not scenario.prosumer:
        return _drawn(scenario, feeder, series)
    if series is not None and series.pv is not None:
        raise FeederError(
            "profiles.file: pv_kw goes to prosumers that are drawn; [[prosumer]] has generator_kw"
        )
    return _told(scenario, feeder, series)


# --- told ---------------------------------------------------------------------------------------


def _told(scenario: ScenarioFile, feeder: Feeder, series: Series | None) -> People:
    told = scenario.prosumer
    bus = np.array([bus_number(feeder, each.bus, "prosumer.bus") for each in told], dtype=np.int64)

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
        shapes=shapes(scenario, bus, np.zeros(len(told), dtype=np.int64), series),
    )


def _slope(rise: Floats, width: Floats) -> Floats:
    """€/MWh per pu; 0 for what cannot move."""
    return np.divide(rise, width, out=np.zeros(len(width)), where=width > 0)


# --- drawn --------------------------------------------------------------------------------------


def _drawn(scenario: ScenarioFile, feeder: Feeder, series: Series | None) -> People:
    """Load profiles with individual noise, PV under one sky."""
    section = scenario.prosumers
    rng = stream(scenario.seed, "prosumers")
    pv_mw = None if series is None else series.pv_peak_mw
    bus = _place(section.count, feeder, pv_mw, rng)
    load_peak = _split_load(section.load_share, bus, feeder, rng)
    weight, has = rng.uniform(0.5, 1.5, len(bus)), rng.random(len(bus)) < section.pv_share
    if pv_mw is None:
        pv_peak_mw = _split_pv(section.pv_mw, weight, has)
    else:
        pv_peak_mw = _split_by_bus(pv_mw, bus, feeder, weight, has)
    pv_peak = pv_peak_mw / feeder.base_mw
    draws = _draws(scenario, len(bus))
    shape = shapes(scenario, bus, draws.roof, series)
    noise = np.exp(stream(scenario.seed, "load").normal(0.0, 0.15, (scenario.slots.count, len(bus))))
    load = shape.own * np.where(shape.exact, 1.0, noise) * load_peak
    return People(
        bus=bus,
        load_peak=load_peak,
        flexible_share=np.full(len(bus), section.flexible_share),
        generator_peak=pv_peak,
        firm_p=load * (1.0 - section.flexible_share),
        devices=_devices(draws, bus, load * section.flexible_share, shape.sun * pv_peak, pv_peak),
        shapes=shape,
    )


def _place(count: int, feeder: Feeder, pv_mw: Floats | None, rng: np.random.Generator) -> Ints:
    """One prosumer on each bus with load or PV of its own first, in random order, then by the buses' load."""
    some = feeder.nominal_p_mw if pv_mw is None else feeder.nominal_p_mw + pv_mw
    homes = np.flatnonzero(some > 0)
    homes = homes[homes > 0]
    load_mw = feeder.nominal_p_mw[homes]
    if not load_mw.any():
        raise FeederError(f"feeder {feeder.name}: no bus has a load, and prosumers are drawn onto loads")
    first = rng.permutation(homes)[:count]
    rest = rng.choice(homes, count - len(first), p=load_mw / load_mw.sum())
    return np.sort(np.concatenate([first, rest])).astype(np.int64)


def _split_load(share: float, bus: Ints, feeder: Feeder, rng: np.random.Generator) -> Floats:
    """Each bus's prosumer share of the nominal load, split unevenly among its prosumers, pu."""
    weight = rng.uniform(0.5, 1.5, len(bus))
    total = np.bincount(bus, weight, feeder.buses)
    return weight / total[bus] * feeder.nominal_p_mw[bus] * share / feeder.base_mw


def _split_pv(total_mw: float, weight: Floats, has: npt.NDArray[np.bool_]) -> Floats:
    """Peak of each prosumer's PV, MW; at least one has some where the scenario wants any."""
    weight = weight * has
    if total_mw == 0:
        return np.zeros(len(weight))
    if not weight.any():
        weight[0] = 1.0
    return cast(Floats, weight / weight.sum() * total_mw)


def _split_by_bus(
    peak_mw: Floats, bus: Ints, feeder: Feeder, weight: Floats, has: npt.NDArray[np.bool_]
) -> Floats:
    """Each bus's peak of PV among those of its prosumers who have some, or among all, MW."""
    if homeless := set(np.flatnonzero(peak_mw).tolist()) - set(bus.tolist()):
        name = feeder.bus_names[min(homeless)]
        raise FeederError(
            f"profiles.file: bus {name} has pv_kw, and none of prosumers.count = {len(bus)} is drawn there;"
            " one for each bus with load or PV is enough"
        )
    weight = weight * (has | (np.bincount(bus, has, feeder.buses)[bus] == 0))
    return weight / np.bincount(bus, weight, feeder.buses)[bus] * peak_mw[bus]


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
