"""A radial feeder on rows and columns: nothing overlaps, whatever the tree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from market.feeder import load
from node.simulate.layout import Layout, radial_layout

Point = tuple[int, int]


@st.composite
def trees(draw: st.DrawFn) -> list[int]:
    size = draw(st.integers(1, 60))
    return [-1, *(draw(st.integers(0, bus - 1)) for bus in range(1, size))]


def drawn_points(parent: list[int], layout: Layout, line: int) -> set[Point]:
    """Grid points a line passes after its parent: down or up its riser, then one column on."""
    up = parent[line]
    first, last = sorted((layout.row[up], layout.row[line]))
    riser = {(layout.column[up], row) for row in range(first, last + 1)}
    return (riser | {(layout.column[line], layout.row[line])}) - {(layout.column[up], layout.row[up])}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(trees())
def test_no_two_buses_share_a_place_and_no_line_crosses_a_bus(parent: list[int]) -> None:
    layout = radial_layout(parent)
    places = list(zip(layout.column, layout.row, strict=True))
    assert len(set(places)) == len(parent)
    for line in range(1, len(parent)):
        crossed = drawn_points(parent, layout, line) & set(places)
        assert crossed == {places[line]}


@settings(derandomize=True, deadline=None, max_examples=200)
@given(trees())
def test_lines_meet_only_at_a_common_parent(parent: list[int]) -> None:
    layout = radial_layout(parent)
    owner: dict[Point, int] = {}
    for line in range(1, len(parent)):
        for point in drawn_points(parent, layout, line):
            assert owner.setdefault(point, parent[line]) == parent[line]


def test_columns_count_lines_from_the_substation() -> None:
    assert radial_layout([-1, 0, 1, 1, 3]).column == (0, 1, 2, 2, 3)


def test_ieee33_takes_four_rows_with_the_trunk_straight() -> None:
    layout = radial_layout([int(bus) for bus in load("ieee33").parent])
    assert set(layout.row[:18]) == {0}
    assert len(set(layout.row)) == 4
