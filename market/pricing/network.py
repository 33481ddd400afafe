"""What the optimality conditions need of a feeder, prepared once for who checks often."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.units import Floats, Ints


class Network:
    """Constants and sums over a feeder; entry 0 of line arrays, which is no line, is 0.

    The substation stands as its own parent, so that its entries of line conditions read 0 = 0.
    """

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self.parent = np.maximum(feeder.parent, 0)
        line = np.arange(feeder.buses) > 0
        r, x = np.where(line, feeder.r_pu, 0.0), np.where(line, feeder.x_pu, 0.0)
        self.impedance = np.array((r, x, r**2 + x**2))[:, None]
        """r, x and r² + x², 3 × 1 × buses."""
        self.twice = 2 * self.impedance[:2]
        limits = feeder.limits
        self.v_low, self.v_high, self.rating = limits.v_min**2, limits.v_max**2, limits.i_max**2
        squared = np.array((self.v_low, -self.v_high, -self.rating))[:, None]
        self.held = np.where(np.isfinite(squared), squared, 0.0)
        """v̲², −v̄², −l̄ as multiplied by μ̲, μ̄, η; a limit that is none holds nothing."""
        self._heads: dict[int, npt.NDArray[np.intp]] = {}

    def leaving(self, rows: Floats) -> Floats:
        """Sums over the lines that leave each bus, shaped as `rows`, … × buses."""
        count, buses = rows.size // self.feeder.buses, self.feeder.buses
        if count not in self._heads:
            self._heads[count] = (buses * np.arange(count)[:, None] + self.parent).ravel()
        sums = np.bincount(self._heads[count], rows.ravel(), rows.size)
        return np.asarray(sums.reshape(rows.shape), dtype=np.float64)


def sum_by_bus(buses: int, bus: Ints, power: Floats) -> Floats:
    """Sums by bus of columns at `bus`, periods × buses."""
    return np.array([np.bincount(bus, row, buses) for row in power], dtype=np.float64)
