"""From a solver's arrays to a Solution: polish, hub rule, residual, status, components."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, Infeasible
from market.pricing.central import no_schedule
from market.pricing.components import components
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.pricing.finish import finish, without_relaxation
from market.pricing.given import given
from market.pricing.network import Network
from market.pricing.optimality import (
    BALANCE_TOLERANCE,
    PRICE_TOLERANCE,
    SERVED,
    costs,
    measure_point,
    residual,
    unexcused,
)
from market.pricing.point import point


def central_clearing(
    feeder: Feeder,
    conditions: Conditions,
    solve: Callable[[], tuple[Primal, Duals, int]],
    *,
    method: str,
) -> Solution:
    """A central clearing: what `solve` says of the relaxation, polished; without it where that fails.

    Raises PricingError.
    """
    try:
        primal, duals, iterations = solve()
    except ClearingFailed:
        found = without_relaxation(feeder, conditions)
        if found is None:
            raise
        (primal, duals), iterations = found, 0
    return conclude(feeder, conditions, primal, duals, method=method, iterations=iterations, polished=True)


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
    not for those that must not know them. The status is 'optimal' where every condition holds: flows are
    exact and σ ≤ 0, so the point is the global optimum; else 'local', which with a small residual is a
    stationary point of the true power flow, with a large one no answer. What the checker would refuse of a
    polished point raises ClearingFailed, or Infeasible where that is proven.
    """
    if polished:
        primal, duals = finish(feeder, conditions, primal, duals)
    primal, duals = _on_hub_rule(conditions, _nothing_to_shed(conditions, primal), duals)
    measured = measure_point(Network(feeder), given(feeder, conditions), point(primal, duals))
    _, broken = measured.wrong()
    wrong = {each.check for each, _ in broken}
    left = residual(measured.comparisons())
    if polished and (held := unexcused(wrong)):
        where = f"feeder {feeder.name}: {method}"
        if no_schedule(feeder, conditions):
            raise Infeasible(f"{where}: no schedule brings the storages what they need within the limits")
        if held == {SERVED}:
            raise ClearingFailed(f"{where}: not solved, the tie-break serves load ({SERVED})")
        raise ClearingFailed(f"{where}: not solved, residual {left:.1e} pu, or share of a price")
    return Solution(
        primal=primal,
        duals=duals,
        components=components(feeder, primal, duals),
        status="local" if wrong else "optimal",
        residual=left,
        cost=float(costs(feeder, conditions, primal).sum()),
        iterations=iterations,
        method=method,
    )


def _nothing_to_shed(conditions: Conditions, primal: Primal) -> Primal:
    """No share where there is no load, of which any would do."""
    load = (conditions.firm_p != 0) | (conditions.fixed_q != 0)
    return replace(primal, shed=np.where(load, primal.shed, 0.0))


def _on_hub_rule(conditions: Conditions, primal: Primal, duals: Duals) -> tuple[Primal, Duals]:
    """Put λ_0 and the import where the hub rule has them, if they miss it by a solver's tolerance.

    The contract allows λ_0 no unit beyond the hub's range, and a feeder that balances itself imports
    not a watt-hour.
    """
    hub = conditions.hub
    found, imported = duals.price[:, 0], primal.net_import
    close = PRICE_TOLERANCE * np.maximum(np.abs(found), 1)
    balanced = np.abs(imported) <= BALANCE_TOLERANCE
    low = np.where(~balanced & (imported > 0), hub.import_price, hub.export_price)
    high = np.where(~balanced & (imported < 0), hub.export_price, hub.import_price)
    right = np.clip(found, low, high)
    price = duals.price.copy()
    price[:, 0] = np.where(np.abs(found - right) <= close, right, found)
    inside = (found > hub.export_price + close) & (found < hub.import_price - close)
    net_import = np.where(balanced & inside, 0.0, imported)
    return replace(primal, net_import=net_import), replace(duals, price=price)
