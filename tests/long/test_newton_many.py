from __future__ import annotations

import pytest

from tests.market.newton_agreement import AGREE, UNIQUE_NO_MORE, compare, without_tie_break

SEEDS = range(500)
pytestmark = pytest.mark.long


def test_newton_and_polished_clarabel_agree_on_500_stressed_conditions():
    found = compare(SEEDS, AGREE)
    assert (found.unsolved, found.apart, found.unlike) == ([], [], [])


def test_without_the_tie_break_500_do_not(monkeypatch):
    without_tie_break(monkeypatch)
    found = compare(SEEDS, UNIQUE_NO_MORE)
    assert len(found.apart) >= 10
