"""Batteries and vehicles in scenarios: what is refused, what is drawn, and a session that uses them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ledger.audit import audit
from ledger.record import Record
from market.feeder import Feeder
from market.pricing.admission import admit
from market.pricing.conditions import Clearing, Conditions
from market.pricing.storages import tube
from node.oracle import signers
from node.scenario.loading import ScenarioError, load
from node.scenario.world import World, build
from node.simulate.run import simulate
from node.simulate.storing import Storing
from node.simulate.summary import Summary

SMALL = {
    "slots.count": "6",
    "slots.start": "2026-06-23T05:00:00Z",
    "prosumers.count": "6",
    "batteries.share": "0.5",
    "vehicles.share": "0.5",
    "vehicles.gives_back": "true",
    "bidding.rounds": "2",
    "oracle.signers": "2",
}


ATC_STOP = 1e-4
"""Relative error of a DLMP that the residual stop leaves at most."""


def world(**changes: str) -> World:
    keys = {name.replace("__", "."): value for name, value in changes.items()}
    return build(load("ieee33-storage-day", keys))


REFUSED = {
    "batteries.start": ("0.05", "batteries: start = 0.05 is below reserve = 0.1"),
    "batteries.energy_kwh": ("[200, 100]", "batteries: energy_kwh = [200.0, 100.0] must be ordered"),
    "batteries.power_kw": ("[0, 100]", "batteries.power_kw.1 = 0: must be greater than or equal to 0.1"),
    "batteries.efficiency": ("1.01", "batteries.efficiency = 1.01: must be less than or equal to 1"),
    "batteries.capacity": ("1", "batteries.capacity: unknown key; allowed here: efficiency"),
    "vehicles.departure_hour": ("[6, 17]", "must lie before arrival_hour = [16.0, 20.0]"),
    "vehicles.arrival_hour": ("[16, 25]", "vehicles.arrival_hour.2 = 25: must be less than or equal to 24"),
    "vehicles.trip": ("[0.2, 0.7]", "trip = [0.2, 0.7] must not exceed need = [0.6, 0.9]"),
    "vehicles.gives_back": ("1", "vehicles.gives_back = 1"),
    "oracle.method": ("newton", 'oracle.method = "newton" clears one slot at a time'),
    "prosumers.pv_mw": ("1_000", None),
}


@pytest.mark.parametrize("key", REFUSED)
def test_scenarios_that_cannot_be_are_refused_in_one_line(key: str) -> None:
    value, message = REFUSED[key]
    if message is None:
        load("ieee33-storage-day", {key: value})
        return
    with pytest.raises(ScenarioError) as refusal:
        load("ieee33-storage-day", {key: value})
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_atc_clears_days_with_storages() -> None:
    """Prices are the rounds' own, and how far they are from the central day is measured, not set to 0."""
    small = SMALL | {
        "slots.count": "2",
        "oracle.method": "atc",
        "oracle.signers": "1",
        "oracle.quorum": "1",
    }
    summary = simulate(load("ieee33-storage-day", small))
    assert summary.fallback_slots == summary.unpriced_slots == 0
    assert summary.atc_iterations_max > 3
    assert 0 < summary.atc_error_max <= ATC_STOP


def test_newton_is_not_refused_where_nobody_stores() -> None:
    nobody = {"batteries.share": "0", "vehicles.share": "0", "oracle.method": "newton"}
    assert build(load("ieee33-storage-day", nobody)).stores.storages.count == 0


def test_storages_change_nothing_else_that_is_drawn() -> None:
    plain, stored = build(load("ieee33-day")), world()
    assert not plain.stores.storages.count
    for name in ("passive_p", "firm_p", "firm_q"):
        np.testing.assert_array_equal(getattr(plain.forecast, name), getattr(stored.forecast, name))
    np.testing.assert_array_equal(plain.actual.devices.gen_max, stored.actual.devices.gen_max)
    more = stored.import_capacity_wh - plain.import_capacity_wh
    assert (more[np.unique(stored.stores.owner)] > 0).all()
    assert (np.delete(more, np.unique(stored.stores.owner)) == 0).all()


def test_batteries_are_drawn_within_their_ranges() -> None:
    stores = world(vehicles__share="0").stores
    storages = stores.storages
    kw = 1_000 * world().feeder.base_mw
    assert 10 <= storages.count <= 40
    assert (storages.energy_max[0] * kw >= 100).all() and (storages.energy_max[0] * kw <= 300).all()
    assert (storages.charge_max[0] * kw >= 25).all() and (storages.charge_max[0] * kw <= 75).all()
    np.testing.assert_allclose(storages.energy_min, 0.1 * storages.energy_max)
    np.testing.assert_allclose(storages.energy_start, 0.5 * storages.energy_max[0])
    np.testing.assert_allclose(storages.final_value, 115.0)  # between π_imp = 160 and π_exp = 70
    assert len(set(stores.names)) == storages.count


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"slots__seconds": "900", "slots__count": "192"},
        {"slots__start": "2026-06-23T12:00:00Z", "slots__count": "40"},
        {"vehicles__power_kw": "[0.5, 1.0]"},
        {"vehicles__start": "0"},
    ],
)
def test_vehicles_are_away_once_a_day_and_leave_with_what_can_be_charged(changes: dict[str, str]) -> None:
    found = world(batteries__share="0", vehicles__share="0.4", **changes)
    storages = found.stores.storages
    away = storages.charge_max == 0
    hours = (np.arange(found.periods) * found.hours + found.scenario.slots.start.hour) % 24
    assert away[(hours >= 9) & (hours + found.hours <= 16)].all()
    assert not away[(hours >= 20) | (hours + found.hours <= 6)].any()
    assert ((storages.drain > 0) <= away).all()
    assert (storages.discharge_max == 0).all()
    least, most = tube(storages, found.hours)
    assert (least[0] <= storages.energy_start + 1e-12).all()
    assert (storages.energy_start <= most[0]).all()
    leaving = away[1:] & ~away[:-1]
    assert (storages.energy_min[:-1][leaving] > 0).all()
    state = storages.energy_start
    for index in range(0, found.periods, len(found.day_of(0))):
        conditions = found.day_conditions(found.day_of(index), found.forecast, state)
        admit(found.feeder, conditions)
        # the worst that a day may leave behind still lets the next one be
        state = np.maximum(conditions.storages.energy_min[-1], 0.0)


