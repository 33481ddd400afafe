from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.agents.welfare import alone_schedule, contracted_schedule, gap, welfare
from market.atc.clearing import AtcClearing
from market.atc.prosumers import Prosumers
from market.pricing.conditions import Devices, Hub
from tests.market.pricing_cases import bare
from tests.market.trading_day import midsummer

RETAIL, FIT = np.array([240.0]), np.array([70.0])


def test_without_devices_welfare_is_the_import_at_the_hub_price():
    feeder, _ = midsummer()
    conditions = bare(feeder)
    nothing = np.zeros((1, 0))
    # Baran & Wu 1989: 3.715 MW and 202.7 kW of losses at nominal load
    assert welfare(feeder, conditions, (nothing, nothing))[0] == pytest.approx(
        -120.0 * (3.715 + 0.2027), rel=1e-4
    )
    wholesale = Hub(np.array([50.0]), np.array([50.0]))
    at_wholesale = welfare(feeder, conditions, (nothing, nothing), wholesale)[0]
    assert at_wholesale == pytest.approx(-50.0 * (3.715 + 0.2027), rel=1e-4)


def test_the_optimum_is_at_least_as_good_as_any_schedule():
    feeder, hours = midsummer()
    rng = np.random.default_rng(1)
    for hour in (3, 10, 13):
        conditions = hours[hour].conditions
        d = conditions.devices
        solution = AtcClearing(feeder)(feeder, conditions)
        best = welfare(feeder, conditions, (solution.primal.gen, solution.primal.load))[0]
        assert best == pytest.approx(-solution.cost * feeder.base_mw, rel=1e-4)
        alone = alone_schedule(conditions, hours[hour].firm_p[None], RETAIL, FIT)
        assert welfare(feeder, conditions, alone)[0] < best
        for _ in range(20):
            gen = d.gen_max * rng.uniform(0.5, 1.0, d.gen_max.shape)
            load = d.load_min + (d.load_max - d.load_min) * rng.random(d.load_min.shape)
            assert welfare(feeder, conditions, (gen, load))[0] < best


def test_contracts_of_the_optimum_bring_back_the_optimum():
    feeder, hours = midsummer()
    conditions, firm = hours[10].conditions, hours[10].firm_p[None]
    solution = AtcClearing(feeder)(feeder, conditions)
    net = firm + solution.primal.load - solution.primal.gen
    gen, load = contracted_schedule(conditions, firm, net)
    np.testing.assert_allclose(gen, solution.primal.gen, atol=1e-6)
    np.testing.assert_allclose(load, solution.primal.load, atol=1e-6)


def test_contracts_beyond_the_devices_are_followed_as_far_as_they_go():
    _, hours = midsummer()
    conditions, firm = hours[12].conditions, hours[12].firm_p[None]
    d = conditions.devices
    gen, load = contracted_schedule(conditions, firm, np.full(firm.shape, -9.0))
    np.testing.assert_allclose(gen, d.gen_max)
    np.testing.assert_allclose(load, d.load_min)
    gen, load = contracted_schedule(conditions, firm, np.full(firm.shape, 9.0))
    np.testing.assert_allclose(gen, 0.0, atol=1e-12)
    np.testing.assert_allclose(load, d.load_max)


def test_alone_one_buys_at_retail_sells_at_fit_or_feeds_oneself():
    row = np.ones((1, 3))
    devices = Devices(
        bus=np.array([1, 2, 3]),
        gen_cost=0.0 * row,
        gen_slope=1.0 * row,
        gen_max=np.array([[0.0, 5.0, 2.0]]),
        load_value=300.0 * row,
        load_slope=100.0 * row,
        load_min=0.0 * row,
        load_max=3.0 * row,
    )
    feeder, _ = midsummer()
    conditions = replace(bare(feeder), devices=devices)
    gen, load = alone_schedule(conditions, np.zeros((1, 3)), RETAIL, FIT)
    np.testing.assert_allclose(load[0, 0], (300 - 240) / 100)
    np.testing.assert_allclose((gen[0, 1], load[0, 1]), (5.0, (300 - 70) / 100))
    np.testing.assert_allclose(load[0, 2], gen[0, 2])
    own = Prosumers(devices).respond(np.zeros(3), np.full(3, 1e12)).price[2]
    assert 70.0 < own < 240.0


def test_the_gap_counts_from_the_optimum_to_everyone_alone():
    assert gap(10.0, 10.0, 5.0) == 0.0
    assert gap(10.0, 5.0, 5.0) == 1.0
    assert gap(-10.0, -11.0, -12.0) == 0.5
    assert gap(3.0, 3.0, 3.0) == 0.0
