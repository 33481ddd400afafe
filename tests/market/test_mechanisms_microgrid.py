"""Who runs its heater by chance, and what is taken back last on, first off."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.feeder.powerflow import Violation
from market.mechanisms.microgrid import (
    PlatformError,
    chance_to_run,
    expected_price,
    last_on_first_off,
    price_of_running,
)

MID, RETAIL = 0.155, 0.24
deterministic = settings(derandomize=True, deadline=None, max_examples=40)


def price(spare: float, energy: float = 1.0):
    return partial(price_of_running, spare=spare, energy=energy, mid=MID, retail=RETAIL)


def test_two_peers_and_energy_for_one_by_hand():
    """Alone at mid, both at the middle of mid and retail: (1 − p)·mid + p·(mid + retail)/2 = w."""
    later = 0.18
    assert chance_to_run(2, later, price(1.0)) == pytest.approx(
        (later - MID) / ((RETAIL - MID) / 2), abs=1e-12
    )


@deterministic
@given(st.integers(1, 10), st.floats(0, 12), st.floats(0.1, 0.3))
def test_by_chance_running_and_waiting_are_alike(peers, spare, later):
    costs = price(spare)
    chance = chance_to_run(peers, later, costs)
    now = expected_price(peers - 1, chance, costs)
    if 0 < chance < 1:
        assert now == pytest.approx(later, abs=1e-9)
    else:
        assert now <= later + 1e-12 if chance else now >= later - 1e-12


def test_nobody_runs_on_retail_and_everybody_on_plenty():
    assert chance_to_run(5, 0.2, price(0.0)) == 0.0
    assert chance_to_run(5, 0.2, price(5.0)) == 1.0


@pytest.mark.parametrize(
    ("least_wh", "cuts_wh"),
    [(0, []), (1, [1]), (150, [150]), (200, [200]), (470, [200, 100, 170]), (600, [200, 100, 300])],
)
def test_what_came_last_goes_first(least_wh, cuts_wh):
    def broken(vetoed_wh):
        assert vetoed_wh < least_wh
        return Violation(0, 1, "current", 600.0 - vetoed_wh, 1.0)

    cuts = last_on_first_off((300, 100, 200), least_wh, broken)
    assert [cut.energy_wh for cut in cuts] == cuts_wh
    assert [600.0 - cut.broken.value for cut in cuts] == [sum(cuts_wh[:k]) for k in range(len(cuts_wh))]


def test_games_and_vetoes_that_are_none():
    for peers, later in ((0, 0.2), (3, float("nan"))):
        with pytest.raises(PlatformError, match="one at least, and a finite price"):
            chance_to_run(peers, later, price(1.0))
    for falling_or_none in (lambda k: 1.0 / k, lambda _: float("nan")):
        with pytest.raises(PlatformError, match="finite, and none below the one before"):
            chance_to_run(5, 0.2, falling_or_none)
    for running, spare, energy in ((0, 1.0, 1.0), (2, -3.0, 1.0), (2, float("nan"), 1.0), (2, 1.0, 0.0)):
        with pytest.raises(PlatformError, match="to spare: one of some"):
            price_of_running(running, spare, energy, MID, RETAIL)
    for least_wh in (-1, 301):
        with pytest.raises(PlatformError, match="to take back of fills"):
            last_on_first_off((300,), least_wh, lambda _: Violation(0, 1, "current", 2.0, 1.0))
