"""JSON from strangers: parsed only where it is shallow.

The interpreter's own guard against nesting without end does not hold here: py-evm lifts the limit of
recursion so far that json's C scanner runs out of stack first, which ends the process.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any

DEPTH_MAX = 64
"""Lists and objects within one another; a batch of calls with typed data needs a dozen."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.?[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A string, or an unfinished one to the end, so that each character is read once."""
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def parse(text: str | bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises ValueError where it is none, or nested too deeply."""
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    if decoded.count("[") + decoded.count("{") > DEPTH_MAX and depth(decoded) > DEPTH_MAX:
        raise ValueError(f"nested deeper than {DEPTH_MAX}")
    return json.loads(decoded, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is Python's, not JSON's")


def depth(text: str) -> int:
    """How many lists and objects stand within one another, at most; brackets in strings do not count."""
    steps = (_STEP.get(character, 0) for character in _STRING.sub("", text))
    return max(accumulate(steps, initial=0))
