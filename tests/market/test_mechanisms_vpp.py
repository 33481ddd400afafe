"""A price that makes a sum follow a plan, and what it cannot follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.mechanisms.vpp import Members, PlanError, follow

deterministic = settings(derandomize=True, deadline=None, max_examples=40)


def members(count: int, seed: int) -> Members:
    rng = np.random.default_rng(seed)
    low = -rng.uniform(0, 2, count)
    return Members(
        rng.uniform(0.5, 4, count), rng.uniform(10, 40, count), low, low + rng.uniform(0.5, 5, count)
    )


@deterministic
@given(st.integers(1, 40), st.integers(0, 99), st.floats(0.02, 0.98))
def test_the_sum_follows_at_the_least_cost(count, seed, share):
    group = members(count, seed)
    plan = float(group.low.sum() + share * (group.high - group.low).sum())
    found = follow(group, plan, group.step_max / 2, 25.0, 1e-6)
    assert abs(found.powers.sum() - plan) < 1e-6
    # Whoever is not at a limit has the price as its marginal cost (KKT), whoever is at one is beyond it.
    marginal = group.a * found.powers + group.b
    inside = (found.powers > group.low) & (found.powers < group.high)
    assert np.allclose(marginal[inside], found.price, atol=1e-9)
    assert np.all(marginal[found.powers >= group.high] <= found.price + 1e-9)
    assert np.all(marginal[found.powers <= group.low] >= found.price - 1e-9)


def test_what_cannot_be_followed():
    group = members(5, 1)
    with pytest.raises(PlanError, match="together they can do"):
        follow(group, 1e3, group.step_max / 2, 25.0, 1e-6)
    with pytest.raises(PlanError, match="a step of"):
        follow(group, 0.0, group.step_max, 25.0, 1e-6)
