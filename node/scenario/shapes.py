"""How loads and sun go over the slots of a scenario: standard profiles, or SimBench's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.agents import profiles
from market.units import Floats, Ints
from node.scenario.schema import ScenarioFile
from node.scenario.streams import stream

AZIMUTHS_DEG = (110.0, 180.0, 250.0)
"""Roofs face one of these: east by south, south, west by south."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shares of nominal power over time; `passive` and `passive_q` are periods × buses or periods × 1.

    own: load of each prosumer, periods × prosumers or × 1; sun: PV output per peak, periods × prosumers.
    """

    passive: Floats
    passive_q: Floats
    own: Floats
    sun: Floats


def shapes(scenario: ScenarioFile, bus: Ints, roof: Ints) -> Shapes:
    """Shapes for prosumers at `bus` under a `roof`, an index of AZIMUTHS_DEG. Raises FeederError."""
    return _simbench(scenario, bus) if scenario.profiles.source == "simbench" else _standard(scenario, roof)


def _standard(scenario: ScenarioFile, roof: Ints) -> Shapes:
    """BDEW's load profiles, one for all passive load and one for all prosumers; clear sky under clouds."""
    slots, names = scenario.slots, scenario.profiles
    passive, own = (
        profiles.standard_load(name, slots.start, slots.seconds, slots.count)[:, None]
        for name in (names.passive, names.prosumers)
    )
    return Shapes(passive=passive, passive_q=passive, own=own, sun=_sun(scenario)[:, roof])


def _simbench(scenario: ScenarioFile, bus: Ints) -> Shapes:
    """SimBench's profile of each bus; SimBench's weather is the feeder's."""
    from market.feeder import simbench  # noqa: PLC0415 - an extra

    slots = scenario.slots
    found = simbench.shapes(scenario.feeder.name, slots.start, slots.seconds, slots.count)
    return Shapes(
        passive=found.active, passive_q=found.reactive, own=found.active[:, bus], sun=found.sun[:, bus]
    )


def _sun(scenario: ScenarioFile) -> Floats:
    """PV output per unit of peak, periods × roofs, all under the same clouds."""
    slots, place = scenario.slots, scenario.profiles
    columns = [
        profiles.pv_output(
            slots.start,
            slots.seconds,
            slots.count,
            latitude=place.latitude,
            longitude=place.longitude,
            tilt_deg=place.tilt_deg,
            azimuth_deg=azimuth,
            clouds=place.clouds,
            rng=stream(scenario.seed, "clouds"),
        )
        for azimuth in AZIMUTHS_DEG
    ]
    return np.column_stack(columns)
