"""Energy sharing in regions: one price a region, peers who answer it, a network between the regions.

A region has a provider. It names one price p_r between the feed-in tariff and retail; peers answer with the
net energy that maximises u_i(x) − p_r·x, u_i(x) = v_i·x − ½β_i·x², so x_i = (v_i − p_r)/β_i, consumption
positive. What peers do not cover among themselves crosses the border, E_r = Σ x_i. The provider keeps

    p_r·Σx_i − Σλ_b(i)·x_i − fee_r·|E_r|,

with λ what energy costs at the bus. Stackelberg: it knows the answers when it names the price. `Regions` is
a lower level of Analytical Target Cascading whose members decide together, by region: the power of each peer
has a target, and a region looks for the one price whose answers are best with them all. With
`market.atc.levels` between it and the utility, the λ are what line and voltage limits make of them.

Powers are pu, prices €/MWh, slopes €/MWh per pu. Arrays are by peer, or by region where told.

RegionError   prices or fees that make no region
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from market.atc.prosumers import Response
from market.units import Floats, Ints


class RegionError(ValueError):
    """A region that cannot be; the message says why."""


@dataclass(frozen=True, eq=False)
class Peers:
    """Who answers: bus, region, first unit's value v, and how fast it falls, β > 0. Raises RegionError."""

    bus: Ints
    region: Ints
    value: Floats
    slope: Floats

    def __post_init__(self) -> None:
        counts = {len(each) for each in (self.bus, self.region, self.value, self.slope)}
        if len(counts) != 1:
            raise RegionError(f"peers told by arrays of {' and '.join(map(str, sorted(counts)))}")
        sound = np.isfinite(self.value) & np.isfinite(self.slope) & (self.slope > 0)
        for peer in np.flatnonzero(~sound)[:1]:
            raise RegionError(
                f"peer {peer}: a value of {self.value[peer]:g} that falls by {self.slope[peer]:g}: both"
                " finite, the second above 0"
            )

    def answer(self, price: Floats) -> Floats:
        """Net consumption at a price of each."""
        return (self.value - price) / self.slope

    def surplus(self, buying: Floats, selling: Floats) -> Floats:
        """What each gets of u(x) less its payment where energy bought and sold has prices of its own."""
        demand = np.maximum(self.answer(buying), 0.0) + np.minimum(self.answer(selling), 0.0)
        paid = np.where(demand > 0, buying, selling) * demand
        return np.asarray(self.value * demand - 0.5 * self.slope * demand**2 - paid)


@dataclass(frozen=True, eq=False)
class Regions:
    """Providers and their peers; implements LowerLevel. Arrays of fees are by region.

    Raises RegionError for prices out of order, fees below 0, regions without peers and peers without region.
    """

    peers: Peers
    fee: Floats
    lowest: float
    highest: float

    def __post_init__(self) -> None:
        if not -np.inf < self.lowest <= self.highest < np.inf:
            raise RegionError(f"prices from {self.lowest:g} to {self.highest:g}: there are none")
        for region, fee in enumerate(self.fee):
            if not 0 <= fee < np.inf:
                raise RegionError(f"region {region}: a fee of {fee:g}")
            if not np.any(self.peers.region == region):
                raise RegionError(f"region {region}: it has no peers")
        for peer in np.flatnonzero((self.peers.region < 0) | (self.peers.region >= len(self.fee)))[:1]:
            raise RegionError(f"peer {peer}: no region {self.peers.region[peer]} among {len(self.fee)}")

    # --- what a price does ----------------------------------------------------------------------

    def demand(self, price: Floats) -> Floats:
        """Net consumption of each peer at prices by region."""
        return self.peers.answer(price[self.peers.region])

    def border(self, price: Floats) -> Floats:
        """E_r, by region."""
        return self._total(self.demand(price))

    def margin(self, price: Floats) -> Floats:
        """What providers take from peers, less fees, before what energy costs; by region, €/h per pu."""
        border = self.border(price)
        return price * border - self.fee * np.abs(border)

    def best_price(self, cost: Floats) -> Floats:
        """The price of each region at which its provider earns most, where energy costs so much by peer."""
        return self._price(np.zeros(len(cost)), cost)

    # --- the lower level ------------------------------------------------------------------------

    @property
    def bus(self) -> Ints:
        """Bus of each peer."""
        return self.peers.bus

    def elasticity(self, window: float) -> Floats:
        """How a peer's power follows a cost that moves for its region: the price follows by half of it."""
        return 0.5 / np.maximum(self.peers.slope, window / self._reach)

    def range(self) -> tuple[Floats, Floats]:
        """Power at the lowest and at the highest price."""
        ends = (np.full(len(self.fee), end) for end in (self.lowest, self.highest))
        low, high = (-self.demand(end) for end in ends)
        return low, high

    def at_price(self, price: Floats) -> Response:
        """What providers make of costs by peer."""
        return self._response(-self.demand(self.best_price(price)), price)

    def respond(self, target: Floats, weight: Floats) -> Response:
        """Proximal steps by region: least margin lost plus Σ ½·weight·(power − target)²."""
        power = -self.demand(self._price(weight, weight * target))
        price = weight * (target - power)
        return self._response(power, price)

    def _price(self, weight: Floats, pull: Floats) -> Floats:
        """Where the derivative by p_r of −p·E + fee·|E| + Σ(½·weight·power² − pull·power) is zero.

        With a_i = 1/β_i a power is a_i·p − a_i·v_i and E = A − B·p; the fee's term turns at p = A/B.
        """
        rise = 1.0 / self.peers.slope
        level = rise * self.peers.value
        total, slope = self._total(level), self._total(rise)
        curvature = 2.0 * slope + self._total(weight * rise**2)
        flat = total + self._total(rise * (weight * level + pull))
        taking, giving = ((flat + sign * self.fee * slope) / curvature for sign in (1.0, -1.0))
        return np.clip(np.clip(total / slope, giving, taking), self.lowest, self.highest)

    def _response(self, power: Floats, price: Floats) -> Response:
        low, high = np.full(len(power), -np.inf), np.full(len(power), np.inf)
        given, taken = np.maximum(power, 0.0), np.maximum(-power, 0.0)
        return Response(power, price, 0.5 / self.peers.slope, low, high, given, taken)

    @cached_property
    def _reach(self) -> Floats:
        """By how much each power can move at all."""
        low, high = self.range()
        return np.maximum(high - low, np.finfo(np.float64).tiny)

    def _total(self, by_peer: Floats) -> Floats:
        return np.bincount(self.peers.region, by_peer, len(self.fee)).astype(np.float64)
