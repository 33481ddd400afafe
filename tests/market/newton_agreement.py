"""Newton and polished Clarabel on the same stressed conditions: what both tests of them look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from market.feeder import Feeder
from market.pricing import direct, rules
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


def compare(draw: Draw, seeds: Iterable[int], tolerance: float) -> Agreement:
    """Clear every draw by both; `apart` differ by more than the tolerance, `unlike` in their status."""
    found = Agreement()
    for seed in seeds:
        feeder, conditions = draw(seed)
        newton, reference = NewtonClearing(feeder)(feeder, conditions), direct.clear(feeder, conditions)
        found.statuses[newton.status] += 1
        if not (solved(newton) and solved(reference)):
            found.unsolved.append(seed)
        if newton.status != reference.status:
            found.unlike.append(seed)
        difference = difference_of_prices(newton, reference)
        found.largest = max(found.largest, difference)
        if not difference <= tolerance:
            found.apart.append(seed)
    return found


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
