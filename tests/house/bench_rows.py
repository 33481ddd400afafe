"""What every row of a benchmark is like."""

from __future__ import annotations

import math

from node.bench.row import Row


def assert_sound(rows: list[Row]) -> None:
    """Figures are positive, names differ, a ratio is to a peer's figure; who failed is named without one."""
    assert rows
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert row.unit
        # Of what there may be none of, none is the goal, and an error may be none at all.
        none = row.value == 0 and (row.goal == 0 or row.unit == "relative")
        assert math.isfinite(row.value) and (row.value > 0 or none), row.name
        assert (row.peer_value is None) == (row.ratio is None), row.name
        assert row.peer is not None or row.peer_value is None, row.name
        if row.peer_value is not None:
            assert row.ratio == row.value / row.peer_value and (row.ratio > 0 or none)
