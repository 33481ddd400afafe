"""Penalties of ATC: what a level pays for the gap between its own copy of a power and the other level's.

Both levels charge φ_k(c_k) on the gap c_k = t_k − p_k between the utility's copy and the prosumer's power. A
penalty says three things: which gap goes with a marginal price (c where φ'(c) = y, and how fast it moves with
y), the marginal price of a gap, and what the penalty is after the gap that a round left.

| penalty | φ'(c) | after a round |
|---|---|---|
| `Quadratic` | ρc | ρ ← βρ |
| `Augmented` | y + ρc | y ← y + ρc, ρ ← βρ |
| `Exponential` | v⁺e^{ωc} − v⁻e^{−ωc} | v⁺ ← v⁺e^{ωc}, v⁻ ← v⁻e^{−ωc} |

Quadratic: N. Michelena, H. Park, P. Papalambros, "Convergence properties of analytical target cascading",
AIAA Journal 41(5):897–905, 2003. Augmented Lagrangian: Tosserams et al., 2006 (see `alternating`).
Exponential: S. DorMohammadi and M. Rais-Rohani, "Exponential penalty function formulation for multilevel
optimization using the analytical target cascading framework", Structural and Multidisciplinary Optimization
47(4):599–612, 2013. Arrays have one entry a prosumer; prices €/MWh, powers pu.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from market.units import Floats

STEEPEST_EUR_PER_MWH_PER_PU = 1e7
"""Weights grow no further: a gap of 1e-6 pu then costs €10/MWh, and beyond it solvers lose their digits."""
LARGEST_EXPONENT = 5.0
"""Largest |ωc| that one update takes into a multiplier: a first gap of many pu would be past any number."""
SMALLEST_MULTIPLIER = 1e-6
"""€/MWh. No multiplier dies: a side that once did not matter may come to matter."""


class Penalty(Protocol):
    """φ_k for every prosumer."""

    def gap(self, price: Floats) -> Floats:
        """c where φ'(c) = price."""
        ...

    def stretch(self, price: Floats) -> Floats:
        """dc/dprice there, pu per €/MWh; positive."""
        ...

    def price(self, gap: Floats) -> Floats:
        """φ'(c)."""
        ...

    def after(self, gap: Floats) -> Penalty:
        """The penalty of the next outer round."""
        ...

    @property
    def is_affine(self) -> bool:
        """φ' is a straight line: one proximal step answers a target, one quadratic programme a response."""
        ...


@dataclass(frozen=True, eq=False)
class Augmented:
    """φ = y·c + ½ρc², with β the growth of ρ."""

    multiplier: Floats
    weight: Floats
    growth: float
    is_affine: bool = True

    def gap(self, price: Floats) -> Floats:
        """(price − y)/ρ."""
        return np.asarray((price - self.multiplier) / self.weight)

    def stretch(self, price: Floats) -> Floats:
        """1/ρ."""
        return 1.0 / self.weight

    def price(self, gap: Floats) -> Floats:
        """y + ρc."""
        return np.asarray(self.multiplier + self.weight * gap)

    def after(self, gap: Floats) -> Augmented:
        """y ← y + ρc, ρ ← βρ."""
        return replace(self, multiplier=self.price(gap), weight=_grown(self.weight, self.growth))


@dataclass(frozen=True, eq=False)
class Quadratic(Augmented):
    """φ = ½ρc²: an augmented Lagrangian whose multiplier stays 0, so that only a growing ρ closes the gap."""

    def after(self, gap: Floats) -> Quadratic:
        """ρ ← βρ."""
        return replace(self, weight=_grown(self.weight, self.growth))


@dataclass(frozen=True, eq=False)
class Exponential:
    """φ = (v⁺/ω)(e^{ωc} − 1) + (v⁻/ω)(e^{−ωc} − 1): steep on both sides, whatever the multipliers."""

    plus: Floats
    minus: Floats
    rate: Floats
    growth: float
    is_affine: bool = False

    @staticmethod
    def at(price: Floats, weight: Floats, growth: float) -> Exponential:
        """Multipliers whose difference is `price`, and the rate at which φ'' at no gap is `weight`."""
        spare = np.maximum(np.abs(price), 1.0)
        plus, minus = np.maximum(price, 0.0) + spare, np.maximum(-price, 0.0) + spare
        return Exponential(plus, minus, weight / (plus + minus), growth)

    def gap(self, price: Floats) -> Floats:
        """ln((y + √(y² + 4v⁺v⁻)) / 2v⁺)/ω, in the form that does not cancel for y of either sign."""
        root = np.sqrt(price**2 + 4.0 * self.plus * self.minus)
        up = np.log((np.abs(price) + root) / 2.0)
        log = np.where(price >= 0, up - np.log(self.plus), np.log(self.minus) - up)
        return np.asarray(log / self.rate)

    def stretch(self, price: Floats) -> Floats:
        """1/(ω√(y² + 4v⁺v⁻))."""
        return np.asarray(1.0 / (self.rate * np.sqrt(price**2 + 4.0 * self.plus * self.minus)))

    def price(self, gap: Floats) -> Floats:
        """v⁺e^{ωc} − v⁻e^{−ωc}."""
        up = np.exp(self.rate * gap)
        return np.asarray(self.plus * up - self.minus / up)

    def after(self, gap: Floats) -> Exponential:
        """v⁺ ← v⁺e^{ωc}, v⁻ ← v⁻e^{−ωc}, ω ← βω."""
        step = np.exp(np.clip(self.rate * gap, -LARGEST_EXPONENT, LARGEST_EXPONENT))
        return replace(
            self,
            plus=np.maximum(self.plus * step, SMALLEST_MULTIPLIER),
            minus=np.maximum(self.minus / step, SMALLEST_MULTIPLIER),
            rate=self.growth * self.rate,
        )


def _grown(weight: Floats, growth: float) -> Floats:
    return np.minimum(growth * weight, STEEPEST_EUR_PER_MWH_PER_PU)
