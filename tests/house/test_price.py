"""`wattbook price` on paper and on three phases: pictures, page, folder, and what balance hides."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.atc.methods import METHODS as COORDINATIONS
from market.atc.rounds import Round
from market.feeder.model import FeederError
from market.pricing.surplus import net_consumption
from node.price import Cleared, clear, price
from node.price.clearing import PENALTIES, ROUNDS
from node.price.condense import GROUPS_MAX, WHOLE_MAX, condense
from node.price.page import write_page
from node.price.phases import three_phases
from node.price.pictures import pictures
from node.scenario import load
from node.scenario.world import period
from node.simulate.canvas import DARK, LIGHT
from tests.house.commands import wattbook

FILES = {"price.html", "buses.csv", "feeder.svg", "components.svg"}
PHASE_FILES = {"phases.csv", "phases.svg"}
needs_phases = pytest.mark.skipif(
    importlib.util.find_spec("power_grid_model") is None, reason="power_grid_model is not installed"
)


def scenario(tmp_path: Path, **values: str):
    """Two hours around noon on a feeder that exports, with its ratings as limits."""
    path = tmp_path / "noon.toml"
    path.write_text(
        'name = "noon"\n[slots]\nstart = 2026-06-23T11:00:00Z\ncount = 2\n'
        "[prosumers]\ncount = 20\npv_mw = 6.0\n"
    )
    return load(path, {key.replace("__", "."): value for key, value in values.items()})


@pytest.fixture(scope="module")
def cleared(tmp_path_factory: pytest.TempPathFactory) -> Cleared:
    folder = tmp_path_factory.mktemp("price")
    return clear(scenario(folder, feeder__line_rating_mva="2.0"), 1, "newton")


# --- which feeders ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rated"),
    [
        ("oberrhein#1", "true"),
        ("oberrhein#2", "true"),
        ("kerber-landnetz-freileitung-1", "true"),
        ("kerber-landnetz-kabel-2", "true"),
        ("kerber-vorstadt-1", "true"),
    ],
)
def test_oberrhein_and_kerber_are_priced(tmp_path: Path, name: str, rated: str):
    feeder = {"feeder__name": f"pandapower:{name}", "feeder__rated": rated}
    table = price(scenario(tmp_path, **feeder, prosumers__pv_mw="0.2"), 1, "newton")
    assert table.certified, table.doubt
    assert table.status == "optimal"


@pytest.mark.long
@pytest.mark.parametrize(
    "code", ["rural-all-0", "semiurb-all-0", "comm-all-0", *(f"urban-all-{k}" for k in range(3))]
)
def test_a_town_with_all_its_houses_is_priced(tmp_path: Path, code: str):
    """SimBench's medium-voltage feeders with every low-voltage feeder below: 5 477 to 10 453 buses."""
    pytest.importorskip("simbench")
    town = scenario(
        tmp_path,
        feeder__name=f"1-MVLV-{code}-sw",
        feeder__v_min_pu="0.85",
        prosumers__count="5000",
        profiles__source="simbench",
    )
    table = price(town, 1, "newton")
    assert table.certified, table.doubt
    assert len(table.buses) > 5_000


def test_a_simbench_feeder_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from market.feeder import simbench

    simbench.codes.cache_clear()
    monkeypatch.setitem(sys.modules, "simbench", None)
    with pytest.raises(FeederError, match=r"feeder\.name: .*pip install 'wattbook\[simbench\]'"):
        price(load("simbench-lv-day"), 0, "newton")
    done = wattbook("price", "simbench-lv-day")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install 'wattbook[simbench]'" in done.stderr


# --- a feeder of few groups ---------------------------------------------------------------------


@st.composite
def trees(draw: st.DrawFn) -> np.ndarray:
    size = draw(st.integers(2, 300))
    above = [
        draw(st.integers(max(0, bus - 1 - draw(st.integers(0, bus))), bus - 1)) for bus in range(1, size)
    ]
    return np.array([-1, *above], dtype=np.int64)


@settings(max_examples=40)
@given(trees(), st.integers(4, 60))
def test_groups_are_connected_and_few(parent: np.ndarray, groups_max: int):
    found = condense(parent, groups_max, groups_max)
    assert found.groups <= max(groups_max, 1)
    assert found.whole == (len(parent) <= groups_max)
    assert found.size.sum() == len(parent) and found.size.min() >= 1
    assert found.head[0] == 0 and found.parent[0] == -1
    assert np.all(found.parent[1:] < np.arange(1, found.groups))
    for bus in range(1, len(parent)):
        own, above = found.group[bus], found.group[parent[bus]]
        if found.head[own] == bus:
            assert found.parent[own] == above != own
        else:
            assert own == above
    if np.count_nonzero(parent == 0) <= groups_max // 4:
        assert found.size[0] == 1


