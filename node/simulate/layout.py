"""Where to draw the buses of a radial feeder: depth to the right, laterals on rows of their own.

Each bus's longest way downstream stays on its row. The other ways leave it as laterals, those furthest
downstream first, so that no riser meets a row in between; the trunk's go to whichever side is closer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

LABELLED_BUSES = 60
"""Feeders with more buses are drawn without their names."""
NAME_INSIDE = 3
"""Longer names stand above their bus, not in it."""
AT_LIMIT = 1e-6
"""A voltage as close to its limit, pu, or a loading as close to 1, is at it."""


def line_width(share: float) -> float:
    """Width of a line that carries this share of its rating, or of the largest flow; points."""
    return 0.6 + 5.4 * min(share, 1.0)


@dataclass(frozen=True, slots=True)
class Layout:
    """Column (lines from the substation) and row (0 is the substation's) of each bus."""

    column: tuple[int, ...]
    row: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Span:
    """Columns of a row that a way takes, riser included."""

    row: int
    first: int
    last: int

    def meets(self, other: _Span, offset: int) -> bool:
        """The other, moved down by `offset`, would touch this one."""
        return self.row == other.row + offset and self.first <= other.last and other.first <= self.last


@dataclass(slots=True)
class _Block:
    """A way with its laterals, all on rows from 0 downwards."""

    row: dict[int, int]
    spans: list[_Span]

    def nearest(self, lateral: _Block) -> int:
        """Smallest offset, at least 1, at which a lateral meets nothing."""
        return next(
            offset
            for offset in count(1)
            if not any(mine.meets(its, offset) for mine in self.spans for its in lateral.spans)
        )

    def attach(self, lateral: _Block, offset: int) -> None:
        """Take a lateral in, and the riser that leads down to it."""
        riser = lateral.spans[0].first
        self.spans += [_Span(row, riser, riser) for row in range(1, offset)]
        self.row |= {bus: row + offset for bus, row in lateral.row.items()}
        self.spans += [_Span(span.row + offset, span.first, span.last) for span in lateral.spans]


def radial_layout(parent: Sequence[int]) -> Layout:
    """Lay out a tree given by parents (parent[0] = −1, parent[j] < j). No two buses share a place."""
    tree = _Tree(parent)
    way = tree.way(0)
    below, above = (_Block(dict.fromkeys(way, 0), [_Span(0, 0, tree.reach[0])]) for _ in range(2))
    for lateral in tree.laterals(way):
        block = tree.block(lateral)
        down, up = below.nearest(block), above.nearest(block)
        if down <= up:
            below.attach(block, down)
        else:
            above.attach(block, up)
    row = below.row | {bus: -row for bus, row in above.row.items()}
    return Layout(tuple(tree.column), tuple(row[bus] for bus in range(len(parent))))


class _Tree:
    """Children, depth, and how deep it goes below each bus."""

    def __init__(self, parent: Sequence[int]) -> None:
        buses = len(parent)
        self.parent = parent
        self.children: list[list[int]] = [[] for _ in range(buses)]
        self.column = [0] * buses
        for bus in range(1, buses):
            self.children[parent[bus]].append(bus)
            self.column[bus] = self.column[parent[bus]] + 1
        self.reach = list(self.column)
        for bus in reversed(range(1, buses)):
            self.reach[parent[bus]] = max(self.reach[parent[bus]], self.reach[bus])

    def way(self, head: int) -> list[int]:
        """The longest way downstream from a bus."""
        way = [head]
        while self.children[way[-1]]:
            way.append(max(self.children[way[-1]], key=lambda child: self.reach[child]))
        return way

    def laterals(self, way: list[int]) -> list[int]:
        """First buses of the laterals of a way, the furthest downstream first."""
        on_way = set(way)
        return [child for bus in reversed(way) for child in self.children[bus] if child not in on_way]

    def block(self, head: int) -> _Block:
        """A lateral with all that hangs on it; its riser stands at its parent's column."""
        way = self.way(head)
        riser = self.column[self.parent[head]]
        block = _Block(dict.fromkeys(way, 0), [_Span(0, riser, self.reach[head])])
        for lateral in self.laterals(way):
            inner = self.block(lateral)
            block.attach(inner, block.nearest(inner))
        return block
