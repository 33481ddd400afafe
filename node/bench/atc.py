"""Ways of coordination side by side: rounds, messages, bytes, time and error, by the same stopping rule.

One level's answers are what is counted: a message goes from one sender to one receiver in each round, and a
number counts as 8 bytes, of which JSON makes some tens. The error is that of the DLMPs against Newton's, of
max(|λ|, 1). Who does not settle has its rounds and its error all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from market.atc.alternating import ACCELERATED
from market.atc.clearing import AtcClearing
from market.atc.finished import ATC
from market.atc.methods import METHODS
from market.atc.prosumers import Prosumers
from market.atc.rounds import Method
from market.atc.second_order import SECOND_ORDER
from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Conditions, Devices, Hub, Solution, Storages
from market.pricing.newton import NewtonClearing
from node.bench.day import demo_day, price_error
from node.bench.drawn import drawn_conditions
from node.bench.random_slots import usual
from node.bench.row import Row, WrongWork
from node.bench.timing import Times, again, timed, times
from node.scenario.streams import stream
from node.scenario.world import World

PROSUMERS = (10, 32, 100, 1_000)
SLOTS = (3, 12, 19)
"""Night, noon with export, evening peak."""
ROUNDS_MAX = 300
"""Who does not settle by then is not waited for."""
LEVELS = {"three-levels": 30}
ROUNDS_GOAL, ERROR_GOAL = 20, 1e-4
TEXTBOOK, PEER = "admm", "textbook ADMM between the same levels, same run"
REPEATED_SECONDS = 2.0
"""Of what takes longer, as `lagrangian` and where there are many `benders`, what it took once is told."""
RUNS = 3
BYTES = 8
CROWDS = ((100_000, 60.0), (1_000_000, 1_000.0))
"""Prosumers, goal in ms."""
BESIDE = 100_000
"""The crowd that other methods and a conic solver clear too."""
CLARABEL, CENTRAL_GOAL = "Clarabel, compiled and told every device, same run", 100.0
MODELLED = 20
"""Prosumers that cvxpy answers for: it takes a millisecond each."""
STEP_PU, ALIKE_PU = 1e-5, 1e-7
"""How far a target is from the best response, and how near Clarabel comes to the closed form."""
HOURS, BATTERIES = 24, 500
DAY_GOAL_S = 1.0
DAY_WHY = "24 networks a round take 1 s of it; batteries' steps, which sort their corners, most of the rest"
RANDOM = 188
"""Random slots: as many as the goals were set on."""


@dataclass(frozen=True, slots=True)
class Promise:
    """Rounds that 95 of 100 random slots, and all of them, may take; and the error that DLMPs may have."""

    rounds_of_95: int | None = None
    rounds: int | None = None
    error: float | None = None


PROMISES: tuple[tuple[Method, Promise], ...] = (
    (ACCELERATED, Promise(25, 30, ERROR_GOAL)),
    (SECOND_ORDER, Promise(rounds_of_95=12, error=1e-9)),
    (ATC, Promise(error=1e-9)),
)
"""Of methods by the residual stop, by slopes, and by both."""
SEED = 1


def rows() -> Iterable[Row]:
    """Every method at every size, random slots, then crowds, then a day with storages."""
    for prosumers in PROSUMERS:
        yield from _methods(demo_day(prosumers), prosumers)
    yield from _random_slots()
    for prosumers, goal_ms in CROWDS:
        yield from _crowd(prosumers, goal_ms)
    yield _lower_level()
    yield from _stored_day()


def _methods(world: World, prosumers: int) -> Iterator[Row]:
    """Each method once for what was said, and then in turns with the textbook's for the time it takes."""
    newton = NewtonClearing(world.feeder)
    slots = [world.conditions(slot) for slot in SLOTS]
    central = [newton(world.feeder, conditions) for conditions in slots]
    peer: dict[str, float] = {}
    for name in (TEXTBOOK, *(name for name in METHODS if name != TEXTBOOK)):
        found = [
            coordinate(world, _patient(METHODS[name]), *each) for each in zip(slots, central, strict=True)
        ]
        ended = "" if all(each.settled for each in found) else ", not settled"
        figures = {
            "rounds": (
                max(each.rounds for each in found),
                "rounds",
                LEVELS.get(name, _goal(name, ROUNDS_GOAL)),
            ),
            "messages": (max(each.messages for each in found), "messages", None),
            "8 bytes a number": (max(each.bytes for each in found) / 1e3, "kB", None),
            "DLMP error": (max(each.error for each in found), "relative", _goal(name, ERROR_GOAL)),
        }
        who = f"{prosumers:,} prosumers, {name}{ended}"
        beside = None if name == TEXTBOOK else PEER
        for figure, (value, unit, goal) in figures.items():
            textbooks = peer.setdefault(figure, value)
            what = f"{who}: {figure}, worst of {len(SLOTS)} slots"
            yield Row(what, value, unit, beside, textbooks if beside else None, goal)
        once = Times((sum(each.seconds for each in found),))
        yield _time(f"{who}: seconds, {len(SLOTS)} slots", world, slots, name, once)


