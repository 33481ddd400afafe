from __future__ import annotations

import numpy as np
import pytest

from market.feeder import FeederError, load
from market.feeder.powerflow import power_flow
from market.feeder.random import random_feeder
from tests.market.feeder_flows import nominal_flow


@pytest.mark.parametrize("buses", [2, 3, 50, 1_000, 20_000])
def test_any_size_has_a_flow_with_the_drop_asked_for(buses):
    feeder = random_feeder(buses, np.random.default_rng(buses), drop_pu=0.04)
    assert feeder.buses == buses
    flow = nominal_flow(feeder)
    # LinDistFlow drops v² by 2·0.04 and knows no losses; with them it is a little more
    assert 0.955 <= np.sqrt(flow.v.min()) <= np.sqrt(1 - 2 * 0.04) + 1e-9
    assert feeder.nominal_p_mw.sum() == pytest.approx(feeder.base_mw)
    assert feeder.nominal_p_mw[0] == 0.0


def test_a_name_is_a_feeder():
    assert load("random:60:3").hash == load("random:60:3").hash
    assert load("random:60:3").hash != load("random:60:4").hash
    assert load("random:60:3").name == "random:60:3"
    for name in ("random:60", "random:1:1", "random:a:1", "random:60:-1", "random:2000000:1", "random::"):
        with pytest.raises(FeederError, match="is not random:BUSES:SEED with 2 to 1000000 buses"):
            load(name)
    with pytest.raises(FeederError, match="1 buses are no feeder"):
        random_feeder(1, np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_solves_the_branch_flow_equations(seed):
    rng = np.random.default_rng(seed)
    feeder = random_feeder(400, rng)
    # a number of its own for every bus, so that running sums along another order would show
    p = rng.uniform(-1.0, 2.0, (3, 400)) * feeder.nominal_p_mw / feeder.base_mw
    q = rng.uniform(0.0, 1.0, (3, 400)) * feeder.nominal_q_mvar / feeder.base_mw
    flow = power_flow(feeder, p, q)
    parent, r, x = feeder.parent, feeder.r_pu, feeder.x_pu
    for t in range(3):
        for own, flows, z in ((p, flow.p, r), (q, flow.q, x)):
            below = np.bincount(parent[1:], flows[t, 1:], 400)
            balance = flows[t] - z * flow.l[t] - below - own[t]
            np.testing.assert_allclose(balance[1:], 0, atol=1e-13)  # of flows up to 1 pu
        drop = 2 * (r * flow.p[t] + x * flow.q[t]) - (r**2 + x**2) * flow.l[t]
        np.testing.assert_allclose(flow.v[t, 1:], (flow.v[t, parent] - drop)[1:], atol=1e-13)
        np.testing.assert_allclose(
            (flow.l[t] * flow.v[t, parent])[1:], (flow.p[t] ** 2 + flow.q[t] ** 2)[1:], atol=1e-12
        )


def test_a_deep_feeder_and_a_flat_one():
    for parent in (np.arange(3_000) - 1, np.minimum(np.arange(3_000) - 1, 0)):
        drawn = random_feeder(3_000, np.random.default_rng(1))
        from dataclasses import replace

        deep = replace(drawn, parent=parent, r_pu=drawn.r_pu * 1e-3, x_pu=drawn.x_pu * 1e-3)
        flow = nominal_flow(deep)
        assert flow.net_import[0] == pytest.approx(1 + flow.loss[0], abs=1e-12)
