"""A prosumer's curve, asked by numbers, is the polyline that ATC asks by arrays."""

from __future__ import annotations

import numpy as np
import pytest

from market.agents.curve import DemandCurve
from market.atc.prosumers import Prosumers
from tests.market.test_atc_prosumers import COLUMNS, devices

FIRM_P, LOT_WH, WH_PER_PU = 0.3, 100, 1e6
PRICES = (-50.0, 10.0, 20.0, 23.4, 25.0, 30.0, 41.7, 80.0, 400.0)
"""€/MWh; those that devices have as a cost or value among them."""


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_is_one_column_of_many(seed):
    """The same bits: both do the same in the same order."""
    d = devices(seed)
    together = Prosumers(d)
    curves = [DemandCurve.of(d, k, FIRM_P, base_mw=1.0, hours=1.0, lot_wh=LOT_WH) for k in range(COLUMNS)]
    for price in PRICES:
        power = together.at_price(np.full(COLUMNS, price)).power
        lots = np.trunc((FIRM_P - power) * WH_PER_PU / LOT_WH).astype(int)
        assert [curve.net_wh(1_000 * price, 0) for curve in curves] == list(LOT_WH * lots)
    low, high = together.range()
    for share in (-0.5, 0.0, 0.2, 0.5, 0.93, 1.0, 1.5):
        net_wh = (FIRM_P - (low + share * (high - low))) * WH_PER_PU
        value = 1_000 * together.at_power(FIRM_P - net_wh / WH_PER_PU).price
        assert [curve.value(wh) for curve, wh in zip(curves, net_wh, strict=True)] == list(value)


def test_what_is_bought_is_worth_its_price():
    """Between its bounds a device stops where its next watt-hour is worth what it costs."""
    curve = DemandCurve(
        gen_cost=0.0, gen_slope=1.0, gen_max=0.0, load_value=200.0, load_slope=1e5, load_min=0.0,
        load_max=1e-3, firm_p=0.0, wh_per_pu=WH_PER_PU, lot_wh=1,
    )  # fmt: skip
    assert curve.net_wh(150_000, 0) == 500  # 200 − 1e5·d = 150 €/MWh where d = 0.0005 pu
    assert curve.value(500) == pytest.approx(150_000, rel=2e-7)  # a tilt of 1e-12 pu a €/MWh, on 1e-5
    assert curve.net_wh(201_000, 0) == 0 and curve.net_wh(99_000, 0) == 1_000
    assert curve.value(1_001) < -5e8 and curve.value(-1) > 5e8
