"""From a TOML file to a checked scenario, or to one line that says what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from node.scenario.schema import FeederSection, ScenarioFile
from node.scenario.unreadable import UNREADABLE, why


class ScenarioError(ValueError):
    """A scenario that cannot be used; the message names file, key, value and what is allowed."""


def load(
    path: str | Path, overrides: Mapping[str, str] | None = None, seed: int | None = None
) -> ScenarioFile:
    """Read a scenario; `overrides` maps dotted keys (`forecast.error`) to TOML values.

    `path` is a file, or the name of a built-in scenario (`ieee33-day`). Raises ScenarioError.
    """
    source, text = _read(path)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{source}: not TOML: {error}") from None
    _find_beside(source, document)
    for key, value in (overrides or {}).items():
        _override(source, document, key, value)
    if seed is not None:
        document["seed"] = seed
    try:
        return ScenarioFile.model_validate(document)
    except ValidationError as error:
        raise ScenarioError(f"{source}: {_first_line(error)}") from None


def changed(scenario: ScenarioFile, tables: Mapping[str, Mapping[str, object]]) -> ScenarioFile:
    """The scenario with other values of some keys, by table, checked anew. Raises ScenarioError."""
    document = scenario.model_dump()
    for table, values in tables.items():
        document[table] |= values
    try:
        return ScenarioFile.model_validate(document)
    except ValidationError as error:
        raise ScenarioError(_first_line(error)) from None


def builtin_names() -> tuple[str, ...]:
    """Names of the scenarios that come with the package."""
    folder = files("node") / "scenarios"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml")))


def _read(path: str | Path) -> tuple[str, str]:
    if not str(path):
        raise ScenarioError(f"no scenario; name a TOML file or one of: {', '.join(builtin_names())}")
    try:
        return str(path), Path(path).read_text(encoding="utf-8")
    except UNREADABLE as error:
        builtin = str(path).removesuffix(".toml")
        if builtin in builtin_names():
            return builtin, (files("node") / "scenarios" / f"{builtin}.toml").read_text(encoding="utf-8")
        known = ", ".join(builtin_names())
        raise ScenarioError(f"{path}: {why(error)}; a TOML file or one of: {known}") from None


def _find_beside(source: str, document: dict[str, Any]) -> None:
    """Files of a feeder and of profiles are named as seen from the scenario's."""
    for section, key, names_file in _FILES:
        table = document.get(section)
        name = table.get(key) if isinstance(table, dict) else None
        if isinstance(name, str) and names_file(name):
            document[section][key] = str(Path(source).parent / name)


_FILES: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("feeder", "name", FeederSection.names_file),
    ("profiles", "file", bool),
)
"""Keys that may name a file, and which of their values do."""


def _override(source: str, document: dict[str, Any], key: str, value: str) -> None:
    """Set one dotted key. The value is read as TOML, and as plain text where it is none."""
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *tables, leaf = key.split(".")
    if not leaf or not all(tables):
        raise ScenarioError(f"{source}: --set {key}: a key looks like forecast.error")
    table = document
    for name in tables:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"{source}: --set {key}: {name} is not a table")
    table[leaf] = parsed


def _first_line(error: ValidationError) -> str:
    """The first broken rule as `key = value: what is allowed`, and how many more there are.

    Places in lists count from 1, as prosumers do.
    """
    problems = error.errors(include_url=False)
    first = problems[0]
    location, kind = first["loc"], first["type"]
    if kind == "missing" and isinstance(location[-1], int):
        location, kind = location[:-1], "too_short_pair"
    key = ".".join(str(part + 1) if isinstance(part, int) else part for part in location)
    if kind == "extra_forbidden":
        text = f"{key}: unknown key; allowed here: {', '.join(_allowed(location))}"
    elif kind == "missing":
        text = f"{key}: missing"
    elif kind == "value_error":
        text = f"{key}: " * bool(key) + first["msg"].removeprefix("Value error, ")
    else:
        wanted = _WANTED.get(kind) or re.sub("^(Input|String) should", "must", first["msg"])
        text = f"{key} = {_shown(first['input'])}: {wanted}"
    more = len(problems) - 1
    return text + (f" (and {more} more)" if more else "")


_A_TIME = "must be a time with its offset, as 2026-06-23T00:00:00Z"
_WANTED = {
    "too_short_pair": "must be [low, high]",
    "too_long": "must be [low, high]",
    "model_type": "must be a table",
    "tuple_type": "must be a list",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "string_type": "must be text",
    "datetime_type": f"{_A_TIME}, without quotes",
    "timezone_aware": _A_TIME,
}
"""Type errors in TOML's words; pydantic's are Python's."""
_SHOWN_CHARACTERS = 60


def _shown(value: object) -> str:
    """A value about as TOML writes it, cut where it is long."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, datetime | date | time):
        text = value.isoformat()
    else:
        text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """The keys of the table in which an unknown one stands; of `[[…]]` tables each has the same."""
    model: Any = ScenarioFile
    for name in (part for part in location[:-1] if isinstance(part, str)):
        told = model.model_fields[name].annotation
        model = get_args(told)[0] if get_origin(told) is tuple else told
    return sorted(model.model_fields)
