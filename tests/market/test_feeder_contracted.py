"""What contracted energy breaks: which limit, by which trade, and where a flow has no solution."""

from __future__ import annotations

import numpy as np
import pytest

from market.feeder.contracted import Carrier, least_cut, reason_of
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
        (0.0, [(1, 0, UNIT_WH * 3 // 5)], [(VetoReason.VOLTAGE_TOO_HIGH, 1), (VetoReason.LOADING, 1)]),
    ],
)
def test_the_limits_that_trades_break(load, trades, broken):
    found = carrier(load).broken(trades)
    assert {(reason_of(each), each.bus) for each in found} >= set(broken)
    assert bool(found) == bool(broken)


def test_what_no_feeder_carries_has_no_flow():
    with pytest.raises(PowerFlowError):
        carrier().broken([(0, 2, 10 * UNIT_WH)])


@pytest.mark.parametrize(
    ("fill_wh", "lot_wh", "needed_wh", "cut_wh"),
    [(1_000, 10, 1, 10), (1_000, 10, 10, 10), (1_000, 10, 11, 20), (1_000, 10, 1_000, 1_000), (7, 10, 3, 7)],
)
def test_the_least_that_is_enough(fill_wh, lot_wh, needed_wh, cut_wh):
    assert least_cut(fill_wh, lot_wh, lambda wh: wh >= needed_wh) == cut_wh
