"""What one prosumer would consume at a price, and what an additional unit is worth to it.

The net demand behind one meter, firm load + flexible load − generation, falls with the price. It is the
polyline of `market.atc.prosumers` seen from the trader's side: energies Wh per slot in whole lots, net
consumption positive, prices µ€/kWh at the trader's own bus. A trader asks a few times a round for a few
numbers, so these are plain floats; arrays of one entry would take twenty times as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from market.atc.prosumers import GEN_FULL, LOAD_EMPTY, PIN_EUR_PER_MWH_PER_PU
from market.pricing.conditions import Devices
from market.units import UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH


@dataclass(frozen=True)
class DemandCurve:
    """Net demand of one prosumer in one slot: devices as in `Devices`, pu and €/MWh.

    `wh_per_pu` is one pu of power held for the slot.
    """

    gen_cost: float
    gen_slope: float
    gen_max: float
    load_value: float
    load_slope: float
    load_min: float
    load_max: float
    firm_p: float
    wh_per_pu: float
    lot_wh: int

    @classmethod
    def of(
        cls, devices: Devices, column: int, firm_p: float, *, base_mw: float, hours: float, lot_wh: int
    ) -> DemandCurve:
        """The curve of one column of one-period devices; `firm_p` is its firm load, pu."""
        return cls(
            gen_cost=float(devices.gen_cost[0, column]),
            gen_slope=float(devices.gen_slope[0, column]),
            gen_max=float(devices.gen_max[0, column]),
            load_value=float(devices.load_value[0, column]),
            load_slope=float(devices.load_slope[0, column]),
            load_min=float(devices.load_min[0, column]),
            load_max=float(devices.load_max[0, column]),
            firm_p=firm_p,
            wh_per_pu=base_mw * hours * WH_PER_MWH,
            lot_wh=lot_wh,
        )

    def net_wh(self, price: float, position_wh: int) -> int:
        """Net demand at a price, rounded to whole lots towards a position: every lot between is worth it."""
        power = self._power_at(price / UEUR_PER_KWH_PER_EUR_PER_MWH)
        lots = ((self.firm_p - power) * self.wh_per_pu - position_wh) / self.lot_wh
        return position_wh + math.trunc(lots) * self.lot_wh

    def value(self, net_wh: float) -> float:
        """Worth of a unit more or less at a net demand, µ€/kWh.

        Below the least net demand that devices allow it is very high, above the greatest very low; at a
        demand that a range of prices brings about it is one of them, so ask a little to one side.
        """
        power = self.firm_p - net_wh / self.wh_per_pu
        return self._price_at(power) * UEUR_PER_KWH_PER_EUR_PER_MWH

    def last_bought(self, net_wh: int) -> float:
        """Worth of the last watt-hour of a purchase that ends at a net demand, µ€/kWh."""
        return self.value(net_wh - 1)

    def last_sold(self, net_wh: int) -> float:
        """Worth of the last watt-hour of a sale that ends at a net demand, µ€/kWh."""
        return self.value(net_wh + 1)

    def _power_at(self, price: float) -> float:
        """Injection, pu, at a price, €/MWh; who is indifferent takes the lowest."""
        gen = _reached(price - self.gen_cost, self.gen_slope, 0.0, self.gen_max, 0.0)
        return gen - _reached(
            self.load_value - price, self.load_slope, self.load_min, self.load_max, self.load_max
        )

    def _price_at(self, power: float) -> float:
        """Marginal price, €/MWh, at an injection; far beyond all prices where devices do not reach it."""
        corners = self._corners
        # a tilt so slight that it decides only on which end of a level piece a power lies
        excess = [at + price / PIN_EUR_PER_MWH_PER_PU - power for price, at in corners]
        passed = sum(each < 0 for each in excess)
        if passed in {0, len(corners)}:
            nearest = min(passed, len(corners) - 1)
            return corners[nearest][0] - excess[nearest] * PIN_EUR_PER_MWH_PER_PU
        low, high = corners[passed - 1][0], corners[passed][0]
        share = -excess[passed - 1] / (excess[passed] - excess[passed - 1])
        return low + share * (high - low)

    @cached_property
    def _corners(self) -> list[tuple[float, float]]:
        """Prices at which a device begins or ends to move, rising, and the injection there."""
        empty, full = self.gen_cost, self.gen_cost + self.gen_slope * self.gen_max
        most, least = (self.load_value - self.load_slope * load for load in (self.load_max, self.load_min))
        corners, ended = [], set[int]()
        for price, corner in sorted(zip((empty, full, most, least), range(4), strict=True)):
            ended.add(corner)
            gen = _moved(price, empty, full, ended=GEN_FULL in ended) * self.gen_max
            load_share = _moved(price, most, least, ended=LOAD_EMPTY in ended)
            corners.append((price, gen - (self.load_max - load_share * (self.load_max - self.load_min))))
        return corners


def _reached(margin: float, slope: float, low: float, high: float, indifferent: float) -> float:
    """How far a device moves for a margin between price and cost; a linear one jumps."""
    if slope == 0:
        return indifferent if margin == 0 else high if margin > 0 else low
    return min(max(margin * (1.0 / slope), low), high)


def _moved(price: float, low: float, high: float, *, ended: bool) -> float:
    """Share of its way that a device has moved at a corner's price; a linear one jumps where it ends."""
    if ended or high <= low:
        return float(ended)
    return min(max((price - low) / (high - low), 0.0), 1.0)
