"""What contracted energy breaks: which limit, by which trade, and where a flow has no solution."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from market.feeder.contracted import Carrier, least_taken_back, reason_of
from market.feeder.model import Feeder, Limits
from market.feeder.powerflow import PowerFlowError
from market.orders import VetoReason

HOURS, BASE_MW = 0.5, 0.1
UNIT_WH = 50_000
"""1 pu for half an hour."""


def carrier(load: float = 0.0) -> Carrier:
    """Two lines of 0.05 pu one behind the other, limits of 0.98 and 1.02, the first rated at 0.5."""
    feeder = Feeder(
        name="two",
        bus_names=("hub", "near", "far"),
        parent=np.array([-1, 0, 1]),
        r_pu=np.array([0.0, 0.05, 0.05]),
        x_pu=np.zeros(3),
        limits=Limits(np.full(3, 0.98), np.full(3, 1.02), np.array([np.inf, 0.5, np.inf])),
        base_mw=BASE_MW,
        v0=1.0,
        nominal_p_mw=np.zeros(3),
        nominal_q_mvar=np.zeros(3),
    )
    return Carrier(feeder, np.array([0.0, 0.0, load]), np.zeros(3), HOURS)


@pytest.mark.parametrize(
    ("load", "trades", "broken"),
    [
        (0.0, [], []),
        (0.0, [(0, 2, UNIT_WH // 10)], []),
        (0.0, [(0, 2, UNIT_WH // 4)], [(VetoReason.VOLTAGE_TOO_LOW, 2)]),
        (0.15, [(0, 2, UNIT_WH // 10)], [(VetoReason.VOLTAGE_TOO_LOW, 2)]),
        (0.0, [(2, 0, UNIT_WH // 4)], [(VetoReason.VOLTAGE_TOO_HIGH, 2)]),
        (0.0, [(0, 2, UNIT_WH // 4), (2, 0, UNIT_WH // 5)], []),
        # Between neighbours the first line carries nothing but losses.
        (0.0, [(1, 2, UNIT_WH // 4)], []),
        (
            0.0,
            [(1, 0, UNIT_WH * 3 // 5)],
            [(VetoReason.VOLTAGE_TOO_HIGH, 1), (VetoReason.VOLTAGE_TOO_HIGH, 2), (VetoReason.LOADING, 1)],
        ),
    ],
)
def test_the_limits_that_trades_break(load, trades, broken):
    found = carrier(load).broken(trades)
    assert {(reason_of(each), each.bus) for each in found} == set(broken)


def test_what_no_feeder_carries_has_no_flow():
    with pytest.raises(PowerFlowError):
        carrier().broken([(0, 2, 10 * UNIT_WH)])
    assert carrier().excess([(0, 2, 10 * UNIT_WH)]) == inf


@pytest.mark.parametrize(
    ("fills_wh", "lot_wh", "fit_wh", "least_wh"),
    [
        ((1_000,), 10, (0, 1_000), 0),
        ((1_000,), 10, (1, 1_000), 10),
        ((1_000,), 10, (11, 1_000), 20),
        ((1_000,), 10, (1_000, 1_000), 1_000),
        ((7,), 10, (3, 7), 7),
        ((300, 100, 200), 1, (1, 600), 1),
        ((300, 100, 200), 50, (150, 600), 150),
        ((300, 100, 200), 1, (200, 600), 200),
        ((300, 100, 200), 50, (470, 600), 500),
        ((300, 100, 200), 1, (600, 600), 600),
        ((300, 100, 200), 1, (601, 700), 600),
        # Too much is as wrong as too little, of the last fill or of one before it.
        ((16_000, 30_000), 1, (4_906, 29_600), 4_906),
        ((16_000, 30_000), 10, (29_984, 29_992), 29_990),
        ((300, 100, 200), 1, (220, 225), 220),
        ((300, 100, 200), 1, (1, 1), 1),
        ((300, 0, 200), 1, (220, 500), 220),
    ],
)
@pytest.mark.parametrize("flows_within_wh", [10**9, 2_000])
def test_the_least_to_take_back(fills_wh, lot_wh, fit_wh, least_wh, flows_within_wh):
    """Where totals within two bounds are enough; far enough from them there is no flow."""

    def excess(taken_wh):
        beyond_wh = max(fit_wh[0] - taken_wh, taken_wh - fit_wh[1], 0)
        return beyond_wh if beyond_wh <= flows_within_wh else inf

    assert least_taken_back(fills_wh, lot_wh, excess) == least_wh


def test_too_much_back_overloads_the_line_the_other_way():
    """Sold 0.6 pu, then bought 1.4: of 1.4 a part has to go, and with all of it gone the sale overloads."""
    sold_wh, bought_wh = UNIT_WH * 6 // 10, UNIT_WH * 14 // 10

    def after(taken_wh):
        return [(1, 0, sold_wh), (0, 1, bought_wh - taken_wh)] if taken_wh < bought_wh else [(1, 0, sold_wh)]

    weak = carrier()
    assert weak.broken(after(0)) and weak.broken(after(bought_wh))
    enough = [wh for wh in range(0, bought_wh + 1, 500) if not weak.broken(after(wh))]
    least_wh = least_taken_back((sold_wh, bought_wh), 500, lambda wh: weak.excess(after(wh)))
    assert least_wh == enough[0] < enough[-1] < bought_wh


def test_of_lots_of_nothing_there_is_no_least():
    with pytest.raises(ValueError, match="lots of 0 Wh: at least 1"):
        least_taken_back((300,), 0, lambda _: 0.0)
