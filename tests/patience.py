"""Waiting for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 60
"""Far more than anything takes, so that a failure is one of what is tested and not of a slow machine."""


def eventually(what: Callable[[], T | None], look_seconds: float = 0.2) -> T:
    """The first true answer. Raises AssertionError where there is none in time."""
    for _ in range(int(PATIENCE_SECONDS / look_seconds)):
        if found := what():
            return found
        time.sleep(look_seconds)
    raise AssertionError("it never happened")
