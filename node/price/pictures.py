"""Pictures of a cleared slot: the feeder by price and loading, prices taken apart, rounds, three phases.

Feeders of many buses are drawn by groups of neighbours: what is shown of a group is its mean price, the line
that feeds it, and whether any of its buses or lines is at a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from market.atc.rounds import BALANCE_TOLERANCE_PU, PRICE_TOLERANCE, Round
from market.feeder.three_phase import PHASES, UNBALANCE_MAX
from node.price.clearing import Cleared
from node.price.condense import GROUPS_MAX, WHOLE_MAX, Condensed, condense
from node.price.phases import PhaseTable
from node.simulate.canvas import Picture, Theme, draw_buses, draw_lines
from node.simulate.layout import AT_LIMIT, LABELLED_BUSES, line_width, radial_layout
from node.simulate.wording import power

SPAN_MIN = 0.1
"""Least height of a scale of prices, €/MWh: rounding is not to look like a price."""


ROUNDING = 1e-16
"""What is exactly 0 is drawn here: a logarithmic scale has none."""
SHOWN_MIN = 5e-4
"""A component that is nowhere larger, €/MWh, is not drawn: tables print it as 0."""


def pictures(cleared: Cleared, phases: PhaseTable | None = None) -> tuple[Picture, ...]:
    """All pictures of a slot, that of three phases where there are any."""
    drawn = condense(cleared.world.feeder.parent, WHOLE_MAX, GROUPS_MAX)
    counted = (
        "" if drawn.whole else f" {len(drawn.group):,} buses are drawn as {drawn.groups} groups of neighbours"
    )
    mean = counted and f"{counted}, at their mean price."
    ends = counted and f"{counted}, from their lowest to their highest voltage."
    rated = bool(np.any(np.isfinite(cleared.world.feeder.limits.i_max[1:])))
    wide = "their loading" if rated else "the active power they carry"
    found = [
        Picture(
            "feeder",
            "The feeder, coloured by price",
            f"Buses by DLMP, lines by {wide}; ringed where a voltage or a line is at its limit."
            f" The scale is that of all buses but the substation.{mean}",
            lambda theme: feeder_by_price(cleared, drawn, theme),
        ),
        Picture(
            "components",
            "What prices are made of",
            f"DLMP by bus, from the hub price up and down: losses, voltage limits, ratings of lines.{mean}",
            lambda theme: components_by_bus(cleared, drawn, theme),
        ),
    ]
    if cleared.rounds:
        found.append(
            Picture(
                "rounds",
                "How the rounds settled",
                "After each round, at most: how far a prosumer's marginal price is from the DLMP of its"
                " bus, and what the utility grants a bus from what its prosumers answered. Dashed: where"
                " rounds may end.",
                lambda theme: residuals_by_round(cleared.rounds, theme),
            )
        )
    if phases is not None:
        found.append(
            Picture(
                "phases",
                "The three phases",
                f"Voltage of each phase beside the balanced flow's, and how unbalanced voltages are.{ends}",
                lambda theme: voltages_by_phase(cleared, phases, drawn, theme),
            )
        )
    return tuple(found)


# --- the feeder ------------------------------------------------------------------------------------


def feeder_by_price(cleared: Cleared, drawn: Condensed, theme: Theme) -> Figure:
    """The feeder, the substation at the left: buses by DLMP, lines by loading or by flow."""
    table, feeder = cleared.table, cleared.world.feeder
    layout = radial_layout([int(bus) for bus in drawn.parent])
    rows = max(layout.row) - min(layout.row) + 1
    figure = Figure(figsize=(9.0, min(max(0.62 * rows, 1.6), 7.5) + 0.8), layout="constrained")
    axes = figure.subplots()
    price = drawn.mean(np.array([bus.dlmp for bus in table.buses]))
    flow = np.array([bus.flow_mw for bus in table.buses])[drawn.head]
    loading = np.array([bus.loading or 0.0 for bus in table.buses])
    rated = bool(np.any(np.isfinite(feeder.limits.i_max[1:])))
    width = loading[drawn.head] if rated else np.abs(flow) / (np.abs(flow).max() or 1.0)
    draw_lines(
        axes,
        layout,
        drawn.parent,
        width=[line_width(float(share)) for share in width],
        colour=[theme.worse if each < 0 else theme.other for each in flow],
    )
    low, high = float(price[1:].min()), float(price[1:].max())
    norm = Normalize(low, max(high, low + SPAN_MIN), clip=True)
    names = [feeder.bus_names[bus] for bus in drawn.head]
    draw_buses(axes, layout, price, names if drawn.whole else [""] * drawn.groups, norm=norm, theme=theme)
    ringed = np.flatnonzero(drawn.largest(_at_limit(cleared).astype(np.float64)) > 0)
    axes.scatter(
        np.array(layout.column)[ringed],
        np.array(layout.row)[ringed],
        s=420 if len(names) <= LABELLED_BUSES else 70,
        facecolors="none",
        edgecolors=theme.market,
        linewidths=1.6,
        zorder=4,
    )
    axes.set_xlim(-0.7, max(layout.column) + 0.9)
    axes.set_ylim(max(layout.row) + 0.7, min(layout.row) - 0.9)
    axes.set_axis_off()
    figure.colorbar(
        ScalarMappable(norm, "cividis"), ax=axes, aspect=18, shrink=0.85, pad=0.01, label="DLMP, €/MWh"
    )
    widest = None if rated else float(np.abs(flow).max())
    figure.legend(handles=_legend(widest, len(ringed) > 0, theme), loc="outside upper left", ncols=5)
    return figure


def _at_limit(cleared: Cleared) -> Any:
    """By bus, whether its voltage or the line that feeds it is at a limit."""
    limits = cleared.world.feeder.limits
    voltage = np.array([bus.v_pu for bus in cleared.table.buses])
    loading = np.array([bus.loading or 0.0 for bus in cleared.table.buses])
    bound = (voltage - limits.v_min < AT_LIMIT) | (limits.v_max - voltage < AT_LIMIT)
    bound[0] = False
    return bound | (loading > 1 - AT_LIMIT)


def _legend(widest_mw: float | None, ringed: bool, theme: Theme) -> list[Line2D]:
    """Three widths away from the substation, one towards it, and the ring."""
    shares = (1.0, 0.5, 0.125)
    labels = [f"{share:.0%}" if widest_mw is None else power(share * widest_mw) for share in shares]
    labels[0] += " of the rating" if widest_mw is None else ""
    found = [
        Line2D([], [], color=theme.other, lw=line_width(share), label=label)
        for share, label in zip(shares, labels, strict=True)
    ]
    found.append(Line2D([], [], color=theme.worse, lw=line_width(0.5), label="towards the substation"))
    if ringed:
        ring = Line2D([], [], ls="", marker="o", ms=9, mfc="none", mec=theme.market, mew=1.6)
        ring.set_label("at a limit")
        found.append(ring)
    return found


# --- components ------------------------------------------------------------------------------------


def components_by_bus(cleared: Cleared, drawn: Condensed, theme: Theme) -> Figure:
    """Loss, voltage and congestion stacked on the hub price, what is below it downwards; λ as a dot."""
    buses = cleared.table.buses
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    axes = figure.subplots()
    x, hub = np.arange(drawn.groups), cleared.table.hub_price
    above, below = (np.full(drawn.groups, hub) for _ in range(2))
    for name, label, colour in (
        ("loss", "losses", theme.market),
        ("voltage", "voltage limits", theme.third),
        ("congestion", "ratings of lines", theme.worse),
    ):
        part = drawn.mean(np.array([getattr(bus, name) for bus in buses]))
        if np.abs(part).max() < SHOWN_MIN:
            continue
        axes.bar(x, part, 0.86, np.where(part > 0, above, below), color=colour, label=label)
        above += np.maximum(part, 0.0)
        below += np.minimum(part, 0.0)
    axes.axhline(hub, color=theme.ink, lw=1.0, label=f"energy: hub price λ₀, {hub:,.2f} €/MWh")
    price = drawn.mean(np.array([bus.dlmp for bus in buses]))
    axes.plot(
        x,
        price,
        ls="",
        marker="o",
        ms=3.0 if drawn.groups <= LABELLED_BUSES else 1.6,
        color=theme.ink,
        label="DLMP λ",
    )
    _price_axis(axes, float(below.min()), float(above.max()))
    _bus_axis(axes, cleared, drawn)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.2, columnspacing=1.2)
    return figure


def _price_axis(axes: Any, low: float, high: float) -> None:
    spare = max(high - low, SPAN_MIN) * 0.08
    axes.set_ylim(low - spare, max(high, low + SPAN_MIN) + spare)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_ylabel("€/MWh")
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _bus_axis(axes: Any, cleared: Cleared, drawn: Condensed) -> None:
    """Names where there are few; else a count, in the feeder's order."""
    axes.set_xlim(-0.8, drawn.groups - 0.2)
    if drawn.whole and drawn.groups <= LABELLED_BUSES:
        names = cleared.world.feeder.bus_names
        slanting = max(map(len, names)) > 3
        axes.set_xticks(range(drawn.groups), names, fontsize=6.5, rotation=90 if slanting else 0)
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel("bus")
        return
    axes.set_xticks([])
    what = "buses" if drawn.whole else "groups of buses"
    axes.set_xlabel(f"{drawn.groups} {what}, in the feeder's order from the substation")


