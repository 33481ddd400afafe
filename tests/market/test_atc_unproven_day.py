"""Sessions in which oracles fall back, or have no prices at all: traded, settled and audited all the same."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.audit import audit
from ledger.record import Record
from market.atc.alternating import ACCELERATED
from market.atc.clearing import AtcClearing
from market.feeder import Feeder
from market.pricing.conditions import Clearing, Conditions
from node.oracle import signers
from node.scenario.loading import load
from node.scenario.world import build
from node.simulate.run import simulate
from node.simulate.summary import Summary

# what the feeder cannot carry between 20:00 and 21:00 by far
RATED = {"feeder.line_rating_mva": "0.1"}


def day(start: str, count: int) -> dict[str, str]:
    return {"slots.start": f"2026-06-23T{start}:00Z", "slots.count": str(count), "bidding.rounds": "2"}


def session(out: Path | None, start: str, count: int, settings: dict[str, str]) -> Summary:
    return simulate(load("ieee33-day", day(start, count) | settings), out)


def without_proof_at(monkeypatch: pytest.MonkeyPatch, start: str, count: int, slots: tuple[int, ...]) -> None:
    """Oracles find no prices for some slots of a session, on neither forecast."""
    world = build(load("ieee33-day", day(start, count) | RATED))
    lost = {
        world.conditions(k, view).fixed_p.tobytes() for k in slots for view in (world.forecast, world.last)
    }
    prove = signers.clear_and_prove

    def or_not(feeder: Feeder, conditions: Conditions, clearing: Clearing) -> signers.Proven:
        if conditions.fixed_p.tobytes() in lost:
            raise signers.NotClearedError("no answer")
        return prove(feeder, conditions, clearing)

    monkeypatch.setattr(signers, "clear_and_prove", or_not)


def assert_settled(summary: Summary) -> None:
    """Money balances, and the utility's result is explained to the nano-euro."""
    assert summary.payments_sum_neur == 0
    assert summary.utility_unexplained_neur == 0


def test_a_slot_without_prices_settles_by_the_tariff_rule(tmp_path, monkeypatch):
    without_proof_at(monkeypatch, "19:00", 2, (1,))
    summary = session(tmp_path / "out", "19:00", 2, RATED)
    assert (summary.fallback_slots, summary.uncharged_slots, summary.unpriced_slots) == (0, 1, 1)
    assert_settled(summary)
    assert summary.fills > 0
    text = " ".join(summary.render().split())
    assert "IN 1 SLOT NO CHARGES COULD BE PROVEN: nothing was traded." in text
    assert "IN 1 SLOT NO PRICES COULD BE PROVEN: settled by the tariff rule." in text
    assert "LIMITS BROKEN by the schedule at gate closure" in text.split("Network")[0].split("Welfare")[1]
    assert audit(Record.from_bundle(tmp_path / "out" / "bundle")).ok
    with (tmp_path / "out" / "prices.csv").open() as file:
        posted = {row["slot_index"]: row["dlmp_ueur_per_kwh"] != "" for row in csv.DictReader(file)}
    assert posted == {"0": True, "1": False}
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "IN 1 SLOT NO PRICES COULD BE PROVEN" in report


def test_a_day_without_any_prices_costs_what_the_tariff_does(monkeypatch):
    without_proof_at(monkeypatch, "20:00", 1, (0,))
    summary = session(None, "20:00", 1, RATED)
    assert (summary.orders, summary.unpriced_slots) == (0, 1)
    assert_settled(summary)
    assert summary.bills_neur == summary.tariff_bills_neur
    assert summary.utility_result_neur == summary.utility_without_market_neur
    assert "ATC agreed" not in summary.render()


def test_a_session_on_central_prices_says_so(monkeypatch):
    hasty = replace(ACCELERATED, name="atc", max_rounds=1)
    monkeypatch.setattr(signers, "clearing_factory", lambda method: lambda feeder: AtcClearing(feeder, hasty))
    summary = session(None, "12:00", 1, {"forecast.error": "0"})
    assert (summary.fallback_slots, summary.unpriced_slots, summary.violations) == (1, 0, 0)
    assert_settled(summary)
    assert summary.welfare_gap == pytest.approx(0.0, abs=1e-3)
    text = " ".join(summary.render().split())
    assert "IN 1 SLOT ITS ANSWER COULD NOT BE CERTIFIED: prices there are the central clearing's." in text
    assert "ATC agreed" not in text


def test_limits_that_nobody_heeds_alone_put_the_best_dispatch_below():
    summary = session(None, "08:00", 1, {"feeder.line_rating_mva": "0.5", "forecast.error": "0"})
    assert summary.fallback_slots == summary.unpriced_slots == 0
    # W_0 ignores the ratings, W* keeps them
    assert summary.welfare_central_eur < summary.welfare_alone_eur
    assert summary.violations > 0
    best = summary.welfare_central_eur - summary.welfare_alone_eur
    assert summary.welfare_gap == (summary.welfare_central_eur - summary.welfare_eur) / abs(best)
    assert "alone nobody heeds the limits" in " ".join(summary.render().split())
