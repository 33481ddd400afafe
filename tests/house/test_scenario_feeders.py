"""Feeders in scenarios: names, files, limits, profiles; what is refused, in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from market.feeder import FeederError, left_out
from node.cli.app import app
from node.price import price
from node.scenario import ScenarioError, load
from node.scenario.feeders import doubt, find, notice
from node.scenario.world import build
from node.simulate.run import simulate
from tests.grids import grid_json

SMALL = """
name = "small"
[slots]
start = 2026-06-23T10:00:00Z
count = 2
[prosumers]
count = 6
pv_mw = 0.05
"""


def scenario(tmp_path: Path, **overrides: str):
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return load(path, {key.replace("__", "."): value for key, value in overrides.items()})


@pytest.mark.parametrize(
    ("name", "buses"),
    [
        ("ieee69", 69),
        ("ieee85", 85),
        ("ieee118zh", 118),
        ("ieee136ma", 136),
        ("ieee141", 141),
        ("pandapower:cigre-mv", 15),
        ("pandapower:kerber-dorf", 116),
        ("random:300:2", 300),
    ],
)
def test_a_slot_is_cleared_and_proven_on_every_kind_of_feeder(tmp_path: Path, name: str, buses: int) -> None:
    wide = scenario(tmp_path, feeder__name=name, feeder__v_min_pu="0.8")
    table = price(wide, 1, "newton")
    assert len(table.buses) == buses
    assert table.certified, table.doubt
    assert doubt(find(wide.feeder)) == ""


def test_a_file_is_found_beside_the_scenario_and_priced(tmp_path: Path) -> None:
    (tmp_path / "grid.json").write_text(grid_json(), encoding="utf-8")
    path = tmp_path / "day.toml"
    path.write_text(SMALL + '[feeder]\nname = "grid.json"\n', encoding="utf-8")
    found = load(path)
    feeder = find(found.feeder)
    assert feeder.name == "grid.json"
    assert feeder.bus_names[1] == "house 1"
    assert price(found, 0, "newton").certified
    assert find(load(path, {"feeder.name": str(tmp_path / "grid.json#1")}).feeder).name == "grid.json#1"


def test_what_a_shipped_network_has_that_a_feeder_has_not_is_known() -> None:
    assert [str(each) for each in left_out("pandapower:cigre-mv")] == ["charging of lines: 0.2988 Mvar"]
    assert left_out("ieee33") == ()


def test_what_a_file_has_that_a_feeder_has_not_is_told(tmp_path: Path) -> None:
    import pandapower

    net = pandapower.from_json_string(grid_json())
    pandapower.create_sgen(net, 2, p_mw=0.004)
    pandapower.to_json(net, str(tmp_path / "sun.json"))
    path = tmp_path / "day.toml"
    path.write_text(SMALL + '[feeder]\nname = "sun.json"\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["price", str(path), "--method", "newton", "--json"])
    assert json.loads(done.stdout)["left_out"] == ["generation: 0.004 MW at bus house 2"]
    told = (
        "sun.json: left out of the feeder: generation: 0.004 MW at bus house 2; the scenario has generation:"
    )
    assert told in done.stderr
    done = CliRunner().invoke(app, ["simulate", str(path), "--ledger", "none", "--set", "slots.count=1"])
    assert done.exit_code == 0
    assert told in done.stderr
    path.write_text(SMALL, encoding="utf-8")
    done = CliRunner().invoke(app, ["price", str(path), "--method", "newton", "--json"])
    assert (json.loads(done.stdout)["left_out"], done.stderr) == ([], "")


def test_a_unit_that_is_a_thousand_too_large_is_told_with_bus_and_load(tmp_path: Path) -> None:
    import pandapower

    path = tmp_path / "day.toml"
    path.write_text(SMALL + '[feeder]\nname = "units.json"\n', encoding="utf-8")
    for table, columns in (("load", ["p_mw", "q_mvar"]), ("line", ["length_km"]), ("line", ["r_ohm_per_km"])):
        net = pandapower.from_json_string(grid_json())
        net[table][columns] *= 1_000
        pandapower.to_json(net, str(tmp_path / "units.json"))
        told = f"units.json: its nominal load of {net.load.p_mw.sum():,.3f} MW is more than it can carry:"
        assert doubt(find(load(path).feeder)).startswith(f"{told} are loads in MW")
    done = CliRunner().invoke(app, ["price", str(path), "--method", "newton"])
    assert (done.exit_code, f"warning: feeder.name: {told}" in done.stderr) == (0, True)
    done = CliRunner().invoke(app, ["simulate", str(path), "--ledger", "none"])
    assert (done.exit_code, f"warning: feeder.name: {told}" in done.stderr) == (1, True)
    assert re.search(r"slot 0: .* with \S+ MW net no voltage is found at bus house 4", done.stderr)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FeederError, match=r"^feeder\.name: .*none\.json: No such file or directory; a pandapower"
    ):
        build(scenario(tmp_path, feeder__name=str(tmp_path / "none.json")))
    (tmp_path / "text.json").write_text("no network", encoding="utf-8")
    with pytest.raises(FeederError, match=r"^feeder\.name: feeder text\.json: not a pandapower JSON file"):
        build(scenario(tmp_path, feeder__name=str(tmp_path / "text.json")))
    with pytest.raises(FeederError, match=r"^feeder\.name: feeder 'ieee34' is not built in; known: "):
        build(scenario(tmp_path, feeder__name="ieee34"))


def test_a_market_has_1024_buses_at_most_and_a_price_any(tmp_path: Path) -> None:
    large = scenario(tmp_path, feeder__name="random:1025:1")
    with pytest.raises(FeederError, match="random:1025:1 has 1025 buses, and a market prices at most 1024"):
        simulate(large)
    assert len(price(large, 0, "newton").buses) == 1025


def test_ratings_that_come_with_a_feeder_are_limits_where_asked(tmp_path: Path) -> None:
    free = find(scenario(tmp_path, feeder__name="pandapower:cigre-mv").feeder)
    rated = find(scenario(tmp_path, feeder__name="pandapower:cigre-mv", feeder__rated="true").feeder)
    same = find(scenario(tmp_path, feeder__name="pandapower:cigre-mv", feeder__line_rating_mva="5").feeder)
    assert np.all(np.isinf(free.limits.i_max))
    assert np.all(np.isfinite(rated.limits.i_max))
    np.testing.assert_allclose(same.limits.i_max, 5 / same.base_mw)
    with pytest.raises(ScenarioError, match=r"rated = true and line_rating_mva = 5.0: one of them"):
        scenario(tmp_path, feeder__rated="true", feeder__line_rating_mva="5")


def test_simbench_profiles_need_a_simbench_feeder(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r'source = "simbench" needs a SimBench code as feeder.name'):
        scenario(tmp_path, profiles__source="simbench")


def test_a_simbench_day_goes_by_its_profiles_and_tells_its_licence() -> None:
    pytest.importorskip("simbench")
    from market.feeder import simbench

    day = load("simbench-lv-day")
    world = build(day)
    slots, feeder = day.slots, world.feeder
    shapes = simbench.shapes(day.feeder.name, slots.start, slots.seconds, slots.count)
    loaded = feeder.nominal_p_mw > 0
    share = world.actual.passive_p / (feeder.nominal_p_mw / feeder.base_mw)[None, :].clip(1e-12)
    # 60 % of each bus's load is the prosumers' wherever there is one, and 12 are on 13 loaded buses
    np.testing.assert_allclose(
        np.sort((share / shapes.active)[0, loaded]), [*[0.4] * 12, 1.0][-loaded.sum() :], atol=1e-9
    )
    peaks = world.generator_peak > 0
    np.testing.assert_allclose(
        world.actual.devices.gen_max[:, peaks],
        (shapes.sun[:, world.bus] * world.generator_peak)[:, peaks],
    )
    assert price(day, 12, "newton").certified
    assert "Open Database" in notice(day.feeder)
    assert notice(load("ieee33-day").feeder) == ""
