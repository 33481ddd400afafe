from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from market.feeder import FeederError, is_simbench, load
from market.feeder.pandapower import MeshedError, SourcesError

CODE = "1-LV-rural1--0-sw"

pytest.importorskip("simbench")


@pytest.fixture(scope="module")
def simbench():
    from market.feeder import simbench

    return simbench


def test_codes_are_told_from_other_names():
    for name in (CODE, f"simbench:{CODE}", f"{CODE}#1", "1-MVLV-urban-all-2-no_sw", "simbench:anything"):
        assert is_simbench(name)
    for name in ("ieee33", "pandapower:cigre-mv", "random:100:1", "1-LV-rural1", "grid.json"):
        assert not is_simbench(name)


def test_flow_is_pandapowers(simbench):
    from tests.market.feeder_flows import assert_equal_flows

    found = simbench.feeder(CODE)
    assert_equal_flows(found, simbench.network(CODE))
    assert found.feeder.buses == 15
    assert found.feeder.v0 == 1.025
    assert load(CODE).hash != load(f"simbench:{CODE}").hash  # the name is part of a feeder
    assert any(str(said).startswith("generation: 0.16") for said in found.left_out)


@pytest.mark.long
@pytest.mark.parametrize("code", ["1-LV-semiurb4--0-no_sw", "1-MV-rural--0-sw", "1-MVLV-comm-all-0-sw"])
def test_flow_is_pandapowers_on_larger_grids(simbench, code):
    from tests.market.feeder_flows import assert_equal_flows

    assert_equal_flows(simbench.feeder(code), simbench.network(code))


def test_profiles_are_those_of_the_buses(simbench):
    net, found = simbench.network(CODE), simbench.feeder(CODE)
    start = datetime(2026, 6, 23, 10, tzinfo=UTC)  # noon of Germany's summer time, as the table is labelled
    shapes = simbench.shapes(CODE, start, 900, 2)
    at = net.profiles["load"].index[net.profiles["load"].time == "23.06.2016 12:00"][0]
    assert shapes.active.shape == shapes.reactive.shape == shapes.sun.shape == (2, 15)
    for bus, loads in net.load.groupby("bus"):
        for quarter in range(2):
            for shape, column, kind in (
                (shapes.active, "p_mw", "pload"),
                (shapes.reactive, "q_mvar", "qload"),
            ):
                share = [net.profiles["load"].at[at + quarter, f"{name}_{kind}"] for name in loads.profile]
                expected = np.average(share, weights=loads[column])
                # sums over half a year of quarters, of which a difference is taken
                assert shape[quarter, found.position[bus]] == pytest.approx(expected, abs=1e-10)
    roof = net.sgen.iloc[0]
    own = net.profiles["renewables"].at[at, roof.profile]
    assert shapes.sun[0, found.position[roof.bus]] == pytest.approx(own, abs=1e-10)
    assert own > 0.1


def test_longer_slots_are_means_and_the_year_goes_on(simbench):
    start = datetime(2025, 12, 31, 21, tzinfo=UTC)
    hours, quarters = (simbench.shapes(CODE, start, 3600 // k, 4 * k) for k in (1, 4))
    np.testing.assert_allclose(hours.active, quarters.active.reshape(4, 4, 15).mean(axis=1), atol=1e-10)
    january = simbench.shapes(CODE, datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), 3600, 2)
    np.testing.assert_allclose(hours.active[2:], january.active, atol=1e-9)
    leap = simbench.shapes(CODE, datetime(2028, 2, 29, tzinfo=UTC), 3600, 1)
    assert 0 < leap.active.mean() < 1


def test_who_writes_no_code_is_shown_the_closest():
    closest = r"of \d+ the closest: (1-LV-rural\d--0-sw, ){3}1-MV-rural--0-sw(, [^, ]*){2}$"
    with pytest.raises(FeederError, match=f"'1-LV-rural9--0-sw' is no SimBench code; {closest}"):
        load("1-LV-rural9--0-sw")
    with pytest.raises(FeederError, match=f"'simbench:anything' is no SimBench code; .*: {CODE}$"):
        load("simbench:anything")


def test_parts_are_chosen_by_number(simbench):
    np.testing.assert_array_equal(load(f"{CODE}#1").r_pu, load(CODE).r_pu)
    start = datetime(2026, 6, 23, 10, tzinfo=UTC)
    np.testing.assert_array_equal(
        simbench.shapes(f"{CODE}#1", start, 900, 2).sun, simbench.shapes(CODE, start, 900, 2).sun
    )
    with pytest.raises(SourcesError, match=r"no part #2; parts are #1 \(at bus MV1.101 Bus 4\)$"):
        load(f"{CODE}#2")
    with pytest.raises(FeederError, match="#first is no part; parts are numbered from #1"):
        load(f"simbench:{CODE}#first")


def test_a_meshed_part_is_refused_with_all_parts():
    with pytest.raises(
        SourcesError, match="fed from several places at once: buses EHV Bus 143, EHV Bus 1649,"
    ):
        load("1-HV-mixed--0-sw")
    with pytest.raises(MeshedError, match=r"a loop through .*; parts are #1 \(at .*\), #2 .*, #3 \("):
        load("1-HV-mixed--0-sw#1")


def test_without_the_extra_it_is_named(simbench, monkeypatch):
    monkeypatch.setitem(sys.modules, "simbench", None)
    simbench.codes.cache_clear()
    with pytest.raises(FeederError, match=r"need an extra: pip install 'wattbook\[simbench\]'"):
        load(CODE)
    simbench.codes.cache_clear()
