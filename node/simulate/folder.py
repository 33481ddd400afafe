"""The result folder: tables, plots, the report page, and the manifest that fixes their bytes.

The same session gives the same bytes in every file: no wall clock, no timings, no machine. A new result
takes the place of an earlier one, and of nothing else: what the earlier manifest does not list is not ours.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath

from node.simulate.result import DayResult
from node.simulate.tables import tables

MANIFEST = "manifest.json"
FORMAT = "wattbook-results-1"
UNFINISHED = ".wattbook-unfinished"
"""Lies in a folder that is being written, so that a run that was killed leaves what the next may clear."""


class OutputFolderError(ValueError):
    """The folder for results holds something else, or cannot be written; nothing of it is touched."""


# --- the place of a result ----------------------------------------------------------------------


def check_output(out: Path) -> None:
    """Refuse a folder that holds what is not ours, or cannot be written. Raises OutputFolderError."""
    try:
        place = out.resolve()
        if place.exists() and not place.is_dir():
            raise OutputFolderError(f"{out}: not a folder")
        if foreign := _foreign(place):
            raise OutputFolderError(f"{out}: holds {foreign}; move it, or name another folder")
        with _beside(place):
            pass  # that it can be made is known now, and not only when everything is computed
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself
        reason = error.strerror if isinstance(error, OSError) else "a link that leads to itself"
        raise OutputFolderError(f"{out}: {reason}; name another folder") from None


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out`; what the block leaves there takes the place of the earlier result.

    So `out` holds either the earlier result or the whole new one. Raises OSError, and OutputFolderError
    where what lies in the way is not ours.
    """
    out = out.resolve()  # "." has no name beside which to write, and a link is kept
    with _beside(out) as partial:
        yield partial
        (partial / UNFINISHED).unlink()
        if foreign := _foreign(out):
            raise OutputFolderError(f"{out}: holds {foreign}; the new result is in {partial}")
        for name in sorted(_entries(out), reverse=True):  # a folder comes after what it holds
            (out / name).rmdir() if name.endswith("/") else (out / name).unlink()
        partial.rename(out)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write in; it goes when the block ends, unless it is marked as finished."""
    partial = out.parent / f"{out.name}.partial"
    _clear(partial)
    partial.mkdir(parents=True)
    (partial / UNFINISHED).touch()
    try:
        yield partial
    finally:
        if (partial / UNFINISHED).exists():
            shutil.rmtree(partial)


def _clear(partial: Path) -> None:
    """Remove what an earlier run that was ended left. Raises OutputFolderError where it is not ours."""
    if not partial.exists() and not partial.is_symlink():
        return
    ours = partial.is_dir() and ((partial / UNFINISHED).is_file() or not _foreign(partial))
    if not ours or partial.is_symlink():
        raise OutputFolderError(f"{partial}: in the way, and not left by an earlier run; move it")
    shutil.rmtree(partial)


def _foreign(folder: Path) -> str:
    """What a folder holds beside an earlier result, in words; empty for nothing."""
    found = _entries(folder)
    known = _known(folder) if found else frozenset()
    if found and not known:
        return "files that are not a Wattbook result"
    foreign = sorted(found - known)
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    return f"{foreign[0]}{more}, which the earlier result does not list" if foreign else ""


def _entries(folder: Path) -> frozenset[str]:
    """Everything below a folder; folders end in a slash, links do not."""
    entries = set()
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            path = Path(parent, name)
            is_folder = name in folders and not path.is_symlink()
            entries.add(path.relative_to(folder).as_posix() + "/" * is_folder)
    return frozenset(entries)


def _known(folder: Path) -> frozenset[str]:
    """Entries of the result whose manifest a folder holds; none where it holds no such manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        names = tuple(manifest["files"]) if manifest["format"] == FORMAT else ()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return frozenset()
    folders = {f"{parent.as_posix()}/" for name in names for parent in PurePosixPath(name).parents}
    return frozenset({MANIFEST, *names, *folders}) if names else frozenset()


# --- its files ----------------------------------------------------------------------------------


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
    not_listed = (out / MANIFEST, out / UNFINISHED)
    files = sorted(path for path in out.rglob("*") if path.is_file() and path not in not_listed)
    manifest = {
        "format": FORMAT,
        "scenario": day.scenario_name,
        "seed": day.seed,
        "rule": day.rule,
        "feeder": day.feeder_name,
        "slots": len(day.slots),
        "head_hash": day.ledger.head_hash,
        "files": {
            path.relative_to(out).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        },
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="")
