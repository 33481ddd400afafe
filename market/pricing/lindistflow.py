"""LinDistFlow for comparison: the branch-flow model without losses.

M. E. Baran and F. F. Wu's linearisation: the l-terms of balances and voltage drops are left out, so
prices have no loss component. Ratings bound P² + Q² at the substation's voltage; the l that is
reported is (P² + Q²)/v_0², and σ = −η/v_0² keeps the equations between prices in one form.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing.components import components, total
from market.pricing.conditions import Conditions, Solution
from market.pricing.optimality import costs
from market.pricing.program import CompiledClearing


class LinDistFlowClearing(CompiledClearing):
    """The lossless clearing for one feeder; keep it to clear often."""

    lossless = True

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period; 'optimal' means the optimum of this model. Raises PricingError.

        `residual` is the largest error of prices against their components, of the largest price.
        """
        primal, duals, iterations = self.solve(feeder, conditions)
        v0 = feeder.v0**2
        primal = replace(primal, l=(primal.p**2 + primal.q**2) / v0)
        duals = replace(duals, cone=-duals.current / v0)
        parts = components(feeder, primal, duals, lossless=True)
        error = np.abs(total(parts) - duals.price).max() / max(1.0, np.abs(duals.price).max())
        return Solution(
            primal=primal,
            duals=duals,
            components=parts,
            status="optimal",
            residual=float(error),
            cost=float(costs(feeder, conditions, primal).sum()),
            iterations=iterations,
            method="lindistflow",
        )


def clear(feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
    """Clear once; who clears often keeps a LinDistFlowClearing. Raises PricingError."""
    return LinDistFlowClearing(feeder)(feeder, conditions, warm)
