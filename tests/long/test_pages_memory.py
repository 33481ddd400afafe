"""A busy market's server keeps what it shows: so much an event, until slots are settled and forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.bench.pages import LISTENERS, MEMORY, MEMORY_LEFT, rows


@pytest.mark.long
def test_memory_of_a_busy_market_is_flat(record_property: Callable[[str, object], None]):
    told = {row.name: row for row in rows()}
    for name in (MEMORY, MEMORY_LEFT, "events a second"):
        record_property(f"{name}, {told[name].unit}", round(told[name].value, 2))
    assert told["heard every event once"].value == LISTENERS
    assert told[MEMORY_LEFT].reached
