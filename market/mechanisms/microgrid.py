"""Peers of a microgrid who heat when others have energy to spare; a utility that takes back what came last.

Of n peers whose heater may run now or later, each would rather pay for its e of energy now than w later, if
now is cheaper. What now costs depends on how many run: k of them share a spare energy S at the mid price, and
what is missing comes at retail (the mid-market rate),

    c(k) = (min(S, k·e)·mid + (k·e − S)⁺·retail) / (k·e),

which rises with k. In the symmetric equilibrium each runs with the probability p at which running and waiting
are alike, E c(1 + B) = w with B binomial of n − 1 and p; 1 where even all together pay less than w, 0 where
one alone pays more.

Energies are of one unit, prices of money by that unit.

PlatformError   no peers or heaters, no price or one that falls, or more to take back than was filled
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb, inf, isfinite

from market.feeder.powerflow import Violation

HALVINGS = 60
ALIKE = 1e-12
"""A price that is lower by less, relatively, is the same: rounding."""


class PlatformError(ValueError):
    """A game or a veto of which there is none; the message says why."""


def price_of_running(running: int, spare: float, energy: float, mid: float, retail: float) -> float:
    """c(k): what so many heaters of `energy` each pay by unit.

    Raises PlatformError for no heaters, none of energy, and a spare below 0.
    """
    if running < 1 or not (0 < energy < inf and 0 <= spare < inf):
        raise PlatformError(
            f"{running} heaters of {energy} and {spare} to spare: one of some, and no less than 0"
        )
    used = running * energy
    own = min(spare, used)
    return (own * mid + (used - own) * retail) / used


def expected_price(others: int, chance: float, price: Callable[[int], float]) -> float:
    """What one who runs expects to pay where each of the others runs with a chance."""
    return sum(
        comb(others, k) * chance**k * (1 - chance) ** (others - k) * price(1 + k) for k in range(others + 1)
    )


def chance_to_run(peers: int, later: float, price: Callable[[int], float]) -> float:
    """p of the symmetric equilibrium of `peers`, where waiting costs `later` and c rises.

    Raises PlatformError for no peers, a price that is not finite, and where c falls.
    """
    if peers < 1 or not isfinite(later):
        raise PlatformError(f"{peers} peers who may wait for {later}: one at least, and a finite price")
    prices = [price(1 + others) for others in range(peers)]
    if not all(map(isfinite, prices)) or any(b < a - ALIKE * abs(a) for a, b in pairwise(prices)):
        raise PlatformError(f"prices of {prices} by how many run: finite, and none below the one before")
    if expected_price(peers - 1, 1.0, price) <= later:
        return 1.0
    if expected_price(peers - 1, 0.0, price) >= later:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        if expected_price(peers - 1, middle, price) < later:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@dataclass(frozen=True, slots=True)
class Cut:
    """What is taken back of a fill, Wh, and the limit that breaks as long as it stands."""

    energy_wh: int
    broken: Violation


def last_on_first_off(
    fills_wh: Sequence[int], least_wh: int, broken: Callable[[int], Violation]
) -> list[Cut]:
    """How `least_wh` are taken back of fills: the last first, of the earliest a part.

    `broken` is a limit that breaks with so many Wh of the last fills taken back, fewer than `least_wh`.
    Raises PlatformError where the fills have less.
    """
    if not 0 <= least_wh <= sum(fills_wh):
        raise PlatformError(f"{least_wh} Wh to take back of fills of {[*fills_wh]} Wh")
    cuts: list[Cut] = []
    taken_wh = 0
    for fill_wh in reversed(fills_wh):
        if taken_wh == least_wh:
            break
        cuts.append(Cut(min(fill_wh, least_wh - taken_wh), broken(taken_wh)))
        taken_wh += cuts[-1].energy_wh
    return cuts