def test_values_of_groups():
    found = condense(np.array([-1, 0, 1, 1, 1, 4, 5]), 5, 5)
    values = np.arange(7.0)
    groups = [np.flatnonzero(found.group == k) for k in range(found.groups)]
    assert [each.tolist() for each in groups] == [[0], [1, 2, 3], [4, 5, 6]]
    assert found.mean(values).tolist() == [0, 2, 5]
    assert found.largest(values).tolist() == [0, 3, 6]


# --- pictures and the page ----------------------------------------------------------------------


def svg_text(picture: bytes) -> str:
    return " ".join(re.findall(r"<!-- (.*?) -->", picture.decode()))


def test_the_same_slot_gives_the_same_bytes(tmp_path: Path, cleared: Cleared):
    again = clear(cleared.world.scenario, 1, "newton")
    for out, one in ((tmp_path / "one", cleared), (tmp_path / "other", again)):
        assert set(write_page(one, out)) == FILES
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_the_page_needs_nothing_beside_it(tmp_path: Path, cleared: Cleared):
    write_page(cleared, tmp_path)
    page = (tmp_path / "price.html").read_text("utf-8")
    targets = re.findall(r'(?:src|srcset|href)="([^"]{0,40})', page)
    assert {each for each in targets if not each.startswith("data:")} == {"buses.csv"}
    assert "certified" in page and "100.00" in page  # the rating binds
    for bus in cleared.world.feeder.bus_names:
        assert f'<th scope="row">{bus}</th>' in page


def test_csv_reads_back_as_the_table(tmp_path: Path, cleared: Cleared):
    write_page(cleared, tmp_path)
    rows = list(csv.DictReader((tmp_path / "buses.csv").read_text("utf-8").splitlines()))
    assert len(rows) == len(cleared.table.buses)
    for row, bus in zip(rows, cleared.table.buses, strict=True):
        assert row["bus"] == bus.bus
        assert float(row["dlmp"]) == bus.dlmp
        assert (float(row["loading"]) if row["loading"] else None) == bus.loading


def test_rounds_are_told_until_they_settled(tmp_path: Path, cleared: Cleared):
    rounds = clear(load("ieee33-day"), 9, "three-levels")
    assert set(write_page(rounds, tmp_path)) == FILES | {"rounds.csv", "rounds.svg"}
    rows = list(csv.DictReader((tmp_path / "rounds.csv").read_text("utf-8").splitlines()))
    assert len(rows) == rounds.table.iterations > 1
    last = Round(**{name: float(value) for name, value in rows[-1].items()})
    assert last == rounds.rounds[-1] and last.settled
    assert set(write_page(cleared, tmp_path)) == FILES, "Newton has none"
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_pictures_show_what_binds(cleared: Cleared, tmp_path: Path):
    feeder, components = pictures(cleared)
    shown = svg_text(feeder.svg(LIGHT))
    for words in ("at a limit", "towards the substation", "of the rating", "DLMP, €/MWh"):
        assert words in shown
    assert "ratings of lines" in svg_text(components.svg(LIGHT))
    free = clear(scenario(tmp_path, prosumers__pv_mw="0"), 1, "newton")
    feeder, components = pictures(free)
    assert "at a limit" not in svg_text(feeder.svg(LIGHT))
    assert re.search(r"\b(MW|kW)\b", svg_text(feeder.svg(LIGHT)))
    assert "ratings of lines" not in svg_text(components.svg(LIGHT))
    assert "losses" in svg_text(components.svg(LIGHT))


def test_both_schemes_are_drawn_and_differ(cleared: Cleared):
    for picture in pictures(cleared):
        light, dark = picture.svg(LIGHT), picture.svg(DARK)
        assert light != dark
        for drawn, paper in ((light, LIGHT.paper), (dark, DARK.paper)):
            assert ElementTree.fromstring(drawn).tag.endswith("svg")
            assert paper in drawn.decode()


