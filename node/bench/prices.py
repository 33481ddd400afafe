"""Prices of a slot beside cvxpy with Clarabel, Clarabel alone, pandapower's OPF in the same run; errors.

The peer's figure is what it takes to an answer as exact as the solver's; ours, where a row says "newton" or
"finished", are exact to machine precision, with components, status and residual. Large feeders are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from market.feeder import load
from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Conditions, Solution
from market.pricing.newton import NewtonClearing
from market.pricing.socp import SocpClearing
from node.bench import lossless, random_slots
from node.bench.day import demo_day, price_error
from node.bench.differences import LIMITS_PU, conditions_of, errors_of, is_missing, spread, worst_error
from node.bench.drawn import drawn_conditions, drawn_day, drawn_feeder
from node.bench.feeders import EVERY
from node.bench.opf import solver
from node.bench.peers import in_turns
from node.bench.row import Row, WrongWork
from node.bench.timing import Times, again, times
from node.scenario.streams import stream

PROSUMERS = ((60, None, None), (1_000, 3.0, 1.0))
"""Prosumers on the demo's feeder, goals cold and warm in ms."""
SLOT = 19
"""The evening peak: imports, and devices at their bounds and between."""
LARGE = ((907, 1_000, 20.0, 5.0), (5_294, 5_000, 80.0, 30.0), (10_453, 11_000, None, 100.0))
"""Buses of drawn feeders, devices, goals cold and warm in ms."""
NARROW_WHY = (
    "39 buses shed in one slot and 47 in the next: so many limits change hands that the active set of the"
    " slot before leads nowhere, and the interior point begins anew"
)
SIMBENCH = (
    ("simbench:1-MVLV-urban-all-0-sw", (0.9, 1.1), 100.0, None),
    ("simbench:1-MVLV-urban-all-0-sw", (0.95, 1.05), 100.0, NARROW_WHY),
)
"""SimBench's grid of 10 453 buses within EN 50160's limits, and within limits so narrow that some shed;
goals warm in ms, which name no limits, and why they are missed."""
HARD = (
    "oberrhein#1",
    "oberrhein#2",
    "kerber-landnetz-freileitung-1",
    "kerber-landnetz-kabel-2",
    "kerber-vorstadt-1",
    "kerber-vorstadt-2",
)
"""Feeders that pandapower ships, and on which its optimal power flow was reported not to converge."""
HARD_LIMITS_PU, HARD_PROSUMERS = (0.95, 1.05), 60
DAY_STEPS, DAY_BUSES, DAY_DEVICES = 25, 34, 53
"""MESMO's example in its published timings, 3.6 to 6.5 s to solve, here with one phase instead of three."""
MESMO_SECONDS, MESMO_TIMES = 3.6, 10
STRESSED, KINDS, SEED = 140, 10, 1
FEEDERS = EVERY
PATIENCE_SECONDS = 60.0
"""What pandapower and PyPSA get for one slot."""
OPF_RUNS, LARGE_RUNS = 3, 5
"""What takes others seconds: pandapower's and PyPSA's runs, and those of Clarabel on large feeders."""
LATER = 1.01
"""Firm load of the slot after, as a share of the one before."""
RUNS = 7
SMALL_WHY = "on 33 buses half a millisecond is Python between small matrices; one compiled step would be next"
AGREEMENT = 1e-6
"""Two finished clearings differ by less, of max(|λ|, 1)."""
FINISHED = 1e-11
"""Residual of a finished point."""


def rows() -> Iterable[Row]:
    """Times on the demo's feeder, large ones, hard ones and a day; then how right prices are."""
    for prosumers, cold_ms, warm_ms in PROSUMERS:
        yield from _one_slot(prosumers, cold_ms, warm_ms)
    for buses, devices, cold_ms, warm_ms in LARGE:
        feeder = drawn_feeder(buses)
        yield from _large(feeder, drawn_conditions(feeder, devices), cold_ms, warm_ms)
    for name, limits_pu, warm_ms, why in SIMBENCH:
        if not is_missing(name):
            yield from _simbench(name, limits_pu, warm_ms, why)
    for name in HARD:
        feeder = load(f"pandapower:{name}", *HARD_LIMITS_PU)
        conditions = drawn_conditions(feeder, min(HARD_PROSUMERS, 3 * feeder.buses))
        yield _beside_opf(name, feeder, conditions)
    yield _day()
    yield from _agreement()
    for kind, names in FEEDERS.items():
        errors = errors_of(names)
        if errors:
            worst = max(errors, key=lambda name: errors[name])
            yield Row(
                f"{len(errors)} {kind}: λ against finite differences of the cost, worst on {worst}",
                errors[worst],
                "relative",
                goal=1e-6,
            )


