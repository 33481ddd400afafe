"""What contracted energy does to a feeder's limits, beside the load that is outside the market."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.feeder.powerflow import Violation, power_flow, violations
from market.orders import VetoReason
from market.units import WH_PER_MWH, Floats

Trade = tuple[int, int, int]
"""The seller's bus, the buyer's bus, Wh."""


@dataclass(frozen=True, eq=False)
class Carrier:
    """A feeder in one slot with the load outside the market: p, q by bus, pu; the slot's hours."""

    feeder: Feeder
    load_p: Floats
    load_q: Floats
    hours: float

    def broken(self, trades: Iterable[Trade]) -> tuple[Violation, ...]:
        """Limits that the AC flow of these trades would break. Raises PowerFlowError where there is none."""
        sold, bought, energy_wh = np.array([*trades, (0, 0, 0)], dtype=np.int64).T
        net_wh = np.zeros(self.feeder.buses)
        np.add.at(net_wh, bought, energy_wh)
        np.subtract.at(net_wh, sold, energy_wh)
        net_p = self.load_p + net_wh / (self.feeder.base_mw * self.hours * WH_PER_MWH)
        return violations(self.feeder, power_flow(self.feeder, net_p, self.load_q))


def reason_of(broken: Violation) -> VetoReason:
    """As what a veto names a broken limit; its element is the bus, or the line by the bus that it feeds."""
    if broken.what == "current":
        return VetoReason.LOADING
    return VetoReason.VOLTAGE_TOO_LOW if broken.value < broken.limit else VetoReason.VOLTAGE_TOO_HIGH


def least_cut(fill_wh: int, lot_wh: int, enough: Callable[[int], bool]) -> int:
    """The least whole lots to take of a fill, Wh, where all of it is enough, found by halving.

    Where more taken back is not always better, this is one of the cuts of which a lot less is not enough.
    """
    too_few, lots = 0, -(-fill_wh // lot_wh)
    while lots - too_few > 1:
        middle = (too_few + lots) // 2
        if enough(middle * lot_wh):
            lots = middle
        else:
            too_few = middle
    return min(lots * lot_wh, fill_wh)
