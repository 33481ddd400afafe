"""The feeder as SVG: buses coloured by price, lines as wide as they are loaded, what is at a limit ringed.

Laid out as in the reports (`node.simulate.layout`); feeders of many buses are drawn by groups of neighbours.
Colours are those of cividis, which colour-blind people read as others do (Nuñez, Anderton and Renslow, PLoS
ONE 13(7), 2018), at nine places and even between them: matplotlib, which has all, loads slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market.units import Floats
from node.price.condense import GROUPS_MAX, WHOLE_MAX, Condensed, condense
from node.simulate.layout import AT_LIMIT, LABELLED_BUSES, Layout, line_width, radial_layout

if TYPE_CHECKING:
    from node.api.models import BusFlowResource, FlowsResource, PricesResource

COLUMN, ROW, MARGIN = 44, 48, 28
CIVIDIS = ("#00224e", "#1a386f", "#434e6c", "#61656f", "#7d7c78", "#9b9476", "#bcae6c", "#dec958", "#fee838")
DARK_BELOW = 0.55
"""Numbers on colours below this share of the scale are white."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line from its parent's column to its own row, then to its bus; `title` tells its figures."""

    points: str
    width: float
    towards_substation: bool
    title: str


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus, or a group of neighbours."""

    x: int
    y: int
    colour: str
    number: str
    on_dark: bool
    at_limit: bool
    title: str


@dataclass(frozen=True, slots=True)
class FeederMap:
    """All there is to draw; `low` and `high` µ€/kWh are the ends of the scale `colours`."""

    width: int
    height: int
    radius: int
    lines: tuple[Line, ...]
    buses: tuple[Bus, ...]
    colours: tuple[str, ...]
    low: int
    high: int
    what: str
    rated: bool


def feeder_map(flows: FlowsResource, prices: PricesResource) -> FeederMap | None:
    """The map of a slot by prices, before these by charges; None where neither is complete."""
    by_bus = [bus.price_ueur_per_kwh for bus in prices.buses]
    what = "price λ"
    if None in by_bus:
        by_bus, what = [bus.charge_ueur_per_kwh for bus in prices.buses], "charge ν"
    values = np.array([value for value in by_bus if value is not None], dtype=np.float64)
    if len(values) != len(flows.buses):
        return None
    drawn = condense(
        np.array([-1 if bus.parent is None else bus.parent for bus in flows.buses]), WHOLE_MAX, GROUPS_MAX
    )
    layout = radial_layout([int(bus) for bus in drawn.parent])
    shown = drawn.mean(values)
    scaled = shown[1:] if len(shown) > 1 else shown
    low, high = float(scaled.min()), float(scaled.max())
    share = np.clip((shown - low) / ((high - low) or 1.0), 0.0, 1.0)
    columns, rows = max(layout.column), max(layout.row) - min(layout.row)
    return FeederMap(
        width=columns * COLUMN + 2 * MARGIN,
        height=rows * ROW + 2 * MARGIN,
        radius=12 if drawn.groups <= LABELLED_BUSES else 6,
        lines=_lines(flows.buses, drawn, layout),
        buses=_buses(flows.buses, drawn, layout, shown, share),
        colours=CIVIDIS,
        low=round(low),
        high=round(high),
        what=what,
        rated=any(bus.loading is not None for bus in flows.buses),
    )


def _place(layout: Layout, group: int) -> tuple[int, int]:
    return MARGIN + layout.column[group] * COLUMN, MARGIN + (layout.row[group] - min(layout.row)) * ROW


def _lines(buses: Sequence[BusFlowResource], drawn: Condensed, layout: Layout) -> tuple[Line, ...]:
    flow = np.array([bus.flow_mw or 0.0 for bus in buses])
    rated = any(bus.loading is not None for bus in buses)
    load = (
        np.array([bus.loading or 0.0 for bus in buses])
        if rated
        else np.abs(flow) / (np.abs(flow).max() or 1.0)
    )
    found = []
    for group in range(1, drawn.groups):
        bus = buses[int(drawn.head[group])]
        x, y = _place(layout, group)
        x_up, y_up = _place(layout, int(drawn.parent[group]))
        loaded = "" if bus.loading is None else f", {bus.loading:.0%} of its rating"
        found.append(
            Line(
                points=f"{x_up},{y_up} {x_up},{y} {x},{y}",
                width=round(line_width(float(load[bus.bus])), 2),
                towards_substation=bool(flow[bus.bus] < 0),
                title=f"line to bus {bus.bus}: {1_000 * (bus.flow_mw or 0.0):,.1f} kW{loaded}",
            )
        )
    return tuple(found)


def _buses(
    buses: Sequence[BusFlowResource], drawn: Condensed, layout: Layout, values: Floats, share: Floats
) -> tuple[Bus, ...]:
    ringed = drawn.largest(np.array([float(_at_limit(bus)) for bus in buses]))
    numbered = drawn.groups <= LABELLED_BUSES
    found = []
    for group in range(drawn.groups):
        bus = buses[int(drawn.head[group])]
        x, y = _place(layout, group)
        others = int(drawn.size[group]) - 1
        found.append(
            Bus(
                x=x,
                y=y,
                colour=_colour(float(share[group])),
                number=str(bus.bus) if numbered else "",
                on_dark=bool(share[group] < DARK_BELOW),
                at_limit=bool(ringed[group] > 0),
                title=f"bus {bus.bus}{f' and {others} neighbours' if others else ''}:"
                f" {values[group] / 1e6:.4f} €/kWh, {bus.voltage_pu:.3f} pu",
            )
        )
    return tuple(found)


def _at_limit(bus: BusFlowResource) -> bool:
    if bus.parent is None:
        return False
    near = min(bus.voltage_pu - bus.voltage_min_pu, bus.voltage_max_pu - bus.voltage_pu) < AT_LIMIT
    return near or (bus.loading or 0.0) > 1 - AT_LIMIT


def _colour(share: float) -> str:
    """The colour at a share of the scale, between the two nearest places."""
    at = share * (len(CIVIDIS) - 1)
    below = min(int(at), len(CIVIDIS) - 2)
    parts = (
        round((1 - at + below) * int(dark, 16) + (at - below) * int(bright, 16))
        for dark, bright in zip(_parts(CIVIDIS[below]), _parts(CIVIDIS[below + 1]), strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


def _parts(colour: str) -> tuple[str, str, str]:
    return colour[1:3], colour[3:5], colour[5:7]
