"""Price-based coordination as a virtual power plant: one price that moves until the sum follows a plan.

A coordinator asks prosumers for what they would do at a price λ and moves it by the sum's distance to the
plan: λ ← λ + ρ(P_ref − Σ p_i(λ)). A prosumer i with cost ½a_i·p² + b_i·p between its limits answers
p_i(λ) = clip((λ − b_i)/a_i, low_i, high_i), injection positive. No one tells its cost. The iteration
converges for 0 < ρ < 2/Σ(1/a_i).

Powers are of one unit, prices of money by that unit; arrays are by prosumer.

PlanError   the plan is beyond what all can do together, or the step is too long
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.units import Floats

ROUNDS_MAX = 100_000


class PlanError(ValueError):
    """No price makes the sum follow; the message says why."""


@dataclass(frozen=True, eq=False)
class Members:
    """Costs ½a·p² + b·p within limits, by prosumer."""

    a: Floats
    b: Floats
    low: Floats
    high: Floats

    def answer(self, price: float) -> Floats:
        """What each does at a price."""
        return np.clip((price - self.b) / self.a, self.low, self.high)

    @property
    def step_max(self) -> float:
        """Steps from here on need not converge."""
        return 2.0 / float(np.sum(1.0 / self.a))


@dataclass(frozen=True, eq=False)
class Dispatch:
    """The price, what each does at it, and how far the sum was from the plan in each round."""

    price: float
    powers: Floats
    distances: Floats


def follow(members: Members, plan: float, step: float, start: float, tolerance: float) -> Dispatch:
    """Move the price until the sum is within `tolerance` of the plan. Raises PlanError."""
    least, most = float(members.low.sum()), float(members.high.sum())
    if not least <= plan <= most:
        raise PlanError(f"a plan of {plan:g}: together they can do {least:g} to {most:g}")
    if not 0 < step < members.step_max:
        raise PlanError(f"a step of {step:g}: it must be above 0 and below {members.step_max:g}")
    price, distances = start, []
    for _ in range(ROUNDS_MAX):
        powers = members.answer(price)
        distances.append(plan - float(powers.sum()))
        if abs(distances[-1]) < tolerance:
            return Dispatch(price, powers, np.array(distances))
        price += step * distances[-1]
    raise PlanError(f"{abs(distances[-1]):g} from the plan after {ROUNDS_MAX} rounds")
