"""Energy in classes: each class has a price, buyers may like one better, sellers offer what their source has.

A trader's energy y_c ≥ 0 by class is bought or sold; with y = Σ_c y_c, prices λ_c and s = 1 for who buys, −1
for who sells, it takes the most of

    v·y − ½β·y² + Σ_c (ω_c − s·λ_c)·y_c,   y ≤ limit,   y_c = 0 in a class that is not its own.

A buyer's v and β are its use of energy and ω what a class is worth to it beyond that; a seller's −v and β are
what energy costs it. With q_c = s·y_c, prices move until Σ q_c = 0 in every class. By plain prices who
likes two classes alike would jump from one to the other, so each answers close to what it did last (exchange
ADMM: S. Boyd et al., Foundations and Trends in Machine Learning 3(1), 2011, §7.3):

    q ← the most of the above less ½ρ‖q − (q − q̄)‖²,   λ_c ← λ_c + ρ·q̄_c,   q̄ the traders' mean.

Energies are of one unit, prices of money by that unit. Arrays are by trader, or traders × classes.

ClassesError   no agreement within the rounds; traders, prices or steps of which there is none
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from market.units import Floats

ROUNDS_MAX = 50_000


class ClassesError(ValueError):
    """Prices do not settle, or cannot; the message says how far they are, or what is wrong."""


@dataclass(frozen=True, eq=False)
class Traders:
    """Who trades. `side` is 1 or −1; `worth` is ω, and −∞ in classes that are not the trader's.

    Raises ClassesError for no traders or classes, arrays of several lengths, and for what is no side, value,
    slope, limit or worth.
    """

    side: Floats
    value: Floats
    slope: Floats
    limit: Floats
    worth: Floats

    def __post_init__(self) -> None:
        if len({len(each) for each in (self.side, self.value, self.slope, self.limit, self.worth)}) != 1:
            raise ClassesError("traders told by arrays of several lengths")
        if not self.worth.size:
            raise ClassesError("traders and classes: at least one of each")
        for what, told, sound in (
            ("side", self.side, np.abs(self.side) == 1),
            ("value", self.value, np.isfinite(self.value)),
            ("slope", self.slope, (self.slope >= 0) & (self.slope < np.inf)),
            ("limit", self.limit, self.limit >= 0),
            ("worth", self.worth, self.worth < np.inf),
        ):
            for place in np.argwhere(~sound)[:1]:
                raise ClassesError(f"trader {place[0]}: a {what} of {told[tuple(place)]:g}")

    def indifferent(self) -> Traders:
        """The same traders, to whom no class is worth more than another."""
        none = np.where(np.isfinite(self.worth), 0.0, -np.inf)
        return Traders(self.side, self.value, self.slope, self.limit, none)

    def gain(self, price: Floats, energy: Floats) -> Floats:
        """What each gets of energies q, traders × classes, at prices by class."""
        y = self.side[:, None] * energy
        total = y.sum(axis=1)
        by_class = np.where(y > 0, self.worth, 0.0) * y - price * energy
        return np.asarray(self.value * total - 0.5 * self.slope * total**2 + by_class.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Market:
    """Prices by class, energies q, and how many rounds it took."""

    price: Floats
    energy: Floats
    rounds: int


def clear(
    traders: Traders, start: Floats, rho: float, tolerance: float, rounds_max: int = ROUNDS_MAX
) -> Market:
    """Prices by class at which every class balances, within `tolerance` of energy. Raises ClassesError."""
    if start.shape != traders.worth.shape[1:] or not np.all(np.isfinite(start)):
        raise ClassesError(f"{start} is no price of each of {traders.worth.shape[1]} classes")
    if not (0 < rho < np.inf and tolerance > 0):
        raise ClassesError(f"steps of {rho:g} to within {tolerance:g}: both above 0")
    price = start.astype(np.float64)
    energy = np.zeros(traders.worth.shape)
    apart = np.inf
    for rounds in range(1, rounds_max + 1):
        near = energy - energy.mean(axis=0)
        before, energy = energy, answer(traders, price, near, rho)
        price = price + rho * energy.mean(axis=0)
        apart = max(float(np.abs(energy.sum(axis=0)).max()), float(np.abs(energy - before).max()))
        if apart <= tolerance:
            return Market(price, energy, rounds)
    raise ClassesError(f"{apart:g} of energy from agreement after {rounds_max} rounds")


def answer(traders: Traders, price: Floats, near: Floats, rho: float) -> Floats:
    """What each trades at prices by class, at ½ρ for the square of the distance from `near`."""
    side = traders.side[:, None]
    # y_c = max(0, pull_c + margin)/ρ, where margin = v − β·y, or less where the limit holds
    pull = rho * side * near + traders.worth - side * price
    order = -np.sort(-pull, axis=1)
    sums = np.cumsum(np.where(np.isfinite(order), order, 0.0), axis=1)
    many = np.arange(1, pull.shape[1] + 1)
    total = (sums + many * traders.value[:, None]) / (rho + many * traders.slope[:, None])
    free = _first(order, traders.value[:, None] - traders.slope[:, None] * total)
    held = _first(order, (rho * np.minimum(traders.limit, _MOST)[:, None] - sums) / many)
    y = np.maximum(pull + free[:, None], 0.0) / rho
    over = y.sum(axis=1) > traders.limit
    y = np.where(over[:, None], np.maximum(pull + held[:, None], 0.0) / rho, y)
    return np.asarray(side * y)


_MOST = 1e12
"""A limit beyond this is none."""


def _first(order: Floats, margin: Floats) -> Floats:
    """The margin of the largest number of best classes that all take part; that of one where none does."""
    part: npt.NDArray[np.bool_] = np.isfinite(order) & (order + margin > 0)
    last = np.maximum(part.sum(axis=1) - 1, 0)
    return np.asarray(margin[np.arange(len(margin)), last])
