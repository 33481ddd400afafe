"""Pictures of a session as SVG: prices by hour, DLMPs by bus, the feeder, bills against FiT/retail.

The same session gives the same bytes: no dates, ids salted with a constant, matplotlib's own fonts and
defaults. Colours are Okabe and Ito's, maps are perceptually uniform and colour-blind safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from market.orders import Fill
from market.units import Floats, eur, eur_per_mwh, hub_price
from node.simulate.bills import accounts
from node.simulate.canvas import LIGHT, Theme, draw_buses, draw_lines, svg
from node.simulate.layout import LABELLED_BUSES, radial_layout
from node.simulate.result import DayResult, SlotResult
from node.simulate.wording import power

LABELLED_BILLS = 80
"""More prosumers than this are counted, not named, under their bars."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: its file name, what it shows in a sentence, and how it is made."""

    name: str
    title: str
    caption: str
    make: Callable[[DayResult, Theme], Figure]


def draw(plot: Plot, day: DayResult, theme: Theme = LIGHT) -> bytes:
    """Draw a picture as SVG, in bytes that depend on the session and the theme alone."""
    return svg(lambda: plot.make(day, theme), theme)


# --- trade prices and the hub price by hour --------------------------------------------------------


def prices_by_hour(day: DayResult, theme: Theme) -> Figure:
    """Volume-weighted trade prices with their range, λ_0, the utility's two prices, and volumes."""
    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    peer = [_peer_fills(day, slot) for slot in day.slots]
    everything = [slot.fills for slot in day.slots]
    edges = np.arange(len(day.slots) + 1)
    low, high = _extremes(peer)
    top.fill_between(
        edges,
        np.append(low, low[-1]),
        np.append(high, high[-1]),
        step="post",
        color=theme.market,
        alpha=0.22,
        linewidth=0,
        label="between prosumers: lowest to highest",
    )
    top.stairs(
        _averages(peer), edges, baseline=None, color=theme.market, lw=2.2, label="between prosumers: average"
    )
    top.stairs(
        _averages(everything),
        edges,
        baseline=None,
        color=theme.third,
        lw=1.4,
        ls=(0, (4, 2)),
        label="all trades: average",
    )
    hub = [np.nan if slot.unpriced else float(eur_per_mwh(slot.prices.hub_price)) for slot in day.slots]
    top.stairs(hub, edges, baseline=None, color=theme.ink, lw=1.2, label="hub price λ₀")
    for values, name in (
        (_hub_import(day), "utility sells, π_imp"),
        (_hub_export(day), "utility buys, π_exp"),
    ):
        top.stairs(values, edges, baseline=None, color=theme.other, lw=1.0, ls=":")
        top.annotate(
            name, (edges[-1], values[-1]), (-4, 4), textcoords="offset points", ha="right", color=theme.other
        )
    top.margins(y=0.12)
    top.set_ylabel("price at the hub, €/MWh")
    top.grid(axis="y")
    top.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, borderaxespad=0.2, columnspacing=1.2)
    _volumes(bottom, day, peer, theme)
    _slot_axis(bottom, day)
    return figure


def _volumes(axes: Any, day: DayResult, peer: list[list[Fill]], theme: Theme) -> None:
    edges = np.arange(len(day.slots))
    between = np.array([sum(fill.quantity for fill in fills) for fills in peer]) / 1e6
    every = np.array([sum(fill.quantity for fill in slot.fills) for slot in day.slots]) / 1e6
    axes.bar(edges, between, 0.86, align="edge", color=theme.market, label="between prosumers")
    axes.bar(edges, every - between, 0.86, between, align="edge", color=theme.faint, label="with the utility")
    axes.set_ylabel("traded, MWh")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)


def _peer_fills(day: DayResult, slot: SlotResult) -> list[Fill]:
    return [fill for fill in slot.fills if day.utility_address not in (fill.maker, fill.taker)]


