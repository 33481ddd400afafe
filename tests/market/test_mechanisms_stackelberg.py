"""The leader's price against a grid search, and the published case."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.mechanisms.stackelberg import (
    Buyer,
    GameError,
    Leader,
    choke_price,
    delivered,
    equilibrium,
    remaining_share,
)

BUYERS = tuple(
    Buyer(value, slope) for value, slope in zip((30, 34, 38, 42, 46), (6, 5, 4, 5, 6), strict=True)
)
SURPLUS = 8.0
deterministic = settings(derandomize=True, deadline=None, max_examples=60)


def leader(load: float) -> Leader:
    return Leader(a=0.15, b=2.0, other_load=load, other_price=24.6)


def test_a_large_load_is_best_served_alone():
    """Figures of the case, to the digits that are given."""
    found = equilibrium(leader(160), BUYERS, SURPLUS)
    assert round(found.choke_price, 4) == round(found.price, 4) == 29.8644
    assert round(found.threshold, 3) == 92.881
    assert found.delivered == pytest.approx(0, abs=1e-9) and round(found.cost, 2) == 224.00


def test_a_small_load_sells_to_peers():
    found = equilibrium(leader(60), BUYERS, SURPLUS)
    assert (round(found.price, 4), round(found.delivered, 4)) == (25.5662, 4.2266)


@deterministic
@given(
    st.lists(st.tuples(st.floats(5, 60), st.floats(0.5, 9)), min_size=1, max_size=6),
    st.floats(0, 30),
    st.floats(0.01, 0.5),
    st.floats(0, 10),
    st.floats(0, 200),
)
def test_no_price_of_a_grid_is_better(buyers, surplus, a, b, load):
    """Some drop out before others: the closed form alone would not do."""
    buyers = [Buyer(*buyer) for buyer in buyers]
    game = Leader(a, b, load, 20.0)
    found = equilibrium(game, buyers, surplus)
    grid = np.linspace(min(found.choke_price, 0) - 20, found.choke_price + 20, 4_001)
    least = min(game.cost(delivered(buyers, surplus, price), price) for price in grid)
    assert found.cost <= least + 1e-9 * max(abs(least), 1)
    assert found.cost == game.cost(found.delivered, found.price)


@deterministic
@given(st.floats(0, 25))
def test_nothing_is_wanted_from_the_choke_price_on(surplus):
    choke = choke_price(BUYERS, surplus)
    assert delivered(BUYERS, surplus, choke + 1e-9) == pytest.approx(0, abs=1e-6)
    assert delivered(BUYERS, surplus, choke - 0.1) > 0


def test_price_alone_leaves_demand_that_knows_none():
    assert remaining_share(0.6, 1.0) == pytest.approx(0.4) and remaining_share(2, 1) == 0


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Buyer(3, 0),
        lambda: Leader(0, 1, 1, 1),
        lambda: choke_price((), 1),
        lambda: Leader(1, 1, -1, 1),
        lambda: Buyer(inf, 1),
        lambda: Buyer(nan, 1),
        lambda: Buyer(1, inf),
        lambda: Leader(1, inf, 1, 1),
        lambda: Leader(1, 1, inf, 1),
        lambda: Leader(1, 1, 1, nan),
        lambda: choke_price(BUYERS, -8),
        lambda: choke_price(BUYERS, nan),
        lambda: equilibrium(leader(60), BUYERS, -8),
        lambda: remaining_share(1, 0),
        lambda: remaining_share(-1, 2),
    ],
)
def test_games_that_are_none(bad):
    with pytest.raises(GameError, match=r"must|without|a > 0"):
        bad()


def test_whoever_has_plenty_pays_to_be_rid_of_it():
    """Two who want 10/6 + 10/5 at 30 and −B more a price below: nothing is wanted of the leader at −10⁸."""
    choke = choke_price([Buyer(30, 6), Buyer(40, 5)], 1e9)
    assert choke < 0 and choke == pytest.approx((30 / 6 + 40 / 5 - 1e9) / (1 / 6 + 1 / 5), rel=1e-12)
