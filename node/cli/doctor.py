"""`wattbook doctor`: whether this installation is sound."""

from __future__ import annotations

import json

import typer

from node.cli.errors import CLEAN, FAILED
from node.cli.options import Json


def doctor(as_json: Json = False) -> None:
    """Check the installation and say what to do where something is wrong; exit status 0 or 1.

    Example: wattbook doctor
    """
    from node.doctor import examine  # noqa: PLC0415 - asks slow questions

    answers = examine()
    ok = all(answer.ok for answer in answers)
    if as_json:
        typer.echo(json.dumps({"ok": ok, "answers": [answer.to_json() for answer in answers]}))
    else:
        for answer in answers:
            typer.echo(f"{'ok ' if answer.ok else 'NO '} {answer.question}: {answer.found}")
            if not answer.ok:
                typer.echo(f"    to do: {answer.remedy}")
    raise typer.Exit(CLEAN if ok else FAILED)
