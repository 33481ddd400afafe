"""What storages plan, what they do, and what everybody's plans were worth over a day.

The day ahead plans charge and discharge for every slot of a day; agents trade what it says. Each slot's
prices come from a clearing of what is left of the day, from where the storages are by then, and its first
slot is what they do. A slot without prices follows the plan as far as the state allows.

A slot's welfare counts energy that goes into a storage, or out of it, at the worth it has at the end of the
day: over a day that adds up to the worth of what is left more than there was, and single slots compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from market.agents.alone import Moves, alone_with_storages
from market.agents.welfare import contracted_schedule, welfare
from market.pricing.conditions import Clearing, Conditions, Hub, Primal
from market.pricing.storages import change, overlap_pays, possible, wear_cost, window
from market.units import WH_PER_MWH, Floats, Ints, eur_per_mwh
from node.scenario.world import Outlook, World
from node.simulate.result import StoredSlot, Welfare


@dataclass(frozen=True, slots=True)
class _Course:
    """A way through the session: how a day is scheduled, on which outlook."""

    central: bool
    actual: bool


@dataclass(frozen=True, eq=False)
class _Slot:
    """One slot's schedule, every array a single row."""

    charge: Floats
    discharge: Floats
    gen: Floats
    load: Floats

    @classmethod
    def of(cls, moved: tuple[Floats, Floats], index: int) -> _Slot:
        """What storages do in one slot; devices still idle."""
        charge, discharge = (each[index : index + 1] for each in moved)
        idle = np.zeros((1, 0))
        return cls(charge, discharge, idle, idle)


