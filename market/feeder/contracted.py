"""What contracted energy does to a feeder's limits, beside the load that is outside the market."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from market.feeder.model import Feeder
from market.feeder.powerflow import PowerFlowError, Violation, power_flow, violations
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

    def excess(self, trades: Iterable[Trade]) -> float:
        """By how much these trades break the worst broken limit, pu; 0 for none, inf for no flow at all."""
        try:
            found = self.broken(trades)
        except PowerFlowError:
            return inf
        return max((abs(each.value - each.limit) for each in found), default=0.0)

    def broken(self, trades: Iterable[Trade]) -> tuple[Violation, ...]:
        """Limits that the AC flow of these trades would break. Raises PowerFlowError where there is none."""
        sold, bought, energy_wh = np.array([*trades], dtype=np.int64).reshape(-1, 3).T
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


def least_taken_back(fills_wh: Sequence[int], lot_wh: int, excess: Callable[[int], float]) -> int:
    """The least of the last fills to take back, Wh in whole lots, for no limit to break; all if none does.

    `excess` tells by how much the worst limit breaks with so many Wh of them taken back, 0 where none does.
    Within one fill, of one seller and one buyer, it is taken to fall at first and to rise from somewhere on:
    of a flow without losses each limit's excess does so, and therefore the greatest of them. So too much may
    be as wrong as too little: what is taken back can break a limit in the other direction.
    Raises ValueError for a lot of nothing.
    """
    if lot_wh < 1:
        raise ValueError(f"lots of {lot_wh} Wh: at least 1")
    if excess(0) == 0:
        return 0
    taken_wh = 0
    for fill_wh in reversed(fills_wh):
        least_wh = _least_with(fill_wh, lot_wh, taken_wh, excess)
        if least_wh is not None:
            return least_wh
        taken_wh += fill_wh
    return taken_wh


def _least_with(fill_wh: int, lot_wh: int, taken_wh: int, excess: Callable[[int], float]) -> int | None:
    """The least total with a part of one fill that has no excess, which falls, then rises; by halving."""
    start = excess(taken_wh)
    low, high, least_wh = 1, -(-fill_wh // lot_wh), None
    while low <= high:
        lots = (low + high) // 2
        total_wh = taken_wh + min(lots * lot_wh, fill_wh)
        here = excess(total_wh)
        if here == 0:
            least_wh = total_wh
        # More than before: it rises from here on. As much, as where there is no flow: it has yet to fall.
        if here == 0 or here > min(start, excess(taken_wh + (lots - 1) * lot_wh)):
            high = lots - 1
        else:
            low = lots + 1
    return least_wh
