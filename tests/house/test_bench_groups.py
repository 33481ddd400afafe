"""Small runs of every group of `wattbook bench` do the work that they mean."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth.vm.forks.prague.computation import PragueComputation

from ledger.chain.translate import TranslatedComputation
from market.feeder import load
from market.orders import OrderPlaced
from market.pricing.newton import NewtonClearing
from node.bench import (
    atc,
    audit,
    book,
    certificates,
    chain,
    feeders,
    growth,
    matching,
    pages,
    prices,
    shared,
)
from node.bench.day import demo_day
from node.bench.drawn import drawn_conditions, drawn_feeder
from node.bench.fit import fit, power
from node.bench.open_slot import OpenSlot
from node.bench.opf import solver
from node.bench.page import line
from node.bench.registry import GROUPS
from node.bench.row import Row
from node.bench.timing import Times
from tests.house.bench_rows import assert_sound
from tests.house.repository import ROOT

SMALL: dict[Any, dict[str, Any]] = {
    chain: {"ORDERS": 8, "ACCOUNTS": 4, "BATCH": 4, "RUNS": 1, "TESTER_ORDERS": 4},
    prices: {
        "PROSUMERS": ((10, None, 5.0),),
        "LARGE": ((60, 20, None, 5.0),),
        "SIMBENCH": (("simbench:1-LV-rural1--0-sw", (0.9, 1.1), 5.0, None),),
        "HARD": (),
        "STRESSED": 2,
        "FEEDERS": {"feeder": ("ieee33",)},
        "RUNS": 1,
        "OPF_RUNS": 1,
        "LARGE_RUNS": 1,
    },
    certificates: {"LARGE_BUSES": 60, "LARGE_DEVICES": 10, "RUNS": 1},
    atc: {
        "PROSUMERS": (10,),
        "METHODS": {name: atc.METHODS[name] for name in ("admm", "atc", "three-levels", "benders")},
        "RANDOM": 2,
        "ROUNDS_MAX": 10,
        "CROWDS": ((1_000, 60.0),),
        "BESIDE": 1_000,
        "MODELLED": 2,
        "RUNS": 1,
        "HOURS": 3,
        "BATTERIES": 5,
    },
    audit: {"SESSION": {"slots.count": "1"}, "PROSUMERS": (4,)},
    book: {"ORDERS": 2_000, "ACCOUNTS": 200, "RUNS": 2},
    matching: {"ORDERS": 2_000, "ACCOUNTS": 200, "RUNS": 2, "BESIDE": (), "HOUSES": 12, "SLOTS": 1},
    growth: {
        "BUSES": (33,),
        "PROSUMERS": (10,),
        "ORDERS": (100, 100_000),  # so far apart that the power is above 0 whatever else runs
        "CHAIN_ORDERS": (4,),
        "AUDITED_SLOTS": (1,),
        "AUDITED_PROSUMERS": 2,
        "RUNS": 1,
    },
    shared: {"FEEDERS": 3, "PROSUMERS": 6, "BUSES_LEAST": 6, "RUNS": 1},
    pages: {"ACCOUNTS": 4, "RESTING": 12, "LISTENERS": 3, "VISITORS": 1, "WARM_UP_STEPS": 8, "STEPS": 4},
}


@pytest.mark.parametrize("module", SMALL, ids=lambda module: module.__name__.rpartition(".")[2])
def test_small_run(module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The work is checked inside: equal blocks, equal prices, a clean audit; otherwise WrongWork."""
    monkeypatch.chdir(tmp_path)
    for name, size in SMALL[module].items():
        monkeypatch.setattr(module, name, size)
    assert_sound(list(module.rows()))
    assert not list(tmp_path.iterdir()), "nothing is left where it was run"


@pytest.mark.parametrize(("interpreter", "translated"), [("fast", True), ("stock", False)])
def test_the_chains_compared_run_different_interpreters(interpreter: Any, translated: bool):
    machine: Any = OpenSlot.create(1, interpreter).chain._machine
    computation = machine._state.computation_class
    assert issubclass(computation, PragueComputation)
    assert issubclass(computation, TranslatedComputation) == translated


def test_a_power_leaves_fixed_costs_out():
    sizes = [10, 100, 1_000, 10_000]
    assert power(sizes, [0.1 + 1e-3 * size**1.5 for size in sizes]) == pytest.approx(1.5, abs=0.01)
    assert power([1, 2], [3.0, 3.0]) == pytest.approx(0.0, abs=1e-12)


