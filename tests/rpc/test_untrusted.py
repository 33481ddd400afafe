"""JSON from strangers: whatever is shallow is read as usual, whatever is not is refused before it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.rpc.untrusted import DEPTH_MAX, depth, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def nesting(value: Any) -> int:
    """The definition: 0 for what holds nothing, else one more than the deepest within."""
    if isinstance(value, dict):
        return 1 + max(map(nesting, value.values()), default=0)
    return 1 + max(map(nesting, value), default=0) if isinstance(value, list) else 0


@given(VALUES, st.booleans())
def test_depth_is_that_of_the_value(value: Any, ascii_only: bool):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert depth(text) == nesting(value)
    assert parse(text) == parse(text.encode()) == value


@given(st.text(alphabet='[]{}",:\\ 1'))
def test_what_is_no_json_has_a_depth_too(text: str):
    assert 0 <= depth(text) <= text.count("[") + text.count("{")


def test_depth_is_bounded_and_breadth_is_not():
    deepest = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert depth(deepest) == DEPTH_MAX
    assert parse(deepest) == json.loads(deepest)
    with pytest.raises(ValueError, match=f"^nested deeper than {DEPTH_MAX}$"):
        parse(f"[{deepest}]")
    broad = [{"params": [["[[[", {}]]}] * 1_000
    assert parse(json.dumps(broad)) == broad
    assert parse(json.dumps("[" * 1_000)) == "[" * 1_000


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 5_000_000,
        b'{"a":' * 1_000_000,
        b'"' + b'\\"' * 1_000_000 + b"\\",
        ("[" * 1_000).encode("utf-16"),
        b"\xff\xfe",
        b'["unfinished',
        b"",
    ],
    ids=["lists", "objects", "escapes", "utf-16", "bytes", "unfinished", "nothing"],
)
def test_what_is_refused(text: bytes):
    with pytest.raises(ValueError, match=r"."):
        parse(text)