# --- rounds ----------------------------------------------------------------------------------------


def residuals_by_round(rounds: Sequence[Round], theme: Theme) -> Figure:
    """Price residual above, balance residual below, on logarithmic scales, each with what is allowed."""
    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    x = np.arange(1, len(rounds) + 1)
    for axes, label, found, allowed, colour in zip(
        figure.subplots(2, 1, sharex=True),
        ("prices apart,\nshare of the DLMP", "powers apart, pu"),
        (
            np.array([each.price_residual for each in rounds]),
            np.array([each.balance_residual for each in rounds]),
        ),
        (PRICE_TOLERANCE, BALANCE_TOLERANCE_PU),
        (theme.market, theme.third),
        strict=True,
    ):
        axes.semilogy(x, np.maximum(found, ROUNDING), color=colour, marker="o", ms=4.0, lw=1.4)
        axes.axhline(allowed, color=theme.ink, lw=0.9, ls=(0, (4, 2)))
        axes.set_ylabel(label)
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


# --- three phases ----------------------------------------------------------------------------------


def voltages_by_phase(cleared: Cleared, phases: PhaseTable, drawn: Condensed, theme: Theme) -> Figure:
    """Voltages by phase and limits above, unbalance below."""
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    x = np.arange(drawn.groups)
    even = np.array([bus.balanced_pu for bus in phases.buses])
    top.plot(x, drawn.mean(even), color=theme.ink, lw=1.2, drawstyle="steps-mid", label="balanced")
    for k, (phase, colour) in enumerate(zip(PHASES, (theme.market, theme.third, theme.worse), strict=True)):
        voltage = np.array([getattr(bus, f"{phase}_pu") for bus in phases.buses])
        low, high = -drawn.largest(-voltage), drawn.largest(voltage)
        at = x + 0.24 * (k - 1)
        top.vlines(at, low, high, color=colour, lw=1.0)
        top.scatter(
            np.r_[at, at], np.r_[low, high], 7 if drawn.whole else 2, color=colour, label=f"phase {phase}"
        )
    _limits(top, cleared, theme)
    top.set_ylabel("voltage, pu")
    top.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.2)
    share = 100 * drawn.largest(np.array([bus.unbalance for bus in phases.buses]))
    bottom.bar(
        x, share, 0.86, color=[theme.worse if each > 100 * UNBALANCE_MAX else theme.other for each in share]
    )
    bottom.axhline(100 * UNBALANCE_MAX, color=theme.ink, lw=0.9, ls=(0, (4, 2)))
    bottom.set_ylabel("unbalance, %\n(EN 50160: 2)")
    for axes in (top, bottom):
        axes.grid(axis="y")
        axes.set_axisbelow(True)
    _bus_axis(bottom, cleared, drawn)
    return figure


def _limits(axes: Any, cleared: Cleared, theme: Theme) -> None:
    """The widest limits of any bus, as dashed lines."""
    limits = cleared.world.feeder.limits
    for end, label in ((limits.v_min.min(), "limits"), (limits.v_max.max(), None)):
        axes.axhline(end, color=theme.ink, lw=0.9, ls=(0, (4, 2)), label=label)