def _goal(name: str, goal: float) -> float | None:
    return goal if name == ATC.name else None


def _time(what: str, world: World, slots: list[Conditions], name: str, once: Times) -> Row:
    """All slots by a method in turns with the textbook's; where that takes too long, what they took once."""

    def clear(method: str) -> None:
        clearing = AtcClearing(world.feeder, _patient(METHODS[method]))
        for conditions in slots:
            clearing.agreement(conditions)

    theirs_again = again(lambda: clear(TEXTBOOK))
    if name == TEXTBOOK:
        (ours,) = times(theirs_again, runs=RUNS)
        return Row.timed(what, "s", ours)
    if once.median > REPEATED_SECONDS:
        ours, (theirs,) = once, times(theirs_again, runs=RUNS)
    else:
        ours, theirs = times(again(lambda: clear(name)), theirs_again, runs=RUNS)
    return Row.timed(what, "s", ours, PEER, theirs)


def _patient(method: Method) -> Method:
    """The method with as many rounds as it has, and no more than it gets here."""
    limit = getattr(method, "max_rounds", 0)
    return replace(method, max_rounds=ROUNDS_MAX) if limit > ROUNDS_MAX else method  # type: ignore[type-var]


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
    agreement, taken = timed(lambda: clearing.agreement(conditions))
    right = central.duals.price[0, np.unique(conditions.devices.bus)]
    error = float(np.max(np.abs(agreement.grant.price - right) / np.maximum(np.abs(right), 1.0)))
    return Coordination(
        rounds=len(agreement.rounds),
        settled=agreement.settled,
        messages=agreement.messages,
        bytes=BYTES * agreement.numbers,
        seconds=taken.median,
        error=error,
    )


def _random_slots() -> Iterator[Row]:
    """Rounds and errors over random slots, which are counted and not timed."""
    slots = [_random_slot(number) for number in range(RANDOM)]
    central = [NewtonClearing(feeder)(feeder, conditions) for feeder, conditions in slots]
    for method, promise in PROMISES:
        found = [_cleared(method, *slot) for slot in slots]
        solved = [(each, right) for each, right in zip(found, central, strict=True) if each is not None]
        rounds = [each.iterations for each, _ in solved]
        who = f"{RANDOM} random slots, {method.name}"
        yield Row(f"{who}: settled", len(solved), "slots", goal=RANDOM, better="more")
        if not solved:
            continue
        most = float(np.percentile(rounds, 95))
        yield Row(f"{who}: rounds, of 95 % of them", most, "rounds", goal=promise.rounds_of_95)
        yield Row(f"{who}: rounds, of all", max(rounds), "rounds", goal=promise.rounds)
        error = max(price_error(each, right) for each, right in solved)
        yield Row(f"{who}: DLMP error, worst", error, "relative", goal=promise.error)


def _random_slot(number: int) -> tuple[Feeder, Conditions]:
    """A usual slot on the 33-bus feeder."""
    drawn, devices = (stream(SEED, "bench", "usual", of, number) for of in ("conditions", "devices"))
    return usual(drawn, devices)


def _cleared(method: Method, feeder: Feeder, conditions: Conditions) -> Solution | None:
    """A solution, None where the rounds do not settle."""
    try:
        return AtcClearing(feeder, method)(feeder, conditions)
    except ClearingFailed:
        return None


