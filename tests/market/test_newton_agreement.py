from __future__ import annotations

import pytest

from tests.market.newton_agreement import AGREE, UNIQUE_NO_MORE, Draw, compare, without_tie_break
from tests.market.pricing_cases import elsewhere, stressed

SEEDS = {"ieee33": (stressed, range(30)), "elsewhere": (elsewhere, range(0, 140, 7))}
"""Seven has no divisor in common with the ten kinds nor with the six feeders."""


@pytest.mark.parametrize(("draw", "seeds"), SEEDS.values(), ids=SEEDS)
def test_newton_and_polished_clarabel_agree_on_stressed_conditions(draw: Draw, seeds: range):
    found = compare(draw, seeds, AGREE)
    assert (found.unsolved, found.apart, found.unlike) == ([], [], [])
    assert found.statuses["optimal"] > len(seeds) / 2
    assert 0.9 * found.statuses["local"] <= found.confirmed > 0
    assert len(found.handed_over) <= 0.05 * len(seeds)


def test_without_the_tie_break_they_do_not(monkeypatch):
    without_tie_break(monkeypatch)
    found = compare(stressed, range(50), UNIQUE_NO_MORE)
    # each is right: more than one price meets every condition
    assert len(found.apart) > 0
    assert found.largest > 1e-3
