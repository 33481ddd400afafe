"""The central clearing on the direct assembly: the reference's problem without its modelling layer."""

from __future__ import annotations

from market.feeder.model import Feeder
from market.pricing.central import solve, stack
from market.pricing.conclude import central_clearing
from market.pricing.conditions import Conditions, Solution

__all__ = ["clear", "solve", "stack"]


def clear(feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
    """Clear every period with Clarabel. Raises PricingError; `warm` is of no use to an interior point."""
    return central_clearing(feeder, conditions, lambda: solve(feeder, conditions), method="direct")
