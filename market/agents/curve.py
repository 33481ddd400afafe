"""What one prosumer would consume at a price, and what an additional unit is worth to it.

The net demand behind one meter, firm load + flexible load − generation, falls with the price. It is the
polyline of `market.atc.prosumers` seen from the trader's side: energies Wh per slot in whole lots, net
consumption positive, prices µ€/kWh at the trader's own bus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.prosumers import Prosumers
from market.pricing.conditions import Devices
from market.units import UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH


@dataclass(frozen=True, eq=False)
class DemandCurve:
    """Net demand of one prosumer in one slot. `wh_per_pu` is one pu of power held for the slot."""

    prosumer: Prosumers
    firm_p: float
    wh_per_pu: float
    lot_wh: int

    @classmethod
    def of(
        cls, devices: Devices, column: int, firm_p: float, *, base_mw: float, hours: float, lot_wh: int
    ) -> DemandCurve:
        """The curve of one column of the devices; `firm_p` is its firm load, pu."""
        return cls(Prosumers(one(devices, column)), firm_p, base_mw * hours * WH_PER_MWH, lot_wh)

    def net_wh(self, price: int) -> int:
        """Net demand at a price, rounded half-even to whole lots."""
        power = self.prosumer.at_price(_array(price / UEUR_PER_KWH_PER_EUR_PER_MWH)).power[0]
        return round((self.firm_p - float(power)) * self.wh_per_pu / self.lot_wh) * self.lot_wh

    def value(self, net_wh: int) -> float:
        """Worth of the last unit at a net demand, µ€/kWh: what a bid for it may pay, an ask must get.

        Beyond what the devices can do the price runs off, as steeply as ever needed.
        """
        power = self.firm_p - net_wh / self.wh_per_pu
        answer = self.prosumer.respond(_array(power), _array(PIN_EUR_PER_MWH_PER_PU))
        return float(answer.price[0]) * UEUR_PER_KWH_PER_EUR_PER_MWH


PIN_EUR_PER_MWH_PER_PU = 1e12
"""A weight that pins the power to its target: the proximal step then reads the curve at that power."""


def one(devices: Devices, column: int) -> Devices:
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


def _array(value: float) -> np.typing.NDArray[np.float64]:
    return np.array([value])
