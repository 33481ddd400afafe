"""A grid operator that prices its peak away, and buyers who answer its price.

W. Tushar et al., "Grid Influenced Peer-to-Peer Energy Trading", IEEE Transactions on Smart Grid
11(2):1407–1418, 2020: in a peak hour the centralized power system leads with a price for prosumers, at
which it would rather sell them nothing; they follow, and trade among themselves. The paper states the
game, its one equilibrium and a leader's price in closed form; the functions here are a reconstruction of
it.

A buyer n takes (v_n − p)⁺/β_n at a price p. Peers have S to sell among themselves, so the leader delivers
E_p(p) = (Σ_n (v_n − p)⁺/β_n − S)⁺ beside the load E_o of its other customers, who pay p_r, at a cost C(E)
= aE² + bE + c, and minimises C(E_o + E_p) − p_r·E_o − p·E_p. Where everybody buys at that price, with A =
Σ v_n/β_n and B = Σ 1/β_n,

    p* = (A − S)/B is the price that leaves the leader nothing to deliver, optimal iff E_o ≥ (p* − b)/(2a);
    else p = [2aB(E_o + A − S) + bB + A − S] / [2B(1 + aB)].

Where some do not, the same is solved between the prices at which buyers drop out, and the best is taken,
the smallest of equals. Any units will do: energies of one unit, prices of money by that unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

TIE = 1e-9
"""Costs that differ by less, relatively, are equal."""


class GameError(ValueError):
    """The game has no such leader or follower; the message says why."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Cost aE² + bE + c, load E_o of other customers, and the price p_r that they pay. Raises GameError."""

    a: float
    b: float
    other_load: float
    other_price: float
    c: float = 0.0

    def __post_init__(self) -> None:
        _require_finite("a leader", self.a, self.b, self.c, self.other_load, self.other_price)
        if not self.a > 0 or not self.other_load >= 0:
            raise GameError(f"a leader with a = {self.a} and a load of {self.other_load}: a > 0, load >= 0")

    def cost(self, delivered: float, price: float) -> float:
        """What delivering to the peers at a price costs it, less all that it earns."""
        energy = self.other_load + delivered
        made = self.a * energy**2 + self.b * energy + self.c
        return made - self.other_price * self.other_load - price * delivered


@dataclass(frozen=True, slots=True)
class Buyer:
    """Takes (value − p)⁺/slope at a price p. Raises GameError."""

    value: float
    slope: float

    def __post_init__(self) -> None:
        _require_finite("a buyer", self.value, self.slope)
        if not self.slope > 0:
            raise GameError(f"a buyer of slope {self.slope}: it must be above 0")

    def demand(self, price: float) -> float:
        """What it takes at a price."""
        return max(self.value - price, 0.0) / self.slope


@dataclass(frozen=True, slots=True)
class Equilibrium:
    """The leader's price, what it delivers to the peers, and its cost; the price that would leave nothing.

    `threshold` is the load E_th from which on that price is the best, where everybody buys at it.
    """

    price: float
    delivered: float
    cost: float
    choke_price: float
    threshold: float


def delivered(buyers: Sequence[Buyer], surplus: float, price: float) -> float:
    """E_p(p): what peers want beyond what they have among themselves."""
    return max(sum(buyer.demand(price) for buyer in buyers) - surplus, 0.0)


def choke_price(buyers: Sequence[Buyer], surplus: float) -> float:
    """The lowest price at which peers want nothing of the leader; below 0 where they have a lot to sell.

    Raises GameError without buyers, and for a surplus below 0 or not finite.
    """
    if not buyers:
        raise GameError("a game without buyers")
    _require_surplus(surplus)
    lines = [(low, *_line(buyers, high)) for low, high in _intervals(buyers)]
    return next((wanted - surplus) / slope for low, wanted, slope in lines if wanted - surplus >= low * slope)


def equilibrium(leader: Leader, buyers: Sequence[Buyer], surplus: float) -> Equilibrium:
    """The leader's best price: the closed form between prices at which buyers drop out. Raises GameError."""
    choke = choke_price(buyers, surplus)
    candidates = [choke]
    for low, high in _intervals(buyers):
        wanted, slope = _line(buyers, high)
        net = wanted - surplus
        best = 2 * leader.a * slope * (leader.other_load + net) + leader.b * slope + net
        price = best / (2 * slope * (1 + leader.a * slope))
        candidates += [min(max(price, low), high), low]
    candidates = sorted(price for price in candidates if -inf < price <= choke)
    costs = [leader.cost(delivered(buyers, surplus, price), price) for price in candidates]
    least = min(costs)
    price, cost = next(
        (price, cost)
        for price, cost in zip(candidates, costs, strict=True)
        if cost <= least + TIE * max(abs(least), 1.0)
    )
    return Equilibrium(
        price, delivered(buyers, surplus, price), cost, choke, (choke - leader.b) / (2 * leader.a)
    )


def remaining_share(surplus: float, inelastic: float) -> float:
    """The share of demand that knows no price which stays with the leader, whatever it asks.

    Raises GameError for a surplus below 0 and where there is no such demand.
    """
    _require_surplus(surplus)
    _require_finite("demand", inelastic)
    if not inelastic > 0:
        raise GameError(f"a demand of {inelastic}: it must be above 0")
    return max(1.0 - surplus / inelastic, 0.0)


def _line(buyers: Sequence[Buyer], price: float) -> tuple[float, float]:
    """A and B of those who buy below a price: demand is A − B·p from there down to the next one's value."""
    buying = [buyer for buyer in buyers if buyer.value >= price]
    return sum(buyer.value / buyer.slope for buyer in buying), sum(1 / buyer.slope for buyer in buying)


def _intervals(buyers: Sequence[Buyer]) -> list[tuple[float, float]]:
    """The ranges of price in which the same buyers buy, from the highest down to all of them."""
    values = sorted({buyer.value for buyer in buyers}, reverse=True)
    return list(zip([*values[1:], -inf], values, strict=True))


def _require_finite(what: str, *numbers: float) -> None:
    for number in numbers:
        if not isfinite(number):
            raise GameError(f"{what} with {number}: numbers must be finite")


def _require_surplus(surplus: float) -> None:
    _require_finite("a surplus", surplus)
    if surplus < 0:
        raise GameError(f"a surplus of {surplus}: it must not be negative")
