"""Ways of coordination side by side: rounds, messages, bytes, time and error, by the same stopping rule.

One level's answers are what is counted: a message goes from one sender to one receiver in each round, and a
number takes 8 bytes of it. The error is that of the DLMPs against Newton's, of max(|λ|, 1). Who does not
settle has its rounds and its error all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from market.atc.clearing import AtcClearing
from market.atc.finished import ATC
from market.atc.methods import METHODS
from market.atc.rounds import Method
from market.atc.second_order import SECOND_ORDER
from market.pricing.conditions import Conditions, Hub, Solution, Storages
from market.pricing.newton import NewtonClearing
from node.bench.day import demo_day, price_error
from node.bench.drawn import drawn_conditions
from node.bench.row import Row, WrongWork
from node.bench.timing import again, timed, times
from node.scenario.streams import stream
from node.scenario.world import World

PROSUMERS = (10, 32, 100, 1_000)
SLOTS = (3, 12, 19)
"""Night, noon with export, evening peak."""
ROUNDS_MAX = 300
"""Who does not settle by then is not waited for."""
LEVELS = {"three-levels": 30}
ROUNDS_GOAL, ERROR_GOAL = 20, 1e-4
TEXTBOOK = "textbook ADMM between the same levels, same run"
BYTES = 8
CROWDS = ((100_000, 60.0), (1_000_000, 1_000.0))
"""Prosumers, goal in ms."""
HOURS, BATTERIES = 24, 500
DAY_GOAL_S = 1.0
SEED = 1


def rows() -> Iterable[Row]:
    """Every method at every size, then crowds, then a day with storages."""
    for prosumers in PROSUMERS:
        yield from _methods(demo_day(prosumers), prosumers)
    for prosumers, goal_ms in CROWDS:
        yield from _crowd(prosumers, goal_ms)
    yield from _stored_day()


def _methods(world: World, prosumers: int) -> Iterator[Row]:
    newton = NewtonClearing(world.feeder)
    slots = [world.conditions(slot) for slot in SLOTS]
    central = [newton(world.feeder, conditions) for conditions in slots]
    peer: dict[str, float] = {}
    for name in ("admm", *(name for name in METHODS if name != "admm")):
        found = [
            coordinate(world, _patient(METHODS[name]), *each) for each in zip(slots, central, strict=True)
        ]
        rounds, seconds = max(each.rounds for each in found), [each.seconds for each in found]
        ended = "" if all(each.settled for each in found) else ", not settled"
        error = max(each.error for each in found)
        figures = {
            "rounds": (rounds, "rounds", LEVELS.get(name, ROUNDS_GOAL if name == ATC.name else None)),
            "messages": (max(each.messages for each in found), "messages", None),
            "kB of numbers": (max(each.bytes for each in found) / 1e3, "kB", None),
            "seconds": (float(np.median(seconds)), "s", None),
            "DLMP error": (error, "relative", ERROR_GOAL if name == ATC.name else None),
        }
        for figure, (value, unit, goal) in figures.items():
            peer.setdefault(figure, value)
            what = f"{prosumers:,} prosumers, {name}{ended}: {figure}, {_of(figure)} of {len(SLOTS)} slots"
            textbook = name == "admm"
            yield Row(
                what, value, unit, None if textbook else TEXTBOOK, None if textbook else peer[figure], goal
            )


def _patient(method: Method) -> Method:
    """The method with as many rounds as it has, and no more than it gets here."""
    limit = getattr(method, "max_rounds", 0)
    return replace(method, max_rounds=ROUNDS_MAX) if limit > ROUNDS_MAX else method  # type: ignore[type-var]


def _of(figure: str) -> str:
    return "median" if figure == "seconds" else "worst"


@dataclass(frozen=True, slots=True)
class Coordination:
    """How one coordination went: what was said, how long it took, the DLMP error where prosumers are."""

    rounds: int
    settled: bool
    messages: int
    bytes: int
    seconds: float
    error: float


def coordinate(world: World, method: Method, conditions: Conditions, central: Solution) -> Coordination:
    """Bring both levels together, settled or not, and hold the prices to the central ones."""
    clearing = AtcClearing(world.feeder, method)
    agreement, seconds = timed(lambda: clearing.agreement(conditions))
    right = central.duals.price[0, np.unique(conditions.devices.bus)]
    error = float(np.max(np.abs(agreement.grant.price - right) / np.maximum(np.abs(right), 1.0)))
    return Coordination(
        rounds=len(agreement.rounds),
        settled=agreement.settled,
        messages=agreement.messages,
        bytes=BYTES * agreement.numbers,
        seconds=seconds,
        error=error,
    )


def _crowd(prosumers: int, goal_ms: float) -> Iterator[Row]:
    """One slot of very many prosumers, by slopes, beside Newton with all their devices."""
    feeder = demo_day(PROSUMERS[0]).feeder
    conditions = drawn_conditions(feeder, prosumers)
    clearing, newton = AtcClearing(feeder, SECOND_ORDER), NewtonClearing(feeder)
    if price_error(clearing(feeder, conditions), newton(feeder, conditions)) > ERROR_GOAL:
        raise WrongWork("answers with slopes and Newton differ")
    ours, theirs = times(
        again(lambda: clearing(feeder, conditions)), again(lambda: newton(feeder, conditions)), runs=3
    )
    yield Row(
        f"{prosumers:,} prosumers, second-order: time",
        ours.milliseconds,
        "ms",
        "Newton, which is told every device, same run",
        theirs.milliseconds,
        goal_ms,
        spread=ours.over(theirs),
    )


def _stored_day() -> Iterator[Row]:
    """24 hours of 1 000 prosumers and 500 batteries, by the residual stop."""
    world = demo_day(PROSUMERS[-1])
    conditions = _with_batteries(world)
    clearing = AtcClearing(world.feeder)
    solution, seconds = timed(lambda: clearing(world.feeder, conditions))
    who = f"{HOURS} h, {PROSUMERS[-1]:,} prosumers, {BATTERIES} batteries"
    yield Row(f"{who}: time", seconds, "s", goal=DAY_GOAL_S)
    yield Row(f"{who}: rounds", solution.iterations, "rounds")
    yield Row(f"{who}: residual", solution.residual, "relative")


def _with_batteries(world: World) -> Conditions:
    """The demo's first hours as one clearing, with batteries of a tenth of the feeder's load, 4 h each."""
    periods = [world.conditions(slot) for slot in range(HOURS)]

    def rows_of(part: str, name: str) -> np.ndarray:
        return np.concatenate([np.atleast_1d(getattr(getattr(each, part), name)) for each in periods])

    first = periods[0]
    names = ("gen_cost", "gen_slope", "gen_max", "load_value", "load_slope", "load_min", "load_max")
    rng = stream(SEED, "bench", "batteries")
    power = 0.1 * rng.dirichlet(np.full(BATTERIES, 5.0))
    every = np.ones((len(periods), 1))
    storages = Storages(
        bus=rng.integers(1, world.feeder.buses, BATTERIES),
        charge_max=every * power,
        discharge_max=every * power,
        energy_min=0.1 * every * 4 * power,
        energy_max=every * 4 * power,
        drain=0.0 * every * power,
        energy_start=2 * power,
        charge_efficiency=np.full(BATTERIES, 0.95),
        discharge_efficiency=np.full(BATTERIES, 0.95),
        wear=np.full(BATTERIES, 2.0),
        wear_slope=2.0 / power,
        final_value=np.full(BATTERIES, 100.0),
    )
    return replace(
        first,
        fixed_p=np.concatenate([each.fixed_p for each in periods]),
        fixed_q=np.concatenate([each.fixed_q for each in periods]),
        hub=Hub(rows_of("hub", "import_price"), rows_of("hub", "export_price")),
        devices=replace(first.devices, **{name: rows_of("devices", name) for name in names}),
        storages=storages,
    )
