"""Time to price one slot of the IEEE 33-bus feeder, beside cvxpy with Clarabel in the same run.

The peer's figure is what cvxpy takes to an answer as exact as the solver's; ours, where a row says
"finished", are exact to machine precision, with components, status and residual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from market.pricing import direct
from market.pricing.branchflow import NetworkProblem
from market.pricing.polish import stationary
from market.pricing.socp import SocpClearing
from node.bench.day import demo_day, price_error
from node.bench.row import Row, WrongWork
from node.bench.timing import again, medians_seconds

PROSUMERS = (60, 1_000)
SLOT = 19
"""The evening peak: imports, and devices at their bounds and between."""
RUNS = 7
MS = 1_000.0
AGREEMENT = 1e-6
"""Two finished clearings differ by less, of max(|λ|, 1)."""


def rows() -> Iterable[Row]:
    """Cold and warm."""
    for prosumers in PROSUMERS:
        yield from _one_slot(prosumers)


def _one_slot(prosumers: int) -> Iterator[Row]:
    world = demo_day(prosumers)
    feeder, conditions = world.feeder, world.conditions(SLOT)
    kept, problem = SocpClearing(feeder), NetworkProblem(feeder, conditions.devices.bus)
    before = direct.clear(feeder, world.conditions(SLOT - 1))
    answer = direct.clear(feeder, conditions)
    if not price_error(kept(feeder, conditions), answer) <= AGREEMENT:
        raise WrongWork("the two assemblies differ")
    newton = stationary(problem, conditions, before.primal, before.duals)
    if newton is None or not abs(newton[1].price - answer.duals.price).max() <= AGREEMENT:
        raise WrongWork("Newton from the last slot ends elsewhere")
    # in a row: where runs of others come between, its memory goes back to the system, and the peer takes
    # three times longer to get it again
    (modelled,) = medians_seconds(again(lambda: SocpClearing(feeder).solve(feeder, conditions)), runs=RUNS)
    solved, cold, warm, compiled, finished = medians_seconds(
        again(lambda: kept.solve(feeder, conditions)),
        again(lambda: direct.clear(feeder, conditions)),
        again(lambda: stationary(problem, conditions, before.primal, before.duals)),
        again(lambda: direct.solve(feeder, conditions)),
        again(lambda: kept(feeder, conditions)),
        runs=RUNS,
    )
    who = f"{prosumers:,} prosumers"
    compiling = "cvxpy with Clarabel, model and all"
    keeping = "cvxpy with Clarabel, model kept"
    yield Row(f"{who}: direct, cold, finished", cold * MS, "ms", compiling, modelled * MS, goal=3)
    yield Row(f"{who}: Newton, warm from the last slot", warm * MS, "ms", keeping, solved * MS, goal=1)
    yield Row(f"{who}: direct, unfinished", compiled * MS, "ms", keeping, solved * MS)
    yield Row(f"{who}: socp, model kept, finished", finished * MS, "ms", keeping, solved * MS)
