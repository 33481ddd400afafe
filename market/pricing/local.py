"""Which stationary point is published where the relaxation is not exact.

There may be several, and a solver ends at one by where it begins. Published is the cheapest of those that
three starts lead to, whichever method asks and whatever was cleared before:

1. nothing flows, everyone is in the middle of its range: an interior point on the true power flow (`single`);
   of periods without storages;
2. nothing flows: tangents, the first of which is the lossless problem (`sequential`);
3. the schedule of the relaxation: tangents at its power flow.

A start that leads to no point that the checker accepts is left out, and what is not finished counts only
where nothing is. Of equal costs the first listed is taken. Nothing proves that no cheaper point exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from market.feeder.model import Feeder
from market.feeder.powerflow import PowerFlowError
from market.pricing.branchflow import NetworkProblem
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.given import given
from market.pricing.network import Network
from market.pricing.optimality import ONE_DIRECTION, costs, measure_point, unexcused
from market.pricing.point import point
from market.pricing.polish import stationary
from market.pricing.sequential import carried, nothing_flows, tangents
from market.pricing.single import SinglePeriod, rows_of

SAME_COST = 1e-9
"""Of a cost of at least 1: points that differ by less are one."""

Pair = tuple[Primal, Duals]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What a start led to: its name, the point, its cost in €/h per pu, and whether it is finished."""

    name: str
    point: Pair
    cost: float
    finished: bool


def cheapest(problem: NetworkProblem, conditions: Conditions, relaxed: Pair | None = None) -> Pair | None:
    """The published point of one period, or of several that storages couple; None where no start has one.

    `relaxed` is the relaxation's point, where there is one.
    """
    found = list(reached(problem, conditions, relaxed))
    found = [each for each in found if each.finished] or found
    if not found:
        return None
    least = min(each.cost for each in found)
    return next(each.point for each in found if each.cost <= least + SAME_COST * max(1.0, abs(least)))


def reached(problem: NetworkProblem, conditions: Conditions, relaxed: Pair | None) -> Iterator[Start]:
    """What each start leads to, in the order of the list; those that lead to nothing are left out."""
    for name, pair in _points(problem, conditions, relaxed):
        verdict = accepted(problem.feeder, conditions, pair)
        if verdict.right:
            cost = float(costs(problem.feeder, conditions, pair[0]).sum())
            yield Start(name, pair, cost, verdict.finished)


class Verdict(NamedTuple):
    """Whether the checker accepts a point as a stationary one, and as a finished one."""

    right: bool
    finished: bool


def accepted(feeder: Feeder, conditions: Conditions, pair: Pair) -> Verdict:
    """What the checker would say of a point, storages that do two things at once set aside."""
    measured = measure_point(Network(feeder), given(feeder, conditions), point(*pair))
    exactly, within = (
        not unexcused({each.check for each, _ in measured.broken(finished=finished)}, apart={ONE_DIRECTION})
        for finished in (True, False)
    )
    return Verdict(right=exactly or within, finished=exactly)


def _points(
    problem: NetworkProblem, conditions: Conditions, relaxed: Pair | None
) -> Iterator[tuple[str, Pair]]:
    """The points of the list, not looked at yet."""
    feeder = problem.feeder
    if not conditions.storages.count:
        newton = SinglePeriod(feeder)
        quantities = newton.quantities(conditions)
        settled = newton.from_nothing(quantities, conditions.voll)
        if settled is not None:
            yield "interior", rows_of([newton.read(quantities, conditions, settled)])
    flows = {"lossless": nothing_flows(feeder, conditions.periods)}
    if relaxed is not None:
        with suppress(PowerFlowError):
            flows["relaxed"] = carried(feeder, conditions, relaxed[0])
    for name, flow in flows.items():
        near = tangents(problem, conditions, flow)
        if near is not None:
            yield name, stationary(problem, conditions, *near, patient=True) or near
