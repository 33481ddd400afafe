from __future__ import annotations

from tests.market.newton_agreement import AGREE, UNIQUE_NO_MORE, compare, without_tie_break

SEEDS = range(50)


def test_newton_and_polished_clarabel_agree_on_stressed_conditions():
    found = compare(SEEDS, AGREE)
    assert (found.unsolved, found.apart, found.unlike) == ([], [], [])
    assert found.statuses["optimal"] > 30
    assert found.statuses["local"] > 0


def test_without_the_tie_break_they_do_not(monkeypatch):
    without_tie_break(monkeypatch)
    found = compare(SEEDS, UNIQUE_NO_MORE)
    # each is right: more than one price meets every condition
    assert len(found.apart) > 0
    assert found.largest > 1e-3
