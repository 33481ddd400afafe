"""A schedule and its multipliers as five blocks of arrays: how a certificate has them, and its checker.

Arrays of one shape lie together, so that one NumPy call serves several of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.pricing.conditions import Duals, Primal
from market.units import Floats

LINES = ("p", "q", "l", "voltage", "cone", "v_low", "v_high", "current")
"""P, Q, l, ξ, σ, μ̲, μ̄, η: of the line that feeds each bus; the substation has none, its entry is 0."""
BUSES = ("v", "price", "reactive", "shed", "elastic")
"""v, λ, λq, share shed, tie-break t."""
DEVICES = ("gen", "load")
STORAGES = ("charge", "discharge", "energy", "stored")
"""c, d, e and θ."""

_PRIMAL = frozenset(Primal.__dataclass_fields__)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Rows of each block as named above, each periods × buses, devices or storages; net_import: periods."""

    lines: Floats
    buses: Floats
    devices: Floats
    storages: Floats
    net_import: Floats

    @property
    def primal(self) -> Primal:
        """The schedule."""
        names = self._by_name()
        return Primal(**{name: array for name, array in names.items() if name in _PRIMAL})

    @property
    def duals(self) -> Duals:
        """Its multipliers."""
        names = self._by_name()
        return Duals(**{name: array for name, array in names.items() if name not in _PRIMAL})

    def _by_name(self) -> dict[str, Floats]:
        blocks = ((LINES, self.lines), (BUSES, self.buses), (DEVICES, self.devices))
        arrays = {
            name: array
            for names, block in (*blocks, (STORAGES, self.storages))
            for name, array in zip(names, block, strict=True)
        }
        return arrays | {"net_import": self.net_import}


def point(primal: Primal, duals: Duals) -> Point:
    """The blocks of a schedule and its multipliers."""

    def block(names: tuple[str, ...]) -> Floats:
        return np.array([getattr(primal if name in _PRIMAL else duals, name) for name in names])

    return Point(block(LINES), block(BUSES), block(DEVICES), block(STORAGES), primal.net_import)
