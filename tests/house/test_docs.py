"""Documents cannot drift: commands, checks, events, reject codes and scenario keys are all described."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi.routing import APIRoute
from typer.testing import CliRunner

import contracts
from ledger.audit import checks
from market.messages import ReadingReject
from market.orders import Reject, VoidReason
from node.scenario import builtin_names, load
from node.scenario.schema import ScenarioFile
from tests.house.documents import blocks, links, page, sections, shell_lines
from tests.house.references import REFERENCES, commands
from tests.house.repository import ROOT, files, text

PAGES = tuple(path for path in files() if path.suffix == ".md")
PROGRAMS = {"source", "make", "wattbook", "python", "python3", "git", "pip", "cd", "anvil", "curl"}

SCENARIO_PAGE = Path("node/scenario/README.md")
UNITS = {
    "eur_per_mwh": "€/MWh",
    "eur": "€",
    "seconds": "s",
    "pu": "pu",
    "mva": "MVA",
    "mw": "MW",
    "kw": "kW",
    "kwh": "kWh",
    "hour": "h",
    "wh": "Wh",
    "deg": "°",
}
"""The unit that the end of a key's name promises."""


def rows(markdown: str) -> list[list[str]]:
    """Cells of every table row, heads and rules left out."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = {number - 1 for number, cells in enumerate(table) if set("".join(cells)) <= set("-: ")}
    return [cells for number, cells in enumerate(table) if number not in heads | {head + 1 for head in heads}]


# --- links and commands -------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_links_resolve(path: Path):
    broken = [target for target in links(text(path) or "") if not (ROOT / path.parent / target).exists()]
    assert not broken


def examples() -> Iterator[tuple[Path, str]]:
    """Every command that a page tells to type."""
    for path in PAGES:
        yield from ((path, line) for line in shell_lines(text(path) or ""))


def test_shell_examples_start_with_programs_that_a_reader_has():
    unknown = [
        f"{path}: {line}"
        for path, line in examples()
        if Path(shlex.split(line, comments=True)[0]).name not in PROGRAMS
    ]
    assert not unknown, "\n".join(unknown)


def test_make_targets_of_the_pages_exist():
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    named = {
        (str(path), target)
        for path in PAGES
        for target in re.findall(r"`make ([a-z]+)`", text(path) or "")
        if target not in targets
    }
    assert not named


def test_the_citation_is_the_packages():
    said = dict(re.findall(r"^(\w+): (\S+)$", page("CITATION.cff"), re.MULTILINE))
    project = tomllib.loads(page("pyproject.toml"))["project"]
    assert (said["version"], said["license"]) == (project["version"], project["license"])


# --- the command line ---------------------------------------------------------------------------


@cache
def options(command: str) -> set[str]:
    """The options that a command's help shows."""
    from node.cli.app import app

    shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0, shown.output
    return set(re.findall(r"--[a-z][a-z-]*", shown.output))


def test_every_command_is_in_the_readme():
    forms = (re.match(r"`wattbook ([a-z ]*[a-z])(?= [A-Z]|`)", cells[0]) for cells in rows(page("README.md")))
    assert {form[1] for form in forms if form} == {
        name for name, command in commands().items() if not command.hidden
    }


def test_options_of_the_examples_exist():
    """An example in a page calls a command that is there, with options that it has."""
    unknown = []
    for path, line in examples():
        program, *words = shlex.split(line, comments=True)
        if Path(program).name != "wattbook" or words[0].startswith("-"):
            continue
        name = " ".join(words[:2]) if " ".join(words[:2]) in commands() else words[0]
        known = options(name) if name in commands() else None
        wrong = [word for word in words if word.startswith("--") and word.split("=")[0] not in (known or ())]
        unknown += [f"{path}: {line}: {', '.join(wrong) or name}"] if wrong or known is None else []
    assert not unknown, "\n".join(unknown)


def test_every_route_is_described():
    from node.api.app import create_api

    nothing: Any = Mock()  # routes are asked for nothing here
    app = create_api(nothing, {})
    routes = {
        route.path if route.methods == {"GET"} else f"{' '.join(sorted(route.methods))} {route.path}"
        for route in app.routes
        if isinstance(route, APIRoute)
    }
    described = {
        cells[0].strip("`").split("?")[0]
        for cells in rows(page("node/api/README.md"))
        if re.match("`([A-Z]+ )?/", cells[0])
    }
    assert described == routes


@pytest.mark.parametrize("path", REFERENCES)
def test_reference_says_what_the_code_does(path: str):
    assert page(path) == REFERENCES[path](), "python -m tests.house.references writes it anew"


# --- audit and contract -------------------------------------------------------------------------


def test_every_check_is_described():
    described = [cells[0].strip("`") for cells in rows(page("ledger/audit/README.md"))]
    assert described == [name for name, _ in checks()]


