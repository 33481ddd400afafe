"""The comparison as one picture that a paper can print: every mechanism by every benefit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from node.simulate.canvas import Theme
from node.studies.comparison import OURS, Comparison, Mechanism

WIDTH_INCHES = 7.16
"""Two columns of an IEEE page."""
ROW_INCHES, AXES_INCHES = 0.22, 0.85
DIGITS = 9
"""Beyond which differences of sums of floats are none, or 0 would be written as below 0."""
SPARE = 1.55
"""How far scales go beyond the longest bar, for the figure at its end."""


@dataclass(frozen=True, slots=True)
class _Panel:
    """One benefit: what it is called, how it is read off beside FiT/retail's, how it is written.

    What is `shared` among people only bills say: best dispatches have none.
    """

    title: str
    value: Callable[[Mechanism, Mechanism], float]
    form: str
    shared: bool = False


PANELS = (
    _Panel("welfare\ngains, €", lambda of, without: of.gained_eur(without), "{:z,.0f}"),
    _Panel("prosumers\nsave, €", lambda of, without: of.saved_eur(without), "{:z,.0f}", shared=True),
    _Panel("utility\nloses, €", lambda of, without: of.transferred_eur(without), "{:z,.0f}", shared=True),
    _Panel("sun used,\n%", lambda of, _: 100 * of.found.renewable_use, "{:.1f}"),
    _Panel("peak import,\nMW", lambda of, _: of.found.peak_import_mw, "{:.2f}"),
    _Panel("losses,\nMWh", lambda of, _: of.found.losses_mwh, "{:.3f}"),
    _Panel("top current,\npu", lambda of, _: of.found.loading_pu, "{:.2f}"),
)


def draw(comparison: Comparison, theme: Theme) -> Figure:
    """Bars by mechanism, a panel a benefit; FiT/retail's value is the dashed line."""
    mechanisms, without = comparison.mechanisms[::-1], comparison.mechanisms[0]
    figure = Figure(figsize=(WIDTH_INCHES, AXES_INCHES + ROW_INCHES * len(mechanisms)), layout="constrained")
    rows = np.arange(len(mechanisms))
    for axes, panel in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
        there = np.array([each.billed or not panel.shared for each in mechanisms])
        values = np.array([panel.value(each, without) for each in mechanisms]).round(DIGITS)
        values[~there] = 0.0
        axes.barh(rows, values, 0.68, color=[_colour(each, theme) for each in mechanisms])
        axes.axvline(values[-1], color=theme.ink, lw=0.8, ls=(0, (3, 2)))
        for row in np.flatnonzero(there).tolist():
            _write(axes, row, float(values[row]), panel.form.format(values[row]), theme)
        low, high = min(values.min(), 0.0), max(values.max(), 0.0)
        axes.set_xlim(SPARE * low, SPARE * high if high > low else 1.0)
        axes.set_title(panel.title, fontsize=6.5)
        axes.tick_params(axis="both", labelsize=6.0, length=2)
        axes.tick_params(axis="y", length=0, labelsize=6.5)
        axes.set_xticks([0.0])
    axes.set_yticks(rows, [each.name for each in mechanisms])
    return figure


def _write(axes: Any, row: int, value: float, text: str, theme: Theme) -> None:
    """A figure just beyond the end of its bar, on paper, so that no line runs through it."""
    outwards = 1 if value >= 0 else -1
    axes.annotate(
        text,
        (value, row),
        (2 * outwards, 0),
        textcoords="offset points",
        ha="left" if value >= 0 else "right",
        va="center_baseline",
        fontsize=6.0,
        bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 0.6},
    )


def _colour(mechanism: Mechanism, theme: Theme) -> str:
    return theme.market if mechanism.name.startswith(OURS) else theme.faint
