"""`wattbook bench`: rows have their shape, gas repeats, small runs of every group do the work they mean."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth.vm.forks.prague.computation import PragueComputation
from typer.testing import CliRunner, Result

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
    contract,
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
from node.bench.registry import GROUPS, Group, UnknownBenchmark, chosen
from node.bench.row import Row, WrongWork, runs_in_words
from node.bench.timing import Times, times
from node.cli.app import app
from tests.house.repository import ROOT

FIELDS = {
    "group",
    "name",
    "value",
    "unit",
    "peer",
    "peer_value",
    "ratio",
    "runs",
    "spread",
    "goal",
    "better",
    "reached",
    "why",
    "curve",
    "size",
    "points",
}
NAMES = [group.name for group in GROUPS]


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments], prog_name="wattbook", env={"COLUMNS": "160"})


def assert_sound(rows: list[Row]) -> None:
    """Figures are positive, names differ, a ratio is to a peer's figure; who failed is named without one."""
    assert rows
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.unit
        # Of what there may be none of, none is the goal, and an error may be none at all.
        none = row.value == 0 and (row.goal == 0 or row.unit == "relative")
        assert math.isfinite(row.value) and (row.value > 0 or none), row.name
        assert (row.peer_value is None) == (row.ratio is None), row.name
        assert row.peer is not None or row.peer_value is None, row.name
        if row.peer_value is not None:
            assert row.ratio == row.value / row.peer_value and (row.ratio > 0 or none)


# --- the command --------------------------------------------------------------------------------


def test_gas_repeats_and_both_forms_show_it():
    told = bench("contract", "--json")
    rows = json.loads(told.stdout)
    assert told.exit_code == 0 and told.stderr == ""
    assert all(set(row) == FIELDS and row["group"] == "contract" for row in rows)
    again = list(contract.rows())
    assert_sound(again)
    assert [{"group": "contract", **row.to_json()} for row in again] == rows
    assert {row["unit"] for row in rows} == {"gas"}


def test_more_makers_cost_more_gas():
    swept = [row for row in contract.rows() if row.name.startswith("one taker")]
    for credited in (False, True):
        gas = [row.value for row in swept if row.name.endswith("credited") == credited]
        assert len(gas) == len(contract.MAKERS)
        assert gas == sorted(gas)


def test_the_table_shows_what_json_tells(monkeypatch: pytest.MonkeyPatch):
    rows = [
        Row("a thing", 1_234.4, "gas", "a peer", 2_468.8, goal=1_000, why="it is slow"),
        Row("another", 0.01234, "s", goal=0.5, runs=(1,)),
        Row("side by side", 3, "s", "a peer", 12, runs=(3, 1)),
        Row("a power", 1.1, "1", runs=(3,), spread=(1.0, 1.2), points=4),
        Row("alone", 7, "orders/s", better="more"),
    ]
    monkeypatch.setattr("node.bench.registry.GROUPS", (Group("invented", "nothing", lambda: rows),))
    shown = bench("invented").stdout
    assert re.search(r"a thing +1,234 gas +≤ 1,000 ✗ +a peer +2,469 +0\.5\n", shown)
    assert re.search(r"another +0\.0123 s ¹ +≤ 0\.5 ✓", shown)
    assert re.search(r"a power \(1 to 1\.2, 4 points\) +1\.1\n", shown)
    assert re.search(r"side by side +3 s +a peer +12 ¹ +0\.25", shown)
    assert re.search(r"alone +7 orders/s\n", shown)
    assert "✗ a thing: it is slow" in shown
    told = json.loads(bench("--json").stdout)
    assert [row["why"] for row in told] == ["it is slow", *4 * [None]]
    assert [row["reached"] for row in told] == [False, True, *3 * [None]]
    assert [row["ratio"] for row in told] == [0.5, None, 0.25, None, None]


def test_the_table_has_every_name_on_narrow_terminals(monkeypatch: pytest.MonkeyPatch):
    name = "what is measured here has a name that is longer than some terminals are wide"
    rows = [Row(name, 1.1, "1", "a peer with a name that is long as well", 2.2, goal=1, points=4)]
    monkeypatch.setattr("node.bench.registry.GROUPS", (Group("invented", "nothing", lambda: rows),))
    monkeypatch.setenv("COLUMNS", "60")
    shown = bench("invented").stdout
    assert set(name.split()) <= set(shown.split()) and "1.1" in shown and "0.5" in shown.split()


