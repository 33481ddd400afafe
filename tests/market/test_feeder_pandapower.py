from __future__ import annotations

import random

import numpy as np
import pytest

from market.feeder import FeederError, load
from market.feeder.elements import UNKNOWN
from market.feeder.pandapower import (
    ElementError,
    IslandedError,
    MeshedError,
    SourcesError,
    from_json,
    imported,
    name_and_part,
)
from market.feeder.shipped import NETWORKS, network, shipped
from tests.market.feeder_flows import assert_equal_flows, nominal_flow

pandapower = pytest.importorskip("pandapower")

PARTS = {"oberrhein": (1, 2), "oberrhein-substations": (1, 2), "schutterwald": (1, 4, 9, 14)}
QUICK = (
    "case33bw",
    "cigre-lv",
    "cigre-mv",
    "european-lv",
    "kerber-dorf",
    "kerber-landnetz-freileitung-1",
    "kerber-landnetz-kabel-2",
    "kerber-vorstadt-1",
    "mv-open-ring",
    "oberrhein",
    "voltage-control-rural-1",
)


def check(name):
    for part in PARTS.get(name, (0,)):
        found = shipped(f"{name}#{part}" if part else name)
        assert_equal_flows(found, network(name))


@pytest.mark.parametrize("name", QUICK)
def test_flow_is_pandapowers(name):
    check(name)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(NETWORKS) - set(QUICK)))
def test_flow_is_pandapowers_on_every_other_network(name):
    check(name)


def test_parts_are_chosen_by_number():
    with pytest.raises(SourcesError, match=r"oberrhein has 2 parts, name one: #1 \(at bus Bus 38\), #2"):
        load("pandapower:oberrhein")
    with pytest.raises(SourcesError, match=r"no part #3; parts are #1 \(at bus Bus 38\), #2 \(at "):
        load("pandapower:oberrhein#3")
    for part in ("0", "-1", "two", ""):
        with pytest.raises(FeederError, match=f"#{part} is no part; parts are numbered from #1"):
            load(f"pandapower:oberrhein#{part}")
    assert load("pandapower:oberrhein#1").hash != load("pandapower:oberrhein#2").hash
    assert name_and_part("a#b/grid.json") == ("a#b/grid.json", 0)  # a folder's name is no part
    with pytest.raises(FeederError, match="'pandapower:cigre' is not shipped; known: case33bw, cigre-lv"):
        load("pandapower:cigre")


def test_what_is_drawn_is_drawn_alike_and_leaves_no_trace():
    state = random.getstate()
    first = load("pandapower:kerber-vorstadt-1")
    assert random.getstate() == state
    network.cache_clear()
    assert load("pandapower:kerber-vorstadt-1").hash == first.hash


# --- networks of our own ------------------------------------------------------------------------


def chain(buses: int = 4, kv: float = 0.4):
    """A line of buses named a, b, c, … with an external grid at a and 10 kW at each other."""
    net = pandapower.create_empty_network()
    for k in range(buses):
        pandapower.create_bus(net, vn_kv=kv, name=chr(ord("a") + k))
    pandapower.create_ext_grid(net, 0)
    for k in range(1, buses):
        wire(net, k - 1, k)
        pandapower.create_load(net, k, p_mw=0.010, q_mvar=0.003)
    return net


def wire(net, one, other, r_ohm=0.05, x_ohm=0.02, **more):
    return pandapower.create_line_from_parameters(
        net, one, other, 1.0, r_ohm, x_ohm, c_nf_per_km=0.0, max_i_ka=0.2, **more
    )


def test_a_chain_is_a_feeder():
    found = imported(chain(), "chain")
    feeder = found.feeder
    assert feeder.bus_names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(feeder.parent, [-1, 0, 1, 2])
    assert feeder.base_mw == pytest.approx(0.030)
    np.testing.assert_allclose(feeder.r_pu[1:], 0.05 * 0.030 / 0.4**2)
    assert np.all(np.isinf(feeder.limits.i_max[1:]))
    assert found.left_out == ()
    assert_equal_flows(found, chain())


def test_ratings_become_limits_where_asked():
    rated = imported(chain(), "chain", rated=True).feeder
    np.testing.assert_allclose(rated.limits.i_max[1:], np.sqrt(3) * 0.4 * 0.2 / 0.030)
    assert rated.limits.i_max[0] == 0.0


