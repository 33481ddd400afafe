"""Lists in pieces: items have places, and a piece goes on after the place where the last one ended.

A place is whole numbers joined by colons, as `184:7`. It stays where it is while the list grows, so that
nothing is told twice or left out, and an item that was forgotten meanwhile does no harm.

CursorError   what was given as `after` is no place of this list
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from heapq import nlargest, nsmallest
from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict

LIMIT_DEFAULT, LIMIT_MAX = 100, 500
_PLACE = re.compile(r"[0-9]{1,20}(:[0-9]{1,20})*", re.ASCII)

T = TypeVar("T")
R = TypeVar("R")
Place = tuple[int, ...]

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="at most so many items")]
After = Annotated[
    str | None,
    Query(max_length=80, description="where the last piece ended: its `next`", examples=["184:7:0"]),
]
Direction = Annotated[
    Literal["oldest", "newest"],
    Query(description="which items come first, by their place in the market's life"),
]


class CursorError(ValueError):
    """The text is no place of the list."""


class Piece(BaseModel, Generic[R]):
    """Items of a list, and where the next ones begin."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={"description": "Items of a list, and where the next ones begin."},
    )

    items: list[R]
    """In the order that was asked for."""
    next: str | None
    """Give it as `after` for the next piece; null where this is the last one so far."""


def piece(
    placed: Iterable[tuple[Place, T]],
    show: Callable[[T], R],
    *,
    parts: int,
    after: str | None,
    limit: int,
    first: str,
) -> Piece[R]:
    """The items behind `after`, shown; a place of this list has so many `parts`. Raises CursorError."""
    start = None if after is None else _place(after, parts)
    newest = first == "newest"
    behind = (item for item in placed if start is None or (item[0] < start if newest else item[0] > start))
    pick = nlargest if newest else nsmallest
    found = pick(limit + 1, behind, key=lambda item: item[0])
    shown = found[:limit]
    more = ":".join(map(str, shown[-1][0])) if len(found) > limit else None
    return Piece(items=[show(item) for _, item in shown], next=more)


def _place(text: str, parts: int) -> Place:
    if not _PLACE.fullmatch(text) or text.count(":") != parts - 1:
        raise CursorError(f"after: {text[:80]!r} is no place of this list, which `next` tells")
    return tuple(map(int, text.split(":")))
