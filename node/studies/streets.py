"""Low-voltage feeders with a prosumer in every house, each on one of three phases: worlds for studies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.three_phase import (
    balanced,
    phases_of,
    single_phase,
    zero_sequence_known,
    zero_sequence_told,
)
from market.units import Floats, Ints
from node.scenario.schema import FeederSection, ProsumersSection, ScenarioFile, SlotsSection
from node.scenario.streams import stream
from node.scenario.world import World, build

EUROPEAN_LV = "pandapower:european-lv"
"""IEEE's European low-voltage test feeder, which says on which phase each of its 55 loads is."""
DAY_SECONDS = 86_400


@dataclass(frozen=True, eq=False)
class Street:
    """A world whose prosumers are on phases: `phase` has one entry each, 0 to 2."""

    world: World
    phase: Ints

    def spread(self, by_prosumer: Floats, passive: Floats) -> Floats:
        """Powers by bus and phase: prosumers' on theirs, what is not theirs on all three evenly."""
        own = single_phase(self.world.feeder.buses, self.world.bus, self.phase, by_prosumer)
        return np.asarray(balanced(passive) + own)

    @property
    def impedances(self) -> str:
        """Where the zero-sequence impedances of its lines are from, in words."""
        feeder = self.world.feeder
        return zero_sequence_told(zero_sequence_known(feeder), feeder.lines)


@dataclass(frozen=True, slots=True)
class Plan:
    """A feeder by name, how many houses are prosumers, the share of them with PV and what one has, kW."""

    feeder: str
    houses: int
    pv_share: float
    pv_kw: float
    slot_seconds: int


def street(plan: Plan, seed: int) -> Street:
    """A midsummer day; without a phase of its own each house's is drawn."""
    pv_mw = plan.houses * plan.pv_share * plan.pv_kw / 1_000
    world = build(
        ScenarioFile(
            name="street",
            seed=seed,
            feeder=FeederSection(name=plan.feeder),
            slots=SlotsSection(seconds=plan.slot_seconds, count=DAY_SECONDS // plan.slot_seconds),
            prosumers=ProsumersSection(
                count=plan.houses, load_share=1.0, pv_share=plan.pv_share, pv_mw=pv_mw
            ),
        )
    )
    if plan.feeder == EUROPEAN_LV:
        return Street(world, _published(world))
    drawn = stream(seed, "phases").permutation(phases_of("abc", plan.houses))
    return Street(world, drawn)


def _published(world: World) -> Ints:
    """The phase of each prosumer's bus in the European feeder's own table of loads."""
    from market.feeder.shipped import network, shipped  # noqa: PLC0415 - pandapower loads slowly

    name = EUROPEAN_LV.removeprefix("pandapower:")
    position, loads = shipped(name).position, network(name).asymmetric_load
    power = loads[["p_a_mw", "p_b_mw", "p_c_mw"]].to_numpy()
    phase = {position[bus]: int(row.argmax()) for bus, row in zip(loads.bus, power, strict=True)}
    return np.array([phase[bus] for bus in world.bus.tolist()], dtype=np.int64)
