"""The commands by name. Each imports what it needs only when it runs, so that the others start fast."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from node.cli import replace
from node.cli.agent import agent
from node.cli.audit import audit
from node.cli.bench import bench
from node.cli.doctor import doctor
from node.cli.errors import FAILED, complain
from node.cli.explain import explain
from node.cli.journal import journal
from node.cli.key import key
from node.cli.keystore import keystore
from node.cli.oracle import oracle
from node.cli.price import price
from node.cli.serve import serve
from node.cli.simulate import simulate
from node.cli.study import study
from node.cli.testnet import testnet


class Commands(TyperGroup):
    """A group that says what was wrong in one line, and knows commands of two words, as `audit explain`."""

    def resolve_command(self, ctx: typer.Context, args: list[str]):  # type: ignore[no-untyped-def,override]
        """Join two words that name a command before looking it up, and refuse a name that is none."""
        if (both := " ".join(args[:2])) in self.commands:
            args = [both, *args[2:]]
        if args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"{args[0]}: no such command; there are {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; wrong usage leaves with its status and one line on stderr."""
        run = partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        try:
            sys.exit(run())
        except typer.TyperException as refusal:
            if message := refusal.format_message().strip():  # without any argument the help was the answer
                complain(f"{message}{_see_help(refusal)}")
            sys.exit(refusal.exit_code)
        except typer.Abort:
            sys.exit(FAILED)


def _see_help(refusal: typer.TyperException) -> str:
    """Where to read what is allowed, if it is known which command was meant."""
    context = getattr(refusal, "ctx", None)
    return "" if context is None else f" (see {context.command_path} --help)"


app = typer.Typer(
    name="wattbook",
    cls=Commands,
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
app.command("audit journal")(journal)
app.command("audit key")(key)
app.command()(price)
app.command()(doctor)
app.command()(testnet)
app.command()(serve)
app.command()(study)
app.command()(keystore)
app.command("replace account")(replace.account)
app.command("replace meter")(replace.meter)
app.command("replace role")(replace.role)
app.command("replace oracles")(replace.oracles)
app.command()(oracle)
app.command()(agent)
app.command()(bench)


def main() -> None:
    """Run the command line as `wattbook`; an interrupt ends it quietly with status 130."""
    try:
        app(prog_name="wattbook")
    except KeyboardInterrupt:
        sys.exit(130)
