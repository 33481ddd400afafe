"""From a solver's arrays to a Solution: polish, hub rule, residual, status, components."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing.components import components
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.pricing.optimality import BALANCE_TOLERANCE, PRICE_TOLERANCE, costs, measure, residual
from market.pricing.polish import polish


def conclude(
    feeder: Feeder,
    conditions: Conditions,
    primal: Primal,
    duals: Duals,
    *,
    method: str,
    iterations: int,
    polished: bool = False,
) -> Solution:
    """Measure the point against the optimality conditions and put it into a Solution.

    `polished` takes it to machine precision first, with every device's costs: for central clearings,
    not for those that must not know them. The status is
    'optimal' where every condition holds: flows are exact and σ ≤ 0, so the point is the global
    optimum; 'infeasible' where firm devices can be served by nothing but the tie-break; else 'local',
    which with a small residual is a local optimum of the true power flow, with a large one no answer.
    """
    if polished:
        primal, duals = polish(feeder, conditions, primal, duals)
    duals = _at_hub_price(conditions, primal, duals)
    measured = measure(feeder, conditions, primal, duals)
    broken = {each.check for each in measured if not (each.error <= each.tolerance).all()}
    return Solution(
        primal=primal,
        duals=duals,
        components=components(feeder, primal, duals),
        status="infeasible" if "tie-break-energy" in broken else "local" if broken else "optimal",
        residual=residual(measured),
        cost=float(costs(feeder, conditions, primal).sum()),
        iterations=iterations,
        method=method,
    )


def _at_hub_price(conditions: Conditions, primal: Primal, duals: Duals) -> Duals:
    """Put λ_0 on the hub price it misses by a solver's tolerance; the contract allows no unit beyond it."""
    hub = conditions.hub
    imports, exports = primal.net_import > BALANCE_TOLERANCE, primal.net_import < -BALANCE_TOLERANCE
    low = np.where(imports, hub.import_price, hub.export_price)
    high = np.where(exports, hub.export_price, hub.import_price)
    found = duals.price[:, 0]
    right = np.clip(found, low, high)
    near = np.abs(found - right) <= PRICE_TOLERANCE * np.maximum(np.abs(right), 1)
    price = duals.price.copy()
    price[:, 0] = np.where(near, right, found)
    return replace(duals, price=price)