def test_a_loop_is_refused_by_its_buses():
    net = chain(5)
    wire(net, 1, 3)
    with pytest.raises(
        MeshedError, match="feeder ring is meshed: a loop through buses d, c, b; open a switch"
    ):
        imported(net, "ring")
    pandapower.create_switch(net, 1, len(net.line) - 1, et="l", closed=False)
    assert imported(net, "ring").feeder.buses == 5


def test_an_island_is_refused_by_its_buses_and_a_dead_one_is_not():
    net = chain(5)
    pandapower.create_switch(net, 2, 2, et="l", closed=False)
    with pytest.raises(
        IslandedError, match="nothing feeds the island of buses d, e, which has load at bus d"
    ):
        imported(net, "cut")
    net.load.loc[net.load.bus >= 3, "in_service"] = False
    assert imported(net, "cut").feeder.bus_names == ("a", "b", "c")


def test_one_external_grid_feeds_a_feeder():
    net = chain()
    pandapower.create_ext_grid(net, 3)
    for part in (0, 1):
        with pytest.raises(SourcesError, match="fed from several places at once: buses a, d; take all"):
            imported(net, "two", part=part)
    net.ext_grid["in_service"] = False
    with pytest.raises(SourcesError, match="feeder two: no external grid feeds it"):
        imported(net, "two")


def test_closed_switches_and_lines_without_impedance_make_one_bus_of_two():
    net = chain()
    for k, closed in ((4, True), (5, False)):
        pandapower.create_bus(net, vn_kv=0.4, name="ef"[k - 4])
        pandapower.create_switch(net, 3, k, et="b", closed=closed)
    pandapower.create_bus(net, vn_kv=0.4, name="g")
    wire(net, 4, 6, r_ohm=0.0, x_ohm=0.0)
    pandapower.create_load(net, 6, p_mw=0.005)
    found = imported(net, "fused")
    assert found.feeder.bus_names == ("a", "b", "c", "d")
    assert found.position == {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 6: 3}
    assert found.feeder.nominal_p_mw[3] == pytest.approx(0.015)


def test_a_switch_with_a_resistance_is_a_branch():
    net = chain()
    pandapower.create_bus(net, vn_kv=0.4, name="e")
    pandapower.create_switch(net, 3, 4, et="b", closed=True, z_ohm=0.1)
    pandapower.create_load(net, 4, p_mw=0.005)
    found = imported(net, "contact")
    assert found.feeder.buses == 5
    assert_equal_flows(found, net)


def test_parallel_branches_are_one():
    net = chain()
    wire(net, 1, 2, r_ohm=0.10, x_ohm=0.04)  # half the admittance, the same rating
    wire(net, 3, 2, parallel=2)  # in the other direction
    found = imported(net, "parallel", rated=True)
    alone = imported(chain(), "chain", rated=True)
    np.testing.assert_allclose(found.feeder.r_pu, alone.feeder.r_pu * [1, 1, 2 / 3, 1 / 3])
    # of three halves of the first line's current, it carries all it can; three equal lines carry thrice
    np.testing.assert_allclose(found.feeder.limits.i_max, alone.feeder.limits.i_max * [1, 1, 1.5, 3])
    assert_equal_flows(found, net)


def test_zero_sequence_impedances_are_taken_along():
    net = chain()
    net.line["r0_ohm_per_km"], net.line["x0_ohm_per_km"] = [0.20, np.nan, 0.20], [0.02, 0.02, 0.02]
    wire(net, 3, 2, r0_ohm_per_km=0.20, x0_ohm_per_km=0.02, c0_nf_per_km=0.0)
    up = pandapower.create_bus(net, vn_kv=20.0, name="mv")
    net.ext_grid.loc[0, "bus"] = up
    transformer(net, up, 0, 20.0, 0.4, vector_group="Dyn", vk0_percent=5.0, vkr0_percent=3.0)
    feeder = imported(net, "zero").feeder
    base_ohm = 0.4**2 / feeder.base_mw
    line, station = complex(0.20, 0.02) / base_ohm, complex(0.03, 0.04) / 0.1 * feeder.base_mw
    np.testing.assert_allclose(feeder.zero_sequence_pu, [0, station, line, UNKNOWN, line / 2])
    net.trafo["vector_group"] = "Dy"  # without a neutral nothing says where zero-sequence current would flow
    assert np.isnan(imported(net, "zero").feeder.zero_sequence_pu[1])
    assert imported(chain(), "none").feeder.zero_sequence_pu is None
    for wrong in (-0.1, np.inf):
        net.line.loc[2, "r0_ohm_per_km"] = wrong
        with pytest.raises(
            ElementError, match=f"line 2 has r0_ohm_per_km {wrong}, which must be a number from 0"
        ):
            imported(net, "zero")