def _crowd(prosumers: int, goal_ms: float) -> Iterator[Row]:
    """One slot of very many prosumers, by slopes, beside Newton with all their devices, and others."""
    feeder = demo_day(PROSUMERS[0]).feeder
    conditions = drawn_conditions(feeder, prosumers)
    clearing, newton = AtcClearing(feeder, SECOND_ORDER), NewtonClearing(feeder)
    right = newton(feeder, conditions)
    if price_error(clearing(feeder, conditions), right) > ERROR_GOAL:
        raise WrongWork("answers with slopes and Newton differ")
    ours, theirs = times(
        again(lambda: clearing(feeder, conditions)), again(lambda: newton(feeder, conditions)), runs=RUNS
    )
    peer = "Newton, which is told every device, same run"
    yield Row.timed(f"{prosumers:,} prosumers, second-order: time", "ms", ours, peer, theirs, goal=goal_ms)
    if prosumers != BESIDE:
        return
    for name in ("atc", "three-levels"):
        other = AtcClearing(feeder, METHODS[name])
        solution = other(feeder, conditions)
        if price_error(solution, right) > ERROR_GOAL:
            raise WrongWork(f"{name} and Newton differ")
        beside = times(
            again(partial(other, feeder, conditions)),
            again(partial(newton, feeder, conditions)),
            runs=RUNS,
            warm_ups=0,
        )
        yield Row.timed(f"{prosumers:,} prosumers, {name}: time", "ms", beside[0], peer, beside[1])
        yield Row(f"{prosumers:,} prosumers, {name}: rounds", solution.iterations, "rounds")
    _, central = timed(lambda: direct.solve(feeder, conditions))
    who = f"{prosumers:,} prosumers, second-order"
    yield Row.timed(f"{who}: beside Clarabel", "ms", ours, CLARABEL, central)
    yield Row(
        f"{who}: Clarabel's time over ours",
        central.median / ours.median,
        "times",
        goal=CENTRAL_GOAL,
        better="more",
        runs=(len(ours.seconds), len(central.seconds)),
    )


def _lower_level() -> Row:
    """One round's answers of a lower level: closed forms of all at once, and a problem of cvxpy for each."""
    world = demo_day(PROSUMERS[-1])
    conditions = world.conditions(SLOTS[-1])
    devices = conditions.devices
    lower = Prosumers(devices)
    price = np.full(lower.count, float(conditions.hub.import_price[0]))
    target, weight = lower.at_price(price).power, 1.0 / lower.elasticity(price[0])
    asked = target + STEP_PU, weight
    ones = [_problem(devices, prosumer, *(each[prosumer] for each in asked)) for prosumer in range(MODELLED)]

    def solve() -> list[float]:
        for problem, _ in ones:
            problem.solve(solver="CLARABEL")
        return [float(power.value) for _, power in ones]

    apart = np.abs(np.array(solve()) - lower.respond(*asked).power[:MODELLED]).max()
    if not apart <= ALIKE_PU:
        raise WrongWork(f"cvxpy and the closed form differ by {apart:.1e} pu")
    ours, theirs = times(again(lambda: Prosumers(devices).respond(*asked)), again(solve), runs=RUNS)
    ours, theirs = ours.of_one(lower.count), theirs.of_one(MODELLED)
    name = f"lower level, {lower.count:,} prosumers: a proximal step, of one"
    return Row.timed(name, "µs", ours, "cvxpy with Clarabel, a problem each, same run", theirs)


def _problem(devices: Devices, prosumer: int, target: float, weight: float) -> tuple[Any, Any]:
    """min C(p) + ½·weight·(p − target)² of one prosumer as it is written down, and its p."""
    import cvxpy  # noqa: PLC0415 - slow to import

    def of(name: str) -> float:
        return float(getattr(devices, name)[0, prosumer])

    gen, load = cvxpy.Variable(), cvxpy.Variable()
    cost = of("gen_cost") * gen + of("gen_slope") / 2 * cvxpy.square(gen)
    cost += of("load_slope") / 2 * cvxpy.square(load) - of("load_value") * load
    distance = weight / 2 * cvxpy.square(gen - load - target)
    limits = [gen >= 0, gen <= of("gen_max"), of("load_min") <= load, load <= of("load_max")]
    return cvxpy.Problem(cvxpy.Minimize(cost + distance), limits), gen - load


def _stored_day() -> Iterator[Row]:
    """24 hours of 1 000 prosumers and 500 batteries, by the residual stop."""
    world = demo_day(PROSUMERS[-1])
    conditions = _with_batteries(world)
    clearing = AtcClearing(world.feeder)
    solution = clearing(world.feeder, conditions)
    (ours,) = times(again(lambda: clearing(world.feeder, conditions)), runs=RUNS, warm_ups=0)
    who = f"{HOURS} h, {PROSUMERS[-1]:,} prosumers, {BATTERIES} batteries"
    _, central = timed(lambda: direct.solve(world.feeder, conditions))
    yield Row.timed(f"{who}: time", "s", ours, CLARABEL, central, goal=DAY_GOAL_S, why=DAY_WHY)
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
