"""What prices by bus leave with the utility: the merchandising surplus, and where it comes from.

Multiplying the equations between prices by the flows they belong to turns the surplus
MS = Σ_b λ_b n_b − λ_0·import, n_b what the market takes at bus b, into

    MS = Σ (μ̄·v̄ − μ̲·v̲) + Σ η·l̄ − Σ λq·m − v_0² Σ_root (ξ + σ·l)

with m reactive consumption: rents of voltage and current limits, less what reactive power is worth,
less what the substation's voltage is worth. v, v̄ and l̄ are squares; a limit with a multiplier is met, so
that the schedule's own v and l stand for limits. MS can be negative: nobody pays for reactive flow.

Integers of the same surplus are settled on the chain (`market.settlement.slot_identity`), from readings.
Of one schedule both are the same but for rounding: of Λ_b = λ_b + δ_b and N_b = n_b + ε_b, in µ€/kWh and Wh,
with |δ|, |ε| ≤ ½, each Λ_b·N_b is off by δ·n + ε·λ + δ·ε, at most ½(|n_b| + |λ_b|) + ¼ n€, and so is the
import at Λ_0. `rounding_neur` is the sum: some n€ a slot for each kWh and €/MWh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Duals, Primal, SlotPrices
from market.pricing.optimality import injections
from market.units import NEUR_PER_EUR, UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH, Floats, quantise_energy


@dataclass(frozen=True, eq=False)
class Surplus:
    """The merchandising surplus by period and its sources, €/h per pu of base; they add up to it."""

    merchandising: Floats
    voltage_rent: Floats
    congestion_rent: Floats
    reactive: Floats
    substation_voltage: Floats

    @property
    def sources(self) -> Floats:
        """Sum of the four sources."""
        return self.voltage_rent + self.congestion_rent + self.reactive + self.substation_voltage


def net_consumption(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """n_b: served firm load and devices, less the tie-break's injection, periods × buses, pu."""
    served = conditions.fixed_p - conditions.firm_p * primal.shed
    return np.asarray(served - injections(feeder, conditions, primal) - primal.elastic)


def surplus(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> Surplus:
    """Merchandising surplus of a cleared feeder, and its sources."""
    taken = net_consumption(feeder, conditions, primal)
    reactive_taken = conditions.fixed_q * (1 - primal.shed)
    reactive_taken[:, 0] = 0.0  # compensated at the substation
    root = feeder.parent == 0
    drop = (duals.voltage + duals.cone * primal.l)[:, root].sum(axis=1)
    return Surplus(
        merchandising=(duals.price * taken).sum(axis=1) - duals.price[:, 0] * primal.net_import,
        voltage_rent=((duals.v_high - duals.v_low) * primal.v).sum(axis=1),
        congestion_rent=(duals.current * primal.l).sum(axis=1),
        reactive=-(duals.reactive * reactive_taken).sum(axis=1),
        substation_voltage=-(feeder.v0**2) * drop,
    )


def net_consumption_wh(
    feeder: Feeder, conditions: Conditions, primal: Primal, period: int = 0
) -> tuple[int, ...]:
    """n_b of one period as meters that follow the schedule would read it, Wh."""
    taken = net_consumption(feeder, conditions, primal)[period]
    return tuple(quantise_energy(taken, feeder.base_mw, conditions.hours).tolist())


def settled_surplus_neur(prices: SlotPrices, net_wh: tuple[int, ...], import_wh: int) -> int:
    """The surplus of a slot in integers, Σν_b·N_b − λ_0·loss with loss = import − ΣN, n€."""
    loss_wh = import_wh - sum(net_wh)
    charged = sum(charge * net for charge, net in zip(prices.charges, net_wh, strict=True))
    return charged - prices.hub_price * loss_wh


def surplus_neur(surplus: Surplus, feeder: Feeder, conditions: Conditions) -> Floats:
    """The merchandising surplus by period, n€ before rounding."""
    return np.asarray(surplus.merchandising * feeder.base_mw * conditions.hours * NEUR_PER_EUR)


def rounding_neur(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> Floats:
    """Most by which the settled surplus of a schedule differs from its float one, by period, n€."""
    wh = feeder.base_mw * conditions.hours * WH_PER_MWH
    energy = np.abs(net_consumption(feeder, conditions, primal)).sum(axis=1) + np.abs(primal.net_import)
    price = np.abs(duals.price).sum(axis=1) + np.abs(duals.price[:, 0])
    terms = feeder.buses + 1
    return np.asarray((wh * energy + UEUR_PER_KWH_PER_EUR_PER_MWH * price) / 2 + terms / 4)
