"""What one prosumer would consume at a price, and what an additional unit is worth to it.

The net demand behind one meter, firm load + flexible load − generation, falls with the price. It is the
polyline of `market.atc.prosumers` seen from the trader's side: energies Wh per slot in whole lots, net
consumption positive, prices µ€/kWh at the trader's own bus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from market.atc.prosumers import Prosumers
from market.pricing.conditions import Devices
from market.units import UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH, Floats


@dataclass(frozen=True, eq=False)
class DemandCurve:
    """Net demand of one prosumer in one slot; `wh_per_pu` is one pu of power held for the slot."""

    prosumer: Prosumers
    firm_p: float
    wh_per_pu: float
    lot_wh: int

    @classmethod
    def of(
        cls, devices: Devices, column: int, firm_p: float, *, base_mw: float, hours: float, lot_wh: int
    ) -> DemandCurve:
        """The curve of one column of one-period devices; `firm_p` is its firm load, pu."""
        prosumer = Prosumers(column_of(devices, column))
        return cls(prosumer, firm_p, base_mw * hours * WH_PER_MWH, lot_wh)

    def net_wh(self, price: float, position_wh: int) -> int:
        """Net demand at a price, rounded to whole lots towards a position: every lot between is worth it."""
        power = float(self.prosumer.at_price(_one(price / UEUR_PER_KWH_PER_EUR_PER_MWH)).power[0])
        lots = ((self.firm_p - power) * self.wh_per_pu - position_wh) / self.lot_wh
        return position_wh + math.trunc(lots) * self.lot_wh

    def value(self, net_wh: float) -> float:
        """Worth of a unit more or less at a net demand, µ€/kWh.

        Below the least net demand that devices allow it is very high, above the greatest very low; at a
        demand that a range of prices brings about it is one of them, so ask a little to one side.
        """
        power = self.firm_p - net_wh / self.wh_per_pu
        price = self.prosumer.at_power(_one(power)).price[0]
        return float(price) * UEUR_PER_KWH_PER_EUR_PER_MWH

    def last_bought(self, net_wh: int) -> float:
        """Worth of the last watt-hour of a purchase that ends at a net demand, µ€/kWh."""
        return self.value(net_wh - 1)

    def last_sold(self, net_wh: int) -> float:
        """Worth of the last watt-hour of a sale that ends at a net demand, µ€/kWh."""
        return self.value(net_wh + 1)


def column_of(devices: Devices, column: int) -> Devices:
    """One column of the devices, still periods × devices."""
    at = slice(column, column + 1)
    return Devices(
        bus=devices.bus[at],
        gen_cost=devices.gen_cost[:, at],
        gen_slope=devices.gen_slope[:, at],
        gen_max=devices.gen_max[:, at],
        load_value=devices.load_value[:, at],
        load_slope=devices.load_slope[:, at],
        load_min=devices.load_min[:, at],
        load_max=devices.load_max[:, at],
    )


def _one(value: float) -> Floats:
    return np.array([value])