def test_large_feeders_are_drawn_by_groups(tmp_path: Path):
    town = clear(scenario(tmp_path, feeder__name="random:1500:3"), 1, "newton")
    feeder, components = pictures(town)
    drawn = condense(town.world.feeder.parent, WHOLE_MAX, GROUPS_MAX)
    assert f"1,500 buses are drawn as {drawn.groups} groups" in feeder.caption
    assert GROUPS_MAX // 2 < drawn.groups <= GROUPS_MAX
    assert f"{drawn.groups} groups of buses" in svg_text(components.svg(LIGHT))
    assert feeder.svg(LIGHT).count(b"<use ") < 1.5 * drawn.groups  # the buses, and the scale
    write_page(town, tmp_path / "out")
    page = (tmp_path / "out" / "price.html").read_text("utf-8")
    assert "buses.csv" in page and 'aria-label="Prices of every bus"' not in page


# --- the command --------------------------------------------------------------------------------


def test_the_table_fits_a_terminal_and_names_its_files(tmp_path: Path):
    out = tmp_path / "out"
    done = wattbook("price", "ieee33-day", "--slot", 19, "--method", "newton", "--out", out)
    assert (done.exit_code, done.stderr) == (0, "")
    told, written = done.stdout.rsplit("written: ", 1)
    assert max(map(len, told.splitlines())) <= 80
    assert written.startswith(str(out / "price.html"))
    assert {path.name for path in out.iterdir()} == FILES


def test_large_feeders_show_both_ends(tmp_path: Path):
    path = tmp_path / "town.toml"
    path.write_text('name = "town"\n[feeder]\nname = "random:1500:3"\n')
    done = wattbook("price", path, "--method", "newton", "--slot", 19)
    assert "… 1,470 buses between" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if re.match(r"\d+ ", line)]
    shown = [float(row[1]) for row in rows]
    assert len(rows) == 30 and shown == sorted(shown)
    table = json.loads(wattbook("price", path, "--method", "newton", "--slot", 19, "--json").stdout)
    every = sorted(bus["dlmp"] for bus in table["buses"])
    assert (shown[0], shown[-1]) == (round(every[0], 3), round(every[-1], 3))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    done = wattbook("price", "ieee33-day", "--method", "newton", "--out", tmp_path / "file")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: --out {tmp_path / 'file'}: File exists; name another folder\n"


# --- three phases -------------------------------------------------------------------------------


@needs_phases
@pytest.mark.parametrize("name", ["ieee33-day", "ieee33-storage-day"])
def test_balanced_phases_are_the_schedule_that_was_cleared(name: str):
    method = "direct" if "storage" in name else "newton"
    cleared = clear(load(name), 12, method)
    found = three_phases(cleared, "balanced")
    assert found.prosumers == (0, 0, 0)
    for bus, own in zip(found.buses, cleared.table.buses, strict=True):
        # the flow of the schedule that was taken apart is the clearing's own
        assert bus.balanced_pu == pytest.approx(own.v_pu, abs=1e-6)
        assert (bus.a_pu, bus.b_pu, bus.c_pu) == pytest.approx([bus.balanced_pu] * 3, abs=1e-6)
    world = cleared.world
    taken = net_consumption(world.feeder, cleared.conditions, cleared.solution.primal)[cleared.period]
    lost = found.balanced_loss_mw / world.feeder.base_mw
    assert taken.sum() + lost == pytest.approx(cleared.solution.primal.net_import[cleared.period], abs=1e-7)
    assert found.unseen == ()


@needs_phases
def test_one_phase_loses_more_than_a_draw_and_that_more_than_balance(cleared: Cleared):
    balanced, drawn, single = (three_phases(cleared, phases) for phases in ("balanced", "drawn", "a"))
    assert balanced.loss_mw < drawn.loss_mw < single.loss_mw
    assert balanced.unbalance_max < 1e-6 < drawn.unbalance_max < single.unbalance_max
    assert sum(drawn.prosumers) == 20 and min(drawn.prosumers) > 0
    assert single.prosumers == (20, 0, 0)
    assert drawn == three_phases(clear(cleared.world.scenario, 1, "newton"), "drawn"), "the seed draws"
    assert {each.what for each in single.unseen} >= {"voltage", "unbalance"}
    for each in single.unseen:
        assert (
            each.value < each.limit if each.what == "voltage" and each.limit < 1 else each.value > each.limit
        )
    assert three_phases(cleared, "a", 1.0).loss_mw < single.loss_mw, "a lower zero sequence loses less"


