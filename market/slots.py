"""Delivery slots: their numbers, their times, and the state a slot is in at a moment.

A slot's number is its start in Unix seconds divided by the slot's length, so a number names
one interval of time on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

CLASSES_MAX = 3
"""Certified classes that a market may have, beside class 0."""


class Rule(IntEnum):
    """Settlement rule of a market (contracts/README.md)."""

    DLMP = 0
    TARIFF = 1


@dataclass(frozen=True, slots=True)
class Terms:
    """What a market fixes at deployment: the constructor arguments of the contract.

    Times are seconds, `lot_wh` is the smallest tradable energy, `buses` counts the substation
    (bus 0), `penalties_ueur_per_kwh[c - 1]` is the penalty of certified class c, of which there are at most
    3. For `veto_grace` seconds from the gate on fills can be vetoed; 0: the market has no veto.
    """

    slot_seconds: int = 900
    open_lead: int = 7_200
    gate_lead: int = 900
    price_grace: int = 3_600
    meter_grace: int = 3_600
    resettle_grace: int = 86_400
    veto_grace: int = 0
    rule: Rule = Rule.DLMP
    lot_wh: int = 1
    buses: int = 33
    penalties_ueur_per_kwh: tuple[int, ...] = ()

    def penalty(self, energy_class: int) -> int:
        """What a Wh sold in a class without certificate costs, µ€/kWh; nothing in class 0."""
        return self.penalties_ueur_per_kwh[energy_class - 1] if energy_class else 0

    def start(self, slot: int) -> int:
        """First second of delivery."""
        return slot * self.slot_seconds

    def end(self, slot: int) -> int:
        """First second after delivery."""
        return (slot + 1) * self.slot_seconds

    def opens(self, slot: int) -> int:
        """Trading may start; charges must have been posted before."""
        return self.start(slot) - self.open_lead

    def gate(self, slot: int) -> int:
        """First second at which no order is taken any more."""
        return self.start(slot) - self.gate_lead

    def closing(self, slot: int) -> int:
        """First second at which the gate may be closed: nothing can be vetoed any more."""
        return self.gate(slot) + self.veto_grace

    def prices_due(self, slot: int) -> int:
        """T_p: without prices by then the slot settles by the tariff formula."""
        return self.end(slot) + self.price_grace

    def readings_due(self, slot: int) -> int:
        """T1: without a reading by then the account is estimated."""
        return self.end(slot) + self.meter_grace

    def final(self, slot: int) -> int:
        """T2: no reading replaces an estimate any more."""
        return self.end(slot) + self.resettle_grace


@dataclass(frozen=True, slots=True)
class Tariff:
    """Tariff of a slot, µ€/kWh: flat retail price, the part NUC replaces, feed-in tariff.

    Raises ValueError where π_imp = retail − network_fee is below π_exp = fit.
    """

    retail: int
    network_fee: int
    fit: int

    def __post_init__(self) -> None:
        if self.hub_import < self.hub_export:
            raise ValueError(
                f"tariff: retail - network_fee = {self.hub_import} is below fit = {self.hub_export}"
            )

    @property
    def hub_import(self) -> int:
        """π_imp: what the utility asks at the hub."""
        return self.retail - self.network_fee

    @property
    def hub_export(self) -> int:
        """π_exp: what the utility bids at the hub."""
        return self.fit

    def shortfall_price(self, charge: int) -> int:
        """λ⁺ of rule `tariff`: what energy beyond the contract costs at a bus with this charge."""
        return max(self.retail, self.hub_import + charge)

    def surplus_price(self, charge: int) -> int:
        """λ⁻ of rule `tariff`: what energy short of the contract earns at a bus with this charge."""
        return self.fit + min(0, charge)
