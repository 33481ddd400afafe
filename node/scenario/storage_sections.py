"""`[batteries]` and `[vehicles]` of a scenario file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from node.scenario.section import Section, Share, ShareRange, Worth, ordered

Kilowatts = Annotated[float, Field(ge=0.1, le=10_000)]
"""kW or kWh of one storage: from a power tool's to the largest at a distribution bus."""
Hour = Annotated[float, Field(ge=0, le=24)]
Wear = Annotated[float, Field(ge=0, le=1_000)]
Efficiency = Annotated[float, Field(ge=0.5, le=1)]
"""One way; worse than half is no storage."""
StoredRange = Annotated[tuple[Kilowatts, Kilowatts], Field(strict=False)]
HourRange = Annotated[tuple[Hour, Hour], Field(strict=False)]


class BatteriesSection(Section):
    """`[batteries]`: who has one, and what it can do; drawn from the seed."""

    share: Share = 0.0
    """Share of prosumers that have a battery; at least one where it is above 0."""
    energy_kwh: StoredRange = (100.0, 300.0)
    """Range from which the energy a battery holds is drawn."""
    power_kw: StoredRange = (25.0, 75.0)
    """Range from which its power, the same both ways, is drawn."""
    efficiency: Efficiency = 0.95
    """Each way."""
    wear_eur_per_mwh: Wear = 5.0
    """Cost of every MWh that goes in or comes out."""
    reserve: Share = 0.1
    """Share of its energy that stays in it."""
    start: Share = 0.5
    """Share of its energy that is in it when the session starts."""
    final_value_eur_per_mwh: Worth | None = None
    """What a MWh left at the end of a day is worth; the middle of the hub's two prices by default."""

    @model_validator(mode="after")
    def _possible(self) -> BatteriesSection:
        ordered(self, "energy_kwh", "power_kw")
        if self.start < self.reserve:
            raise ValueError(f"start = {self.start} is below reserve = {self.reserve}, shares of its energy")
        return self


class VehiclesSection(Section):
    """`[vehicles]`: electric vehicles that leave in the morning and come back in the evening; seeded."""

    share: Share = 0.0
    """Share of prosumers that have a vehicle; at least one where it is above 0."""
    energy_kwh: StoredRange = (40.0, 80.0)
    """Range from which the energy a vehicle holds is drawn."""
    power_kw: StoredRange = (7.0, 22.0)
    """Range from which the power of its charger is drawn."""
    efficiency: Efficiency = 0.95
    """Each way."""
    wear_eur_per_mwh: Wear = 10.0
    """Cost of every MWh that goes in or comes out."""
    gives_back: bool = False
    """Whether vehicles may discharge into the feeder."""
    departure_hour: HourRange = (6.0, 9.0)
    """Range of the UTC hour at which each leaves, drawn for each day."""
    arrival_hour: HourRange = (16.0, 20.0)
    """Range of the UTC hour at which each is back, drawn for each day; after all have left."""
    need: ShareRange = (0.6, 0.9)
    """Range of the share of its energy that a vehicle leaves with, as far as its charger reaches."""
    trip: ShareRange = (0.2, 0.5)
    """Range of the share of its energy that a day's trip takes; at most the need."""
    start: Share = 0.5
    """Share of its energy that is in it when the session starts."""
    final_value_eur_per_mwh: Worth | None = None
    """What a MWh left at the end of a day is worth; the middle of the hub's two prices by default."""

    @model_validator(mode="after")
    def _possible(self) -> VehiclesSection:
        ordered(self, "energy_kwh", "power_kw", "departure_hour", "arrival_hour", "need", "trip")
        if self.departure_hour[1] >= self.arrival_hour[0]:
            raise ValueError(
                f"departure_hour = {list(self.departure_hour)} must lie before"
                f" arrival_hour = {list(self.arrival_hour)}"
            )
        if self.trip[1] > self.need[0]:
            raise ValueError(
                f"trip = {list(self.trip)} must not exceed need = {list(self.need)}, shares of its energy"
            )
        return self
