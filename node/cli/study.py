"""`wattbook study`: a published system, set up, run, and reported."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from shutil import get_terminal_size
from tempfile import NamedTemporaryFile
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import FAILED, USAGE, stop, writing
from node.cli.options import Json, Settings, overrides, refusals
from node.cli.sheet import listed, sheet

if TYPE_CHECKING:
    from node.studies.auctions import Auction
    from node.studies.study import Findings, Study, Table

ALL = "all"
SEED_MAX = 2**63 - 1
MARKS = {
    "comes out": "[green]✓[/green]",
    "not reproduced": "[yellow]–[/yellow]",
    "is not so": "[yellow]–[/yellow]",
    "does not come out": "[red]✗[/red]",
}
"""By a claim's outcome."""


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which study; see --list. `all` for every one.")
    ] = None,
    list_studies: Annotated[bool, typer.Option("--list", help="List the studies, one line each.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=SEED_MAX, help="Seed of every random draw.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for picture (SVG), figures (JSON), tables (CSV); of all, for the report too."
        ),
    ] = None,
    rule: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE.py", help="Of baselines, double-auction and all: an auction of your own."),
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Run a published system and say what comes out: of its source's claims, and of the study's own checks.

    Example: wattbook study double-auction --out out/studies
    """
    from node.studies.registry import UnknownStudy, load  # noqa: PLC0415 - only when asked for

    if list_studies:
        _list(as_json)
        return
    if name is None:
        stop("name a study; wattbook study --list shows them", USAGE)
    if name == ALL:
        _all(seed, out, rule or (), overrides(settings), as_json)
        return
    try:
        chosen = load(name)
    except UnknownStudy as refusal:
        stop(refusal, USAGE)
    if out is not None:
        _require_writable(out)
    found = (
        _compared(chosen, seed, rule or (), overrides(settings)) if rule or settings else _run(chosen, seed)
    )
    if out is not None:
        from node.studies.files import write_findings  # noqa: PLC0415 - matplotlib loads slowly

        with writing(out):
            write_findings(chosen.name, found, out)
    if as_json:
        typer.echo(json.dumps(_to_json(chosen, found, seed)))
    else:
        _show(chosen, found)
    if not found.passed:
        raise typer.Exit(FAILED)


def _list(as_json: bool) -> None:
    from node.studies.registry import ENTRIES  # noqa: PLC0415

    if as_json:
        typer.echo(json.dumps([{"name": entry.name, "about": entry.about} for entry in ENTRIES]))
    else:
        typer.echo("\n".join(listed((entry.name, entry.about) for entry in ENTRIES)))


def _all(
    seed: int, out: Path | None, paths: Sequence[Path], settings: Mapping[str, str], as_json: bool
) -> None:
    """Run everything, write the report, and say which studies' claims all come out."""
    from node.studies.registry import ENTRIES  # noqa: PLC0415
    from node.studies.whole import REPORT, run_all, write  # noqa: PLC0415

    if out is None:
        stop("all: name a folder for the report with --out", USAGE)
    with _rules(paths) as rules, _of_the_day():
        _require_writable(out)
        whole = run_all(seed, ENTRIES, rules, settings, _tell)
    with writing(out):
        write(whole, out)
    if as_json:
        typer.echo(json.dumps(whole.to_json()))
    else:
        for table in whole.comparison.tables():
            _show_table(table)
        for ran in whole.studies:
            typer.echo(f"{ran.study.name}: {ran.outcome}")
        typer.echo(f"\nreport: {out / REPORT}")
    if not whole.passed:
        raise typer.Exit(FAILED)


def _tell(what: str) -> None:
    """What is next, for whoever watches."""
    if sys.stderr.isatty():
        typer.echo(f"{what} …", err=True)


def _run(chosen: Study, seed: int) -> Findings:
    """Run a study; one that needs an extra that is not there says so."""
    from market.feeder.three_phase import ThreePhaseError  # noqa: PLC0415 - only when asked for

    try:
        return chosen.run(seed)
    except ThreePhaseError as refusal:
        stop(refusal, FAILED)


def _compared(chosen: Study, seed: int, paths: Sequence[Path], settings: Mapping[str, str]) -> Findings:
    """Run a study beside auctions of the reader's own, on another day than it has by itself."""
    if settings and chosen.scenario is None:
        stop(f"--set: {chosen.name} takes no settings of a day; baselines does", USAGE)
    if chosen.compare is None:
        stop(f"--rule: {chosen.name} compares no auctions; baselines and double-auction do", USAGE)
    with _rules(paths) as rules, _of_the_day():
        return chosen.compare(seed, rules, settings)


@contextmanager
def _of_the_day() -> Iterator[None]:
    """Leave where settings make no day that can be compared."""
    from node.scenario import ScenarioError  # noqa: PLC0415 - pydantic loads slowly

    try:
        with refusals("--set"):
            yield
    except ScenarioError as refusal:
        stop(refusal, USAGE)


@contextmanager
def _rules(paths: Sequence[Path]) -> Iterator[dict[str, Auction]]:
    """The reader's own auctions: what they print is no result, what they may not do is told in one line."""
    from node.studies.auctions import AuctionError  # noqa: PLC0415 - loads slowly
    from node.studies.comparison import NAMES  # noqa: PLC0415
    from node.studies.rules import RuleFileError, load_rules  # noqa: PLC0415

    try:
        with redirect_stdout(sys.stderr):
            yield load_rules(paths, NAMES)
    except (RuleFileError, AuctionError) as refusal:
        stop(f"--rule: {refusal}", USAGE)


def _to_json(chosen: Study, found: Findings, seed: int) -> dict[str, object]:
    claims = [asdict(claim) for claim in found.claims]
    return {
        "study": chosen.name,
        "seed": seed,
        "passed": found.passed,
        **found.figures,
        "by_basis": found.counts_to_json(),
        "claims": claims,
    }


def _require_writable(out: Path) -> None:
    """A folder that takes no file is told before anything runs."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        NamedTemporaryFile(dir=out).close()


def _show(chosen: Study, found: Findings) -> None:
    from rich.console import Console  # noqa: PLC0415 - loads slowly
    from rich.markup import escape  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(f"[bold]{chosen.name}[/bold]: {chosen.about}\n", soft_wrap=True)
    source = chosen.source
    for what, text in (("Source", source.citation), ("Taken", source.taken), ("Added", source.added)):
        console.print(f"{what}: {text}.")
    for table in found.tables:
        _show_table(table)
    for heading, claims in found.grouped():
        console.print(f"[bold]{heading}[/bold]")
        for claim in claims:
            said = claim.told if claim.held or claim.required else f"{claim.outcome}: {claim.told}"
            console.print(f"{MARKS[claim.outcome]} {escape(said)}")
    console.print(f"\n{found.outcome}")
    for note in found.notes:
        console.print(f"\n{note}")


def _show_table(table: Table) -> None:
    width = get_terminal_size().columns
    lines = sheet(table.head, table.rows, width)
    typer.echo("\n".join(("", *wrap(table.title, width), "", *lines, "")))
