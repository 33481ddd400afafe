"""Units of the market, and the one place where floating-point prices become integers.

Energy is an integer number of watt-hours, a price an integer number of micro-euros per
kilowatt-hour, money an integer number of nano-euros. One µ€/kWh times one Wh is exactly
one n€, so bills never divide and never round. The euro stands for the configured currency.

Floats exist only in feeders, pricing, ATC and devices: there a price is in €/MWh and a power
is per unit on the feeder's base.
"""

from __future__ import annotations

from typing import NewType

import numpy as np
import numpy.typing as npt

Wh = NewType("Wh", int)
"""Energy, watt-hours."""
UeurPerKwh = NewType("UeurPerKwh", int)
"""Price, micro-euros per kilowatt-hour; 1 000 of them are 1 €/MWh."""
Neur = NewType("Neur", int)
"""Money, nano-euros."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

UEUR_PER_KWH_PER_EUR_PER_MWH = 1_000
NEUR_PER_EUR = 1_000_000_000
WH_PER_MWH = 1_000_000
KW_PER_MW = 1_000.0

TICK_UEUR_PER_KWH = 100
"""Book tick: 0.1 €/MWh."""
TICK_MAX = 32_767
"""Highest tick of the book, 3.2767 €/kWh; the lowest is its negative."""


def quantise_price(eur_per_mwh: float | Floats) -> Ints:
    """Round prices in €/MWh half-even to integer µ€/kWh.

    Accepts a scalar or any shape and returns int64 of that shape. Raises ValueError on NaN,
    infinity, or a price outside the 32-bit range the contract stores.
    """
    scaled = np.asarray(eur_per_mwh, dtype=np.float64) * UEUR_PER_KWH_PER_EUR_PER_MWH
    if not np.all(np.isfinite(scaled)):
        raise ValueError("price is not finite")
    rounded = np.rint(scaled)
    if np.any(np.abs(rounded) > 2**31 - 1):
        raise ValueError("price is outside the 32-bit range of the contract")
    return rounded.astype(np.int64)


def quantise_energy(power_pu: float | Floats, base_mw: float, hours: float) -> Ints:
    """Round per-unit powers held for `hours` half-even to integer watt-hours.

    Accepts a scalar or any shape and returns int64 of that shape. Raises ValueError on NaN
    or infinity.
    """
    wh = np.asarray(power_pu, dtype=np.float64) * (base_mw * hours * WH_PER_MWH)
    if not np.all(np.isfinite(wh)):
        raise ValueError("power is not finite")
    return np.rint(wh).astype(np.int64)


def eur_per_mwh(ueur_per_kwh: int | Ints) -> Floats:
    """Turn integer µ€/kWh into €/MWh for pricing and display."""
    return np.asarray(ueur_per_kwh, dtype=np.float64) / UEUR_PER_KWH_PER_EUR_PER_MWH


def eur(neur: int) -> float:
    """Turn integer n€ into euros, for display only."""
    return neur / NEUR_PER_EUR


def bid_tick(limit_ueur_per_kwh: int, charge_ueur_per_kwh: int) -> int:
    """Hub tick of a bid: floor((limit − ν_b)/tick), clamped to the top of the book.

    The limit is all-in at the trader's bus. May return a tick below the book's range, which
    the caller refuses: a bid cannot be raised to fit.
    """
    return min((limit_ueur_per_kwh - charge_ueur_per_kwh) // TICK_UEUR_PER_KWH, TICK_MAX)


def ask_tick(limit_ueur_per_kwh: int, charge_ueur_per_kwh: int) -> int:
    """Hub tick of an ask: ceil((limit − ν_b)/tick), clamped to the bottom of the book.

    May return a tick above the book's range, which the caller refuses.
    """
    return max(-((charge_ueur_per_kwh - limit_ueur_per_kwh) // TICK_UEUR_PER_KWH), -TICK_MAX)


def hub_price(tick: int) -> int:
    """Price of a tick on the hub axis, µ€/kWh."""
    return tick * TICK_UEUR_PER_KWH