def rows_of(names: Sequence[str]) -> Iterable[Row]:
    """Times and the error of prices on feeders by name alone. Raises FeederError before any is measured."""
    feeders = [load(name, *LIMITS_PU) for name in dict.fromkeys(names)]
    return (row for feeder in feeders for row in _of_feeder(feeder))


def _of_feeder(feeder: Feeder) -> Iterator[Row]:
    conditions = conditions_of(feeder)
    yield from _times(feeder.name, feeder, conditions)
    worst = worst_error(feeder, conditions, spread(feeder))
    yield Row(f"{feeder.name}: λ against finite differences of the cost", worst, "relative", goal=1e-6)


def _one_slot(prosumers: int, cold_ms: float | None, warm_ms: float | None) -> Iterator[Row]:
    world = demo_day(prosumers)
    feeder, conditions = world.feeder, world.conditions(SLOT)
    kept, newton = SocpClearing(feeder), NewtonClearing(feeder)
    before = newton(feeder, world.conditions(SLOT - 1))
    answer = direct.clear(feeder, conditions)
    others = kept(feeder, conditions), newton(feeder, conditions), newton(feeder, conditions, before)
    if not all(price_error(other, answer) <= AGREEMENT for other in others):
        raise WrongWork("two clearings of the same slot differ")
    # in a row: where runs of others come between, its memory goes back to the system, and the peer takes
    # three times longer to get it again
    (modelled,) = times(again(lambda: SocpClearing(feeder).solve(feeder, conditions)), runs=RUNS)
    solved, compiled, central, finished = times(
        again(lambda: kept.solve(feeder, conditions)),
        again(lambda: direct.solve(feeder, conditions)),
        again(lambda: direct.clear(feeder, conditions)),
        again(lambda: kept(feeder, conditions)),
        runs=RUNS,
    )
    cold, warm = times(
        again(lambda: newton(feeder, conditions)),
        again(lambda: newton(feeder, conditions, before)),
        runs=3 * RUNS,
    )
    who = f"{feeder.buses} buses, {prosumers:,} prosumers"
    compiling = "cvxpy with Clarabel, model and all"
    keeping = "cvxpy with Clarabel, model kept"
    yield Row.timed(f"{who}: newton, cold", "ms", cold, keeping, solved, goal=cold_ms, why=SMALL_WHY)
    name = f"{who}: newton, warm from the last slot"
    yield Row.timed(name, "ms", warm, keeping, solved, goal=warm_ms, why=SMALL_WHY)
    yield Row.timed(f"{who}: direct, finished", "ms", central, compiling, modelled)
    yield Row.timed(f"{who}: direct, unfinished", "ms", compiled, keeping, solved)
    yield Row.timed(f"{who}: socp, model kept, finished", "ms", finished, keeping, solved)
    yield _beside_opf(who, feeder, conditions)
    yield lossless.row(
        f"{who}: newton, cold, beside a linear optimum",
        feeder,
        conditions,
        answer,
        again(lambda: newton(feeder, conditions)),
        OPF_RUNS,
        PATIENCE_SECONDS,
    )


def _large(feeder: Feeder, conditions: Conditions, cold_ms: float | None, warm_ms: float) -> Iterator[Row]:
    who = f"{feeder.buses:,} drawn buses"
    yield from _times(who, feeder, conditions, cold_ms=cold_ms, warm_ms=warm_ms)
    yield _beside_opf(who, feeder, _later(conditions))


def _simbench(name: str, limits_pu: tuple[float, float], warm_ms: float, why: str | None) -> Iterator[Row]:
    feeder = load(name, *limits_pu)
    who = "{} ({:,} buses), {:g} to {:g} pu".format(name, feeder.buses, *limits_pu)
    yield from _times(who, feeder, conditions_of(feeder), warm_ms=warm_ms, warm_why=why)


def _later(conditions: Conditions) -> Conditions:
    """The slot after."""
    return replace(conditions, fixed_p=LATER * conditions.fixed_p, fixed_q=LATER * conditions.fixed_q)


