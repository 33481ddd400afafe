"""Tables and lists on a terminal: columns as wide as what they hold, and nothing is cut.

Names stand to the left, numbers to the right; columns of sentences wrap between words. What is wider than the
terminal goes on in a block below, with the names again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from textwrap import wrap

GAP = 2
SENTENCE = 28
"""A cell of more letters, with spaces among them, is a sentence."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A head and its cells; `least` and `most` are the widths that it needs and could use."""

    head: str
    cells: tuple[str, ...]
    left: bool
    least: int
    most: int

    @classmethod
    def of(cls, head: str, cells: tuple[str, ...], first: bool) -> _Column:
        """Cells stay whole unless they are sentences; heads may wrap."""
        sentences = any(len(cell) > SENTENCE and " " in cell for cell in cells)
        whole = [word for cell in cells for word in cell.split()] if sentences else cells
        least = max(map(len, (*head.split(), *whole, "")))
        return cls(head, cells, first or sentences, least, max(map(len, (head, *cells))))

    def lines(self, cell: str, width: int) -> list[str]:
        """A cell's lines, each of this width."""
        told = wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]
        return [f"{line:<{width}}" if self.left else f"{line:>{width}}" for line in told]


def listed(entries: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each name and what it is about, these in one column."""
    known = list(entries)
    width = max((len(name) for name, _ in known), default=0)
    return [f"{name:<{width}}  {about}" for name, about in known]


def sheet(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The lines of a table, none longer than `width` unless one cell and its name are."""
    cells = zip(*rows, strict=True) if rows else ((),) * len(head)
    first, *others = (
        _Column.of(*each, place == 0) for place, each in enumerate(zip(head, cells, strict=True))
    )
    lines: list[str] = []
    for block in _blocks(first, others, width):
        lines += [*([""] if lines else []), *_block(block, width)]
    return lines


def _blocks(first: _Column, others: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Columns in order, as many beside the first as fit."""
    blocks = [[first]]
    for column in others:
        block = blocks[-1]
        if len(block) > 1 and sum(each.least + GAP for each in block) + column.least > width:
            blocks.append(block := [first])
        block.append(column)
    return blocks


def _block(columns: Sequence[_Column], width: int) -> list[str]:
    spare = width - sum(each.least + GAP for each in columns) + GAP
    widths = []
    for each in columns:
        more = max(min(each.most - each.least, spare), 0)
        widths.append(each.least + more)
        spare -= more
    head = _lines([each.lines(each.head, wide) for each, wide in zip(columns, widths, strict=True)])
    body = [
        line
        for row in zip(*(each.cells for each in columns), strict=True)
        for line in _lines(
            [each.lines(cell, wide) for each, cell, wide in zip(columns, row, widths, strict=True)]
        )
    ]
    return [*head, "─" * (sum(widths) + GAP * (len(widths) - 1)), *body]


def _lines(cells: Sequence[Sequence[str]]) -> list[str]:
    """Cells of several lines side by side."""
    blanks = [" " * len(cell[0]) for cell in cells]
    return [
        (" " * GAP).join(part or blank for part, blank in zip(parts, blanks, strict=True)).rstrip()
        for parts in zip_longest(*cells)
    ]
