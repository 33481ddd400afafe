"""The references of `node/guides`, out of what `wattbook --help` and the API's page tell, too.

python -m tests.house.references      writes them anew
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import typer
import typer.main

from node.api.app import create_api
from node.cli.app import app
from node.web.api_docs import Api, Kind, Operation, api_of
from tests.house.repository import ROOT

WRITTEN = "Written by `python -m tests.house.references`."


def commands() -> dict[str, Any]:
    """Every command by its words, `audit explain` among them."""
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def commands_page() -> str:
    """Every command with its arguments and options, as its help has them."""
    intro = f"Every command, its arguments and options, as `wattbook COMMAND --help` says them. {WRITTEN}"
    shown = {name: command for name, command in commands().items() if not command.hidden}
    return _joined("# Commands", intro, *(part for each in shown.items() for part in _command(*each)))


def _command(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=f"wattbook {name}")
    yield f"## wattbook {name}"
    yield f"`{' '.join([context.info_name or '', *command.collect_usage_pieces(context)])}`"
    for paragraph in command.help.split("\n\n"):
        yield re.sub(r"^(.+): (wattbook .+)$", r"- \1: `\2`", paragraph, flags=re.MULTILINE)
    shown = filter(None, (parameter.get_help_record(context) for parameter in command.params))
    yield _table("argument or option", "what it is", rows=[(f"`{form}`", said) for form, said in shown])


def api_page() -> str:
    """Every route of the API with its inputs and answers, and every schema."""
    nothing: Any = Mock()  # routes are asked for nothing here
    api = api_of(create_api(nothing, {}).openapi())
    intro = f"As `/docs` of a server has it. What is behind it: [node/api](../api/README.md). {WRITTEN}"
    return _joined(
        f"# {api.title}, version {api.version}", intro, *api.paragraphs, *_routes(api), *_schemas(api)
    )


def _routes(api: Api) -> Iterator[str]:
    for section in api.sections:
        yield f"## {section.name.capitalize()}"
        yield section.words
        for operation in section.operations:
            yield from _operation(operation)


def _operation(operation: Operation) -> Iterator[str]:
    yield f"### {operation.method} {operation.path}"
    yield operation.words
    inputs = [
        (f"`{each.name}`{', required' * each.required}", each.where, _kinds(each.kinds), each.words)
        for each in operation.inputs
    ]
    if operation.body:
        inputs.append(("the body, required", "body", _kinds(operation.body), "As JSON."))
    if inputs:
        yield _table("input", "in", "type", "what it is", rows=inputs)
    answers = [(each.status, _kinds(each.kinds), each.words) for each in operation.answers]
    yield _table("status", "answer", "what it is", rows=answers)


def _schemas(api: Api) -> Iterator[str]:
    yield "## Schemas"
    for schema in api.schemas:
        yield f"### {schema.name}"
        yield schema.words
        members = [(f"`{each.name}`", _kinds(each.kinds), each.words) for each in schema.members]
        yield _table("member", "type", "what it is", rows=members)


def _kinds(kinds: tuple[Kind, ...]) -> str:
    return " or ".join(
        f"[{kind.words}](#{kind.schema.lower()})" if kind.schema else kind.words for kind in kinds
    )


def _table(*heads: str, rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown; a stroke within a cell would end it."""
    escaped = (tuple(" ".join(cell.split()).replace("|", "\\|") for cell in row) for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ("---",) * len(heads), *escaped])


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


REFERENCES: dict[str, Callable[[], str]] = {
    "node/guides/commands.md": commands_page,
    "node/guides/api.md": api_page,
}

if __name__ == "__main__":
    for path, written in REFERENCES.items():
        (ROOT / path).write_text(written(), "utf-8")
