"""A radial distribution feeder: buses numbered from the substation (0), one line into each other bus.

Line j feeds bus j from `parent[j]`, so lines and buses share one index; entry 0 of every line
array is unused and zero. Impedances are per unit on `base_mw` and the feeder's voltage base.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from market.units import Floats, Ints

Complexes = npt.NDArray[np.complex128]


class FeederError(ValueError):
    """A feeder that cannot be priced; the message names the bus or line at fault."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Operating limits: voltage magnitudes in pu per bus, current magnitude in pu per line (inf: none)."""

    v_min: Floats
    v_max: Floats
    i_max: Floats


@dataclass(frozen=True, eq=False)
class Feeder:
    """One radial feeder; arrays have one entry per bus, the substation first.

    `nominal_p_mw`, `nominal_q_mvar` are the loads that come with the published feeder; a scenario
    scales them by its profiles. `v0` is the substation's voltage magnitude, pu. `zero_sequence_pu` is
    the zero-sequence impedance of each line, NaN where the published data have none, None where they have
    none at all; only the unbalanced flow reads it, so the hash is without it. Raises FeederError unless
    parents form a tree rooted at bus 0 with parent[j] < j, and impedances are finite.
    """

    name: str
    bus_names: tuple[str, ...]
    parent: Ints
    r_pu: Floats
    x_pu: Floats
    limits: Limits
    base_mw: float
    v0: float
    nominal_p_mw: Floats
    nominal_q_mvar: Floats
    zero_sequence_pu: Complexes | None = None

    def __post_init__(self) -> None:
        n = len(self.parent)
        arrays = (self.r_pu, self.x_pu, self.limits.v_min, self.limits.v_max, self.limits.i_max)
        if any(len(a) != n for a in (*arrays, self.nominal_p_mw, self.nominal_q_mvar, self.bus_names)):
            raise FeederError(f"feeder {self.name}: arrays differ in length")
        if n < 2 or self.parent[0] != -1:
            raise FeederError(f"feeder {self.name}: bus 0 must be the substation, with parent -1")
        j = np.arange(n)
        for bus in np.flatnonzero((j > 0) & ~((self.parent >= 0) & (self.parent < j)))[:1]:
            raise FeederError(
                f"feeder {self.name}: bus {self.bus_names[bus]} has parent {self.parent[bus]},"
                " which does not come before it"
            )
        valid = np.isfinite(self.r_pu) & np.isfinite(self.x_pu) & (self.r_pu >= 0)
        for bus in np.flatnonzero((j > 0) & ~valid)[:1]:
            raise FeederError(f"feeder {self.name}: line to bus {self.bus_names[bus]} has no valid impedance")
        if self.zero_sequence_pu is not None and len(self.zero_sequence_pu) != n:
            raise FeederError(f"feeder {self.name}: arrays differ in length")

    @property
    def buses(self) -> int:
        """Number of buses, substation included."""
        return len(self.parent)

    @property
    def lines(self) -> int:
        """Number of lines, one less than buses."""
        return len(self.parent) - 1

    @property
    def hash(self) -> bytes:
        """SHA-256 over the canonical encoding of the balanced model: name, then its arrays little-endian."""
        digest = sha256(b"wattbook-feeder-1\0" + self.name.encode() + b"\0")
        digest.update("\0".join(self.bus_names).encode() + b"\0")
        digest.update(np.asarray(self.parent, dtype="<i8").tobytes())
        lim = self.limits
        for a in (
            self.r_pu,
            self.x_pu,
            lim.v_min,
            lim.v_max,
            lim.i_max,
            self.nominal_p_mw,
            self.nominal_q_mvar,
        ):
            digest.update(np.asarray(a, dtype="<f8").tobytes())
        digest.update(np.asarray([self.base_mw, self.v0], dtype="<f8").tobytes())
        return digest.digest()
