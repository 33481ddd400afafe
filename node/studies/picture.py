"""A study's picture as a file."""

from __future__ import annotations

from matplotlib.figure import Figure

from node.simulate.canvas import LIGHT, svg
from node.studies.study import Draw

INCHES = (7.0, 4.2)


def picture(draw: Draw) -> bytes:
    """SVG, the same bytes every time."""

    def make() -> Figure:
        figure = Figure(figsize=INCHES, layout="constrained")
        draw(figure, LIGHT)
        return figure

    return svg(make, LIGHT)
