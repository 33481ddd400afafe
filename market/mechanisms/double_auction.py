"""One-shot double auctions of many units, and the same offers met one after the other.

W. Tushar et al., "Grid Influenced Peer-to-Peer Energy Trading", IEEE Transactions on Smart Grid
11(2):1407–1418, 2020, lets the peers of a coalition trade in such an auction, with prices between the
feed-in tariff and what the grid asks. Asks stand in ascending and bids in descending order, equal ones in
the order given. K and J are the last bid and the last ask of which one meets the other:

- `UNIFORM`: bids 1…K and asks 1…J win, at the middle of [max(ask J, bid K + 1), min(bid K, ask J + 1)],
  without the bid (or the ask) after the last one where that is filled in part, so that it is its own rival;
- `REDUCE`: 1…K − 1 and 1…J − 1 win at the middle of [ask J, bid K], which none of them has named;
- `TWO_PRICE`: the same win; they pay bid K, get ask J, and the auctioneer keeps what lies between.
  R. P. McAfee, "A Dominant Strategy Double Auction", Journal of Economic Theory 56(2), 1992.

Of the longer side all winners forgo the same, as far as they have it. What is left over on both sides may
trade at the middle of grid price and feed-in tariff, whatever was offered; the rest goes to the grid.

Quantities and prices are exact, in any unit of energy and of money for it.

OfferError   a quantity is not positive, or none of the book's; or the grid asks less than it pays
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import accumulate

import numpy as np

from market.mechanisms.matching import Orders, OrdersError, matched
from market.orders import Side

Number = Fraction | int
"""Whole numbers stay whole until something is shared: they are ten times as fast."""
Quantities = tuple[Number, ...]
"""By offer, in the order given."""
Prices = tuple[Number, Number]
"""What buyers pay, and what sellers get."""


class OfferError(ValueError):
    """An auction cannot be held on this; the message says what is wrong."""


class Rule(StrEnum):
    """Who wins, and at which price."""

    UNIFORM = "uniform"
    REDUCE = "reduce"
    TWO_PRICE = "two-price"


@dataclass(frozen=True, slots=True)
class Offer:
    """So much at this price: at most (a bid) or at least (an ask)."""

    price: Number
    quantity: Number


@dataclass(frozen=True, slots=True)
class Grid:
    """Who serves what peers do not: asks `price`, pays `fit`. Raises OfferError where price < fit."""

    price: Number
    fit: Number

    def __post_init__(self) -> None:
        if self.price < self.fit:
            raise OfferError(f"the grid asks {self.price}, less than it pays: {self.fit}")

    @property
    def middle(self) -> Fraction:
        """The price of leftovers."""
        return Fraction(self.price + self.fit) / 2

    def clipped(self, offer: Offer) -> Offer:
        """The offer at a price between the grid's two."""
        return Offer(min(max(offer.price, self.fit), self.price), offer.quantity)


@dataclass(frozen=True, slots=True)
class Award:
    """What an auction does: how much of each bid and each ask, at one price for each side."""

    bought: Quantities
    sold: Quantities
    paid: Number
    got: Number

    @property
    def volume(self) -> Number:
        """All that is traded."""
        return sum(self.bought)

    @property
    def surplus(self) -> Number:
        """What the auctioneer keeps."""
        return self.volume * (self.paid - self.got)


