"""What pictures are drawn on: SVG with the same bytes every time, colours, and a feeder's lines and buses.

No dates, ids salted with a constant, matplotlib's own fonts and defaults. Colours are Okabe and Ito's, maps
are perceptually uniform and colour-blind safe.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from market.units import Floats, Ints
from node.simulate.layout import LABELLED_BUSES, NAME_INSIDE, Layout

POINTS_PER_INCH = 72

SALT = "wattbook"
"""Makes the ids inside an SVG the same every time."""
NAMES_IN_A_ROW = 130
"""Characters of names side by side over the width of a picture."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a picture."""

    paper: str
    ink: str
    faint: str
    market: str
    other: str
    third: str
    worse: str


LIGHT = Theme("#ffffff", "#1d2327", "#c8ccd0", "#0072b2", "#5f6a72", "#009e73", "#d55e00")
DARK = Theme("#16191d", "#e6e8ea", "#454c54", "#56b4e9", "#a9b2ba", "#2fc49a", "#ff8a3c")


def svg(make: Callable[[], Figure], theme: Theme) -> bytes:
    """Draw a figure as SVG, in bytes that depend on what it shows and the theme alone."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_style(theme))
        figure = make()
        figure.dpi = POINTS_PER_INCH
        width, height = figure.get_size_inches() * POINTS_PER_INCH
        file = io.StringIO()
        renderer = _Renderer(width, height, file, metadata={"Date": None, "Creator": None})
        figure.draw(renderer)
        renderer.finalize()
    return file.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on a page: as data URIs for both colour schemes."""

    title: str
    caption: str
    light: str
    dark: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: its file name, what it shows, and how it is made."""

    name: str
    title: str
    caption: str
    make: Callable[[Theme], Figure]

    def svg(self, theme: Theme) -> bytes:
        """The picture's bytes, which depend on what it shows and the theme alone."""
        return svg(lambda: self.make(theme), theme)

    def shown(self, light: bytes | None = None) -> Shown:
        """As a page has it; `light` is what was drawn already."""
        drawn = self.svg(LIGHT) if light is None else light
        return Shown(self.title, self.caption, data_uri(drawn), data_uri(self.svg(DARK)))


class _Renderer(RendererSVG):  # type: ignore[misc]
    """Matplotlib's SVG renderer with its own graphics context: pandapower replaces it for every figure."""

    def new_gc(self) -> GraphicsContextBase:
        return GraphicsContextBase()


def _style(theme: Theme) -> dict[str, object]:
    return {
        "svg.hashsalt": SALT,
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": theme.other,
        "axes.labelcolor": theme.ink,
        "axes.facecolor": theme.paper,
        "figure.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "hatch.color": theme.paper,
    }


def data_uri(picture: bytes) -> str:
    """An SVG as the address of itself, for pages that hold all they show."""
    return "data:image/svg+xml;base64," + b64encode(picture).decode("ascii")


def draw_lines(
    axes: Any, layout: Layout, parent: Ints, *, width: Sequence[float], colour: Sequence[str]
) -> None:
    """Each line from its parent's column down or up to its own row, then to its bus; by bus, entry 0 idle."""
    column, row = layout.column, layout.row
    for line in range(1, len(parent)):
        up = int(parent[line])
        axes.plot(
            [column[up], column[up], column[line]],
            [row[up], row[line], row[line]],
            color=colour[line],
            lw=width[line],
            solid_joinstyle="round",
            zorder=1,
        )


def draw_buses(
    axes: Any, layout: Layout, price: Floats, names: Sequence[str], *, norm: Normalize, theme: Theme
) -> None:
    """Each bus as a dot coloured by its price, with its name inside where there are few."""
    few = len(names) <= LABELLED_BUSES
    inside = few and max(map(len, names)) <= NAME_INSIDE
    axes.scatter(
        layout.column,
        layout.row,
        s=230 if inside else 60 if few else 16,
        c=price,
        cmap="cividis",
        norm=norm,
        edgecolors=theme.ink,
        linewidths=0.8 if few else 0.3,
        zorder=2,
    )
    if inside:
        _names_inside(axes, layout, names, [norm(each) < 0.55 for each in price])
    elif few:
        _names_above(axes, layout, names, theme)


def _names_inside(axes: Any, layout: Layout, names: Sequence[str], on_dark: Sequence[bool]) -> None:
    for column, row, name, dark in zip(layout.column, layout.row, names, on_dark, strict=True):
        axes.text(
            column,
            row,
            name,
            ha="center",
            va="center_baseline",
            fontsize=7,
            color="#ffffff" if dark else "#101010",
            zorder=3,
        )


def _names_above(axes: Any, layout: Layout, names: Sequence[str], theme: Theme) -> None:
    """Level where a column is as wide as the longest name, else slanting."""
    level = max(map(len, names)) * (max(layout.column) + 1) <= NAMES_IN_A_ROW
    for column, row, name in zip(layout.column, layout.row, names, strict=True):
        axes.annotate(
            name,
            (column, row),
            (0 if level else 1, 6),
            textcoords="offset points",
            ha="center" if level else "left",
            va="bottom",
            rotation=0 if level else 25,
            rotation_mode="anchor",
            fontsize=6.5,
            color=theme.ink,
            bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
            zorder=3,
        )
