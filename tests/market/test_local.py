"""Where the relaxation is not exact: which of several stationary points is published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.pricing import central, direct, local
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import NetworkProblem
from market.pricing.certificate import certificate, check
from market.pricing.newton import NewtonClearing
from market.pricing.socp import SocpClearing
from tests.market.newton_agreement import AGREE, difference_of_prices
from tests.market.pricing_cases import elsewhere

APART = {92: ["relaxed"], 214: ["lossless", "relaxed"], 274: ["interior", "relaxed"]}
"""Seeds of CIGRE's 20 kV feeder, with the starts that end at a more expensive point than the cheapest."""
SAME = 1e-9


def starts(seed: int) -> list[local.Start]:
    feeder, conditions = elsewhere(seed)
    relaxed = central.solve(feeder, conditions)[:2]
    return list(local.reached(NetworkProblem(feeder, conditions.devices.bus), conditions, relaxed))


@pytest.mark.parametrize("seed", APART)
def test_the_cheapest_of_the_listed_starts_is_published_by_every_method(seed: int):
    feeder, conditions = elsewhere(seed)
    found = starts(seed)
    least = min(start.cost for start in found)
    dear = [start.name for start in found if start.cost > least + SAME * abs(least)]
    assert dear == APART[seed]

    newton = NewtonClearing(feeder)
    solutions = [clear(feeder, conditions) for clear in (newton, direct.clear, SocpClearing(feeder))]
    for solution in solutions:
        assert solution.status == "local"
        assert solution.cost == pytest.approx(least, rel=SAME)
        assert difference_of_prices(solution, solutions[0]) < AGREE
        assert check(certificate(solution, feeder, conditions), feeder, conditions) == ()


@pytest.mark.parametrize("seed", APART)
def test_starts_of_different_solvers_that_cost_the_same_have_the_same_prices(seed: int):
    found = starts(seed)
    pairs = [
        (one, other)
        for i, one in enumerate(found)
        for other in found[i + 1 :]
        if abs(one.cost - other.cost) <= SAME * abs(one.cost)
    ]
    assert pairs
    for one, other in pairs:
        prices = one.point[1].price, other.point[1].price
        assert np.abs(prices[0] - prices[1]).max() < AGREE * np.abs(prices[0]).max()


def test_what_was_cleared_before_does_not_choose_the_answer():
    feeder, conditions = elsewhere(92)
    newton = NewtonClearing(feeder)
    cold = newton(feeder, conditions)
    dear = max(starts(92), key=lambda start: start.cost)
    before = replace(cold, primal=dear.point[0], duals=dear.point[1])
    # a round that follows one point stays at the dear one
    assert newton.near(feeder, conditions, before).cost == pytest.approx(dear.cost, rel=SAME)
    warm = newton(feeder, conditions, before)
    assert difference_of_prices(warm, cold) == 0.0


def test_without_a_relaxation_the_other_starts_answer(monkeypatch):
    feeder, conditions = elsewhere(92)
    expected = direct.clear(feeder, conditions)

    def fails(*_: object) -> None:
        raise ClearingFailed("the solver says InsufficientProgress")

    monkeypatch.setattr(direct, "solve", fails)
    assert difference_of_prices(direct.clear(feeder, conditions), expected) < AGREE
