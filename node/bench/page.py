"""The folder of `wattbook bench --out`: every row as JSON, and one page with ratios, goals and curves.

Times are this page's whole content, so it is the one page that differs from run to run.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from node.bench.fit import power
from node.bench.registry import Group
from node.bench.row import Row, number, range_in_words, rows_to_json, runs_in_words
from node.simulate.canvas import Picture, Theme
from node.simulate.wording import NBSP

PAGE, ROWS = "bench.html", "bench.json"
PANELS_A_ROW = 3
TITLE_LETTERS = 34
"""A curve's title goes on below where it is longer."""
COMPARED_MAX = 60
COMPARED_INCHES = 0.19
"""Height of a row in the picture of ratios."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row as the page prints it."""

    name: str
    value: str
    goal: str
    reached: bool | None
    peer: str
    peer_value: str
    ratio: str
    runs: str


def write(
    measured: Mapping[str, Sequence[Row]], failed: Mapping[str, str], groups: Sequence[Group], out: Path
) -> None:
    """The page and the rows of what was measured so far. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    (out / ROWS).write_text(json.dumps(rows_to_json(measured), indent=1) + "\n", "utf-8")
    (out / PAGE).write_text(render(measured, failed, groups), "utf-8")


def render(measured: Mapping[str, Sequence[Row]], failed: Mapping[str, str], groups: Sequence[Group]) -> str:
    """The page, which needs nothing beside it: rows by group, why groups went wrong, and who comes yet."""
    from node.web.templating import environment  # noqa: PLC0415 - only for pages

    every = [row for rows in measured.values() for row in rows]
    judged = [row for row in every if row.reached is not None]
    done = [group for group in groups if group.name in measured]
    return (
        environment({})
        .get_template("bench.html")
        .render(
            machine=machine(),
            groups=[(group, [line(row) for row in measured[group.name]]) for group in done],
            failed=failed,
            awaited=[group.name for group in groups if group.name not in {*measured, *failed}],
            judged=len(judged),
            reached=sum(1 for row in judged if row.reached),
            missed=[(group.name, each) for group in done for each in missed(measured[group.name])],
            pictures=[each.shown() for each in pictures(measured)],
        )
    )


@dataclass(frozen=True, slots=True)
class Missed:
    """A goal that is missed, by how many times, and what stands in its way."""

    line: Line
    times: str
    why: str


def missed(rows: Sequence[Row]) -> Iterator[Missed]:
    """Those of a group."""
    for row in rows:
        if row.reached is False:
            times = "" if row.missed_by is None else f"{row.missed_by:.3g}"
            yield Missed(line(row), times, row.why or "not known")


def machine() -> str:
    """What it was measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Wattbook {version('wattbook')}, Python {platform.python_version()}, {platform.system()}"
        f" {platform.machine()}, {cores} cores"
    )


def line(row: Row) -> Line:
    """A row in words."""
    sign = "≤" if row.better == "less" else "≥"
    value = f"{number(row.value)}{NBSP}{row.unit}".removesuffix(f"{NBSP}1")
    return Line(
        name=row.name,
        value=value + range_in_words(row) if row.ratio is None else value,
        goal="" if row.goal is None else f"{sign}{NBSP}{number(row.goal)}",
        reached=row.reached,
        peer=row.peer or "",
        peer_value="" if row.peer_value is None else number(row.peer_value),
        ratio="" if row.ratio is None else f"{row.ratio:.3g}{range_in_words(row)}",
        runs=runs_in_words(row),
    )


# --- pictures -----------------------------------------------------------------------------------


def pictures(measured: Mapping[str, Sequence[Row]]) -> Iterator[Picture]:
    """Those that there is something for: ratios by group, then growth."""
    for group, rows in measured.items():
        if compared := drawn(rows):
            yield Picture(
                f"ratios-{group}",
                f"Beside peers: {group}",
                "Our figure over the peer's, on a logarithmic scale. Green is ahead of it, red behind; bars"
                " are the spread of single runs.",
                partial(ratios, compared),
            )
    rows = [row for group in measured.values() for row in group]
    curves = sorted({row.curve for row in rows if row.curve is not None})
    if curves:
        yield Picture(
            "growth",
            "Growth",
            "Time by size on logarithmic scales, each with the power of the size that fits where fixed costs"
            " no longer count.",
            lambda theme: growth(rows, curves, theme),
        )


def drawn(rows: Sequence[Row]) -> list[Row]:
    """A group's rows with a ratio; of very many only those that took turns with their peer."""
    compared = [row for row in rows if row.ratio]
    if len(compared) <= COMPARED_MAX:
        return compared
    return [row for row in compared if row.spread is not None]


def ratios(rows: Sequence[Row], theme: Theme) -> Figure:
    """A dot a row, 1 being the peer."""
    rows = rows[::-1]
    figure = Figure(figsize=(9.0, 0.8 + COMPARED_INCHES * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        ratio = row.ratio or 1.0
        ahead = ratio <= 1 if row.better == "less" else ratio >= 1
        colour = theme.third if ahead else theme.worse
        if row.spread is not None:
            axes.plot(row.spread, [place, place], color=colour, lw=2.0, solid_capstyle="butt")
        axes.plot([ratio], [place], "o", ms=4.0, color=colour)
    axes.axvline(1.0, color=theme.ink, lw=0.9)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=6.0)
    axes.set_xlabel("ours over the peer's")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return figure


def growth(rows: Sequence[Row], curves: Sequence[str], theme: Theme) -> Figure:
    """A panel a curve."""
    lines = -(-len(curves) // PANELS_A_ROW)
    figure = Figure(figsize=(9.0, 2.7 * lines), layout="constrained")
    panels = figure.subplots(lines, PANELS_A_ROW, squeeze=False).ravel()
    for axes, curve in zip(panels, curves, strict=False):
        points = [(row.size, row.value) for row in rows if row.curve == curve and row.size is not None]
        sizes, seconds = np.array(points).T
        axes.loglog(sizes, seconds, color=theme.market, marker="o", ms=4.0, lw=1.4)
        if len(points) > 1:
            fitted = power(sizes, seconds)
            axes.loglog(
                sizes, seconds[-1] * (sizes / sizes[-1]) ** fitted, color=theme.ink, lw=0.9, ls=(0, (4, 2))
            )
            title = [*wrap(curve, TITLE_LETTERS), f"power {fitted:.2f}"]
            axes.set_title("\n".join(title), fontsize=7.5)
        axes.set_ylabel("s")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid()
        axes.set_axisbelow(True)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    return figure
