"""Providers of regions: their price by hand and against a grid, and what makes no region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.mechanisms.sharing_regions import Peers, RegionError, Regions

deterministic = settings(derandomize=True, deadline=None, max_examples=30)


def one_region(value: list[float], slope: list[float], fee: float) -> Regions:
    zeros = np.zeros(len(value), dtype=np.int64)
    peers = Peers(zeros, zeros, np.array(value), np.array(slope))
    return Regions(peers, np.array([fee]), lowest=70.0, highest=240.0)


@pytest.mark.parametrize(
    ("value", "cost", "price", "border"),
    [
        # A = 145, B = 3/4: takes energy at half of A/B + λ + fee
        ([200.0, 180.0], 100.0, (145 / 0.75 + 100 + 10) / 2, 145 - 0.75 * (145 / 0.75 + 110) / 2),
        # A = 60, A/B = 80: gives energy at half of A/B + λ − fee
        ([90.0, 60.0], 130.0, 100.0, 60 - 75.0),
        # λ is within the fee of A/B: nothing crosses the border
        ([90.0, 60.0], 75.0, 80.0, 0.0),
        ([90.0, 60.0], 500.0, 240.0, 60 - 180.0),
    ],
)
def test_the_providers_price_by_hand(value, cost, price, border):
    regions = one_region(value, [2.0, 4.0], fee=10.0)
    found = regions.best_price(np.full(2, cost))
    assert found == pytest.approx([price], abs=1e-9)
    assert regions.border(found) == pytest.approx([border], abs=1e-9)


@deterministic
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0, 60))
def test_a_proximal_step_is_the_best_price_of_a_grid(seed, count, fee):
    rng = np.random.default_rng(seed)
    regions = one_region(list(rng.uniform(20, 320, count)), list(rng.uniform(50, 400, count)), fee)
    target, weight = rng.uniform(-2, 2, count), rng.uniform(5, 500, count)

    def lost(power):
        price = regions.peers.value + regions.peers.slope * power
        assert np.ptp(price) < 1e-6, "one price for all"
        return 0.5 * weight @ (power - target) ** 2 - regions.margin(price[:1])[0]

    answer = regions.respond(target, weight)
    grid = np.linspace(70.0, 240.0, 171)
    least = min(lost(-regions.demand(np.array([price]))) for price in grid)
    assert lost(answer.power) <= least + 1e-8 * max(abs(least), 1.0)
    assert np.allclose(answer.price, weight * (target - answer.power))
    low, high = regions.range()
    assert np.all(answer.power >= low - 1e-9) and np.all(answer.power <= high + 1e-9)


@deterministic
@given(st.floats(20, 320), st.floats(70, 240))
def test_no_peer_loses_by_a_price_between_feed_in_and_retail(value, price):
    peers = one_region([value], [100.0], 0.0).peers
    own, fit, retail = (np.array([each]) for each in (price, 70.0, 240.0))
    assert peers.surplus(own, own)[0] >= peers.surplus(retail, fit)[0] - 1e-12


def test_what_makes_no_region():
    peers = one_region([100.0], [1.0], 0.0).peers
    with pytest.raises(RegionError, match="there are none"):
        Regions(peers, np.zeros(1), lowest=2.0, highest=1.0)
    with pytest.raises(RegionError, match="region 0: a fee of -1"):
        Regions(peers, np.array([-1.0]), lowest=1.0, highest=2.0)
    with pytest.raises(RegionError, match="region 1: it has no peers"):
        Regions(peers, np.zeros(2), lowest=1.0, highest=2.0)
    with pytest.raises(RegionError, match="peer 0: no region 0 among 0"):
        Regions(peers, np.zeros(0), lowest=1.0, highest=2.0)
    with pytest.raises(RegionError, match="there are none"):
        Regions(peers, np.zeros(1), lowest=1.0, highest=float("inf"))
    for fee in (float("nan"), float("inf")):
        with pytest.raises(RegionError, match="region 0: a fee of"):
            Regions(peers, np.array([fee]), lowest=1.0, highest=2.0)


@pytest.mark.parametrize(("value", "slope"), [(100.0, 0.0), (100.0, -2.0), (100.0, np.nan), (np.inf, 1.0)])
def test_peers_that_have_no_answer(value, slope):
    with pytest.raises(RegionError, match="peer 1: a value of"):
        one_region([90.0, value], [1.0, slope], 0.0)


def test_peers_told_by_halves():
    zeros = np.zeros(2, dtype=np.int64)
    with pytest.raises(RegionError, match="arrays of 1 and 2"):
        Peers(zeros, zeros, np.ones(1), np.ones(2))
