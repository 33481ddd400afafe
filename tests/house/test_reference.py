"""What a session is measured against: the central clearing, by whichever way ends."""

from __future__ import annotations

import numpy as np
import pytest

from market.pricing import direct
from market.pricing.admission import ClearingFailed, HubError
from market.pricing.newton import NewtonClearing
from market.pricing.socp import SocpClearing
from node.scenario.loading import load
from node.simulate.appraisal import Reference
from node.simulate.run import simulate
from tests.market.pricing_cases import case

SHORT = {"slots.count": "1", "prosumers.count": "4"}


def failing(name: str, kind: type[Exception] = ClearingFailed):
    def fail(*given):
        raise kind(f"{name} says MaxIterations")

    return fail


def test_the_first_way_that_ends_is_taken(monkeypatch):
    feeder, conditions = case("voltage low")
    first = Reference(feeder, storages=False)(feeder, conditions)
    monkeypatch.setattr(SocpClearing, "__call__", failing("socp"))
    second = Reference(feeder, storages=False)(feeder, conditions)
    monkeypatch.setattr(direct, "clear", failing("direct"))
    third = Reference(feeder, storages=False)(feeder, conditions)
    assert [each.method for each in (first, second, third)] == ["socp", "direct", "newton"]
    for other in (second, third):
        # two finished clearings of one slot
        np.testing.assert_allclose(other.duals.price, first.duals.price, rtol=1e-6)


def test_where_none_ends_the_message_has_what_each_said(monkeypatch):
    feeder, conditions = case("voltage low")
    monkeypatch.setattr(SocpClearing, "__call__", failing("socp"))
    monkeypatch.setattr(direct, "clear", failing("direct"))
    monkeypatch.setattr(NewtonClearing, "__call__", failing("newton"))
    with pytest.raises(ClearingFailed, match=r"measure against: socp says .*; direct says .*; newton says"):
        Reference(feeder, storages=False)(feeder, conditions)


def test_what_none_may_price_is_refused_at_once(monkeypatch):
    feeder, conditions = case("voltage low")
    monkeypatch.setattr(SocpClearing, "__call__", failing("socp", HubError))
    with pytest.raises(HubError, match=r"^socp says"):
        Reference(feeder, storages=False)(feeder, conditions)


def test_a_session_goes_on_where_the_first_way_fails(monkeypatch):
    usual = simulate(load("ieee33-day", SHORT))
    monkeypatch.setattr(SocpClearing, "__call__", failing("socp"))
    found = simulate(load("ieee33-day", SHORT))
    assert found.head_hash == usual.head_hash
    assert found.welfare_gap == pytest.approx(usual.welfare_gap, abs=1e-6)


def test_a_slot_that_nothing_measures_is_named(monkeypatch):
    monkeypatch.setattr(Reference, "__call__", failing("every way"))
    with pytest.raises(ClearingFailed, match=r"^slot 0: every way says"):
        simulate(load("ieee33-day", SHORT))