@needs_phases
def test_phases_in_the_command(tmp_path: Path):
    told: Any = wattbook(
        "price", "ieee33-day", "--method", "newton", "--three-phase", "--phases", "abc", "--json"
    )
    found = json.loads(told.stdout)["three_phase"]
    assert found["prosumers"] == [20, 20, 20]
    assert len(found["buses"]) == 33 and found["zero_sequence"] == 4.0
    out = tmp_path / "out"
    command = ("price", "ieee33-day", "--slot", 12, "--method", "newton", "--out", out)
    done = wattbook(*command, "--three-phase", "--phases", "a")
    assert {path.name for path in out.iterdir()} == FILES | PHASE_FILES
    assert "as given, a (a 60, b 0, c 0)" in " ".join(done.stdout.split())
    assert re.search(r"limits broken that the balanced flow keeps: [1-9]", done.stdout)
    assert max(map(len, done.stdout.rsplit("written: ", 1)[0].splitlines())) <= 80
    page = (out / "price.html").read_text("utf-8")
    assert "What balance hides" in page and "limits broken that the balanced flow keeps" in page
    wattbook(*command)
    assert {path.name for path in out.iterdir()} == FILES, "an earlier slot's phases go"


@needs_phases
@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (("--phases", "abd"), 2, "--three-phase: phases 'abd': letters a, b and c"),
        (("--zero-sequence", "0"), 2, "--three-phase: zero_sequence = 0: a ratio above 0"),
        (
            ("--phases", "a", "--set", "prosumers.pv_mw=50"),
            1,
            "--three-phase: feeder ieee33: no unbalanced flow",
        ),
    ],
)
def test_phases_that_cannot_be(options: tuple[str, ...], status: int, says: str):
    done = wattbook("price", "ieee33-day", "--slot", 12, "--method", "newton", "--three-phase", *options)
    assert (done.exit_code, done.stdout) == (status, "")
    assert says in done.stderr


@pytest.mark.parametrize("option", [("--phases", "abc"), ("--zero-sequence", "4")])
def test_phases_without_three_phase_are_a_mistake(option: tuple[str, str]):
    done = wattbook("price", "ieee33-day", *option)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == f"error: {option[0]}: only with --three-phase\n"


def test_three_phases_without_the_extra_name_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "power_grid_model", None)
    monkeypatch.setattr("node.price.clear", lambda *given: pytest.fail("cleared in vain"))
    done = wattbook("price", "ieee33-day", "--method", "newton", "--three-phase", "--phases", "abc")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "error: --three-phase: power-grid-model, which solves unbalanced flows, is not installed:"
        " pip install 'wattbook[three-phase]'\n"
    )


@pytest.mark.parametrize("rating_mva", [0.0001, 0.001, 0.005])
@pytest.mark.parametrize("slot", [3, 19])
def test_lines_that_carry_next_to_nothing_leave_every_bus_to_itself(rating_mva: float, slot: int) -> None:
    day = load("ieee33-day", {"feeder.line_rating_mva": str(rating_mva)})
    cleared = clear(day, slot, "newton")
    table, loading = cleared.table, [bus.loading for bus in cleared.table.buses if bus.loading is not None]
    assert (table.status, table.certified) == ("optimal", True)
    assert max(loading) == pytest.approx(1.0, abs=1e-9)
    # all that comes from outside passes the one line at the substation
    assert 0.0 <= table.import_mw <= rating_mva * 1.001
    assert table.shed_mw > 0.5


@pytest.mark.parametrize("method", ["newton", "direct", "atc"])
def test_what_prosumers_must_take_is_shed_too(method: str) -> None:
    # nothing flows where the least voltage is the substation's own
    cleared = clear(load("ieee33-day", {"feeder.v_min_pu": "1.0"}), 19, method)
    table, world = cleared.table, cleared.world
    devices = period(world.forecast.devices, 19)
    fixed = cleared.conditions.fixed_p[0].sum() * world.feeder.base_mw
    assert (table.status, table.certified) == ("optimal", True)
    assert fixed < table.shed_mw <= fixed + devices.load_min.sum() * world.feeder.base_mw


def test_every_coordination_has_its_name_in_the_command() -> None:
    # the command lists them without loading a solver
    assert set(COORDINATIONS) == {*ROUNDS, *PENALTIES}


def test_a_penalty_of_choice_prices_alike() -> None:
    scenario = load("ieee33-day", {"prosumers.count": "8"})
    usual, other = price(scenario, 12, "atc"), price(scenario, 12, "atc", "tdqa")
    assert (usual.method, other.method) == ("atc", "tdqa")
    for mine, theirs in zip(usual.buses, other.buses, strict=True):
        # the residual stop's promise
        assert theirs.dlmp == pytest.approx(mine.dlmp, rel=1e-4)
