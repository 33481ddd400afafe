"""A coordination held to the central clearing of the same conditions."""

from __future__ import annotations

import numpy as np

from market.atc.clearing import AtcClearing
from market.atc.prosumers import LowerLevels, Prosumers
from market.atc.rounds import Method
from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Solution
from market.pricing.newton import NewtonClearing
from tests.market.pricing_cases import price_error

RESIDUAL_STOP = 1e-4
"""What the stopping rule promises of DLMPs, of max(|λ|, 1)."""
EXACT = 1e-9
"""What answers with slopes promise: nothing but rounding is left."""


def cleared(
    feeder: Feeder, conditions: Conditions, method: Method, lower_levels: LowerLevels = Prosumers
) -> tuple[Solution, float]:
    """A solution and its error to Newton's."""
    solution = AtcClearing(feeder, method, lower_levels)(feeder, conditions)
    return solution, price_error(solution, NewtonClearing(feeder)(feeder, conditions))


def spread(rounds: list[int]) -> str:
    """Median, 95 %, most."""
    return ", ".join(f"{np.percentile(rounds, share):g}" for share in (50, 95, 100))