def test_a_state_that_misses_a_need_is_asked_for_what_it_reaches() -> None:
    found = world(batteries__share="0", vehicles__share="0.4")
    day = found.day_of(0)
    empty = np.zeros(found.stores.storages.count)
    late = found.day_conditions(range(4, 24), found.forecast, empty)
    admit(found.feeder, late)
    kept = found.day_conditions(day, found.forecast, found.stores.storages.energy_start)
    assert (late.storages.energy_min <= kept.storages.energy_min[4:]).all()
    assert (late.storages.energy_min < kept.storages.energy_min[4:]).any()
    np.testing.assert_array_equal(kept.storages.drain, found.stores.storages.drain)


def session(tmp_path: Path, **changes: str) -> tuple[Summary, Path]:
    """A few slots of a few prosumers."""
    out = tmp_path / "out"
    keys = SMALL | {name.replace("__", "."): value for name, value in changes.items()}
    return simulate(load("ieee33-storage-day", keys), out), out


def stored(out: Path) -> list[dict[str, str]]:
    with (out / "storages.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def off_plan(out: Path) -> list[int]:
    """How far each storage is from its plan in each slot, Wh."""
    columns = ("charge_wh", "discharge_wh", "planned_wh")
    rows = [[int(row[column]) for column in columns] for row in stored(out)]
    return [abs(charge - discharge - planned) for charge, discharge, planned in rows]


def test_a_day_with_storages_is_traded_and_audited_clean(tmp_path: Path) -> None:
    summary, out = session(tmp_path, forecast__error="0")
    assert summary.payments_sum_neur == 0
    assert summary.utility_unexplained_neur == 0
    assert (summary.uncharged_slots, summary.unpriced_slots, summary.fallback_slots) == (0, 0, 0)
    # without forecast errors rolling on is the day's optimum, and storages follow it
    assert summary.welfare_gap == pytest.approx(0.0, abs=1e-4)
    assert all(check.ok for check in audit(Record.from_bundle(out / "bundle")).checks)
    rows = stored(out)
    assert len(rows) == 6 * len({row["storage"] for row in rows})
    assert all(min(int(row["charge_wh"]), int(row["discharge_wh"])) == 0 for row in rows)
    assert all(row["overlap_pays"] == "0" for row in rows)
    assert max(off_plan(out)) <= 2  # Wh, rounded


def test_with_forecast_errors_storages_leave_their_plan_and_all_still_sums_to_0(tmp_path: Path) -> None:
    summary, out = session(tmp_path, forecast__error="0.3", seed="4")
    assert summary.payments_sum_neur == 0
    assert max(off_plan(out)) > 100
    assert summary.welfare_gap is not None and summary.welfare_gap > -1e-6


def failing_for(hopeless: Callable[[Conditions], bool]) -> Callable[..., signers.Proven]:
    """The oracles' clearing, which proves nothing where it is told so."""
    prove = signers.clear_and_prove

    def attempt(feeder: Feeder, conditions: Conditions, clearing: Clearing) -> signers.Proven:
        if hopeless(conditions):
            raise signers.NotClearedError("no answer")
        return prove(feeder, conditions, clearing)

    return attempt


def test_storages_follow_the_plan_where_prices_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is proven for slots 2 and 3, with 4 and 3 slots of the day left."""
    monkeypatch.setattr(signers, "clear_and_prove", failing_for(lambda given: given.periods in (4, 3)))
    summary, out = session(tmp_path, forecast__error="0")
    assert (summary.uncharged_slots, summary.unpriced_slots) == (0, 2)
    assert summary.payments_sum_neur == 0
    assert all(check.ok for check in audit(Record.from_bundle(out / "bundle")).checks)
    assert max(off_plan(out)) <= 2  # Wh, rounded


def test_without_charges_everybody_does_what_it_would_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signers, "clear_and_prove", failing_for(lambda given: True))
    summary, out = session(tmp_path, forecast__error="0", slots__count="2")
    assert (summary.uncharged_slots, summary.unpriced_slots, summary.volume_wh) == (2, 2, 0)
    assert summary.payments_sum_neur == 0
    assert summary.welfare_eur == pytest.approx(summary.welfare_alone_eur, abs=1e-3)
    assert max(off_plan(out)) <= 2


def test_a_certificate_of_other_slots_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The day's proof, signed for the slot after: every charge and price but those it still covers."""

    def late(world: World, reference: Clearing, first_slot: int) -> Storing:
        return Storing(world, reference, first_slot + 1)

    monkeypatch.setattr("node.simulate.day._storing", late)
    _, out = session(tmp_path, slots__count="2")
    report = audit(Record.from_bundle(out / "bundle"), ["charges", "prices"])
    findings = [finding for check in report.checks for finding in check.findings]
    # the first slot's charges are of a day that begins later, and every price of the rest of one that does
    assert [finding.check for finding in findings if finding.difference == "other slots"] == [
        *["charges"],
        *["prices"] * 2,
    ]
