"""How often a visitor may ask for something that costs: buckets of tokens that fill up again with time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

VISITORS_MAX = 4_096
"""Visitors remembered; who was forgotten begins with a full bucket."""


class Buckets:
    """One bucket a visitor: `burst` at once, then `per_second` on average."""

    def __init__(
        self, per_second: float, burst: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._monotonic = per_second, float(burst), monotonic
        self._filled: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, visitor: str) -> float:
        """Take a token: 0 where there was one, else the seconds until there is."""
        with self._lock:
            now = self._monotonic()
            level, at = self._filled.pop(visitor, (self._burst, now))
            level = min(self._burst, level + (now - at) * self._per_second)
            wait = max(0.0, (1.0 - level) / self._per_second)
            self._filled[visitor] = (level if wait else level - 1.0, now)
            while len(self._filled) > VISITORS_MAX:
                self._filled.popitem(last=False)
            return wait