@dataclass(frozen=True, slots=True)
class Served:
    """An award, what was left over and traded at the middle, and what then went to the grid, by offer."""

    grid: Grid
    award: Award
    bought_left: Quantities
    sold_left: Quantities
    bought_of_grid: Quantities
    sold_to_grid: Quantities

    @property
    def costs(self) -> Quantities:
        """What each buyer pays for all it wanted."""
        parts = zip(self.award.bought, self.bought_left, self.bought_of_grid, strict=True)
        prices = (self.award.paid, self.grid.middle, self.grid.price)
        return tuple(_money(part, prices) for part in parts)

    @property
    def revenues(self) -> Quantities:
        """What each seller gets for all it offered."""
        parts = zip(self.award.sold, self.sold_left, self.sold_to_grid, strict=True)
        prices = (self.award.got, self.grid.middle, self.grid.fit)
        return tuple(_money(part, prices) for part in parts)

    @property
    def left(self) -> Number:
        """What was traded as left over."""
        return sum(self.bought_left)


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the two curves cross: how many bids and asks take part, and how much they trade."""

    bids: int
    asks: int
    volume: Number


# --- one shot ---------------------------------------------------------------------------------------


def auction(rule: Rule, bids: Sequence[Offer], asks: Sequence[Offer]) -> Award:
    """Hold an auction. Raises OfferError where a quantity is not positive."""
    for offer in (*bids, *asks):
        if offer.quantity <= 0:
            raise OfferError(f"a quantity of {offer.quantity}: offers are of something")
    down = sorted(range(len(bids)), key=lambda index: -bids[index].price)
    up = sorted(range(len(asks)), key=lambda index: asks[index].price)
    best_bids, best_asks = [bids[index] for index in down], [asks[index] for index in up]
    meeting = crossing(best_bids, best_asks)
    if meeting.volume == 0:
        return _nothing(bids, asks)
    if rule is Rule.UNIFORM:
        price = _middle(best_bids, best_asks, meeting)
        return _awarded(bids, asks, down[: meeting.bids], up[: meeting.asks], (price, price))
    paid = best_bids[meeting.bids - 1].price
    got = best_asks[meeting.asks - 1].price
    winners, sellers = down[: meeting.bids - 1], up[: meeting.asks - 1]
    if not winners or not sellers:
        return _nothing(bids, asks)
    if rule is Rule.REDUCE:
        paid = got = Fraction(paid + got) / 2
    return _awarded(bids, asks, winners, sellers, (paid, got))


def crossing(bids: Sequence[Offer], asks: Sequence[Offer]) -> Meeting:
    """Go along both curves, best offers first, for as long as a bid is no less than an ask."""
    met_bids = met_asks = 0
    volume: Number = 0
    demand = [0, *accumulate(bid.quantity for bid in bids)]
    supply = [0, *accumulate(ask.quantity for ask in asks)]
    bid = ask = 0
    while bid < len(bids) and ask < len(asks) and bids[bid].price >= asks[ask].price:
        met_bids, met_asks = bid + 1, ask + 1
        volume = min(demand[bid + 1], supply[ask + 1])
        bid, ask = bid + (demand[bid + 1] == volume), ask + (supply[ask + 1] == volume)
    return Meeting(met_bids, met_asks, volume)


def _middle(bids: Sequence[Offer], asks: Sequence[Offer], meeting: Meeting) -> Fraction:
    """The middle of the prices at which the winners would trade and no other would."""
    lowest, highest = asks[meeting.asks - 1].price, bids[meeting.bids - 1].price
    demand = sum(bid.quantity for bid in bids[: meeting.bids])
    supply = sum(ask.quantity for ask in asks[: meeting.asks])
    if meeting.bids < len(bids) and demand == meeting.volume:
        lowest = max(lowest, bids[meeting.bids].price)
    if meeting.asks < len(asks) and supply == meeting.volume:
        highest = min(highest, asks[meeting.asks].price)
    return Fraction(lowest + highest) / 2


def _awarded(
    bids: Sequence[Offer], asks: Sequence[Offer], winners: Sequence[int], sellers: Sequence[int], at: Prices
) -> Award:
    wanted = [bids[index].quantity for index in winners]
    offered = [asks[index].quantity for index in sellers]
    volume = min(sum(wanted), sum(offered))
    bought = dict(zip(winners, shortened(wanted, volume), strict=True))
    sold = dict(zip(sellers, shortened(offered, volume), strict=True))
    return Award(
        tuple(bought.get(index, 0) for index in range(len(bids))),
        tuple(sold.get(index, 0) for index in range(len(asks))),
        *at,
    )


def _nothing(bids: Sequence[Offer], asks: Sequence[Offer]) -> Award:
    return Award((0,) * len(bids), (0,) * len(asks), 0, 0)


def shortened(quantities: Sequence[Number], total: Number) -> Quantities:
    """The quantities less the same of each, none below 0, so that `total` is left of them."""
    excess = sum(quantities) - total
    left = list(quantities)
    if not excess:
        return tuple(left)
    # The smallest come first: what they cannot forgo the others do.
    order = sorted(range(len(left)), key=lambda index: left[index])
    for place, index in enumerate(order):
        count = len(order) - place
        if left[index] * count > excess:
            each = Fraction(excess) / count
            for other in order[place:]:
                left[other] -= each
            break
        excess -= left[index]
        left[index] = 0
    return tuple(left)


# --- what is left over ------------------------------------------------------------------------------


def served(rule: Rule, bids: Sequence[Offer], asks: Sequence[Offer], grid: Grid) -> Served:
    """Everybody's whole quantity: by the auction, then at the middle price, then with the grid.

    Offers are clipped to the grid's prices. Raises OfferError.
    """
    bids, asks = [grid.clipped(bid) for bid in bids], [grid.clipped(ask) for ask in asks]
    award = auction(rule, bids, asks)
    wanted = [bid.quantity - bought for bid, bought in zip(bids, award.bought, strict=True)]
    offered = [ask.quantity - sold for ask, sold in zip(asks, award.sold, strict=True)]
    volume = min(sum(wanted), sum(offered))
    bought_left, sold_left = shortened(wanted, volume), shortened(offered, volume)
    return Served(
        grid,
        award,
        bought_left,
        sold_left,
        tuple(rest - left for rest, left in zip(wanted, bought_left, strict=True)),
        tuple(rest - left for rest, left in zip(offered, sold_left, strict=True)),
    )


def _money(quantities: Sequence[Number], prices: Sequence[Number]) -> Number:
    return sum(q * price for q, price in zip(quantities, prices, strict=True))


# --- one after the other ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trade:
    """So much of a bid and of an ask, by their places, at the price of the one that came first."""

    bid: int
    ask: int
    quantity: Number
    price: Number


def continuous(
    bids: Sequence[Offer], asks: Sequence[Offer], arrivals: Sequence[tuple[str, int]]
) -> tuple[Trade, ...]:
    """The continuous double auction as the contract runs it: the book's matching, a trader to each offer.

    `arrivals` are ("bid" or "ask", place) in the order in which they come; prices are ranked, since matching
    only compares them. Raises OfferError where a quantity is none that the book takes.
    """
    came = [(bids if side == "bid" else asks)[place] for side, place in arrivals]
    prices = sorted({offer.price for offer in came})
    rank = {price: tick for tick, price in enumerate(prices)}
    if any(offer.quantity != int(offer.quantity) for offer in came):
        raise OfferError("the book takes whole quantities")
    columns = (
        range(len(came)),
        [Side.BID if side == "bid" else Side.ASK for side, _ in arrivals],
        [rank[offer.price] for offer in came],
        [int(offer.quantity) for offer in came],
    )
    try:
        found = matched(Orders.plain(*(np.array(column, dtype=np.int64) for column in columns)))
    except OrdersError as refusal:
        raise OfferError(str(refusal)) from refusal
    return tuple(
        Trade(*_pair(arrivals[taker], arrivals[maker]), quantity, prices[tick])
        for taker, maker, quantity, tick in found.fills.tolist()
    )


def _pair(taker: tuple[str, int], maker: tuple[str, int]) -> tuple[int, int]:
    """Places of bid and ask."""
    (side, place), (_, met) = taker, maker
    return (place, met) if side == "bid" else (met, place)


# --- what it was worth ------------------------------------------------------------------------------


def gains(
    bids: Sequence[Offer], asks: Sequence[Offer], bought: Sequence[Number], sold: Sequence[Number]
) -> Number:
    """Gains from trade: what buyers would have paid less what sellers would have taken."""
    worth = sum(bid.price * quantity for bid, quantity in zip(bids, bought, strict=True))
    return worth - sum(ask.price * quantity for ask, quantity in zip(asks, sold, strict=True))


def gains_max(bids: Sequence[Offer], asks: Sequence[Offer]) -> Number:
    """The most that trading can gain: bids from the top and asks from the bottom, while they cross."""
    down = sorted(bids, key=lambda bid: -bid.price)
    up = sorted(asks, key=lambda ask: ask.price)
    volume = crossing(down, up).volume
    return gains(down, up, _first(down, volume), _first(up, volume))


def _first(offers: Sequence[Offer], volume: Number) -> Quantities:
    taken: list[Number] = []
    for offer in offers:
        taken.append(min(offer.quantity, volume))
        volume -= taken[-1]
    return tuple(taken)