def test_the_page_has_every_row_its_ratio_and_the_curves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    rows = [
        Row("a thing", 1_500, "s", "a peer", 3_000, 1_000, runs=(3, 2), spread=(0.4, 0.7), why="it is slow"),
        Row("slower", 40, "orders/s", goal=90, better="more"),
        *(Row(f"part: {n} orders", n / 1e3, "s", curve="part, by orders", size=n) for n in (10, 100, 1_000)),
    ]
    monkeypatch.setattr("node.bench.registry.GROUPS", (Group("invented", "nothing", lambda: rows),))
    out = tmp_path / "out"
    done = bench("--out", str(out))
    assert (done.exit_code, done.stderr) == (0, "") and f"written: {out / 'bench.html'}" in done.stdout
    page = (out / "bench.html").read_text("utf-8")
    for words in (
        "0.5 (0.4 to 0.7)",
        "3, its 2",
        "0 of 2 goals are met",
        "part: 1000 orders",
        "Beside peers",
        "Growth",
    ):
        assert words in page
    missed = page.split("Goals missed</h2>")[1].split("</table>")[0]
    assert re.findall(r'<td>([^<]*)</td>\s*<td class="text">([^<]*)</td></tr>', missed) == [
        ("1.5", "it is slow"),
        ("2.25", "not known"),
    ]
    assert json.loads((out / "bench.json").read_text("utf-8")) == json.loads(bench("--json").stdout)


def test_unknown_name_is_refused_with_those_there_are():
    done = bench("contract", "speed")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: speed: no such benchmark; there are {', '.join(NAMES)}\n"


def test_groups_are_listed_and_described():
    listed = [line.split()[0] for line in bench("--list").stdout.splitlines()]
    assert listed == NAMES
    assert [group["name"] for group in json.loads(bench("--list", "--json").stdout)] == NAMES
    described = (ROOT / "node/bench/README.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)`", described, re.MULTILINE) == NAMES