def test_what_is_out_of_service_is_left_out():
    net = chain()
    net.line.loc[2, "in_service"] = False
    net.bus.loc[3, "in_service"] = False
    wire(net, 0, 2, in_service=False)
    found = imported(net, "out")
    assert found.feeder.bus_names == ("a", "b", "c")
    assert found.feeder.base_mw == pytest.approx(0.020)


def transformer(net, hv, lv, vn_hv_kv, vn_lv_kv, **more):
    return pandapower.create_transformer_from_parameters(
        net,
        hv,
        lv,
        sn_mva=0.1,
        vn_hv_kv=vn_hv_kv,
        vn_lv_kv=vn_lv_kv,
        vkr_percent=1.5,
        vk_percent=4.0,
        pfe_kw=0.0,
        i0_percent=0.0,
        **more,
    )


@pytest.mark.parametrize("vn_lv_kv", [0.4, 0.42])
def test_a_transformer_between_nominal_voltages_and_others(vn_lv_kv):
    net = chain()
    up = pandapower.create_bus(net, vn_kv=20.0, name="mv")
    net.ext_grid.loc[0, ["bus", "vm_pu"]] = up, 1.02
    transformer(net, up, 0, 20.0, vn_lv_kv)
    found = imported(net, "station", 0.95, 1.05, rated=True)
    assert found.feeder.bus_names[0] == "mv"
    assert found.feeder.v0 == 1.02
    ratio = vn_lv_kv / 0.4
    np.testing.assert_allclose(found.voltage, [1.0, *[ratio] * 4])
    # limits mean the nominal voltage of each bus
    np.testing.assert_allclose(found.feeder.limits.v_max * found.voltage, 1.05)
    base_ka = found.feeder.base_mw / (np.sqrt(3) * vn_lv_kv)
    np.testing.assert_allclose(found.feeder.limits.i_max[1] * base_ka, 0.1 / (np.sqrt(3) * vn_lv_kv))
    np.testing.assert_allclose(found.feeder.limits.i_max[2:] * base_ka, 0.2)
    assert_equal_flows(found, net)


def test_a_transformer_that_is_fed_from_below():
    net = chain(kv=0.4)
    up = pandapower.create_bus(net, vn_kv=20.0, name="mv")
    transformer(net, up, 3, 21.0, 0.4)
    pandapower.create_load(net, up, p_mw=0.008)
    found = imported(net, "backwards")
    assert found.voltage[found.position[up]] == pytest.approx(21 / 20)
    assert_equal_flows(found, net)
    pandapower.create_switch(net, 3, 0, et="t", closed=False)
    with pytest.raises(IslandedError, match="the island of bus mv"):
        imported(net, "backwards")


def test_transformers_of_different_ratio_in_parallel_are_a_loop():
    net = chain()
    up = pandapower.create_bus(net, vn_kv=20.0, name="mv")
    transformer(net, up, 3, 20.0, 0.40)
    transformer(net, up, 3, 20.0, 0.41)
    pandapower.create_load(net, up, p_mw=0.008)
    with pytest.raises(MeshedError, match="branches of different ratio in parallel between buses d, mv"):
        imported(net, "unequal")


def test_what_a_feeder_has_no_place_for_is_said_with_its_size():
    net = chain()
    net.line["c_nf_per_km"] = 100.0
    pandapower.create_load(net, 0, p_mw=0.007)
    pandapower.create_sgen(net, 2, p_mw=0.004, q_mvar=0.001)
    pandapower.create_shunt(net, 3, q_mvar=0.002)
    up = pandapower.create_bus(net, vn_kv=20.0, name="mv")
    net.ext_grid.loc[0, "bus"] = up
    transformer(net, up, 0, 20.0, 0.4, tap_side="hv", tap_neutral=0, tap_pos=2, tap_step_percent=2.5)
    pandapower.create_load(net, up, p_mw=0.003)
    net.trafo["i0_percent"] = 1.0
    found = imported(net, "said")
    assert [str(each) for each in found.left_out] == [
        "charging of lines: 1.508e-05 Mvar",  # 3 · 100π · 100 nF · (400 V)²
        "magnetising of transformers: 0.001 MVA",
        "shunts: 0.002 Mvar",
        "load at the substation: 0.003 MW",
        f"generation: 0.004 MW at bus {found.feeder.bus_names[found.position[2]]}",
        "tap 2 of transformer 0",
    ]
    assert found.generation_mw[found.position[2]] == 0.004
    assert found.generation_mvar.sum() == 0.001
    assert found.feeder.nominal_p_mw[0] == 0.0
    net.load.loc[net.load.bus == up, "in_service"] = False
    assert_equal_flows(found, net)