def _averages(by_slot: Iterable[Iterable[Fill]]) -> Floats:
    """Volume-weighted price, €/MWh; NaN in a slot without trades."""
    found = []
    for fills in by_slot:
        volume = sum(fill.quantity for fill in fills)
        money = sum(fill.quantity * hub_price(fill.tick) for fill in fills)
        found.append(money / volume / 1_000 if volume else np.nan)
    return np.array(found)


def _extremes(by_slot: Iterable[Iterable[Fill]]) -> tuple[Floats, Floats]:
    """Lowest and highest price, €/MWh; NaN in a slot without trades."""
    ticks = [[hub_price(fill.tick) / 1_000 for fill in fills] or [np.nan] for fills in by_slot]
    return np.array([min(row) for row in ticks]), np.array([max(row) for row in ticks])


def _hub_import(day: DayResult) -> list[float]:
    return [slot.tariff.hub_import / 1_000 for slot in day.slots]


def _hub_export(day: DayResult) -> list[float]:
    return [slot.tariff.hub_export / 1_000 for slot in day.slots]


# --- DLMP by bus and hour --------------------------------------------------------------------------


def dlmp_by_bus(day: DayResult, theme: Theme) -> Figure:
    """Two maps, bus × slot: λ_b, and its distance from the hub price, ν_b = λ_b − λ_0."""
    posted = np.array([not slot.unpriced for slot in day.slots])
    price = eur_per_mwh(np.array([slot.prices.bus_price for slot in day.slots])).T
    charge = price - price[:1]
    reach = max(float(np.abs(charge[:, posted]).max(initial=0.0)), 0.1)
    price, charge = (np.where(posted, values, np.nan) for values in (price, charge))
    return _maps(
        day,
        _Map(price, "DLMP λ", "€/MWh"),
        _Map(charge, "DLMP less hub price, λ − λ₀", "€/MWh", "PuOr", TwoSlopeNorm(0, -reach, reach)),
    )


@dataclass(frozen=True, eq=False)
class _Map:
    """What two axes of buses and slots show: values buses × slots, and how."""

    values: Floats
    title: str
    unit: str
    colours: str = "cividis"
    norm: Normalize | None = None


