"""`wattbook bench`: the figures Wattbook is measured by, side by side with others'."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, USAGE, complain, stop, writing
from node.cli.options import Json
from node.cli.sheet import listed, sheet

if TYPE_CHECKING:
    from rich.console import Console

    from node.bench.registry import Group
    from node.bench.row import Row

ONCE = "¹"
"""Stands at a figure of one run, which has no spread."""


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which benchmarks; all without a name.")
    ] = None,
    list_groups: Annotated[
        bool, typer.Option("--list", help="List the benchmarks and what they measure.")
    ] = False,
    feeders: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Of prices: times and errors on these feeders alone, as ieee69,pandapower:cigre-mv.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for a page with plots, and the rows as JSON."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure Wattbook beside its peers; all benchmarks take some minutes.

    Example: wattbook bench contract book
    """
    from node.bench.registry import UnknownBenchmark, chosen, kept_in, prices_of  # noqa: PLC0415 - only if asked

    try:
        groups = chosen(names or ())
    except UnknownBenchmark as refusal:
        stop(refusal, USAGE)
    if feeders is not None:
        if [group.name for group in groups] != ["prices"]:
            stop(
                "--feeders: only with the benchmark prices, as `wattbook bench prices --feeders ieee69`",
                USAGE,
            )
        groups = (prices_of(_feeders(feeders)),)
    if list_groups:
        _list(groups, as_json)
        return
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        groups = kept_in(out, groups)
    measured, failed = _run(groups, out)
    if as_json:
        from node.bench.row import rows_to_json  # noqa: PLC0415

        typer.echo(json.dumps(rows_to_json(measured)))
    else:
        _show(measured)
        if out is not None:
            from node.bench.page import PAGE, ROWS  # noqa: PLC0415 - loaded when it was written

            typer.echo(f"written: {out / PAGE}, with its rows in {ROWS}")
    if failed:
        raise typer.Exit(FAILED)


def _run(groups: Sequence[Group], out: Path | None) -> tuple[Mapping[str, Sequence[Row]], Mapping[str, str]]:
    """Rows by group, and of groups that went wrong why; after each the page is written with all so far."""
    from node.bench.row import WrongWork  # noqa: PLC0415

    measured: dict[str, list[Row]] = {}
    failed: dict[str, str] = {}
    for group in groups:
        try:
            measured[group.name] = _measured(group)
        except WrongWork as failure:
            complain(f"{group.name}: {failure}")
            failed[group.name] = str(failure)
        if out is not None:
            _write(measured, failed, groups, out)
    return measured, failed


def _feeders(text: str) -> list[str]:
    """Names with commas between them; leaves with 2 where one is empty."""
    from market.feeder import BUILT_IN, OTHERS  # noqa: PLC0415

    names = [name.strip() for name in text.split(",")]
    if not all(names):
        known = ", ".join((*BUILT_IN, OTHERS))
        stop(
            f"--feeders {text!r}: names of feeders, one at least, with one comma between two; known: {known}",
            USAGE,
        )
    return names


def _write(
    measured: Mapping[str, Sequence[Row]], failed: Mapping[str, str], groups: Sequence[Group], out: Path
) -> None:
    """The page; leaves with 2 where it cannot be written."""
    from node.bench.page import write  # noqa: PLC0415 - draws pictures

    with writing(out):
        write(measured, failed, groups, out)


def _list(groups: Sequence[Group], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([{"name": group.name, "about": group.about} for group in groups]))
        return
    typer.echo("\n".join(listed((group.name, group.about) for group in groups)))


def _measured(group: Group) -> list[Row]:
    """Run a group; a terminal hears what it finds. Raises WrongWork."""
    from rich.console import Console  # noqa: PLC0415 - loads slowly

    from market.feeder.model import FeederError  # noqa: PLC0415

    progress = Console(stderr=True, quiet=not sys.stderr.isatty())
    with progress.status(f"{group.name}: {group.about}"):
        try:
            return list(_told(group.rows(), progress))
        except FeederError as refusal:
            stop(f"--feeders: {refusal}", USAGE)


def _told(rows: Iterable[Row], progress: Console) -> Iterator[Row]:
    """Each row as it comes, so that who stops a long run has what was measured."""
    from node.bench.row import number  # noqa: PLC0415

    for row in rows:
        progress.print(f"{row.name}: {number(row.value)} {row.unit}", highlight=False, markup=False)
        yield row


def _show(measured: Mapping[str, Sequence[Row]]) -> None:
    """A table for each group, then why goals are missed."""
    width = get_terminal_size().columns
    for group, rows in measured.items():
        head = (group, "value", "goal", "peer", "its value", "ratio")
        typer.echo("\n".join([*sheet(head, [_cells(row) for row in rows], width), ""]))
    if measured:
        typer.echo(f"ratio: value / the peer's. ✓ goal met, ✗ not yet. {ONCE} one run.")
    for row in (row for rows in measured.values() for row in rows if row.reached is False and row.why):
        typer.echo(f"✗ {row.name}: {row.why}")


def _cells(row: Row) -> tuple[str, ...]:
    """Name, value, goal, peer, the peer's value, ratio; one run is marked, a power has what it rests on."""
    from node.bench.row import number, range_in_words  # noqa: PLC0415

    sign = "≤" if row.better == "less" else "≥"
    mark = "✓" if row.reached else "✗"
    ours, theirs = (f" {ONCE}" if row.runs[side : side + 1] == (1,) else "" for side in range(2))
    rests_on = range_in_words(row) if row.points is not None else ""
    return (
        f"{row.name}{rests_on}",
        f"{number(row.value)} {row.unit}".removesuffix(" 1") + ours,
        "" if row.goal is None else f"{sign} {number(row.goal)} {mark}",
        row.peer or "",
        "" if row.peer_value is None else f"{number(row.peer_value)}{theirs}",
        "" if row.ratio is None else number(row.ratio),
    )
