from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.feeder import load
from market.feeder.powerflow import Flow, PowerFlowError, power_flow, violations


@pytest.fixture(scope="module")
def feeder():
    return load("ieee33")


@pytest.fixture(scope="module")
def nominal(feeder):
    return feeder.nominal_p_mw / feeder.base_mw, feeder.nominal_q_mvar / feeder.base_mw


def test_published_losses_and_lowest_voltage(feeder, nominal):
    flow = power_flow(feeder, *nominal)
    # Baran and Wu print 202.7 kW and 0.9131 pu
    assert flow.loss[0] * feeder.base_mw * 1e3 == pytest.approx(202.7, abs=0.05)
    assert np.sqrt(flow.v.min()) == pytest.approx(0.9131, abs=5e-5)
    assert feeder.bus_names[int(flow.v.argmin())] == "18"


def pandapower_flow(p_mw, q_mvar):
    import pandapower
    from pandapower.networks import case33bw

    net = case33bw()
    net.load = net.load.iloc[0:0]
    for bus in range(1, 33):
        pandapower.create_load(net, bus, p_mw=p_mw[bus], q_mvar=q_mvar[bus])
    pandapower.runpp(net, numba=False, tolerance_mva=1e-11, init="flat")
    return net


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pandapower(feeder, nominal, seed):
    rng = np.random.default_rng(seed)
    # from export to nearly twice the load, seed 0 being the published load itself
    p, q = (each * (rng.uniform(-1.0, 1.8, 33) if seed else 1.0) for each in nominal)
    flow = power_flow(feeder, p, q)
    net = pandapower_flow(p * feeder.base_mw, q * feeder.base_mw)
    lines = net.line[net.line.in_service]
    by_line = net.res_line.loc[lines.index]
    at = lines.to_bus.to_numpy()
    # both stop near 1e-11 MVA; currents of lightly loaded lines keep fewer digits
    np.testing.assert_allclose(np.sqrt(flow.v[0]), net.res_bus.vm_pu, rtol=0, atol=1e-10)
    np.testing.assert_allclose(flow.p[0, at] * feeder.base_mw, by_line.p_from_mw, rtol=0, atol=1e-9)
    np.testing.assert_allclose(flow.q[0, at] * feeder.base_mw, by_line.q_from_mvar, rtol=0, atol=1e-9)
    base_ka = feeder.base_mw / (np.sqrt(3) * 12.66)
    np.testing.assert_allclose(np.sqrt(flow.l[0, at]) * base_ka, by_line.i_from_ka, rtol=0, atol=1e-9)
    assert flow.net_import[0] * feeder.base_mw == pytest.approx(net.res_ext_grid.p_mw[0], abs=1e-9)
    assert flow.reactive_import[0] * feeder.base_mw == pytest.approx(net.res_ext_grid.q_mvar[0], abs=1e-9)


def test_periods_do_not_touch_each_other(feeder, nominal):
    level = np.array([[0.2], [1.5], [-0.7]])
    together = power_flow(feeder, level * nominal[0], level * nominal[1])
    for t in range(3):
        alone = power_flow(feeder, level[t] * nominal[0], level[t] * nominal[1])
        # a period that settles earlier is swept on with the others, which moves nothing but last digits
        np.testing.assert_allclose(together.v[t], alone.v[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(together.l[t], alone.l[0], rtol=0, atol=1e-12)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.floats(-1.0, 2.0))
def test_power_is_conserved_and_the_equations_hold(seed, level):
    feeder = load("ieee33")
    rng = np.random.default_rng(seed)
    p, q = level * rng.uniform(0, 2, (2, 33)) / 33
    flow = power_flow(feeder, p, q)
    assert flow.net_import[0] == pytest.approx(p.sum() + flow.loss[0], abs=1e-12)
    line = slice(1, None)
    parent = feeder.parent[line]
    product = flow.l[0, line] * flow.v[0, parent]
    np.testing.assert_allclose(product, (flow.p**2 + flow.q**2)[0, line], atol=1e-12)
    assert flow.v[0, 0] == feeder.v0**2
    assert flow.p[0, 0] == flow.q[0, 0] == flow.l[0, 0] == 0.0


def test_more_than_the_feeder_can_carry_is_refused_by_period(feeder, nominal):
    level = np.array([[1.0], [50.0], [1.0]])
    with pytest.raises(
        PowerFlowError,
        match=r"feeder ieee33: period 1 has more load .* with 185\.750 MW net no voltage is found at bus 18",
    ):
        power_flow(feeder, level * nominal[0], level * nominal[1])


def test_not_a_number_is_refused(feeder, nominal):
    p = nominal[0].copy()
    p[4] = np.nan
    with pytest.raises(PowerFlowError, match="period 0"):
        power_flow(feeder, p, nominal[1])


def with_state(flow: Flow, *, bus: int, voltage: float = 1.0, current: float = 0.0) -> Flow:
    v, squared = flow.v.copy(), flow.l.copy()
    v[0, bus], squared[0, bus] = voltage**2, current**2
    return replace(flow, v=v, l=squared)


def test_violations_begin_beyond_their_tolerance(nominal):
    feeder = load("ieee33", 0.90, 1.05, rated=True)
    flow = power_flow(feeder, 0.5 * nominal[0], 0.5 * nominal[1])
    assert violations(feeder, flow) == ()
    rating = float(feeder.limits.i_max[9])
    for inside in (
        with_state(flow, bus=9, voltage=0.90 - 0.9e-4),
        with_state(flow, bus=9, voltage=1.05 + 0.9e-4),
        with_state(flow, bus=9, current=rating * 1.0009),
    ):
        assert violations(feeder, inside) == ()
    (low,) = violations(feeder, with_state(flow, bus=9, voltage=0.90 - 1.1e-4))
    (high,) = violations(feeder, with_state(flow, bus=9, voltage=1.05 + 1.1e-4))
    (over,) = violations(feeder, with_state(flow, bus=9, current=rating * 1.0011))
    assert (low.bus, low.what, low.limit) == (9, "voltage", 0.90)
    assert (high.bus, high.what, high.limit) == (9, "voltage", 1.05)
    assert (over.bus, over.what, over.limit) == (9, "current", rating)
    assert low.told(feeder.bus_names) == "bus 10: voltage 0.89989 pu, limit 0.90000 pu"
    assert over.told(feeder.bus_names).startswith("line to bus 10: current ")
    assert over.beyond == pytest.approx(0.0011, rel=1e-9), "roundings of a division"


def test_violations_come_by_period_and_bus(nominal):
    feeder = load("ieee33", 0.95)
    level = np.array([[1.0], [0.1], [1.0]])
    found = violations(feeder, power_flow(feeder, level * nominal[0], level * nominal[1]))
    assert {each.period for each in found} == {0, 2}
    assert [(each.period, each.bus) for each in found] == sorted((each.period, each.bus) for each in found)
    # the published profile has 21 buses below 0.95 pu at nominal load
    assert len(found) == 2 * 21
