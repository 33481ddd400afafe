"""What is behind an account's meter, as one: devices slot by slot, and a storage with what it is to do.

A storage couples slots. Asked about several, it answers with its cheapest schedule over all of them, from
what will be in it before the first; and what it answered last is its plan, by which it trades, moves, and
knows what will be in it before the next. A clearing of prices plans its first slot for good. Without a plan
it rests.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from market.atc.messages import Purpose, Question, milliwatts, per_unit, weights_of
from market.atc.metered import Meter, Metered
from market.atc.prosumers import Prosumers
from market.pricing.storages import reachable
from market.units import KW_PER_MW, Floats
from node.agent.devices import DeviceFile, Own, in_a_row, of_slot, storage_of

IN_MW = 1.0
"""Base of the agent's own units."""
CLEARINGS_KEPT = 64
"""Clearings that may be asked about at the same time, each from the state that it was begun with."""
SLOTS_KEPT = 1_440

Clearing = tuple[int, int, int]
"""Slot, purpose and oracle."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """One slot of a plan: what the storage injects, MW, what is in it afterwards, MWh; whether it stands."""

    injection_mw: float
    energy_mwh: float
    final: bool


@dataclass(frozen=True, eq=False)
class _Asked:
    """One clearing's view of the slots it asks about; `meter` has the storage."""

    devices: Prosumers
    firm_mw: Floats
    meter: Meter | None


class Household:
    """One account's devices and storage; any thread may ask."""

    def __init__(self, devices: DeviceFile, hours: float) -> None:
        self._file, self._hours = devices, hours
        self._asked: OrderedDict[Clearing, _Asked] = OrderedDict()
        self._plan: OrderedDict[int, _Planned] = OrderedDict()
        self._lock = Lock()

    def powers(self, question: Question) -> tuple[int, ...]:
        """The proximal step of the slots from the question's on, mW. Raises ClearingFailed."""
        with self._lock:
            asked = self._begun(question)
            target = per_unit(question.targets, IN_MW) + asked.firm_mw
            weight = weights_of(question.weights, IN_MW)
            if asked.meter is None:
                power = asked.devices.respond(target, weight).power
            else:
                answer = asked.meter.respond(target, weight)
                self._remember(question, answer)
                power = answer.power
            return milliwatts(power - asked.firm_mw, IN_MW)

    def own(self, slot: int) -> Own:
        """The devices in a slot, the storage's plan counted as firm."""
        own = of_slot(self._file, slot)
        with self._lock:
            planned = self._plan.get(slot)
        return own if planned is None else Own(own.devices, own.firm_mw - planned.injection_mw)

    def _begun(self, question: Question) -> _Asked:
        """The clearing that a question belongs to: all its rounds see the state that it was begun with."""
        clearing = question.slot, question.purpose, question.oracle
        slots = len(question.targets)
        if clearing not in self._asked:
            devices, firm_mw = in_a_row([of_slot(self._file, question.slot + t) for t in range(slots)])
            meter = None
            if self._file.stores:
                storage = storage_of(self._file, question.slot, slots, self._energy_before(question.slot))
                meter = Meter(devices, reachable(storage, self._hours), self._hours)
            self._asked[clearing] = _Asked(Prosumers(devices), firm_mw, meter)
            if len(self._asked) > CLEARINGS_KEPT:
                self._asked.popitem(last=False)
        return self._asked[clearing]

    def _energy_before(self, slot: int) -> float:
        """What is in the storage before a slot, MWh: as after the last slot before it that is planned."""
        earlier = [planned for planned in self._plan if planned < slot]
        return self._plan[max(earlier)].energy_mwh if earlier else self._file.storage.start_kwh / KW_PER_MW

    def _remember(self, question: Question, answer: Metered) -> None:
        injected = answer.discharge - answer.charge
        for t, (power, energy) in enumerate(zip(injected.tolist(), answer.energy.tolist(), strict=True)):
            slot = question.slot + t
            final = t == 0 and question.purpose == Purpose.PRICES
            if final or slot not in self._plan or not self._plan[slot].final:
                self._plan[slot] = _Planned(power, energy, final)
        while len(self._plan) > SLOTS_KEPT:
            del self._plan[min(self._plan)]