def _maps(day: DayResult, *maps: _Map) -> Figure:
    """Maps side by side, with the substation at the top."""
    buses = len(day.bus_names)
    figure = Figure(figsize=(9.0, 5.4 if buses <= LABELLED_BUSES else 7.0), layout="constrained")
    panels = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    for axes, shown in zip(panels, maps, strict=True):
        image = axes.imshow(
            shown.values,
            cmap=shown.colours,
            norm=shown.norm,
            interpolation="none",
            aspect="auto",
            extent=(0, len(day.slots), buses, 0),
        )
        axes.set_title(shown.title)
        _slot_axis(axes, day)
        figure.colorbar(image, ax=axes, location="bottom", aspect=30, label=shown.unit, shrink=0.9)
    step = 1 if buses <= LABELLED_BUSES else -(-buses // LABELLED_BUSES)
    panels[0].set_yticks(np.arange(0, buses, step) + 0.5, day.bus_names[::step], fontsize=6.5)
    panels[0].set_ylabel("bus (the substation at the top)")
    return figure


# --- voltage and loading by bus and hour -----------------------------------------------------------


def network_by_bus(day: DayResult, theme: Theme) -> Figure:
    """Two maps, bus × slot, of what was delivered: voltage, and the line to the bus.

    Of lines the loading where any has a rating, else the active power.
    """
    states = [slot.delivered for slot in day.slots]
    voltage = _Map(np.array([state.voltage for state in states]).T, "voltage", "pu")
    if np.isfinite(day.rating[1:]).any():
        rating = np.where(np.isfinite(day.rating), day.rating, np.nan)[:, None]
        loading = 100 * np.array([state.current for state in states]).T / rating
        loading[0] = np.nan
        return _maps(day, voltage, _Map(loading, "loading of the line to the bus", "% of its rating"))
    flow = np.array([state.flow_mw for state in states]).T
    reach = max(float(np.abs(flow).max()), 1e-6)
    flow[0] = np.nan
    norm = TwoSlopeNorm(0, -reach, reach)
    return _maps(day, voltage, _Map(flow, "flow into the line to the bus", "MW", "PuOr", norm))


# --- the feeder, coloured by price -----------------------------------------------------------------


def feeder_by_price(day: DayResult, theme: Theme) -> Figure:
    """The feeder in the slots of least and of most import: buses by DLMP, lines by delivered flow."""
    shown = _contrasting_slots(day)
    layout = radial_layout([int(bus) for bus in day.parent])
    rows = max(layout.row) - min(layout.row) + 1
    height = min(max(0.62 * rows, 1.6), 6.0) * len(shown) + 0.9
    figure = Figure(figsize=(9.0, height), layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    widest = max(float(np.abs(slot.delivered.flow_mw).max()) for slot in shown) or 1.0
    for axes, slot in zip(panels, shown, strict=True):
        price = eur_per_mwh(np.array(slot.prices.bus_price))
        norm = Normalize(float(price.min()), max(float(price.max()), float(price.min()) + 0.1))
        flow = slot.delivered.flow_mw
        draw_lines(
            axes,
            layout,
            day.parent,
            width=[_line_width(float(each), widest) for each in flow],
            colour=[theme.worse if each < 0 else theme.other for each in flow],
        )
        draw_buses(axes, layout, price, day.bus_names, norm=norm, theme=theme)
        unpriced = ", no prices" if slot.unpriced else ""
        axes.set_title(f"{_clock(slot.start)} UTC, {_exchange(slot.delivered.import_mw)}{unpriced}")
        axes.set_xlim(-0.7, max(layout.column) + 0.7)
        axes.set_ylim(max(layout.row) + 0.6, min(layout.row) - 0.6)
        axes.set_axis_off()
        scale = ScalarMappable(norm, "cividis")
        figure.colorbar(scale, ax=axes, aspect=18, shrink=0.85, pad=0.01, label="DLMP, €/MWh")
    figure.legend(
        handles=_flow_legend(widest, theme),
        loc="outside upper left",
        ncols=5,
        title="line flow, delivered",
        alignment="left",
    )
    return figure


def _contrasting_slots(day: DayResult) -> list[SlotResult]:
    """The slots of least and of most import, of those that have prices; one where they are the same."""
    priced = [slot for slot in day.slots if not slot.unpriced] or day.slots
    least = min(priced, key=lambda slot: slot.delivered.import_mw)
    most = max(priced, key=lambda slot: slot.delivered.import_mw)
    return [most] if least is most else [least, most]


def _exchange(import_mw: float) -> str:
    return f"{'import' if import_mw >= 0 else 'export'} {power(abs(import_mw))}"


def _line_width(flow_mw: float, widest: float) -> float:
    return 0.6 + 5.4 * abs(flow_mw) / widest


def _flow_legend(widest: float, theme: Theme) -> list[Line2D]:
    """Three widths away from the substation, one towards it."""
    sizes = [widest, widest / 2, widest / 8]
    handles = [
        Line2D([], [], color=theme.other, lw=_line_width(size, widest), label=power(size)) for size in sizes
    ]
    reverse = _line_width(widest / 2, widest)
    return [*handles, Line2D([], [], color=theme.worse, lw=reverse, label="towards the substation")]


# --- bills against FiT/retail ----------------------------------------------------------------------


def bills_against_tariff(day: DayResult, theme: Theme) -> Figure:
    """Each prosumer's day: market and FiT/retail bill above, what the market saved below; sorted."""
    everybody = sorted(accounts(day), key=lambda account: account.day.saving_neur)
    market = [eur(account.day.total_neur) for account in everybody]
    tariff = [eur(account.day.tariff_neur) for account in everybody]
    saving = [eur(account.day.saving_neur) for account in everybody]
    worse = [account.day.worse_off for account in everybody]
    x = np.arange(len(everybody))
    figure = Figure(figsize=(9.0, 5.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.3, 1))
    top.vlines(x, market, tariff, color=theme.faint, lw=2.2, zorder=1)
    top.scatter(x, tariff, 22, facecolors=theme.paper, edgecolors=theme.ink, label="on FiT/retail", zorder=2)
    top.scatter(x, market, 22, color=theme.market, label="in the market", zorder=3)
    top.axhline(0, color=theme.other, lw=0.8)
    top.set_ylabel("bill of the day, €\n(negative: earns)")
    top.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)
    bars = bottom.bar(x, saving, 0.8, color=[theme.worse if bad else theme.market for bad in worse])
    for bar, bad in zip(bars, worse, strict=True):
        if bad:
            bar.set_hatch("////")
    bottom.axhline(0, color=theme.other, lw=0.8)
    bottom.set_ylabel("saved against\nFiT/retail, €")
    bottom.set_title(_worse_off_title(sum(worse), len(worse)), fontweight="normal", fontsize=9)
    for axes in (top, bottom):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    if len(everybody) <= LABELLED_BILLS:
        labels = [account.participant.name for account in everybody]
        bottom.set_xticks(x, labels, rotation=90, fontsize=6.5)
        bottom.tick_params(axis="x", length=0)
    else:
        bottom.set_xlabel("prosumers, sorted by saving")
    bottom.set_xlim(-0.8, len(everybody) - 0.2)
    return figure


def _worse_off_title(worse: int, every: int) -> str:
    if worse == 0:
        return f"none of {every} prosumers paid more than on FiT/retail"
    return f"{worse} of {every} prosumers paid more than on FiT/retail (hatched, to the left)"


# --- axes of time ----------------------------------------------------------------------------------


def _clock(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%H:%M")


def _slot_axis(axes: Any, day: DayResult) -> None:
    """Ticks at round hours (or dates, over more than two days), one slot a unit."""
    slots = len(day.slots)
    seconds = slots * day.slot_seconds
    every = next((h for h in (1, 2, 3, 6, 12) if seconds <= h * 3_600 * 9), 24) * 3_600
    step = max(every // day.slot_seconds, 1)
    while slots // step > 10:
        step *= 2
    first = next((at for at, slot in enumerate(day.slots) if slot.start % (step * day.slot_seconds) == 0), 0)
    at = list(range(first, slots, step))
    pattern = "%H:%M" if seconds <= 2 * 86_400 else "%d %b"
    labels = [datetime.fromtimestamp(day.slots[k].start, UTC).strftime(pattern) for k in at]
    axes.set_xticks(at, labels)
    axes.set_xlim(0, slots)
    axes.set_xlabel(f"start of delivery, {datetime.fromtimestamp(day.slots[0].start, UTC):%d %B %Y}, UTC")


PLOTS = (
    Plot(
        "prices",
        "Trade prices and the hub price",
        "Prices of trades by slot, on the axis all bids and asks meet on (the hub), between what the utility"
        " asks and bids there; below, the energy traded.",
        prices_by_hour,
    ),
    Plot(
        "dlmp",
        "DLMP by bus and hour",
        "What one more MWh costs at each bus, and how far that is from the hub price: losses and limits.",
        dlmp_by_bus,
    ),
    Plot(
        "network",
        "Voltage and lines by bus and hour",
        "The AC flow of what was delivered: voltage at each bus, and of the line that feeds it how much of"
        " its rating it carried, or, where no line has a rating, its power (below 0 towards the substation).",
        network_by_bus,
    ),
    Plot(
        "feeder",
        "The feeder, coloured by price",
        "The slots of least and of most import, each with its own scale: buses by DLMP, lines by the active"
        " power they carried.",
        feeder_by_price,
    ),
    Plot(
        "bills",
        "Bills against FiT/retail",
        "Each prosumer's day in the market beside FiT/retail for the same readings, sorted by saving.",
        bills_against_tariff,
    ),
)
