"""Prosumers divided into regions: the same prices to the last bit, whatever the regions are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.atc.clearing import AtcClearing
from market.atc.methods import METHODS
from market.atc.regions import here, in_regions, members
from market.pricing.conditions import Solution
from tests.market.pricing_cases import draw
from tests.market.storage_cases import batteries, with_storages

NEVER, SLOW = {"quadratic", "lagrangian"}, {"exponential", "tdqa"}
SETTLING = [
    pytest.param(name, marks=[pytest.mark.long] if name in SLOW else [])
    for name in sorted(METHODS.keys() - NEVER)
]
"""Two never settle, divided or not; two take seconds."""


def same(one: Solution, other: Solution) -> bool:
    """Whether prices, schedules and rounds are the same to the last bit."""
    pairs = (
        (one.duals.price, other.duals.price),
        (one.primal.gen, other.primal.gen),
        (one.primal.load, other.primal.load),
        (one.primal.discharge, other.primal.discharge),
    )
    return one.iterations == other.iterations and all(a.tobytes() == b.tobytes() for a, b in pairs)


@pytest.mark.parametrize("name", SETTLING)
def test_regions_change_no_bit_of_any_method(name: str) -> None:
    feeder, conditions = draw(5, count=10, linear=0.0, scale=0.7)
    whole = AtcClearing(feeder, METHODS[name])(feeder, conditions)
    assert same(AtcClearing(feeder, METHODS[name], in_regions(3, feeder.buses))(feeder, conditions), whole)


@pytest.mark.parametrize("regions", [1, 2, 7, 100])
def test_however_many_they_are(regions: int) -> None:
    feeder, conditions = draw(6, count=300, linear=0.3, scale=0.7)
    whole = AtcClearing(feeder)(feeder, conditions)
    assert same(
        AtcClearing(feeder, lower_levels=in_regions(regions, feeder.buses))(feeder, conditions), whole
    )


def test_regions_change_no_bit_where_storages_couple_periods() -> None:
    feeder, conditions = draw(4, count=30, periods=3, linear=0.0, scale=0.7)
    feeder, conditions = with_storages((feeder, conditions), batteries(feeder, 3, 4))
    whole = AtcClearing(feeder)(feeder, conditions)
    divided = AtcClearing(feeder, lower_levels=in_regions(3, feeder.buses))(feeder, conditions)
    assert same(divided, whole) and whole.primal.discharge.any()


def test_a_region_begun_anew_between_any_two_questions_changes_nothing() -> None:
    """What a region is asked it answers from its devices alone: it remembers nothing that could be lost."""
    feeder, conditions = draw(7, count=50, linear=0.3, scale=0.7)

    class Anew:
        def __init__(self, *made_of) -> None:
            self.made_of = made_of

        def ask(self, question: str, arguments):
            return here(*self.made_of).ask(question, arguments)

    anew = AtcClearing(feeder, lower_levels=in_regions(4, feeder.buses, Anew))(feeder, conditions)
    assert same(anew, AtcClearing(feeder)(feeder, conditions))


@settings(max_examples=200)
@given(st.lists(st.integers(0, 12), max_size=60), st.integers(1, 20))
def test_every_prosumer_is_in_one_region_and_so_is_every_bus(bus: list[int], regions: int) -> None:
    at = np.array(bus, dtype=np.int64)
    found = members(at, regions)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(bus)))
    assert 1 <= len(found) <= min(regions, max(len(set(bus)), 1))
    assert all(len(each) for each in found) or not bus
    buses = [set(at[each].tolist()) for each in found]
    assert sum(len(each) for each in buses) == len(set(bus))
    assert all(max(one) < min(other) for one, other in pairwise(buses))


def test_regions_have_about_equally_many_prosumers() -> None:
    sizes = [len(each) for each in members(np.repeat(np.arange(100), 10), 8)]
    assert len(sizes) == 8 and max(sizes) - min(sizes) <= 10  # a bus is not cut
