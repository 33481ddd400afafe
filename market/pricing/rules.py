"""Rules of the clearing that every method shares: the tie-break and the cost of shedding (README.md)."""

from __future__ import annotations

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import TIE_BREAK_PU_PER_EUR_PER_MWH, Conditions
from market.units import Floats


def tie_break_share(feeder: Feeder) -> float:
    """ε/(n+1): pu injected at one bus for each €/MWh that its price is above c."""
    return TIE_BREAK_PU_PER_EUR_PER_MWH / feeder.buses


def tie_break_centre(conditions: Conditions) -> Floats:
    """c = (π_imp + π_exp)/2 by period, €/MWh."""
    return np.asarray((conditions.hub.import_price + conditions.hub.export_price) / 2)


def shed_cost(conditions: Conditions) -> Floats:
    """Cost of shedding a bus's whole firm load, VOLL·|p̄ + jq̄|, periods × buses, €/h per pu of base."""
    return np.asarray(conditions.voll * np.hypot(conditions.firm_p, conditions.fixed_q))
