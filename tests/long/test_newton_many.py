"""Newton and polished Clarabel on 500 stressed conditions: limits that bind, much sun, low and negative
prices, islands, loads to be shed."""

from __future__ import annotations

import pytest

from tests.market.newton_agreement import AGREE, UNIQUE_NO_MORE, compare, without_tie_break

SEEDS = range(500)
pytestmark = pytest.mark.long


def test_newton_and_polished_clarabel_agree_on_500_stressed_conditions(record_property):
    found = compare(SEEDS, AGREE)
    record_property("cases", found.statuses.total())
    record_property("ended", ", ".join(f"{count} {status}" for status, count in found.statuses.most_common()))
    record_property("λ differs at most by, of the largest", f"{found.largest:.0e}")
    assert (found.unsolved, found.apart, found.unlike) == ([], [], [])


def test_without_the_tie_break_500_do_not(record_property, monkeypatch):
    without_tie_break(monkeypatch)
    found = compare(SEEDS, UNIQUE_NO_MORE)
    record_property("cases", found.statuses.total())
    record_property(f"cases whose λ differs by more than {UNIQUE_NO_MORE:g}", len(found.apart))
    record_property("λ differs at most by, of the largest", f"{found.largest:.0e}")
    assert len(found.apart) >= 10
