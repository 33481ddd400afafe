"""Newton and polished Clarabel on the same stressed conditions: what both tests of them look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from market.feeder import Feeder
from market.pricing import central, direct, local, rules
from market.pricing.branchflow import NetworkProblem
from market.pricing.conditions import Conditions, Solution
from market.pricing.newton import NewtonClearing

Draw = Callable[[int], tuple[Feeder, Conditions]]

AGREE = 1e-6
"""Of the largest price: what two correct solvers may differ by where prices are unique."""
UNIQUE_NO_MORE = 1e-4
"""Of the largest price: a difference that no solver's accuracy explains."""
SOLVED = 1e-9
"""Residual of a point that is finished."""


@dataclass
class Agreement:
    """What a set of cases came to: statuses, largest difference of prices, seeds to look at."""

    statuses: Counter[str] = field(default_factory=Counter)
    largest: float = 0.0
    apart: list[int] = field(default_factory=list)
    unsolved: list[int] = field(default_factory=list)
    unlike: list[int] = field(default_factory=list)
    handed_over: list[int] = field(default_factory=list)
    confirmed: int = 0


def compare(draw: Draw, seeds: Iterable[int], tolerance: float) -> Agreement:
    """Clear every draw by both; `apart` differ by more than the tolerance, `unlike` in their status.

    `handed_over` are optimal ones that Newton did not solve alone. Where the answer is local both methods
    publish by one rule; `confirmed` are those to whose point two solvers came, each on its own.
    """
    found = Agreement()
    for seed in seeds:
        feeder, conditions = draw(seed)
        clearing = NewtonClearing(feeder)
        newton, reference = clearing(feeder, conditions), direct.clear(feeder, conditions)
        found.statuses[newton.status] += 1
        if newton.status == "local":
            found.confirmed += by_both(feeder, conditions, reference)
        elif clearing.handed_over:
            found.handed_over.append(seed)
        if not (solved(newton) and solved(reference)):
            found.unsolved.append(seed)
        if newton.status != reference.status:
            found.unlike.append(seed)
        difference = difference_of_prices(newton, reference)
        found.largest = max(found.largest, difference)
        if not difference <= tolerance:
            found.apart.append(seed)
    return found


def by_both(feeder: Feeder, conditions: Conditions, published: Solution) -> bool:
    """Whether an interior point and Clarabel's tangents each led to the point that is published."""
    problem = NetworkProblem(feeder, conditions.devices.bus)
    relaxed = central.solve(feeder, conditions)[:2]
    largest = max(1.0, float(np.abs(published.duals.price).max()))
    there = {
        start.name == "interior"
        for start in local.reached(problem, conditions, relaxed)
        if np.abs(start.point[1].price - published.duals.price).max() <= AGREE * largest
    }
    return there == {True, False}


def solved(solution: Solution) -> bool:
    """A finished point."""
    return solution.residual < SOLVED


def difference_of_prices(one: Solution, other: Solution) -> float:
    """Largest difference of λ, as a share of the largest price."""
    scale = max(1.0, float(np.abs(other.duals.price).max()))
    return float(np.abs(one.duals.price - other.duals.price).max()) / scale


def without_tie_break(monkeypatch) -> None:
    """ε so small that no solver's arithmetic sees it; 0 would leave nothing to divide by."""
    monkeypatch.setattr(rules, "TIE_BREAK_PU_PER_EUR_PER_MWH", 1e-13)
