"""How loads and sun go over the slots of a scenario: standard profiles, SimBench's, or a file's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from market.agents import profiles
from market.units import Floats, Ints
from node.scenario.schema import ScenarioFile
from node.scenario.series import Series, named, shares
from node.scenario.streams import stream

AZIMUTHS_DEG = (110.0, 180.0, 250.0)
"""Roofs face one of these: east by south, south, west by south."""


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shares of nominal power over time; `passive` and `passive_q` are periods × buses or periods × 1.

    own: load of each prosumer, periods × prosumers or × 1; sun: PV output per peak, periods × prosumers.
    exact: whose load is `own` and nothing else, by prosumer; the others' varies about it.
    """

    passive: Floats
    passive_q: Floats
    own: Floats
    sun: Floats
    exact: npt.NDArray[np.bool_]


def shapes(scenario: ScenarioFile, bus: Ints, roof: Ints, series: Series | None = None) -> Shapes:
    """Shapes for prosumers at `bus` under a `roof`, an index of AZIMUTHS_DEG; a file's go before others.

    Raises FeederError.
    """
    usual = _simbench(scenario, bus) if scenario.profiles.source == "simbench" else _standard(scenario, roof)
    return usual if series is None else _of_file(usual, series, bus)


def _of_file(usual: Shapes, series: Series, bus: Ints) -> Shapes:
    """The load of buses that a file names, and all PV where it has any."""
    found = usual
    if series.load is not None:
        told, share = named(series.load), shares(series.load)
        found = replace(
            found,
            passive=np.where(told, share, usual.passive),
            passive_q=np.where(told, share, usual.passive_q),
            own=np.where(told[bus], share[:, bus], usual.own),
            exact=told[bus],
        )
    return found if series.pv is None else replace(found, sun=shares(series.pv)[:, bus])


def _standard(scenario: ScenarioFile, roof: Ints) -> Shapes:
    """BDEW's load profiles, one for all passive load and one for all prosumers; clear sky under clouds."""
    slots, names = scenario.slots, scenario.profiles
    passive, own = (
        profiles.standard_load(name, slots.start, slots.seconds, slots.count)[:, None]
        for name in (names.passive, names.prosumers)
    )
    return Shapes(
        passive=passive,
        passive_q=passive,
        own=own,
        sun=_sun(scenario)[:, roof],
        exact=np.zeros(len(roof), dtype=np.bool_),
    )


def _simbench(scenario: ScenarioFile, bus: Ints) -> Shapes:
    """SimBench's profile of each bus; SimBench's weather is the feeder's."""
    from market.feeder import simbench  # noqa: PLC0415 - an extra

    slots = scenario.slots
    found = simbench.shapes(scenario.feeder.name, slots.start, slots.seconds, slots.count)
    return Shapes(
        passive=found.active,
        passive_q=found.reactive,
        own=found.active[:, bus],
        sun=found.sun[:, bus],
        exact=np.zeros(len(bus), dtype=np.bool_),
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
