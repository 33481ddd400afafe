"""The API's documentation as a page: operations by tag and schemas, read from its OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REFERENCE = "#/components/schemas/"
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A type in words; where it is a schema of the page, `schema` is its name."""

    words: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a member of a schema; `where` and `required` are told of parameters alone."""

    name: str
    kinds: tuple[Kind, ...]
    words: str
    where: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What an operation may answer with."""

    status: str
    words: str
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    id: str
    method: str
    path: str
    words: str
    inputs: tuple[Member, ...]
    body: tuple[Kind, ...]
    answers: tuple[Answer, ...]

    @property
    def can_be_looked_at(self) -> bool:
        """Whether its path alone is a question."""
        return self.method == "GET" and not any(each.required for each in self.inputs)


@dataclass(frozen=True, slots=True)
class Section:
    """Operations of a tag."""

    name: str
    words: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """An object that goes in or out."""

    name: str
    words: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Api:
    """All of the page."""

    title: str
    version: str
    paragraphs: tuple[str, ...]
    sections: tuple[Section, ...]
    schemas: tuple[Schema, ...]


def api_of(document: Mapping[str, Any]) -> Api:
    """The page's contents, from an OpenAPI 3.1 description."""
    operations = [
        (told["tags"][0], _operation(path, method, told))
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    info = document["info"]
    return Api(
        title=info["title"],
        version=info["version"],
        paragraphs=tuple(_plain(info["description"]).strip().split("\n\n")),
        sections=tuple(
            Section(
                tag["name"],
                _plain(tag["description"]),
                tuple(operation for name, operation in operations if name == tag["name"]),
            )
            for tag in document["tags"]
        ),
        schemas=tuple(
            Schema(name, _plain(schema.get("description", "")), tuple(_members(schema)))
            for name, schema in sorted(document["components"]["schemas"].items())
            if "properties" in schema
        ),
    )


def _operation(path: str, method: str, told: Mapping[str, Any]) -> Operation:
    return Operation(
        id=told["operationId"],
        method=method.upper(),
        path=path,
        words=_plain(told["description"]),
        inputs=tuple(
            Member(
                each["name"],
                tuple(_kinds(each["schema"])),
                _plain(each.get("description", "")),
                where=each["in"],
                required=each["required"],
            )
            for each in told.get("parameters", ())
        ),
        body=_content(told.get("requestBody", {})),
        answers=tuple(
            Answer(status, _plain(each["description"]), _content(each))
            for status, each in sorted(told["responses"].items())
        ),
    )


def _members(schema: Mapping[str, Any]) -> Iterator[Member]:
    for name, member in schema["properties"].items():
        yield Member(name, tuple(_kinds(member)), _plain(member.get("description", "")))


def _content(told: Mapping[str, Any]) -> tuple[Kind, ...]:
    """What goes in or out: the schema of each media type, or the media type where it has none."""
    return tuple(
        kind
        for media_type, content in told.get("content", {}).items()
        for kind in (_kinds(content["schema"]) if content.get("schema") else [Kind(media_type)])
    )


def _kinds(schema: Mapping[str, Any]) -> Iterator[Kind]:
    """A type in words, with its alternatives."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        yield Kind(name, name)
    elif "anyOf" in schema:
        for each in schema["anyOf"]:
            yield from _kinds(each)
    elif schema.get("type") == "array":
        for each in _kinds(schema["items"]):
            yield Kind(f"list of {each.words}", each.schema)
    elif "enum" in schema:
        yield Kind(" | ".join(map(str, schema["enum"])))
    elif "const" in schema:
        yield Kind(str(schema["const"]))
    else:
        bounds = [f"{words} {schema[name]}" for name, words in BOUNDS.items() if name in schema]
        yield Kind(" ".join([schema.get("type", "anything"), *bounds]))


def _plain(words: str) -> str:
    """Words without the quotes of Markdown, which the page would show."""
    return words.replace("`", "")
