"""Newton and polished Clarabel on 1 100 stressed conditions of seven feeders: limits that bind, much sun, low
and negative prices, islands, loads to be shed."""

from __future__ import annotations

import pytest

from tests.market.newton_agreement import AGREE, UNIQUE_NO_MORE, Draw, compare, without_tie_break
from tests.market.pricing_cases import elsewhere, stressed

SEEDS = {"ieee33": (stressed, range(500)), "elsewhere": (elsewhere, range(600))}
pytestmark = pytest.mark.long


@pytest.mark.parametrize(("draw", "seeds"), SEEDS.values(), ids=SEEDS)
def test_newton_and_polished_clarabel_agree_on_many_stressed_conditions(
    record_property, draw: Draw, seeds: range
):
    found = compare(draw, seeds, AGREE)
    record_property("cases", found.statuses.total())
    record_property("ended", ", ".join(f"{count} {status}" for status, count in found.statuses.most_common()))
    record_property("λ differs at most by, of the largest", f"{found.largest:.0e}")
    record_property("optimal ones that Newton did not solve alone", len(found.handed_over))
    record_property("local ones to which two solvers came, each on its own", found.confirmed)
    assert (found.unsolved, found.apart, found.unlike) == ([], [], [])
    assert found.confirmed >= 0.9 * found.statuses["local"]


def test_without_the_tie_break_500_do_not(record_property, monkeypatch):
    without_tie_break(monkeypatch)
    found = compare(stressed, range(500), UNIQUE_NO_MORE)
    record_property("cases", found.statuses.total())
    record_property(f"cases whose λ differs by more than {UNIQUE_NO_MORE:g}", len(found.apart))
    record_property("λ differs at most by, of the largest", f"{found.largest:.0e}")
    assert len(found.apart) >= 10
