"""From a solver's arrays to a Solution: residual, status, components."""

from __future__ import annotations

from market.feeder.model import Feeder
from market.pricing.components import components
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.pricing.optimality import costs, measure, residual


def conclude(
    feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals, *, method: str, iterations: int
) -> Solution:
    """Measure the point against the optimality conditions and put it into a Solution.

    'optimal' where every condition holds: flows are exact and σ ≤ 0, so the point is the global optimum.
    'local' where one does not; the certificate's check says which.
    """
    measured = measure(feeder, conditions, primal, duals)
    holds = all((comparison.error <= comparison.tolerance).all() for comparison in measured)
    return Solution(
        primal=primal,
        duals=duals,
        components=components(feeder, primal, duals),
        status="optimal" if holds else "local",
        residual=residual(measured),
        cost=float(costs(feeder, conditions, primal).sum()),
        iterations=iterations,
        method=method,
    )
