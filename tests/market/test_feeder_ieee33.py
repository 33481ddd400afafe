from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.feeder import BUILT_IN, Feeder, FeederError, Limits, load
from market.feeder.ieee33 import BRANCH_RATING_A, NOMINAL_KV, TRUNK_RATING_A


@pytest.fixture(scope="module")
def published():
    from pandapower.networks import case33bw

    return case33bw()


def test_numbers_are_those_of_pandapower(published):
    feeder = load("ieee33")
    base_ohm = NOMINAL_KV**2 / feeder.base_mw
    lines = published.line[published.line.in_service]
    order = lines.to_bus.to_numpy()
    assert sorted(order) == list(range(1, feeder.buses))
    np.testing.assert_array_equal(feeder.parent[order], lines.from_bus)
    # equal up to the rounding of the division by the base
    np.testing.assert_allclose(
        feeder.r_pu[order] * base_ohm, lines.r_ohm_per_km * lines.length_km, rtol=1e-14
    )
    np.testing.assert_allclose(
        feeder.x_pu[order] * base_ohm, lines.x_ohm_per_km * lines.length_km, rtol=1e-14
    )
    loads = published.load.groupby("bus").sum()
    np.testing.assert_allclose(feeder.nominal_p_mw[loads.index], loads.p_mw, rtol=1e-14)
    np.testing.assert_allclose(feeder.nominal_q_mvar[loads.index], loads.q_mvar, rtol=1e-14)
    assert feeder.nominal_p_mw[0] == feeder.nominal_q_mvar[0] == 0.0
    np.testing.assert_array_equal(published.bus.vn_kv, NOMINAL_KV)


def test_base_is_the_peak_load():
    feeder = load("ieee33")
    assert feeder.base_mw == pytest.approx(3.715, abs=1e-12)
    assert feeder.nominal_q_mvar.sum() == pytest.approx(2.3, abs=1e-12)
    assert (feeder.buses, feeder.lines, feeder.v0) == (33, 32, 1.0)
    assert feeder.bus_names[0] == "1"
    assert feeder.bus_names[17] == "18"


def test_limits_and_ratings_are_the_callers():
    free, tight = load("ieee33"), load("ieee33", 0.95, 1.05, rated=True)
    assert np.all(free.limits.v_min == 0.90)
    assert np.all(free.limits.v_max == 1.10)
    assert np.all(np.isinf(free.limits.i_max[1:]))
    assert np.all(tight.limits.v_min == 0.95)
    assert np.all(tight.limits.v_max == 1.05)
    base_a = tight.base_mw / (np.sqrt(3) * NOMINAL_KV) * 1e3
    np.testing.assert_allclose(tight.limits.i_max[1:6] * base_a, TRUNK_RATING_A)
    np.testing.assert_allclose(tight.limits.i_max[6:] * base_a, BRANCH_RATING_A)


def test_hash_tells_feeders_apart():
    feeder = load("ieee33")
    assert load("ieee33").hash == feeder.hash
    r_pu = feeder.r_pu.copy()
    r_pu[5] = np.nextafter(r_pu[5], 1.0)
    assert replace(feeder, r_pu=r_pu).hash != feeder.hash
    assert replace(feeder, name="other").hash != feeder.hash
    assert load("ieee33", v_min=0.91).hash != feeder.hash


def test_unknown_name_is_refused_with_what_is_known():
    with pytest.raises(FeederError, match="'ieee34' is not built in; known: ieee33"):
        load("ieee34")
    assert set(BUILT_IN) == {"ieee33"}


def two_buses(**changed) -> Feeder:
    values = {
        "name": "two",
        "bus_names": ("hub", "end"),
        "parent": np.array([-1, 0]),
        "r_pu": np.array([0.0, 0.01]),
        "x_pu": np.array([0.0, 0.01]),
        "limits": Limits(np.full(2, 0.9), np.full(2, 1.1), np.array([0.0, np.inf])),
        "base_mw": 1.0,
        "v0": 1.0,
        "nominal_p_mw": np.zeros(2),
        "nominal_q_mvar": np.zeros(2),
    }
    return Feeder(**{**values, **changed})


def test_a_feeder_that_is_no_tree_is_refused():
    assert two_buses().lines == 1
    with pytest.raises(FeederError, match="bus end has parent 1, which does not come before it"):
        two_buses(parent=np.array([-1, 1]))
    with pytest.raises(FeederError, match="bus 0 must be the substation"):
        two_buses(parent=np.array([0, 0]))
    with pytest.raises(FeederError, match="line to bus end has no valid impedance"):
        two_buses(r_pu=np.array([0.0, -0.01]))
    with pytest.raises(FeederError, match="line to bus end has no valid impedance"):
        two_buses(x_pu=np.array([0.0, np.nan]))
    with pytest.raises(FeederError, match="arrays differ in length"):
        two_buses(r_pu=np.array([0.0]))
