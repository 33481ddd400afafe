"""Figures as people read them: a number and its unit never part at a line's end."""

from __future__ import annotations

from market.units import WH_PER_MWH, eur, eur_per_mwh

NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def energy(wh: int) -> str:
    """kWh below 1 MWh, else MWh."""
    if abs(wh) < WH_PER_MWH:
        return _with_unit(f"{wh / 1_000:,.1f}", "kWh")
    return _with_unit(f"{wh / WH_PER_MWH:,.2f}", "MWh")


def power(mw: float) -> str:
    """kW below 1 MW, else MW; three digits."""
    number, unit = (1_000 * mw, "kW") if abs(mw) < 1 else (mw, "MW")
    return _with_unit(f"{float(f'{number:.3g}'):,g}", unit)


def money(neur: int) -> str:
    """To the cent."""
    return _with_unit(cents(neur), "€")


def change(neur: int) -> str:
    """To the cent, with its sign."""
    return _with_unit(f"{eur(neur):+,.2f}", "€")


def cents(neur: int) -> str:
    """Euros to the cent, without the unit."""
    return f"{eur(neur):,.2f}".replace("-", MINUS)


def euros(amount: float) -> str:
    """An amount that never was integer money, as welfare."""
    return _with_unit(f"{amount:,.2f}", "€")


def average_price(neur: int, wh: int) -> str:
    """Money per energy, €/MWh. Raises ZeroDivisionError without energy."""
    return _with_unit(f"{float(eur_per_mwh(1)) * neur / wh:,.2f}", "€/MWh")


def _with_unit(number: str, unit: str) -> str:
    return number.replace("-", MINUS) + NBSP + unit
