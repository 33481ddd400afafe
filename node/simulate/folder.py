"""The result folder: tables, plots, the report page, and the manifest that fixes their bytes.

The same session gives the same bytes in every file: no wall clock, no timings, no machine.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from node.simulate.result import DayResult
from node.simulate.tables import tables

MANIFEST = "manifest.json"
FORMAT = "wattbook-results-1"


def write_results(day: DayResult, out: Path) -> None:
    """Write tables, plots and report into `out`, which is made where it is missing.

    Raises FillsMismatchError, or OSError where the folder cannot be written.
    """
    from node.simulate.plots import PLOTS, draw  # noqa: PLC0415 - matplotlib loads slowly
    from node.simulate.report import render_report  # noqa: PLC0415 - as above

    out.mkdir(parents=True, exist_ok=True)
    for table in tables(day):
        (out / f"{table.name}.csv").write_text(table.to_csv(), encoding="utf-8", newline="")
    (out / "plots").mkdir(exist_ok=True)
    pictures = {plot.name: draw(plot, day) for plot in PLOTS}
    for name, svg in pictures.items():
        (out / "plots" / f"{name}.svg").write_bytes(svg)
    (out / "report.html").write_text(render_report(day, pictures), encoding="utf-8", newline="")


def write_manifest(out: Path, day: DayResult) -> None:
    """List every file under `out` with its SHA-256; call it last, when the bundle is there too."""
    files = sorted(path for path in out.rglob("*") if path.is_file() and path != out / MANIFEST)
    manifest = {
        "format": FORMAT,
        "scenario": day.scenario_name,
        "seed": day.seed,
        "rule": day.rule,
        "feeder": day.feeder_name,
        "slots": len(day.slots),
        "head_hash": day.head_hash,
        "files": {
            path.relative_to(out).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        },
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="")