def test_the_chain_whose_growth_is_measured_refuses_no_order():
    market, flow = growth.chain_flow(growth.CHAIN_ORDERS[1])
    placed = market.events(*market.place_batch(flow))
    assert sum(isinstance(event, OrderPlaced) for event in placed) == len(flow)


def test_a_fit_says_what_it_rests_on():
    sizes = [1, 10, 20, 40, 80]
    taken = [Times((seconds, seconds, seconds)) for seconds in (5.0, 1.0, 20.0, 40.0, 80.0)]
    taken[-1] = Times((80.0, 160.0, 80.0))
    found = fit(sizes, taken)
    assert (found.power, found.points) == (pytest.approx(1.0), 3), (
        "what takes less than a tenth does not count"
    )
    # the last of three points, evenly apart in logarithms, twice as high: half an octave more over an octave
    assert found.spread == pytest.approx((1.0, 1.5))
    row = Row("x: grows to the power of", found.power, "1", spread=found.spread, points=found.points)
    assert (line(row).value, row.to_json()["points"]) == ("1 (1 to 1.5, 3 points)", 3)
    assert line(row).ratio == ""


def test_growth_of_the_audit_is_by_order():
    small = {"orders": 100, "seconds": {"reading": 1.0, "all checks": 2.0}, "peak_mib": 50.0}
    large = {"orders": 1_000, "seconds": {"reading": 10.0, "all checks": 40.0}, "peak_mib": 100.0}
    assert [row.value for row in audit.growth(small, large)] == [1.0, 2.0, 0.2]


def test_every_group_is_run_here():
    elsewhere = {"contract", "scaling"}  # in test_bench.py and test_scaling.py
    assert {*elsewhere, *(module.__name__.rpartition(".")[2] for module in SMALL)} == {
        group.name for group in GROUPS
    }


def test_every_feeder_of_the_table_is_priced():
    page = (ROOT / "market/feeder/README.md").read_text("utf-8")
    table = re.findall(r"^\| `([^`]*)` \| \d+ \|", page, re.MULTILINE)
    assert sorted(name for names in feeders.EVERY.values() for name in names) == sorted(table)


def test_the_optimal_power_flow_is_of_the_same_problem():
    feeder = load("ieee33", 0.9, 1.1)
    conditions = drawn_conditions(feeder, 10)
    ours = NewtonClearing(feeder)(feeder, conditions)
    with solver(feeder, conditions, patience_seconds=60) as opf:
        found, again = opf(), opf()
    assert found.ended is None and np.array_equal(found.found, again.found)
    # it ends with prices right to a hundredth; loads that cost the other way round would be far off
    assert found.found == pytest.approx(ours.duals.price[0], rel=2e-2)


def test_an_optimal_power_flow_that_takes_too_long_is_given_up():
    feeder = drawn_feeder(907)
    with solver(feeder, drawn_conditions(feeder, 1_000), patience_seconds=0.0) as opf:
        found = opf()
    assert (found.ended, found.found) == ("given up after 0 s", None)


def test_an_optimal_power_flow_that_breaks_down_is_told():
    nothing: Any = None
    with solver(nothing, nothing, patience_seconds=60) as opf:
        found = opf()
    assert found.ended is not None and found.ended.startswith("broken down after ") and found.found is None


def test_atc_keeps_its_promise(monkeypatch: pytest.MonkeyPatch):
    """Rounds and errors are no times: where they are deterministic, they may be held to their goals."""
    world = demo_day(32)
    monkeypatch.setattr(atc, "METHODS", {name: atc.METHODS[name] for name in ("admm", "atc")})
    rows = [row for row in atc._methods(world, 32) if row.goal is not None]
    assert len(rows) == 2
    assert all(row.reached for row in rows)


def test_rounds_of_random_slots_are_held_to_goals_and_who_does_not_settle_is_told(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(atc, "RANDOM", 3)
    (patient, promise), *others = atc.PROMISES
    monkeypatch.setattr(atc, "PROMISES", ((replace(patient, max_rounds=1), promise), *others))
    told = {row.name.removeprefix("3 random slots, "): row for row in atc._random_slots()}
    assert (told["accelerated: settled"].value, told["accelerated: settled"].reached) == (0, False)
    assert not any(name.startswith("accelerated: rounds") for name in told)
    assert {name for name, row in told.items() if row.reached} == {
        "second-order: settled",
        "second-order: rounds, of 95 % of them",
        "second-order: DLMP error, worst",
        "atc: settled",
        "atc: DLMP error, worst",
    }
