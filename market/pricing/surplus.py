"""What prices by bus leave with the utility: the merchandising surplus, and where it comes from.

Multiplying the equations between prices by the flows they belong to turns the surplus
MS = Σ_b λ_b n_b − λ_0·import, n_b what the market takes at bus b, into

    MS = Σ (μ̄·v − μ̲·v) + Σ η·l − Σ λq·m − v_0² Σ_root (ξ + σ·l)

with m reactive consumption: rents of voltage and current limits, less what reactive power is worth,
less what the substation's voltage is worth. MS can be negative: nobody pays for reactive flow.
Integers of the same surplus are settled on the chain; this is the float identity behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.optimality import injections
from market.units import Floats


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
    """n_b: served fixed load and devices, less the tie-break's injection, periods × buses, pu."""
    served = conditions.fixed_p * (1 - primal.shed)
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
