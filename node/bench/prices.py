"""Time to price one slot, beside cvxpy with Clarabel, or Clarabel alone, in the same run.

The peer's figure is what it takes to an answer as exact as the solver's; ours, where a row says "newton" or
"finished", are exact to machine precision, with components, status and residual. Large feeders are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Conditions
from market.pricing.newton import NewtonClearing
from market.pricing.socp import SocpClearing
from node.bench.day import demo_day, price_error
from node.bench.drawn import drawn_conditions, drawn_feeder
from node.bench.row import Row, WrongWork
from node.bench.timing import again, medians_seconds

PROSUMERS = (60, 1_000)
SLOT = 19
"""The evening peak: imports, and devices at their bounds and between."""
LARGE = ((907, 1_000, 20.0, 5.0), (5_294, 5_000, 80.0, 30.0), (10_453, 11_000, None, 100.0))
"""Buses, devices, goals cold and warm in ms."""
LATER = 1.01
"""Firm load of the slot after, as a share of the one before."""
RUNS = 7
MS = 1_000.0
AGREEMENT = 1e-6
"""Two finished clearings differ by less, of max(|λ|, 1)."""
FINISHED = 1e-11
"""Residual of a finished point."""


def rows() -> Iterable[Row]:
    """The demo's feeder, then large ones; cold and warm."""
    for prosumers in PROSUMERS:
        yield from _one_slot(prosumers)
    for buses, devices, cold_ms, warm_ms in LARGE:
        feeder = drawn_feeder(buses)
        yield from _large(feeder, drawn_conditions(feeder, devices), cold_ms, warm_ms)


def _one_slot(prosumers: int) -> Iterator[Row]:
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
    (modelled,) = medians_seconds(again(lambda: SocpClearing(feeder).solve(feeder, conditions)), runs=RUNS)
    solved, compiled, central, finished = medians_seconds(
        again(lambda: kept.solve(feeder, conditions)),
        again(lambda: direct.solve(feeder, conditions)),
        again(lambda: direct.clear(feeder, conditions)),
        again(lambda: kept(feeder, conditions)),
        runs=RUNS,
    )
    cold, warm = medians_seconds(
        again(lambda: newton(feeder, conditions)),
        again(lambda: newton(feeder, conditions, before)),
        runs=3 * RUNS,
    )
    who = f"{prosumers:,} prosumers"
    compiling = "cvxpy with Clarabel, model and all"
    keeping = "cvxpy with Clarabel, model kept"
    yield Row(f"{who}: newton, cold", cold * MS, "ms", keeping, solved * MS, goal=3)
    yield Row(f"{who}: newton, warm from the last slot", warm * MS, "ms", keeping, solved * MS, goal=1)
    yield Row(f"{who}: direct, finished", central * MS, "ms", compiling, modelled * MS)
    yield Row(f"{who}: direct, unfinished", compiled * MS, "ms", keeping, solved * MS)
    yield Row(f"{who}: socp, model kept, finished", finished * MS, "ms", keeping, solved * MS)


def _large(feeder: Feeder, conditions: Conditions, cold_ms: float | None, warm_ms: float) -> Iterator[Row]:
    newton = NewtonClearing(feeder)
    later = replace(conditions, fixed_p=LATER * conditions.fixed_p, fixed_q=LATER * conditions.fixed_q)
    before = newton(feeder, conditions)
    answers = newton(feeder, later), newton(feeder, later, before)
    if not (price_error(*answers) <= AGREEMENT and max(each.residual for each in answers) <= FINISHED):
        raise WrongWork(f"{feeder.buses} buses: cold and warm differ")
    cold, warm = medians_seconds(
        again(lambda: newton(feeder, later)), again(lambda: newton(feeder, later, before)), runs=RUNS
    )
    try:
        (peer,) = medians_seconds(again(lambda: direct.solve(feeder, later)), runs=1, warm_ups=0)
        alone, peer_ms = "Clarabel, unfinished", peer * MS
    except ClearingFailed:
        alone, peer_ms = "Clarabel, which fails", None
    who = f"{feeder.buses:,} buses"
    yield Row(f"{who}: newton, cold", cold * MS, "ms", alone, peer_ms, goal=cold_ms)
    yield Row(f"{who}: newton, warm", warm * MS, "ms", alone, peer_ms, goal=warm_ms)