def test_prices_are_measured_on_the_feeders_named_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.bench.prices.RUNS", 1)
    monkeypatch.setattr("node.bench.differences.BUSES", 2)
    told = json.loads(bench("prices", "--feeders", "ieee33,random:9:1,ieee33", "--json").stdout)
    assert [row["name"] for row in told] == [
        f"{name}: {what}"
        for name in ("ieee33", "random:9:1")
        for what in ("newton, cold", "newton, warm", "λ against finite differences of the cost")
    ]
    assert [row["reached"] for row in told] == [None, None, True] * 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("prices", "--feeders", "ieee33,ring"), "--feeders: feeder 'ring' is not built in"),
        (
            ("prices", "--feeders", ""),
            "--feeders '': names of feeders, one at least, with one comma between two;",
        ),
        (
            ("prices", "--feeders", "ieee33,"),
            "--feeders 'ieee33,': names of feeders, one at least, with one comma",
        ),
        (("--feeders", "ieee33"), "--feeders: only with the benchmark prices"),
        (("book", "prices", "--feeders", "ieee33"), "--feeders: only with the benchmark prices"),
    ],
)
def test_feeders_that_cannot_be_measured(arguments: tuple[str, ...], says: str):
    done = bench(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_chosen_keeps_the_order_and_takes_each_once():
    assert [group.name for group in chosen(["book", "atc", "book"])] == ["book", "atc"]
    assert chosen([]) == GROUPS
    with pytest.raises(UnknownBenchmark, match="Book: no such"):
        chosen(["Book"])


def test_wrong_work_is_no_figure(monkeypatch: pytest.MonkeyPatch):
    def wrong() -> Iterator[Row]:
        yield Row("before", 1, "s")
        raise WrongWork("2 fills, 3 were meant")

    monkeypatch.setattr("node.bench.registry.GROUPS", (Group("invented", "nothing", wrong),))
    done = bench()
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: invented: 2 fills, 3 were meant\n"


def test_one_group_that_goes_wrong_leaves_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def wrong() -> Iterator[Row]:
        raise WrongWork("a node does not answer")
        yield

    groups = (
        Group("broken", "nothing", wrong),
        Group("sound", "something", lambda: [Row("a thing", 1, "s")]),
    )
    monkeypatch.setattr("node.bench.registry.GROUPS", groups)
    done = bench("--out", str(tmp_path), "--json")
    assert (done.exit_code, done.stderr) == (1, "error: broken: a node does not answer\n")
    assert json.loads(done.stdout) == json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert [row["group"] for row in json.loads(done.stdout)] == ["sound"]
    page = (tmp_path / "bench.html").read_text("utf-8")
    assert "<li>broken: a node does not answer</li>" in page and "Not measured yet" not in page


def test_what_was_measured_is_kept_when_the_rest_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def interrupted() -> Iterator[Row]:
        raise KeyboardInterrupt
        yield

    groups = (
        Group("first", "something", lambda: [Row("a thing", 1, "s")]),
        Group("second", "nothing", interrupted),
        Group("third", "nothing", interrupted),
    )
    monkeypatch.setattr("node.bench.registry.GROUPS", groups)
    assert bench("--out", str(tmp_path)).exit_code != 0
    assert [row["name"] for row in json.loads((tmp_path / "bench.json").read_text("utf-8"))] == ["a thing"]
    assert "<p>Not measured yet: second, third.</p>" in (tmp_path / "bench.html").read_text("utf-8")


def test_days_are_kept_where_the_page_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    simulated: list[Path] = []

    def simulate(_: object, out: Path) -> None:
        simulated.append(out)
        (out / "bundle").mkdir(parents=True)

    told = {"orders": 1, "seconds": {"reading": 1.0, "all checks": 1.0}, "peak_mib": 1.0}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit, "simulate", simulate)
    monkeypatch.setattr(audit, "_measured", lambda *_, **__: told)
    for _ in range(2):
        assert bench("audit", "--out", "kept").exit_code == 0
    assert len(simulated) == len(audit.PROSUMERS), "each of them once"
    assert len(list(Path("kept").glob("day-*/bundle"))) == len(audit.PROSUMERS)
    assert bench("audit").exit_code == 0
    assert len(simulated) == 2 * len(audit.PROSUMERS) and not simulated[-1].exists()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_half_a_day_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def interrupted(_: object, out: Path) -> None:
        (out / "bundle").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "simulate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(iter(audit.rows(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def never() -> Iterator[Row]:
        raise AssertionError("it was measured")

    monkeypatch.setattr("node.bench.registry.GROUPS", (Group("invented", "nothing", never),))
    (tmp_path / "file").touch()
    done = bench("--out", str(tmp_path / "file"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --out {tmp_path / 'file'}: File exists")


# --- rows and runs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "value", "reached"),
    [("less", 9, True), ("less", 11, False), ("more", 9, False), ("more", 11, True), ("less", 10, True)],
)
def test_goal_is_on_the_better_side(better: Any, value: int, reached: bool):
    assert Row("x", value, "s", goal=10, better=better).reached is reached


def test_runs_take_turns_and_are_set_up_first():
    log: list[str] = []

    def trial(name: str) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            log.append(f"prepare {name}")
            return lambda: log.append(f"run {name}")

        return prepare

    found = times(trial("a"), trial("b"), runs=2, warm_ups=1)
    assert log == ["prepare a", "run a", "prepare b", "run b"] * 3
    assert len(found) == 2 and all(len(each.seconds) == 2 and min(each.seconds) > 0 for each in found)


def test_a_row_says_how_often_each_side_was_timed():
    one, three, slower = Times((0.1,)), Times((0.1, 0.2, 0.3)), Times((1.0, 2.0, 3.0))
    told = {
        Row.timed("in turns", "ms", three, "a peer", slower): (200.0, 2_000.0, (3, 3), (0.1, 0.1), "3 each"),
        Row.timed("too long", "s", three, "a peer", one): (0.2, 0.1, (3, 1), (1.0, 3.0), "3, its 1"),
        Row.timed("both once", "µs", one, "a peer", one): (1e5, 1e5, (1, 1), None, "1 each"),
        Row.timed("published", "s", three, "a peer", 0.7): (0.2, 0.7, (3,), None, "3"),
        Row("counted", 7, "gas", "a peer", 8): (7, 8, (), None, ""),
    }
    for row, (value, theirs, runs, spread, words) in told.items():
        assert (row.value, row.peer_value) == pytest.approx((value, theirs)), row.name
        assert (row.runs, runs_in_words(row)) == (runs, words)
        assert row.spread == (spread and pytest.approx(spread))
        assert row.to_json()["runs"] == (runs or None)


def test_why_is_of_goals_that_are_missed():
    rows = (Row("x", 2, "s", goal=goal, why="it is slow") for goal in (1, 3, None))
    assert [row.to_json()["why"] for row in rows] == ["it is slow", None, None]


def test_ratios_are_of_runs_that_took_turns():
    ours, theirs = Times((1.0, 2.0, 9.0)), Times((2.0, 2.0, 3.0))
    assert ours.median == 2.0
    assert ours.over(theirs) == (0.5, 3.0)
    assert ours.over(Times((2.0, 4.0))) == (0.25, 4.5), "rounds differ"


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
    elsewhere = {"contract", "scaling"}  # above, and in test_scaling.py
    assert {*elsewhere, *(module.__name__.rpartition(".")[2] for module in SMALL)} == set(NAMES)


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
