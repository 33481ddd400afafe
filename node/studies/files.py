"""What a study found, as files: its picture and its figures."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from node.simulate.canvas import LIGHT, svg
from node.studies.study import Draw, Findings, Value

INCHES = (7.0, 4.2)


def write_findings(name: str, found: Findings, out: Path) -> bytes:
    """Write NAME.svg and NAME.json into a folder, the same bytes every time; the picture. Raises OSError."""
    drawn = picture(found.draw)
    (out / f"{name}.svg").write_bytes(drawn)
    write_json(out / f"{name}.json", found.figures)
    return drawn


def write_json(path: Path, figures: Value) -> None:
    """Write figures as a file. Raises OSError."""
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8", newline="")


def picture(draw: Draw) -> bytes:
    """SVG, the same bytes every time."""

    def make() -> Figure:
        figure = Figure(figsize=INCHES, layout="constrained")
        draw(figure, LIGHT)
        return figure

    return svg(make, LIGHT)
