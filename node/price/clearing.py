"""Clear one slot of a scenario by a method of choice, and lay the prices out bus by bus."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import numpy as np

from market.atc.rounds import Round
from market.feeder.model import Feeder
from market.findings import Finding
from market.pricing.certificate import certificate, check
from market.pricing.conditions import Clearing, Conditions, Solution
from node.scenario.schema import ScenarioFile
from node.scenario.world import World, build
from node.workers.crew import Crew, crew


class MethodError(ValueError):
    """No clearing of this name; the message lists those there are."""


class SlotError(ValueError):
    """The scenario has no slot of this number."""


@dataclass(frozen=True, slots=True)
class BusPrice:
    """One bus, €/MWh: λ with its components, ν = λ − λ_0, and the reactive price λq (€/Mvarh).

    Beside them its voltage, and of the line that feeds it the active power that enters and the current as a
    share of its rating, None where it has none; the substation has no such line.
    """

    bus: str
    dlmp: float
    energy: float
    loss: float
    voltage: float
    congestion: float
    nuc: float
    dlmp_q: float
    v_pu: float
    flow_mw: float
    loading: float | None


@dataclass(frozen=True, slots=True)
class PriceTable:
    """A cleared slot; `shed_mw` is firm load that is not served.

    `certified`: its certificate holds for the NumPy-only checker; else `doubt` says why. LinDistFlow has no
    losses, so its certificate of the exact equations cannot hold.
    """

    scenario: str
    slot: int
    method: str
    status: str
    buses: tuple[BusPrice, ...]
    hub_price: float
    import_mw: float
    iterations: int
    residual: float
    certified: bool
    doubt: str
    shed_mw: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The record as JSON, by the names of its fields."""
        return asdict(self)


@runtime_checkable
class Traced(Protocol):
    """A clearing by rounds, which are told of by period, or of all periods at once."""

    trace: tuple[tuple[Round, ...], ...]


@dataclass(frozen=True, eq=False)
class Cleared:
    """What a table was made of: the world, its clearing, and which period of that is the slot.

    rounds: what each round left, where the method has rounds.
    """

    world: World
    conditions: Conditions
    solution: Solution
    period: int
    table: PriceTable
    rounds: tuple[Round, ...] = ()

    @property
    def start(self) -> datetime:
        """When delivery starts."""
        slots = self.world.scenario.slots
        return slots.start + timedelta(seconds=self.table.slot * slots.seconds)


def _coordinated(name: str, workers: Crew | None = None, regions: int = 0) -> Callable[[Feeder], Clearing]:
    """A clearing by rounds, of market.atc.methods; prosumers in so many regions where workers hold them."""

    def made(feeder: Feeder) -> Clearing:
        from market.atc.clearing import AtcClearing  # noqa: PLC0415 - each method loads its own solver
        from market.atc.methods import METHODS as COORDINATIONS  # noqa: PLC0415
        from market.atc.regions import in_regions  # noqa: PLC0415

        if workers is None:
            return AtcClearing(feeder, COORDINATIONS[name])
        return AtcClearing(feeder, COORDINATIONS[name], in_regions(regions, feeder.buses, workers.hold))

    return made


def _socp(feeder: Feeder) -> Clearing:
    from market.pricing.socp import SocpClearing  # noqa: PLC0415

    return SocpClearing(feeder)


def _direct(feeder: Feeder) -> Clearing:
    from market.pricing.direct import clear  # noqa: PLC0415

    return clear


def _lindistflow(feeder: Feeder) -> Clearing:
    from market.pricing.lindistflow import LinDistFlowClearing  # noqa: PLC0415

    return LinDistFlowClearing(feeder)


def _newton(feeder: Feeder) -> Clearing:
    from market.pricing.newton import NewtonClearing  # noqa: PLC0415

    return NewtonClearing(feeder)


ROUNDS = ("atc", "three-levels", "four-levels", "admm", "app", "benders")
METHODS: dict[str, Callable[[Feeder], Clearing]] = {
    **{name: _coordinated(name) for name in ROUNDS},
    "newton": _newton,
    "socp": _socp,
    "direct": _direct,
    "lindistflow": _lindistflow,
}
PENALTIES = (
    *("quadratic", "lagrangian", "augmented", "al-ad", "accelerated", "tdqa", "exponential"),
    "second-order",
)
"""What `atc` can be told to do instead of its default; see market/atc."""


def price(scenario: ScenarioFile, slot: int, method: str, penalty: str | None = None) -> PriceTable:
    """Clear slot `slot` of the scenario on its opening forecast.

    Raises MethodError, SlotError, FeederError, PricingError.
    """
    return clear(scenario, slot, method, penalty).table


