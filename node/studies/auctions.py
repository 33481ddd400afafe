"""Auctions of one slot: what a rule is given, what it may decide, and the rules at hand.

AuctionError   a rule failed, or decided what cannot be
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from math import isfinite
from numbers import Integral, Real

import numpy as np

from market.mechanisms.double_auction import Award, Grid, Number, Offer, Rule, Trade, auction, continuous
from node.studies.failures import told

ENERGY_AGREES_WH, MONEY_AGREES_NEUR = Fraction(1, 10**6), Fraction(1, 10**3)
"""By so much may miss who reckons in floats: of energies to 10⁶ Wh and sums to 10¹² n€ their last digits.

Meters count whole Wh and bills whole n€.
"""


class AuctionError(ValueError):
    """A rule failed, or decided what cannot be; the message says which, in which slot, and at which offer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule decides: how much of each bid and ask trades, and for how much money.

    Quantities are Wh and money is n€ by offer, in the order of the offers.
    """

    bought: Sequence[Number | float]
    sold: Sequence[Number | float]
    costs: Sequence[Number | float]
    revenues: Sequence[Number | float]


Auction = Callable[[Sequence[Offer], Sequence[Offer], Grid, np.random.Generator], Outcome]
"""Decides on bids and asks (Wh, µ€/kWh) between the grid's two prices; chance is an argument."""


@dataclass(frozen=True, slots=True)
class Decided:
    """A possible outcome in exact numbers."""

    bought: tuple[Number, ...]
    sold: tuple[Number, ...]
    costs: tuple[Number, ...]
    revenues: tuple[Number, ...]


def decided(
    where: str,
    rule: Auction,
    bids: Sequence[Offer],
    asks: Sequence[Offer],
    *,
    grid: Grid,
    rng: np.random.Generator,
) -> Decided:
    """What a rule decides on offers, which it is shown by rising price; amounts are in the order given.

    Nothing trades beyond its offer or at a price worse than it names, as much is sold as is bought, and
    sellers get no more than buyers pay. Raises AuctionError for what may not be, whose message begins with
    `where` and counts offers as they were shown.
    """
    by_bid, by_ask = (sorted(range(len(side)), key=lambda k: side[k].price) for side in (bids, asks))
    shown = [bids[k] for k in by_bid], [asks[k] for k in by_ask]
    try:
        found = rule(*shown, grid, rng)
    except (Exception, SystemExit) as failure:
        raise AuctionError(f"{where}: {told(failure)}") from failure
    if not isinstance(found, Outcome):
        raise AuctionError(f"{where}: it returns {type(found).__name__}, not an Outcome")
    try:
        exact = Decided(*(_exact(each.name, getattr(found, each.name)) for each in fields(Outcome)))
        _require_possible(exact, *shown)
    except AuctionError as refusal:
        raise AuctionError(f"{where}: {refusal}") from None
    return Decided(
        bought=_in_place(by_bid, exact.bought),
        sold=_in_place(by_ask, exact.sold),
        costs=_in_place(by_bid, exact.costs),
        revenues=_in_place(by_ask, exact.revenues),
    )


def _in_place(order: Sequence[int], values: Sequence[Number]) -> tuple[Number, ...]:
    """Values of a reordered side, in its own order."""
    placed = dict(zip(order, values, strict=True))
    return tuple(placed[k] for k in range(len(order)))


def _exact(name: str, values: object) -> tuple[Number, ...]:
    if not isinstance(values, Iterable):
        raise AuctionError(f"{name} is {values!r}, no sequence of numbers")
    return tuple(_number(f"{name}[{place}]", value) for place, value in enumerate(values))


