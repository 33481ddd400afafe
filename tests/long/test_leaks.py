"""The soak's measure of leaks finds them however often processes are killed, and nothing where is none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.long.leaks import Growth, Use, growth

SLOTS = 100


def observed(kib_per_slot: float, handles_per_slot: float, slots_a_life: int, seed: int) -> list[Use]:
    """A process that is killed every so many slots, as a soak sees it: it loads in its first slot."""
    rng = np.random.default_rng(seed)
    found = []
    for slot in range(SLOTS):
        age = slot % slots_a_life
        loaded = 8_000 * (age > 0) + kib_per_slot * age + rng.normal(0, 200)
        connections = rng.choice([35, 46, 47, 48, 56], p=[0.05, 0.2, 0.2, 0.5, 0.05])
        handles = int(connections + handles_per_slot * age)
        found.append(Use(slot // slots_a_life, int(300_000 + loaded), handles))
    return found


@pytest.mark.parametrize("slots_a_life", [4, 10, SLOTS])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_leaks_is_found_and_what_comes_and_goes_is_not(slots_a_life: int, seed: int):
    leaking = growth([observed(3_000, 2.0, slots_a_life, seed)])
    sound = growth([observed(0, 0.0, slots_a_life, seed)])
    assert leaking.kib_per_slot == pytest.approx(3_000, rel=0.1)
    assert leaking.handles_per_slot == pytest.approx(2.0, abs=0.3)
    assert abs(sound.kib_per_slot) < 100 and abs(sound.handles_per_slot) < 0.3


def test_one_leaking_process_among_three_is_seen_in_their_own_growth_alone():
    sound = [observed(0, 0.0, 10, seed) for seed in (1, 2)]
    assert growth([observed(0, 2.0, 10, 0)]).handles_per_slot > 1 > growth(sound).handles_per_slot


def test_nothing_is_known_of_who_lives_through_two_slots_alone():
    assert growth([observed(3_000, 1.0, 2, 0)]) == Growth(0.0, 0.0, 0)
