"""The market's pages: templates with the units people read, kWh and €/kWh, and times in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from typing import Any, get_args

from jinja2 import Environment

from ledger.audit.plain import decimal
from market.agents.utility import WITHOUT_LIMIT_WH
from market.events import Event
from node.simulate.wording import MINUS, NBSP
from node.web.templating import environment

LOT_WH_MAX = 1_000_000
"""Quotes without limit are the largest quantity in whole lots, so up to a lot below it."""
UEUR_PER_EUR = 1_000_000
NOTHING = "–"
LEVELS_SHOWN = 12
EVENTS = " ".join(kind.__name__ for kind in get_args(Event))
"""Names of what the stream of events may tell."""


def render(template: str, **shown: Any) -> str:
    """A page as HTML; whatever is shown is escaped."""
    return _environment().get_template(template).render(shown)


def unlimited(energy_wh: int) -> bool:
    """Whether an energy is the utility's way of saying that it sets no limit."""
    return energy_wh > WITHOUT_LIMIT_WH - LOT_WH_MAX


def depth(levels: Sequence[Any]) -> list[int]:
    """How much rests down to each level, best first, as a percentage of the side; without limit is all."""
    reached = list(accumulate(0 if unlimited(level.quantity_wh) else level.quantity_wh for level in levels))
    whole = max(reached, default=0) or 1
    return [
        100 if unlimited(level.quantity_wh) else round(100 * sum_wh / whole)
        for level, sum_wh in zip(levels, reached, strict=True)
    ]


def changes_in_seconds(slot: Any, now_unix_seconds: int) -> int | None:
    """Seconds until a slot opens or its gate closes, which no event tells; None where neither lies ahead."""
    if slot.state == "open":
        return int(slot.gate_unix_seconds - now_unix_seconds)
    if slot.state == "scheduled" and slot.opens_unix_seconds > now_unix_seconds:
        return int(slot.opens_unix_seconds - now_unix_seconds)
    return None


def _day(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%d %b %H:%M").replace(" ", NBSP)


def _clock(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%H:%M:%S")


def _machine_time(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _eur_per_kwh(price_ueur_per_kwh: int | None) -> str:
    """Ticks are a ten-thousandth of a €/kWh; prices by bus are finer, and rounded here alone."""
    if price_ueur_per_kwh is None:
        return NOTHING
    return f"{price_ueur_per_kwh / UEUR_PER_EUR:.4f}".replace("-", MINUS)


def _kwh(energy_wh: int | None) -> str:
    if energy_wh is None:
        return NOTHING
    if unlimited(energy_wh):
        return "without limit"
    return f"{energy_wh / 1_000:,.3f}".replace("-", MINUS)


def _eur(amount_neur: int | None) -> str:
    """To the last unit, without zeros that say nothing after the cents."""
    if amount_neur is None:
        return NOTHING
    return f"{decimal(amount_neur, 9)}{NBSP}€".replace("-", MINUS)


def _short(address: str) -> str:
    return f"{address[:8]}…{address[-4:]}"


@cache
def _environment() -> Environment:
    made = environment(
        {
            "clock": _clock,
            "day": _day,
            "eur": _eur,
            "eur_per_kwh": _eur_per_kwh,
            "kwh": _kwh,
            "machine_time": _machine_time,
            "number": lambda value: "" if value is None else value,
            "short": _short,
        }
    )
    made.globals |= {
        "EVENTS": EVENTS,
        "LEVELS_SHOWN": LEVELS_SHOWN,
        "changes_in_seconds": changes_in_seconds,
        "depth": depth,
    }
    return made
