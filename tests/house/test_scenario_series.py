"""Loads and PV of buses out of a CSV file: whose they become, and which files are refused, by their line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower
import pandapower.networks
import pytest

from market.feeder import FeederError
from node.price import price
from node.scenario.loading import ScenarioError, load
from node.scenario.world import World, build
from tests.house.documents import blocks, page

GUIDE = "node/guides/operator.md"
DAY = """
name = "measured"
[slots]
start = 2026-06-23T10:00:00Z
count = 2
[profiles]
file = "own.csv"
"""
BOTH = "bus,slot,load_kw,pv_kw\n6,0,50,0\n6,1,200,30\n18,0,90,400\n18,1,0,100\n"
REFUSED = {
    "": "columns are none; needed are bus, slot or time, and load_kw, pv_kw or both",
    "bus;slot;load_kw\n6;0;5\n": "columns are bus;slot;load_kw; needed",
    "bus,slot\n6,0\n": "columns are bus, slot; needed",
    "slot,load_kw\n0,5\n": "columns are slot, load_kw; needed",
    "bus,slot,time,load_kw\n": "columns are bus, slot, time, load_kw; needed",
    "bus,slot,load_kw,load_kw\n": "columns are bus, slot, load_kw, load_kw; needed",
    "bus,slot,load_mw\n6,0,5\n": "columns are bus, slot, load_mw; needed",
    "bus,slot,load_kw\n6,0\n": "line 2: has not one cell for each of the columns",
    "bus,slot,load_kw\n6,0,5,6\n": "line 2: has not one cell for each of the columns",
    "bus,slot,load_kw\n6,0,nan\n": "line 2: load_kw = 'nan': must be a number from 0 to 50000 kW",
    "bus,slot,load_kw\n6,0,inf\n": "line 2: load_kw = 'inf': must be",
    "bus,slot,load_kw\n6,0,\n": "line 2: load_kw = '': must be",
    "bus,slot,load_kw\n6,0,5\n6,1,-2\n": "line 3: load_kw = '-2': must be a number from 0 to 50000 kW; what",
    "bus,slot,pv_kw\n6,0,60000\n": "line 2: pv_kw = '60000': must be",
    "bus,slot,load_kw\n99,0,5\n": "line 2: bus = '99': ieee33 has buses 2 to 33",
    "bus,slot,load_kw\n1,0,5\n": "line 2: bus = '1': ieee33 has buses 2 to 33",
    "bus,slot,load_kw\n6,-1,5\n": "line 2: slot = '-1': must be a whole number, the first slot's is 0",
    "bus,slot,load_kw\n6,0.5,5\n": "line 2: slot = '0.5': must be a whole number",
    "bus,slot,load_kw\n6,0,5\n6,0,5\n": "line 3: bus 6 has a row for slot 0 already",
    "bus,slot,load_kw\n6,1,5\n": "no row for bus 6 in slot 0, 2026-06-23T10:00:00+00:00; a bus that is named",
    "bus,slot,load_kw\n6,2,5\n": "no row for any of the 2 slots from 2026-06-23T10:00:00+00:00 on",
    "bus,time,load_kw\n6,2026-06-23T10:00:00,5\n": "line 2: time = '2026-06-23T10:00:00': must be a time",
    "bus,time,load_kw\n6,noon,5\n": "line 2: time = 'noon': must be a time with its offset",
    "bus,time,load_kw\n6,2026-06-23T10:15Z,5\n": "line 2: time = '2026-06-23T10:15Z': no slot starts then",
}


def drawn(folder: Path, series: str, **changes: str) -> World:
    (folder / "own.csv").write_text(series, encoding="utf-8")
    (folder / "day.toml").write_text(DAY, encoding="utf-8")
    return build(load(folder / "day.toml", {key.replace("__", "."): value for key, value in changes.items()}))


def load_kw(world: World) -> dict[str, list[float]]:
    """All load of each bus by slot, at its greatest where it is flexible."""
    taken = world.actual.firm_p + world.actual.devices.load_max
    kw = (
        1_000
        * world.feeder.base_mw
        * (world.actual.passive_p + np.array([world.by_bus(row) for row in taken]))
    )
    return dict(zip(world.feeder.bus_names, kw.T.tolist(), strict=True))


def pv_kw(world: World) -> dict[str, list[float]]:
    kw = 1_000 * world.feeder.base_mw * np.array([world.by_bus(row) for row in world.actual.devices.gen_max])
    return dict(zip(world.feeder.bus_names, kw.T.tolist(), strict=True))


def test_buses_have_the_load_and_the_pv_of_the_file(tmp_path: Path) -> None:
    world = drawn(tmp_path, BOTH)
    # what is split among prosumers and added up again differs by roundings
    assert load_kw(world)["6"] == pytest.approx([50, 200], rel=1e-12)
    assert load_kw(world)["18"] == pytest.approx([90, 0], rel=1e-12)
    given = pv_kw(world)
    assert given.pop("6") == pytest.approx([0, 30], rel=1e-12)
    assert given.pop("18") == pytest.approx([400, 100], rel=1e-12)
    assert not any(kw for of_bus in given.values() for kw in of_bus)


def test_buses_that_are_not_named_keep_nominal_load_and_weather_is_that_of_the_source(tmp_path: Path) -> None:
    world = drawn(tmp_path, "bus,slot,load_kw\n6,0,50\n6,1,200\n")
    told = world.feeder.bus_names.index("6")
    changed = world.feeder.nominal_p_mw != build(load("ieee33-day")).feeder.nominal_p_mw
    assert np.flatnonzero(changed).tolist() == [told]
    assert world.feeder.nominal_p_mw[told] == 0.2
    assert world.generator_peak.sum() * world.feeder.base_mw == pytest.approx(3.0, rel=1e-12)


def test_the_power_factor_of_a_bus_is_the_feeders(tmp_path: Path) -> None:
    world, usual = drawn(tmp_path, BOTH), build(load("ieee33-day"))
    told = world.feeder.bus_names.index("6")
    ratio = world.actual.passive_q[0, told] / world.actual.passive_p[0, told]
    assert ratio == pytest.approx(usual.feeder.nominal_q_mvar[told] / usual.feeder.nominal_p_mw[told])


def test_times_name_slots_and_those_outside_the_session_are_idle(tmp_path: Path) -> None:
    rows = "6,2026-06-23T13:00+02:00,200\n6,2026-06-23T10:00Z,50\n6,2025-01-01T00:00Z,7\n"
    assert load_kw(drawn(tmp_path, f"\ufeffbus,time,load_kw\n{rows}"))["6"] == pytest.approx(
        [50, 200], rel=1e-12
    )
    by_slot = "bus,slot,load_kw\n6,0,50\n6,1,200\n6,2,7\n"
    assert load_kw(drawn(tmp_path, by_slot))["6"] == pytest.approx([50, 200], rel=1e-12)


@pytest.mark.parametrize("series", REFUSED, ids=REFUSED.values())
def test_files_that_cannot_be_are_refused_by_their_line(tmp_path: Path, series: str) -> None:
    with pytest.raises(FeederError) as refusal:
        drawn(tmp_path, series)
    assert str(refusal.value).startswith(f"profiles.file: {tmp_path / 'own.csv'}: {REFUSED[series]}")


def test_what_does_not_fit_the_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FeederError, match=r"profiles\.file: .*none\.csv: No such file or directory; a CSV file"
    ):
        drawn(tmp_path, BOTH, profiles__file=str(tmp_path / "none.csv"))
    with pytest.raises(
        FeederError, match=r"bus 6 has pv_kw, and none of prosumers\.count = 1 is drawn there"
    ):
        drawn(tmp_path, BOTH, prosumers__count="1", seed="2")
    with pytest.raises(FeederError, match=r"pv_kw goes to prosumers that are drawn; \[\[prosumer\]\] has"):
        drawn(tmp_path, BOTH, prosumer='[{bus = "6"}]')
    with pytest.raises(ScenarioError, match=r"profiles\.file = 5: must be"):
        drawn(tmp_path, BOTH, profiles__file="5")
    nothing = "bus,slot,load_kw\n" + "".join(f"{bus},{slot},0\n" for bus in range(2, 34) for slot in (0, 1))
    with pytest.raises(FeederError, match="feeder ieee33: no bus has a load"):
        drawn(tmp_path, nothing)


def test_the_operators_example_is_priced(tmp_path: Path) -> None:
    pandapower.to_json(pandapower.networks.case33bw(), str(tmp_path / "grid.json"))
    for name, kind in (("profiles.csv", "csv"), ("own.toml", "toml")):
        [text] = blocks(page(GUIDE), kind)
        (tmp_path / name).write_text(text, encoding="utf-8")
    scenario = load(tmp_path / "own.toml")
    assert price(scenario, 1, "newton").certified
    assert load_kw(build(scenario))["17"] == pytest.approx([60.5, 72.0], rel=1e-12)
