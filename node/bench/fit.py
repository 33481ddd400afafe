"""How fast times grow with a size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.units import Floats
from node.bench.timing import Times

FITTED_FROM = 0.1
"""A point counts for the power where it takes at least this share of the curve's longest time."""
LEAST_POINTS = 2
"""The largest sizes count whatever they take."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A power, to how many points it is fitted, and the least and the greatest of it and of single runs'."""

    power: float
    points: int
    spread: tuple[float, float]


def power(sizes: Iterable[float], seconds: Iterable[float]) -> float:
    """b of seconds = a·sizeᵇ: least squares of logarithms over the points where fixed costs do not count."""
    taken = np.array(list(seconds))
    return _power(np.array(list(sizes), dtype=float), taken, _counts(taken))


def fit(sizes: Sequence[float], taken: Sequence[Times]) -> Fit:
    """The power of medians, and those of first runs, of second ones and so on, over the same points."""
    size, medians = np.array(sizes, dtype=float), np.array([each.median for each in taken])
    counts = _counts(medians)
    rounds = zip(*(each.seconds for each in taken), strict=True)
    found, *single = (_power(size, np.array(seconds), counts) for seconds in (medians, *rounds))
    return Fit(found, int(counts.sum()), (min(found, *single), max(found, *single)))


def _counts(seconds: Floats) -> NDArray[np.bool_]:
    counts: NDArray[np.bool_] = seconds >= FITTED_FROM * seconds.max()
    counts[-LEAST_POINTS:] = True
    return counts


def _power(size: Floats, seconds: Floats, counts: NDArray[np.bool_]) -> float:
    return float(np.polyfit(np.log(size[counts]), np.log(seconds[counts]), 1)[0])