def _times(
    who: str,
    feeder: Feeder,
    conditions: Conditions,
    *,
    cold_ms: float | None = None,
    warm_ms: float | None = None,
    warm_why: str | None = None,
) -> Iterator[Row]:
    """The slot after these conditions, from nothing and from them, beside Clarabel."""
    newton, later = NewtonClearing(feeder), _later(conditions)
    before = newton(feeder, conditions)
    answers = newton(feeder, later), newton(feeder, later, before)
    if not (price_error(*answers) <= AGREEMENT and max(each.residual for each in answers) <= FINISHED):
        raise WrongWork(f"{who}: cold and warm differ")
    ours = again(lambda: newton(feeder, later)), again(lambda: newton(feeder, later, before))
    theirs: Times | None = None
    try:
        cold, warm, theirs = times(*ours, again(lambda: direct.solve(feeder, later)), runs=LARGE_RUNS)
    except ClearingFailed:
        cold, warm = times(*ours, runs=RUNS)
    clarabel = "Clarabel, which fails" if theirs is None else "Clarabel, unfinished"
    yield Row.timed(f"{who}: newton, cold", "ms", cold, clarabel, theirs, goal=cold_ms)
    yield Row.timed(f"{who}: newton, warm", "ms", warm, clarabel, theirs, goal=warm_ms, why=warm_why)


def _beside_opf(who: str, feeder: Feeder, conditions: Conditions) -> Row:
    """A cold clearing beside pandapower's, with how far its prices are from ours where it has some."""
    newton = NewtonClearing(feeder)
    solution = newton(feeder, conditions)
    if not (solution.status == "optimal" and solution.residual <= FINISHED and _is_simple(solution)):
        raise WrongWork(f"{who}: conditions that pandapower's optimal power flow cannot state")
    with solver(feeder, conditions, PATIENCE_SECONDS) as opf:
        found = in_turns(again(lambda: newton(feeder, conditions)), opf, OPF_RUNS)
    about = "" if found.found is None else lossless.right_to(found.found, solution)
    return found.row(f"{who}: newton, cold, beside an OPF", "pandapower's OPF", about, "ms")


def _is_simple(solution: Solution) -> bool:
    """It imports, and sheds nothing."""
    return bool(solution.primal.net_import.min() > 0 and solution.primal.shed.max() <= 0)


def _day() -> Row:
    feeder = drawn_feeder(DAY_BUSES)
    conditions = drawn_day(feeder, DAY_DEVICES, DAY_STEPS)
    newton = NewtonClearing(feeder)
    if not newton(feeder, conditions).residual <= FINISHED:
        raise WrongWork(f"{DAY_STEPS} steps: not finished")
    (taken,) = times(again(lambda: newton(feeder, conditions)), runs=RUNS)
    return Row.timed(
        f"{DAY_STEPS} steps, {DAY_BUSES} buses of one phase, {DAY_DEVICES} devices: newton, cold",
        "s",
        taken,
        "MESMO, three phases, its solving alone, published",
        MESMO_SECONDS,
        goal=MESMO_SECONDS / MESMO_TIMES,
    )


def _agreement() -> Iterator[Row]:
    """Newton and Clarabel, polished by another Newton, on conditions of ten kinds."""
    worst, solved, alone = 0.0, 0, 0
    for number in range(STRESSED):
        drawn, devices = (stream(SEED, "bench", "stressed", of, number) for of in ("conditions", "devices"))
        name = random_slots.FEEDERS[number // KINDS % len(random_slots.FEEDERS)]
        feeder, conditions = random_slots.stressed(number % KINDS, drawn, devices, name)
        newton = NewtonClearing(feeder)
        found, other = newton(feeder, conditions), direct.clear(feeder, conditions)
        alone += not newton.handed_over
        top = max(1.0, float(np.abs(other.duals.price).max()))
        worst = max(worst, float(np.abs(found.duals.price - other.duals.price).max()) / top)
        solved += found.residual <= FINISHED
    who = f"{STRESSED} stressed slots on {len(random_slots.FEEDERS)} feeders"
    yield Row(f"{who}: newton against polished Clarabel", worst, "of λ", goal=AGREEMENT)
    yield Row(f"{who}: solved by newton without direct", 100 * alone / STRESSED, "%", better="more")
    yield Row(
        f"{who}: solved",
        100 * solved / STRESSED,
        "%",
        "the prototype, 139 of 140",
        100 * 139 / 140,
        goal=100,
        better="more",
    )
