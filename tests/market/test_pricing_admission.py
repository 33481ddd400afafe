from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market.feeder import load
from market.pricing import direct
from market.pricing.admission import ConditionsError, HubError, PricingError, SubstationVoltage, admit
from market.pricing.conditions import Hub
from market.pricing.lindistflow import LinDistFlowClearing
from market.pricing.socp import SocpClearing
from tests.market.pricing_cases import draw

FEEDER, CONDITIONS = draw(1)


def test_good_conditions_are_admitted():
    admit(FEEDER, CONDITIONS)


@pytest.mark.parametrize("limits", [(1.01, 1.1), (0.9, 0.99)])
@pytest.mark.parametrize(
    "method", [direct.clear, lambda f, c: SocpClearing(f)(f, c), lambda f, c: LinDistFlowClearing(f)(f, c)]
)
def test_substation_outside_the_limits_is_refused_by_every_method(limits, method):
    feeder = load("ieee33", *limits)
    with pytest.raises(
        SubstationVoltage, match=r"feeder ieee33: substation at 1 pu is outside the limits .* of bus 1$"
    ):
        method(feeder, CONDITIONS)


def test_one_bus_with_other_limits_is_named():
    feeder = load("ieee33")
    v_min = feeder.limits.v_min.copy()
    v_min[17] = 1.01
    with pytest.raises(SubstationVoltage, match="bus 18"):
        admit(replace(feeder, limits=replace(feeder.limits, v_min=v_min)), CONDITIONS)


def test_hub_that_buys_above_its_price_is_refused():
    hub = Hub(np.array([40.0]), np.array([40.001]))
    with pytest.raises(HubError, match=r"period 0 asks 40 €/MWh, below its bid 40\.001 €/MWh$"):
        admit(FEEDER, replace(CONDITIONS, hub=hub))


def test_shapes_are_named():
    with pytest.raises(ConditionsError, match=r"fixed_q has shape \(1, 32\), expected \(1, 33\)"):
        admit(FEEDER, replace(CONDITIONS, fixed_q=CONDITIONS.fixed_q[:, 1:]))
    devices = replace(CONDITIONS.devices, gen_max=CONDITIONS.devices.gen_max[:, 1:])
    with pytest.raises(ConditionsError, match=r"devices\.gen_max has shape \(1, 39\), expected \(1, 40\)"):
        admit(FEEDER, replace(CONDITIONS, devices=devices))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_must_be_finite(value):
    fixed_p = CONDITIONS.fixed_p.copy()
    fixed_p[0, 7] = value
    with pytest.raises(ConditionsError, match=r"fixed_p is not finite at \[0 7\]"):
        admit(FEEDER, replace(CONDITIONS, fixed_p=fixed_p))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("gen_slope", -1.0, "gen_slope -1 €/MWh per pu, below 0"),
        ("load_slope", -1.0, "load_slope -1 €/MWh per pu, below 0"),
        ("gen_max", -0.1, "gen_max -0.1 pu, below 0"),
        ("load_min", 99.0, r"load_max 0\.\d+ pu, below load_min, 99 pu"),
        ("load_min", -0.1, "load_min -0.1 pu, below 0"),
    ],
)
def test_devices_that_are_not_convex_or_empty_are_refused(name, value, rule):
    array = getattr(CONDITIONS.devices, name).copy()
    array[0, 3] = value
    devices = replace(CONDITIONS.devices, **{name: array})
    with pytest.raises(ConditionsError, match=f"device 3 in period 0 has {rule}"):
        admit(FEEDER, replace(CONDITIONS, devices=devices))


def test_device_at_an_unknown_bus_and_worthless_lost_load_are_refused():
    bus = CONDITIONS.devices.bus.copy()
    bus[2] = 33
    with pytest.raises(ConditionsError, match="device 2 is at bus 33, unknown"):
        admit(FEEDER, replace(CONDITIONS, devices=replace(CONDITIONS.devices, bus=bus)))
    with pytest.raises(ConditionsError, match=r"voll is 0\.0 €/MWh, expected above 0"):
        admit(FEEDER, replace(CONDITIONS, voll=0.0))
    with pytest.raises(ConditionsError, match=r"hours is -1\.0 h, expected above 0"):
        admit(FEEDER, replace(CONDITIONS, hours=-1.0))


def test_a_compiled_clearing_serves_its_own_feeder_only():
    kept = SocpClearing(FEEDER)
    with pytest.raises(PricingError, match="compiled for feeder ieee33"):
        kept(load("ieee33", 0.9, 1.1, rated=True), CONDITIONS)
    # the same feeder loaded twice is the same feeder
    again, _ = draw(1)
    assert again is not FEEDER
    assert kept(again, CONDITIONS).status == "optimal"