def clear(
    scenario: ScenarioFile, slot: int, method: str, penalty: str | None = None, workers: int = 0
) -> Cleared:
    """As `price`, with all that the table was made of; `workers` processes hold a region of prosumers each.

    Raises as it does, and WorkersError.
    """
    _require(method, penalty, workers)
    if not 0 <= slot < scenario.slots.count:
        raise SlotError(f"--slot {slot}: {scenario.name} has slots 0 to {scenario.slots.count - 1}")
    name = method if penalty is None else penalty
    if not workers:
        return _cleared(scenario, slot, name, _coordinated(name) if penalty else METHODS[method])
    with crew(workers) as many:
        return _cleared(scenario, slot, name, _coordinated(name, many, workers))


def _cleared(scenario: ScenarioFile, slot: int, name: str, make: Callable[[Feeder], Clearing]) -> Cleared:
    world = build(scenario)
    clearing = make(world.feeder)
    conditions, period = _conditions(world, slot, clearing)
    started = time.perf_counter()
    solution = clearing(world.feeder, conditions)
    seconds = time.perf_counter() - started
    findings = check(certificate(solution, world.feeder, conditions), world.feeder, conditions)
    shed = float(solution.primal.shed[period] @ conditions.firm_p[period])
    table = PriceTable(
        scenario=scenario.name,
        slot=slot,
        method=name,
        status=solution.status,
        buses=_by_bus(world.feeder, solution, period),
        hub_price=float(solution.duals.price[period, 0]),
        import_mw=float(solution.primal.net_import[period]) * world.feeder.base_mw,
        iterations=solution.iterations,
        residual=solution.residual,
        certified=not findings,
        doubt=_doubt(findings),
        shed_mw=shed * world.feeder.base_mw,
        seconds=seconds,
    )
    trace = clearing.trace if isinstance(clearing, Traced) else ((),)
    return Cleared(world, conditions, solution, period, table, trace[min(period, len(trace) - 1)])


def _require(method: str, penalty: str | None, workers: int) -> None:
    """Raise MethodError for a name that is none, and for what a method does not have."""
    if method not in METHODS:
        raise MethodError(f"--method {method}: not one of {', '.join(METHODS)}")
    if penalty is not None and method != "atc":
        raise MethodError(f"--penalty {penalty}: only --method atc has penalties")
    if penalty is not None and penalty not in PENALTIES:
        raise MethodError(f"--penalty {penalty}: not one of {', '.join(PENALTIES)}")
    if workers and method not in ROUNDS:
        raise MethodError(f"--workers {workers}: --method {method} asks no prosumers; {', '.join(ROUNDS)} do")


def _conditions(world: World, slot: int, clearing: Clearing) -> tuple[Conditions, int]:
    """What is cleared, and which period of it is the slot: storages couple the slots of its day."""
    if not world.stores.storages.count:
        return world.conditions(slot), 0
    day, energy = world.day_of(0), world.stores.storages.energy_start
    while slot not in day:
        before = clearing(world.feeder, world.day_conditions(day, world.forecast, energy))
        day, energy = world.day_of(day.stop), before.primal.energy[-1]
    return world.day_conditions(day, world.forecast, energy), slot - day.start


def _doubt(findings: Sequence[Finding]) -> str:
    """The first thing that a certificate does not prove, and how many more there are."""
    if not findings:
        return ""
    first, more = findings[0], len(findings) - 1
    text = f"{first.check} of {first.where} is {first.found}, expected {first.expected}"
    return text + (f" (and {more} more)" if more else "")


def _by_bus(feeder: Feeder, solution: Solution, period: int) -> tuple[BusPrice, ...]:
    price, parts, primal = solution.duals.price[period], solution.components, solution.primal
    voltage, current = (np.sqrt(np.maximum(squared[period], 0.0)) for squared in (primal.v, primal.l))
    rating = feeder.limits.i_max
    return tuple(
        BusPrice(
            bus=feeder.bus_names[bus],
            dlmp=float(price[bus]),
            energy=float(parts.energy[period, bus]),
            loss=float(parts.loss[period, bus]),
            voltage=float(parts.voltage[period, bus]),
            congestion=float(parts.congestion[period, bus]),
            nuc=float(price[bus] - price[0]),
            dlmp_q=float(solution.duals.reactive[period, bus]),
            v_pu=float(voltage[bus]),
            flow_mw=float(primal.p[period, bus]) * feeder.base_mw,
            loading=float(current[bus] / rating[bus]) if bus and np.isfinite(rating[bus]) else None,
        )
        for bus in range(feeder.buses)
    )
