"""`wattbook bench`: the command, its table and page; rows have their shape, and runs take turns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from node.bench import (
    audit,
    contract,
)
from node.bench.registry import GROUPS, Group, UnknownBenchmark, chosen
from node.bench.row import Row, WrongWork, runs_in_words
from node.bench.timing import Times, times
from node.cli.app import app
from tests.house.bench_rows import assert_sound
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
