"""The half-half rule on a feeder: the loop of trades and prices in every slot, beside firm charges' day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from market.agents.welfare import Schedule, contracted_schedule, welfare
from market.atc.prosumers import Prosumers
from market.feeder.powerflow import power_flow, violations
from market.mechanisms.half_half import Traded, outer_loop, trade
from market.pricing.conditions import Clearing, Conditions, Devices
from market.pricing.newton import NewtonClearing
from market.units import Floats
from node.scenario.world import DEVICE_ARRAYS, World
from node.simulate.result import DayResult, SlotResult
from node.studies.study import Table, Value

ROUNDS_MAX = 30
SETTLED_EUR_PER_MWH = 0.01
"""Charges that move by no more are the same."""


@dataclass(frozen=True, slots=True)
class Round:
    """What peers would do in a round: limits it breaks, and welfare less that of the optimum, €."""

    violations: int
    welfare_less: float


@dataclass(frozen=True, slots=True)
class SlotLoop:
    """One slot's loop: rounds, whether it settled, its last two rounds, and what firm charges came to."""

    rounds: int
    settled: bool
    last: tuple[Round, ...]
    firm: Round


@dataclass(frozen=True, slots=True)
class Compared:
    """All slots of a day."""

    slots: tuple[SlotLoop, ...]
    rounds_max: int = ROUNDS_MAX

    @property
    def unsettled(self) -> int:
        """Slots in which charges go round in circles."""
        return sum(not slot.settled for slot in self.slots)

    def table(self) -> Table:
        """Slot by slot."""
        rows = tuple(
            (
                str(index),
                str(slot.rounds) if slot.settled else f"not in {slot.rounds}",
                " / ".join(str(each.violations) for each in slot.last),
                " / ".join(f"{each.welfare_less:+.2f}" for each in slot.last),
                str(slot.firm.violations),
                f"{slot.firm.welfare_less:+.2f}",
            )
            for index, slot in enumerate(self.slots)
        )
        head = ("slot", "settles after", "limits broken", "welfare, €", "firm: limits", "firm: welfare, €")
        title = "Half of the price difference each (last rounds, one after the other) and firm charges,"
        return Table(f"{title} welfare less the optimum's", head, rows)

    def to_json(self) -> list[dict[str, Value]]:
        """Slot by slot."""
        return [
            {
                "rounds": slot.rounds,
                "settled": slot.settled,
                "violations": [each.violations for each in slot.last],
                "welfare_less_eur": [each.welfare_less for each in slot.last],
                "firm_violations": slot.firm.violations,
                "firm_welfare_less_eur": slot.firm.welfare_less,
            }
            for slot in self.slots
        ]


def compared(world: World, traded: DayResult) -> Compared:
    """The loop in every slot of a world, on its opening forecast, beside the day as it was traded there."""
    clearing = NewtonClearing(world.feeder)
    return Compared(
        tuple(_slot(world, clearing, index, _booked(slot)) for index, slot in enumerate(traded.slots))
    )


def _booked(slot: SlotResult) -> Round:
    """What the contracts of a slot's market would do at gate closure."""
    return Round(len(slot.scheduled.violations), slot.welfare.booked - slot.welfare.booked_central)


def _slot(world: World, clearing: Clearing, index: int, firm_charges: Round) -> SlotLoop:
    conditions, firm = world.conditions(index), world.forecast.firm_p[index]
    prosumers = Prosumers(conditions.devices)
    optimum = clearing(world.feeder, conditions)

    def demand(price: Floats) -> Floats:
        return np.asarray(firm - prosumers.at_price(price).power)

    def trading(charge: Floats) -> Traded:
        prices = conditions.hub.import_price[0], conditions.hub.export_price[0]
        need = float(world.forecast.passive_p[index].sum())
        return trade(demand, charge, float(prices[0]), float(prices[1]), need)

    def pricing(traded: Traded) -> Floats:
        fixed = world.forecast.passive_p[index] + world.by_bus(traded.net)
        price = clearing(world.feeder, _as_traded(conditions, fixed)).duals.price[0]
        return np.asarray((price - price[0])[world.bus])

    loop = outer_loop(trading, pricing, np.zeros(len(world.bus)), SETTLED_EUR_PER_MWH, ROUNDS_MAX)
    best = _round(world, conditions, (optimum.primal.gen, optimum.primal.load), 0.0)
    last = loop.trades[-1:] if loop.settled else loop.trades[-2:]
    rounds = (
        _round(world, conditions, _schedule(conditions, firm, each), best.welfare_less) for each in last
    )
    return SlotLoop(loop.rounds, loop.settled, tuple(rounds), firm_charges)


def _as_traded(conditions: Conditions, fixed_p: Floats) -> Conditions:
    """The slot with everybody's net power fixed: what the utility can still do is shed, and import."""
    nobody = Devices(np.zeros(0, dtype=np.int64), **{name: np.zeros((1, 0)) for name in DEVICE_ARRAYS})
    return replace(conditions, fixed_p=fixed_p[None, :], devices=nobody)


def _schedule(conditions: Conditions, firm: Floats, traded: Traded) -> Schedule:
    return contracted_schedule(conditions, firm[None, :], traded.net[None, :])


def _round(world: World, conditions: Conditions, schedule: Schedule, best: float) -> Round:
    gen, load = schedule
    flow = power_flow(world.feeder, conditions.fixed_p - world.by_bus(gen[0] - load[0]), conditions.fixed_q)
    reached = float(welfare(world.feeder, conditions, schedule)[0])
    return Round(len(violations(world.feeder, flow)), reached - best)
