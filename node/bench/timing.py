"""The one clock of the benchmarks: runs that alternate, their medians, and how far they are apart.

A `Trial` sets a run up and returns what is timed, so that setting up costs nothing. Where two things are
compared their runs take turns: whatever else the machine does meets both.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")
LONG_SECONDS = 5.0
"""What takes longer than this is not run again for a spread."""
Trial = Callable[[], Callable[[], object]]
"""Sets a run up and returns what is timed."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that the same work took, run by run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    def of_one(self, count: int) -> Times:
        """Of one of so many alike."""
        return Times(tuple(each / count for each in self.seconds))

    def over(self, other: Times) -> tuple[float, float]:
        """Least and greatest ratio of a run to the other of its round; of any two where rounds differ."""
        if len(self.seconds) == len(other.seconds):
            ratios = [ours / theirs for ours, theirs in zip(self.seconds, other.seconds, strict=True)]
            return min(ratios), max(ratios)
        return min(self.seconds) / max(other.seconds), max(self.seconds) / min(other.seconds)


def times(*trials: Trial, runs: int = 5, warm_ups: int = 1) -> tuple[Times, ...]:
    """Times of each trial over `runs` rounds, in which they take turns; `warm_ups` come before."""
    for _ in range(warm_ups):
        for trial in trials:
            trial()()
    rounds = [[seconds(trial()) for trial in trials] for _ in range(runs)]
    return tuple(map(Times, zip(*rounds, strict=True)))


def again(work: Callable[[], object]) -> Trial:
    """A trial that needs nothing set up."""
    return lambda: work


def timed(work: Callable[[], T]) -> tuple[T, Times]:
    """What one run returns, and how long it took: for runs too long to repeat."""
    kept: list[T] = []
    taken = seconds(lambda: kept.append(work()))
    return kept[0], Times((taken,))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes once."""
    gc.collect()
    gc.disable()  # what others left on the heap is not this run's to look through
    try:
        started = now_seconds()
        work()
        return now_seconds() - started
    finally:
        gc.enable()


def now_seconds() -> float:
    """The clock itself: where what is timed begins and ends in different places."""
    return time.perf_counter()