def test_every_event_and_function_of_the_contract_is_specified():
    specification = page("contracts/README.md")
    events = sections(specification)["Events"]
    abi = contracts.load("Exchange").abi
    unspecified = [
        entry["name"]
        for entry in abi
        if (entry["type"] == "event" and f"`{entry['name']}(" not in events)
        or (entry["type"] == "function" and not re.search(rf"`{entry['name']}\b", specification))
    ]
    assert not unspecified
    assert set(re.findall(r"`(\w+)\(", events)) == {
        entry["name"] for entry in abi if entry["type"] == "event"
    }


def test_every_code_is_specified():
    specification = page("contracts/README.md")
    orders = {
        int(cells[0]): cells[1].strip("`") for cells in rows(sections(specification)["Placing an order"])
    }
    assert orders == {reject.value: reject.rule for reject in Reject}
    events = sections(specification)["Events"]
    readings = re.search(r"Reading reject codes:(.*)", events, re.DOTALL)
    voids = re.search(r"Void reasons:(.*)", events)
    assert readings and voids
    assert {int(code): rule for code, rule in re.findall(r"(\d) `([^`]+)`", readings[1])} == {
        reject.value: reject.rule for reject in ReadingReject
    }
    assert {int(code) for code in re.findall(r"(\d) \w", voids[1])} == {reason.value for reason in VoidReason}


# --- scenarios ----------------------------------------------------------------------------------


def keys() -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """Section ("" for the top), key, its JSON schema, and whether it must be given."""
    schema = ScenarioFile.model_json_schema()
    for name, entry in schema["properties"].items():
        if not _table(entry):
            yield "", name, entry, name in schema["required"]
    for name, entry in schema["properties"].items():
        if of := _table(entry):
            table, section = schema["$defs"][of], name if "$ref" in entry else f"[{name}]"
            for key, field in table["properties"].items():
                yield section, key, field, key in table.get("required", ())


def _table(entry: Mapping[str, Any]) -> str:
    """The definition of a table, or of the tables of an array; nothing of other keys."""
    return str(entry.get("$ref") or entry.get("items", {}).get("$ref", "")).split("/")[-1]


def shown_default(field: Mapping[str, Any], required: bool) -> str:
    """A default as TOML, `must be given`, or `none`."""
    if required:
        return "must be given"
    value = field["default"]
    if value is None:
        return "none"
    return f"`{value}`" if field.get("format") == "date-time" else f"`{json.dumps(value)}`"


def shown_values(field: Mapping[str, Any]) -> str:
    """What a key may hold."""
    if "anyOf" in field:
        (field,) = (choice for choice in field["anyOf"] if choice["type"] != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return "[low, high]" if field.get("maxItems") == 2 else f"list, each {shown_values(field['items'])}"
    if field["type"] == "boolean":
        return "true, false"
    if field["type"] == "string":
        if "pattern" in field:
            return "`" + field["pattern"].strip("^$") + "`"
        if field.get("format") == "date-time":
            return "a time with its offset"
        return f"text, at most {field['maxLength']} characters" if "maxLength" in field else "text"
    low, above, high = (field.get(bound) for bound in ("minimum", "exclusiveMinimum", "maximum"))
    kind = "whole, " if field["type"] == "integer" else ""
    if above is not None:
        return f"{kind}> {above}"
    return f"{kind}{low} to {high}" if high is not None else f"{kind}≥ {low}"


def test_every_scenario_key_is_described():
    """Each row says key, unit, default, values and meaning; the first four are the schema's."""
    described = sections(page(SCENARIO_PAGE))
    for section in dict.fromkeys(section for section, *_ in keys()):
        heading = f"`[{section}]`" if section else "Top of the file"
        table = [(cells[0], cells[2], cells[3]) for cells in rows(described[heading])]
        assert table == [
            (f"`{name}`", shown_default(field, required), shown_values(field))
            for of, name, field, required in keys()
            if of == section
        ]


def test_scenario_units_are_those_of_the_names():
    for _, content in sections(page(SCENARIO_PAGE)).items():
        for key, unit, _, _, meaning in (cells for cells in rows(content) if len(cells) == 5):
            for ending in sorted(UNITS, key=len, reverse=True):
                if key.strip("`").endswith(ending):
                    assert unit == UNITS[ending], key
                    break
            assert meaning.endswith("."), key


def test_the_worked_scenario_loads(tmp_path: Path):
    scenarios = blocks(page(SCENARIO_PAGE), "toml")
    assert scenarios
    for number, example in enumerate(scenarios):
        path = tmp_path / f"{number}.toml"
        path.write_text(example, "utf-8")
        load(path)


def test_every_built_in_scenario_loads_and_is_named_by_its_file():
    assert [load(name).name for name in builtin_names()] == list(builtin_names())
    described = page(SCENARIO_PAGE)
    assert not [name for name in builtin_names() if f"`{name}`" not in described]
