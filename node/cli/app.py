"""The commands by name. Each imports what it needs only when it runs, so that the others start fast."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperGroup

from node.cli.audit import audit, explain
from node.cli.doctor import doctor
from node.cli.price import price
from node.cli.simulate import simulate
from node.cli.testnet import testnet


class AuditOrExplain(TyperGroup):
    """Reads `audit explain BUNDLE PAYMENT` as the command `audit-explain`."""

    def resolve_command(self, ctx: typer.Context, args: list[str]):  # type: ignore[no-untyped-def,override]
        """Join the two words before looking the command up."""
        if args[:2] == ["audit", "explain"]:
            args = ["audit explain", *args[2:]]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="wattbook",
    cls=AuditOrExplain,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wattbook {version('wattbook')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A peer-to-peer electricity market for one distribution feeder.

    Example: wattbook simulate ieee33-day --out out/demo
    """


app.command()(simulate)
app.command()(audit)
app.command("audit explain")(explain)
app.command()(price)
app.command()(doctor)
app.command()(testnet)


def main() -> None:
    """Run the command line; an interrupt ends it quietly with status 130."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
