"""The reference clearing: the branch-flow relaxation, solved by Clarabel through cvxpy.

The model is README.md's, after M. Farivar and S. H. Low, "Branch flow model: relaxations and
convexification", IEEE Transactions on Power Systems 28(3):2554–2572, 2013. P² + Q² = l·v_π is relaxed
to a second-order cone; where the answer meets it with equality it is the global optimum. It does not
when an upper voltage limit binds under reverse flow, or at negative prices, when burning power in the
lines would pay: then the answer is moved to a stationary point of the true power flow (`sequential`),
and its status is 'local'.
"""

from __future__ import annotations

from market.feeder.model import Feeder
from market.pricing.conclude import central_clearing
from market.pricing.conditions import Conditions, Solution
from market.pricing.program import CompiledClearing


class SocpClearing(CompiledClearing):
    """The reference clearing for one feeder; keep it to clear often."""

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period. Raises PricingError; `warm` is of no use to an interior point."""
        return central_clearing(feeder, conditions, lambda: self.solve(feeder, conditions), method="socp")


def clear(feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
    """Clear once; who clears often keeps a SocpClearing. Raises PricingError."""
    return SocpClearing(feeder)(feeder, conditions, warm)
