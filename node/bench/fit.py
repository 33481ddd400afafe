"""How fast times grow with a size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

FITTED_FROM = 0.1
"""A point counts for the power where it takes at least this share of the curve's longest time."""


def power(sizes: Iterable[float], seconds: Iterable[float]) -> float:
    """b of seconds = a·sizeᵇ: least squares of logarithms over the points where fixed costs do not count."""
    size, taken = np.array(list(sizes), dtype=float), np.array(list(seconds))
    counts = taken >= FITTED_FROM * taken.max()
    counts[-2:] = True
    return float(np.polyfit(np.log(size[counts]), np.log(taken[counts]), 1)[0])
