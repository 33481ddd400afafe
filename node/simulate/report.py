"""The report page: one self-contained HTML file that says what happened, in words, figures and pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment

from market.comparison import Kind
from node.simulate.bills import Account, accounts, in_words, total
from node.simulate.canvas import DARK, Shown, data_uri
from node.simulate.plots import PLOTS, Plot, draw
from node.simulate.result import DayResult, NetworkState
from node.simulate.summary import broken_limit, planned_shedding, share_reached, summarise, unproven
from node.simulate.tables import iso, tables
from node.simulate.utility import UtilityResult, day_utility_result
from node.simulate.wording import cents, energy, euros, money
from node.web.templating import environment

CAUSES = {
    Kind.BOUGHT: "bought in the book above the utility's hub price",
    Kind.SOLD: "sold in the book below the feed-in tariff",
    Kind.NETWORK_IMPORT: "network usage charge above the network fee in the retail price",
    Kind.NETWORK_EXPORT: "network usage charge on energy sold",
    Kind.UNCONSUMED: "bought and not consumed, closed out below cost",
    Kind.UNINJECTED: "sold and not injected, closed out above income",
    Kind.EXTRA_IMPORT: "consumed more than contracted, above retail",
    Kind.EXTRA_EXPORT: "injected more than contracted, below the feed-in tariff",
    Kind.ROUND_TRIP: "bought and sold again at a loss",
    Kind.PENALTY: "penalty for energy that was not certified",
}
"""Short names of causes, for tables."""


@dataclass(frozen=True, slots=True)
class WorseSlots:
    """Slot bills above FiT/retail with one main cause: how many, by how much together, and the largest."""

    cause: str
    count: int
    difference_neur: int
    name: str
    start: str
    largest: str


@dataclass(frozen=True, slots=True)
class UtilityRow:
    """A line of the utility's table."""

    what: str
    neur: int
    why: str
    sum: bool = False


@dataclass(frozen=True, slots=True)
class Voltages:
    """Extremes of delivered voltage over the day, pu, and the buses where they occur."""

    low: float
    low_bus: str
    high: float
    high_bus: str


def render_report(day: DayResult, light: dict[str, bytes] | None = None) -> str:
    """The page of a session; `light` are pictures by name already drawn. Raises FillsMismatchError."""
    summary, everybody = summarise(day), accounts(day)
    utility = day_utility_result(day)
    drawn = light or {}
    return (
        _environment()
        .get_template("report.html")
        .render(
            summary=summary,
            unproven=unproven(summary),
            planned_shedding=planned_shedding(summary),
            slot_minutes=f"{day.slot_seconds / 60:g}",
            first_start=iso(day.slots[0].start),
            bus_names=day.bus_names,
            pictures=[_picture(plot, day, drawn.get(plot.name)) for plot in PLOTS],
            accounts=everybody,
            everybody=total([account.day for account in everybody]),
            worse_slots=worse_slots(day, everybody),
            utility=utility,
            utility_rows=_utility_rows(utility),
            voltage=_voltages(day),
            violations=(
                ("Schedule at gate closure", _violations(day, [slot.scheduled for slot in day.slots])),
                ("Delivered", _violations(day, [slot.delivered for slot in day.slots])),
            ),
            table_names=[table.name for table in tables(day)],
        )
    )


@cache
def _environment() -> Environment:
    filters: dict[str, Callable[..., Any]] = {
        "energy": energy,
        "money": money,
        "kwh": lambda wh: f"{wh / 1_000:,.1f}",
        "cents": cents,
        "euros": euros,
        "sentence": share_reached,
        "in_words": in_words,
        "reached": lambda gap: "–" if gap is None else f"{100 * (1 - gap):.2f} %",
    }
    return environment(filters)


def _picture(plot: Plot, day: DayResult, light: bytes | None) -> Shown:
    return Shown(
        plot.title,
        plot.caption,
        data_uri(light if light is not None else draw(plot, day)),
        data_uri(draw(plot, day, DARK)),
    )


def worse_slots(day: DayResult, everybody: Sequence[Account]) -> list[WorseSlots]:
    """Slot bills above FiT/retail by main cause, the most expensive cause first."""
    found = defaultdict(list)
    for account in everybody:
        for slot, bill in zip(day.slots, account.slots, strict=True):
            if bill.worse_off:
                found[bill.causes[0].kind].append((bill, account.participant.name, slot.start))
    rows = []
    for kind, bills in found.items():
        largest, name, start = max(bills, key=lambda entry: entry[0].difference_neur)
        rows.append(
            WorseSlots(
                CAUSES[kind],
                len(bills),
                sum(bill.difference_neur for bill, _, _ in bills),
                name,
                iso(start),
                in_words(largest.causes[0]),
            )
        )
    return sorted(rows, key=lambda row: -row.difference_neur)


def _utility_rows(utility: UtilityResult) -> list[UtilityRow]:
    """What it took and paid, then where that comes from; terms of rule `tariff` only where they matter."""
    sources = utility.sources
    rows = [
        UtilityRow(
            "from the market", utility.market, "charges, close-outs and imbalances, less its hub trades"
        ),
        UtilityRow("from other load", utility.retail, "at the retail price"),
        UtilityRow("for the import", -utility.wholesale, "at the wholesale price"),
        UtilityRow("result", utility.result, "", sum=True),
        UtilityRow(
            "network usage", utility.network, "what prices differ from the hub price, on all load: Σν(M + D)"
        ),
        UtilityRow("losses", utility.losses, "at the hub price: −λ₀·loss"),
        UtilityRow(
            "basis",
            sources.basis,
            "charges fixed before trading less those at the end: Σ(ν_firm − ν_final)·d",
        ),
        UtilityRow("hub margin", sources.hub_margin, "its hub trades against the hub price: λ₀·c − h"),
        UtilityRow(
            "passive margin", sources.passive_margin, "retail less DLMP on other load: Σ(retail − λ)·D"
        ),
        UtilityRow(
            "wholesale margin",
            sources.wholesale_margin,
            "hub less wholesale price on the import: (λ₀ − ω)·import",
        ),
    ]
    further = (
        ("penalties", sources.penalties, "for class energy that was not certified"),
        ("charge margin", sources.charge_margin, "charges kept on contracts not delivered (rule tariff)"),
        (
            "imbalance margin",
            sources.imbalance_margin,
            "imbalances priced at retail and feed-in (rule tariff)",
        ),
        ("close-out forgone", sources.closeout_forgone, "contracts not closed out at the hub (rule tariff)"),
    )
    rows += [UtilityRow(what, neur, why) for what, neur, why in further if neur]
    return [*rows, UtilityRow("sum", sources.total, "", sum=True)]


def _voltages(day: DayResult) -> Voltages:
    voltage = np.array([slot.delivered.voltage for slot in day.slots])
    low, high = voltage.min(axis=0), voltage.max(axis=0)
    return Voltages(
        float(low.min()),
        day.bus_names[int(low.argmin())],
        float(high.max()),
        day.bus_names[int(high.argmax())],
    )


def _violations(day: DayResult, states: Iterable[NetworkState]) -> list[str]:
    return [
        broken_limit(day, slot, violation)
        for slot, state in zip(day.slots, states, strict=True)
        for violation in state.violations
    ]