def _number(name: str, value: object) -> Number:
    """Whole numbers stay whole: they are ten times as fast."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Fraction):
        return value
    if isinstance(value, Real) and isfinite(value):
        return Fraction(float(value))
    raise AuctionError(f"{name} is {value!r}, no finite number")


def _require_possible(found: Decided, bids: Sequence[Offer], asks: Sequence[Offer]) -> None:
    _require_offered("bids", bids, found.bought, found.costs)
    _require_offered("asks", asks, found.sold, found.revenues)
    for place, (bid, amount, paid) in enumerate(zip(bids, found.bought, found.costs, strict=True)):
        if paid > bid.price * amount + MONEY_AGREES_NEUR:
            raise AuctionError(f"bids[{place}] pays {_dear(paid, amount)}, above its limit of {bid.price}")
    for place, (ask, amount, got) in enumerate(zip(asks, found.sold, found.revenues, strict=True)):
        if got < ask.price * amount - MONEY_AGREES_NEUR:
            raise AuctionError(f"asks[{place}] gets {_dear(got, amount)}, below its limit of {ask.price}")
    bought, sold = sum(found.bought, Fraction(0)), sum(found.sold, Fraction(0))
    if not -ENERGY_AGREES_WH <= bought - sold <= ENERGY_AGREES_WH:
        raise AuctionError(f"{_plain(bought)} Wh are bought and {_plain(sold)} sold")
    kept = sum(found.costs, Fraction(0)) - sum(found.revenues, Fraction(0))
    if kept < -MONEY_AGREES_NEUR:
        raise AuctionError(f"sellers get {_plain(-kept)} n€ more than buyers pay")


def _require_offered(
    what: str, offers: Sequence[Offer], amounts: Sequence[Number], money: Sequence[Number]
) -> None:
    if not len(amounts) == len(money) == len(offers):
        raise AuctionError(f"{len(amounts)} amounts and {len(money)} sums for {len(offers)} {what}")
    for place, (offer, amount) in enumerate(zip(offers, amounts, strict=True)):
        if not -ENERGY_AGREES_WH <= amount <= offer.quantity + ENERGY_AGREES_WH:
            raise AuctionError(f"{_plain(amount)} Wh of {what}[{place}], which offers {offer.quantity}")


def _dear(money: Number, amount: Number) -> str:
    each = f", {_plain(Fraction(money) / amount)} µ€/kWh" if amount else ""
    return f"{_plain(money)} n€ for {_plain(amount)} Wh{each}"


def _plain(value: Number) -> str:
    return f"{float(value):.12g}"


# --- the rules at hand --------------------------------------------------------------------------------


def _one_shot(rule: Rule) -> Auction:
    def hold(bids: Sequence[Offer], asks: Sequence[Offer], grid: Grid, rng: np.random.Generator) -> Outcome:
        return awarded(auction(rule, bids, asks))

    return hold


def awarded(award: Award) -> Outcome:
    """What a one-shot auction decides: all amounts of a side at its one price."""
    return Outcome(
        award.bought,
        award.sold,
        [amount * award.paid for amount in award.bought],
        [amount * award.got for amount in award.sold],
    )


def trades_in_time(
    bids: Sequence[Offer], asks: Sequence[Offer], rng: np.random.Generator
) -> tuple[Trade, ...]:
    """The trades of the continuous double auction, offers coming in a random order."""
    every = [("bid", place) for place in range(len(bids))] + [("ask", place) for place in range(len(asks))]
    return continuous(bids, asks, [every[place] for place in rng.permutation(len(every))])


def _in_time(bids: Sequence[Offer], asks: Sequence[Offer], grid: Grid, rng: np.random.Generator) -> Outcome:
    bought, sold = [Fraction(0)] * len(bids), [Fraction(0)] * len(asks)
    costs, revenues = [Fraction(0)] * len(bids), [Fraction(0)] * len(asks)
    for trade in trades_in_time(bids, asks, rng):
        bought[trade.bid] += trade.quantity
        sold[trade.ask] += trade.quantity
        costs[trade.bid] += trade.quantity * trade.price
        revenues[trade.ask] += trade.quantity * trade.price
    return Outcome(bought, sold, costs, revenues)


AUCTIONS: Mapping[str, Auction] = {**{str(rule): _one_shot(rule) for rule in Rule}, "continuous": _in_time}
"""By name."""