def test_foreign_elements_are_refused_by_name():
    net = chain()
    pandapower.create_ward(net, 2, 0.001, 0.0, 0.0, 0.0, name="the neighbours")
    with pytest.raises(ElementError, match=r"ward 0 \(the neighbours\) is no part of a radial feeder"):
        imported(net, "foreign")
    net = chain()
    pandapower.create_impedance(net, 2, 3, rft_pu=0.1, xft_pu=0.1, rtf_pu=0.2, xtf_pu=0.1, sn_mva=1.0)
    with pytest.raises(ElementError, match="impedance 0 differs by direction"):
        imported(net, "foreign")


UNREADABLE = {
    ("line", "r_ohm_per_km", np.nan): "line 1 has r_ohm_per_km nan, which must be a finite number",
    ("line", "length_km", "far"): "line 1 has length_km far, which must be a finite number",
    ("line", "parallel", 0): "line 1 has parallel 0, which must be a number above 0",
    ("line", "to_bus", 99): "line 1 has to_bus 99, which must be a bus of the network",
    ("bus", "vn_kv", 0.0): r"bus 1 has vn_kv 0\.0, which must be a number above 0",
    ("load", "bus", 99): "load 1 has bus 99, which must be a bus of the network",
    ("load", "q_mvar", np.nan): "load 1 has q_mvar nan, which must be a finite number",
    ("trafo", "sn_mva", 0.0): r"trafo 1 has sn_mva 0\.0, which must be a number above 0",
    ("trafo", "vkr_percent", 9.0): "trafo 1 has vkr_percent 9, which must be from 0 to its vk_percent, 4",
}
"""Table, column and value of row 1, and what is said of it."""


@pytest.mark.parametrize(("table", "column", "value"), UNREADABLE)
def test_what_is_no_number_or_no_bus_is_refused_by_its_row(table, column, value):
    net = chain()
    for name in ("low", "lower"):
        pandapower.create_bus(net, vn_kv=0.2, name=name)
        transformer(net, 3, len(net.bus) - 1, 0.4, 0.2)
    net[table][column] = net[table][column].astype(object)
    net[table].loc[1, column] = value
    with pytest.raises(ElementError, match=f"feeder odd: {UNREADABLE[table, column, value]}"):
        imported(net, "odd")
    if table in ("load", "trafo"):
        net[table].loc[1, "in_service"] = False  # then it may be anything
        assert imported(net, "odd").feeder.base_mw > 0


def test_a_missing_table_or_column_is_named():
    net = chain()
    net.line = net.line.drop(columns="x_ohm_per_km")
    with pytest.raises(ElementError, match="feeder odd: table 'line' has no column 'x_ohm_per_km'"):
        imported(net, "odd")
    net = chain()
    del net["switch"]
    with pytest.raises(ElementError, match="feeder odd: the network has no table 'switch'"):
        imported(net, "odd")


def test_no_load_is_no_base():
    net = chain()
    net.load["scaling"] = 0.0
    with pytest.raises(FeederError, match=r"feeder idle: 0 MW of load; its base is its load"):
        imported(net, "idle")
    net.load["scaling"] = -1.0
    with pytest.raises(FeederError, match=r"feeder sun: -0\.03 MW of load; .* generation among"):
        imported(net, "sun")


def test_buses_keep_names_that_tell_them_apart():
    net = chain()
    net.bus["name"] = ["a", "b", "b", None]
    assert imported(net, "names").feeder.bus_names == ("a", "b (1)", "b (2)", "3")


def test_files():
    found = from_json(pandapower.to_json(chain()), "chain")
    direct = imported(chain(), "chain")
    assert found.feeder.hash == direct.feeder.hash
    for text in ("", "{", "[1, 2]", '{"a": 1}', "null"):
        with pytest.raises(FeederError, match=r"feeder grid\.json: not a pandapower JSON file"):
            from_json(text, "grid.json")
    assert nominal_flow(found.feeder).loss[0] > 0


@pytest.mark.parametrize("share", ["const_z_p_percent", "const_i_q_percent"])
def test_loads_that_go_with_voltage_are_told(share: str):
    net = pandapower.networks.case33bw()
    net.load.loc[3, share] = 40.0
    [told] = imported(net, "case33bw").left_out
    assert str(told) == f"dependence on voltage of loads: {net.load.p_mw[3]:.4g} MW"
