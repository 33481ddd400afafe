"""What a study found, as files: its picture, its figures and its tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from matplotlib.figure import Figure

from node.simulate.canvas import LIGHT, svg
from node.studies.study import Draw, Findings, Table, Value

INCHES = (7.0, 4.2)


def write_findings(name: str, found: Findings, out: Path) -> bytes:
    """Write NAME.svg, NAME.json and a CSV for each table into a folder; the picture. Raises OSError.

    The same bytes every time; the figures name the tables' files and titles.
    """
    drawn = picture(found.draw)
    (out / f"{name}.svg").write_bytes(drawn)
    untimed = (table for table in found.tables if not table.timed)
    tables = {f"{name}-{number}.csv": table for number, table in enumerate(untimed, 1)}
    for file, table in tables.items():
        _write_table(out / file, table)
    titles = {file: table.title for file, table in tables.items()}
    write_json(out / f"{name}.json", {**found.figures, "tables": titles})
    return drawn


def _write_table(path: Path, table: Table) -> None:
    """Cells as people see them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows((table.head, *table.rows))


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