class Storing:
    """The storages of a session in time. `first_slot` is the number on the chain of the scenario's first."""

    def __init__(self, world: World, reference: Clearing, first_slot: int) -> None:
        self.world = world
        self._reference = reference
        self._first_slot = first_slot
        storages = world.stores.storages
        shape = world.periods, storages.count
        self._planned = np.zeros(shape), np.zeros(shape)
        self._done = np.zeros(shape), np.zeros(shape)
        self._plan_energy, self._energy = (
            np.tile(storages.energy_start, (shape[0] + 1, 1)) for _ in range(2)
        )
        self._courses: dict[tuple[_Course, int], Moves] = {}

    # --- conditions -----------------------------------------------------------------------------

    def day_ahead(self, index: int) -> Conditions:
        """The opening forecast of a slot's whole day, from where the plan of the day before ends."""
        slots = self.world.day_of(index)
        state = self._plan_energy[slots.start]
        return self.world.day_conditions(slots, self.world.forecast, state, self._first_slot + slots.start)

    def rest_of_day(self, index: int) -> Conditions:
        """The last forecast from a slot to the end of its day, from where the storages are."""
        slots = range(index, self.world.day_of(index).stop)
        return self.world.day_conditions(
            slots, self.world.last, self._energy[index], self._first_slot + index
        )

    # --- what is planned and done ---------------------------------------------------------------

    def plan(self, index: int, primal: Primal | None) -> None:
        """Take the day-ahead schedule of a slot's day; without one, what everybody would do alone."""
        slots = self.world.day_of(index)
        schedule = primal or self._course(_Course(central=False, actual=False), slots)
        at = slice(slots.start, slots.stop)
        self._planned[0][at], self._planned[1][at] = schedule.charge, schedule.discharge
        self._plan_energy[slots.start + 1 : slots.stop + 1] = schedule.energy

    def follow(self, index: int, primal: Primal | None) -> None:
        """Fix a slot's schedule: the first slot of its prices' clearing, or what is possible of the plan."""
        if primal is not None:
            charge, discharge, after = primal.charge[0], primal.discharge[0], primal.energy[0]
        else:
            storages = window(self.world.stores.storages, index, self.world.periods, self._energy[index])
            charge, discharge, after = possible(
                storages, self._planned[0][index], self._planned[1][index], self.world.hours
            )
        self._done[0][index], self._done[1][index] = charge, discharge
        self._energy[index + 1] = after

    def planned(self, index: int) -> Floats:
        """What the plan's storages take in a slot, by prosumer, pu."""
        return self._by_prosumer(self._planned, index)

    def done(self, index: int) -> Floats:
        """What the storages take in a slot, by prosumer, pu."""
        return self._by_prosumer(self._done, index)

    def result(self, index: int, price: Floats | None) -> StoredSlot:
        """What storages did, Wh; `price` is λ of the slot by bus, €/MWh, where it was found."""
        wh = self.world.feeder.base_mw * WH_PER_MWH
        power = wh * self.world.hours
        storages = self.world.stores.storages
        return StoredSlot(
            planned_wh=_wh(power * (self._planned[0][index] - self._planned[1][index])),
            charge_wh=_wh(power * self._done[0][index]),
            discharge_wh=_wh(power * self._done[1][index]),
            energy_wh=_wh(wh * self._energy[index + 1]),
            overlap_pays=np.zeros(storages.count, dtype=np.bool_)
            if price is None
            else overlap_pays(storages, price[None])[0],
        )

    # --- welfare --------------------------------------------------------------------------------

    def appraise(self, index: int, gen: Floats, load: Floats, contracted_wh: Ints) -> Welfare:
        """Welfare of a slot: of what was delivered, and of the contracts on what the traders knew."""
        world = self.world
        contracted = contracted_wh / (world.feeder.base_mw * world.hours * WH_PER_MWH)
        known = world.conditions(index, world.forecast)
        firm = world.forecast.firm_p[index] + self.planned(index)
        booked = contracted_schedule(known, firm[None], contracted[None])
        done, planned = (_Slot.of(moved, index) for moved in (self._done, self._planned))
        delivered = replace(done, gen=gen[None], load=load[None])
        wholesale = np.atleast_1d(eur_per_mwh(world.wholesale[index]))
        return Welfare(
            delivered=self._eur(index, world.actual, delivered),
            central=self._on_course(index, central=True, actual=True),
            alone=self._on_course(index, central=False, actual=True),
            booked=self._eur(index, world.forecast, replace(planned, gen=booked[0], load=booked[1])),
            booked_central=self._on_course(index, central=True, actual=False),
            booked_alone=self._on_course(index, central=False, actual=False),
            delivered_wholesale=self._eur(index, world.actual, delivered, Hub(wholesale, wholesale)),
        )

    def _eur(self, index: int, outlook: Outlook, slot: _Slot, hub: Hub | None = None) -> float:
        """Welfare of one slot's schedule, storages at their wear and the worth of what they gain, €."""
        world, storages = self.world, self.world.stores.storages
        conditions = world.conditions(index, outlook)
        net = world.by_bus(world.stores.by_owner((slot.charge - slot.discharge)[0], len(world.bus)))
        served = replace(conditions, fixed_p=conditions.fixed_p + net)
        gained = change(storages, slot.charge, slot.discharge, world.hours)
        worn = wear_cost(storages, slot.charge, slot.discharge) * world.hours
        stored = float((storages.final_value * gained - worn).sum()) * world.feeder.base_mw
        return float(welfare(world.feeder, served, (slot.gen, slot.load), hub)[0]) + stored

    def _on_course(self, index: int, *, central: bool, actual: bool) -> float:
        """Welfare of a slot on the way that the central optimum, or everybody alone, takes."""
        slots = self.world.day_of(index)
        moves = self._course(_Course(central=central, actual=actual), slots)
        outlook = self.world.actual if actual else self.world.forecast
        slot = _Slot.of((moves.charge, moves.discharge), index - slots.start)
        at = slice(index - slots.start, index - slots.start + 1)
        return self._eur(index, outlook, replace(slot, gen=moves.gen[at], load=moves.load[at]))

    def _course(self, course: _Course, slots: range) -> Moves:
        """A day of a course; it starts where the course's day before ends."""
        key = course, slots.start
        if key not in self._courses:
            state = self.world.stores.storages.energy_start
            if slots.start > 0:
                state = self._course(course, self.world.day_of(slots.start - 1)).energy[-1]
            outlook = self.world.actual if course.actual else self.world.forecast
            conditions = self.world.day_conditions(slots, outlook, state)
            schedule = self._central if course.central else self._alone
            self._courses[key] = schedule(conditions, slots, outlook)
        return self._courses[key]

    def _central(self, conditions: Conditions, slots: range, outlook: Outlook) -> Moves:
        primal = self._reference(self.world.feeder, conditions).primal
        return Moves(primal.gen, primal.load, primal.charge, primal.discharge, primal.energy)

    def _alone(self, conditions: Conditions, slots: range, outlook: Outlook) -> Moves:
        world, every = self.world, np.ones(len(slots))
        retail, fit = (float(eur_per_mwh(price)) * every for price in (world.tariff.retail, world.tariff.fit))
        firm = outlook.firm_p[slots.start : slots.stop]
        return alone_with_storages(conditions, firm, world.stores.owner, retail, fit)

    # --- inside ---------------------------------------------------------------------------------

    def _by_prosumer(self, moved: tuple[Floats, Floats], index: int) -> Floats:
        return self.world.stores.by_owner(moved[0][index] - moved[1][index], len(self.world.bus))


def _wh(energy: Floats) -> Ints:
    return np.rint(energy).astype(np.int64)
