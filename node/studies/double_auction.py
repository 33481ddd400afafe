"""Study `double-auction`: the one-shot auctions of a coalition on a worked case and on many random ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from market.mechanisms.double_auction import (
    Grid,
    Number,
    Offer,
    Rule,
    Served,
    auction,
    continuous,
    gains,
    gains_max,
    served,
)
from node.scenario.streams import stream
from node.studies.auctions import MONEY_AGREES_NEUR, Auction, Decided, decided
from node.studies.study import Basis, Claim, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

CASE_BIDS = tuple(Offer(p, q) for p, q in ((28, 2), (26, 3), (24, 2), (20, 2), (15, 1)))
CASE_ASKS = tuple(Offer(p, q) for p, q in ((11, 2), (14, 2), (17, 2), (21, 3), (25, 1)))
CASE_GRID = Grid(30, 10)
CASES = 1_000
"""Random ones."""
OFFERS_MAX, QUANTITY_MAX = 10, 6
LIES = 11
"""Other prices that a buyer tries, evenly between the grid's two: whole ones."""
CONTINUOUS = "continuous"


def run(seed: int) -> Findings:
    """The worked case, then random cases: efficiency, budget, and what lying gains a buyer."""
    return compare(seed, {}, {})


def compare(seed: int, others: Mapping[str, Auction], settings: Mapping[str, str]) -> Findings:
    """The same, with a reader's own auctions in the random cases; no day is there to be set.

    Raises AuctionError.
    """
    case = {rule: served(rule, CASE_BIDS, CASE_ASKS, CASE_GRID) for rule in Rule}
    uniform = case[Rule.UNIFORM]
    costs, revenues = sum(uniform.costs, Fraction(0)), sum(uniform.revenues, Fraction(0))
    at_grid = sum(bid.quantity * CASE_GRID.price for bid in CASE_BIDS)
    at_fit = sum(ask.quantity * CASE_GRID.fit for ask in CASE_ASKS)
    cost_change, revenue_change = float(costs / at_grid - 1), float(revenues / at_fit - 1)
    measured = {name: tally.to_json() for name, tally in random_cases(seed, others).items()}
    kept = measured["uniform"]["kept_share"]
    with_grid = sum((*uniform.bought_of_grid, *uniform.sold_to_grid), Fraction(0))
    figures: dict[str, Value] = {
        "case": {
            "price": float(uniform.award.paid),
            "quantity": float(uniform.award.volume),
            "left_over": float(uniform.left),
            "left_over_price": float(CASE_GRID.middle),
            "with_grid": float(with_grid),
            "buyers_cost_change": cost_change,
            "sellers_revenue_change": revenue_change,
        },
        "cases": CASES,
        "rules": measured,
    }
    return Findings(
        figures=figures,
        tables=(_case_table(case), _random_table(measured)),
        claims=(
            Claim("the worked case trades 7 at 22.5",
                  uniform.award.volume == 7 and uniform.award.paid == Fraction(45, 2),
                  f"{float(uniform.award.volume):g} at {float(uniform.award.paid):g}"),
            Claim("3 are left over and trade at 20; nothing is left for the grid",
                  uniform.left == 3 and CASE_GRID.middle == 20 and with_grid == 0,
                  f"{float(uniform.left):g} at {float(CASE_GRID.middle):g}, and {float(with_grid):g}"),
            Claim("buyers pay 27.5 % less than to the grid", cost_change == -0.275, f"{cost_change:+.1%}"),
            Claim("sellers earn 117.5 % more than of the grid", revenue_change == 1.175,
                  f"{revenue_change:+.1%}"),
            Claim("nobody keeps money under one price", kept == 0, f"{kept:g} of the gains",
                  basis=Basis.CONSTRUCTION),
        ),
        draw=_draw,
        notes=(
            "Prices bound by the winners themselves can be bent by the last of them; left-over energy at the"
            " middle price tempts buyers to lose the auction on purpose: the last two columns.",
            "Shares are of what could be gained, in the mean; sellers gain what is neither kept nor"
            " the buyers'.",
        ),
    )  # fmt: skip


# --- random cases -----------------------------------------------------------------------------------

Arrivals = Sequence[tuple[str, int]]
"""Sides and places, in the order in which offers come."""


@dataclass(slots=True)
class Tally:
    """Sums over random cases; shares of the best are over those where trading gains anything."""

    gaining: int = 0
    efficiency: float = 0.0
    kept: float = 0.0
    buyers: float = 0.0
    helped: int = 0
    helped_with_left: int = 0

    def count(self, best: Number, gained: Number, kept: Number, buyers: Number) -> None:
        """Add what a case gained, and what of it the auctioneer kept and buyers got."""
        if best > 0:
            self.gaining += 1
            self.efficiency += float(gained / best)
            self.kept += float(kept / best)
            self.buyers += float(buyers / best)

    def count_lies(self, helped: bool, helped_with_left: bool) -> None:
        """Add whether lying would have helped a buyer."""
        self.helped += helped
        self.helped_with_left += helped_with_left

    def to_json(self) -> dict[str, float]:
        """Mean shares."""
        return {
            "efficiency": self.efficiency / self.gaining,
            "kept_share": self.kept / self.gaining,
            "buyers_share": self.buyers / self.gaining,
            "lying_helps": self.helped / CASES,
            "lying_helps_with_left_over": self.helped_with_left / CASES,
        }


def random_cases(seed: int, others: Mapping[str, Auction]) -> dict[str, Tally]:
    """What each rule makes of the same random offers, and whether another price would help one buyer.

    Raises AuctionError for what one of the others may not decide.
    """
    rng = stream(seed, "double-auction")
    tallies = {name: Tally() for name in (*map(str, Rule), CONTINUOUS, *others)}
    for number in range(CASES):
        case = _drawn(rng)
        for rule in Rule:
            _count_rule(tallies[rule], rule, case)
        _count_continuous(tallies[CONTINUOUS], case)
        for name, own in others.items():
            _count_own(tallies[name], Own(name, own, seed, number), case)
    return tallies


@dataclass(frozen=True, slots=True)
class Case:
    """Random offers: the most that they can gain, the bid that might lie, in which order they come."""

    bids: Sequence[Offer]
    asks: Sequence[Offer]
    best: Number
    liar: int
    arrivals: Arrivals


def _drawn(rng: np.random.Generator) -> Case:
    bids, asks = _offers(rng), _offers(rng)
    liar = int(rng.integers(len(bids)))
    everybody = [("bid", n) for n in range(len(bids))] + [("ask", n) for n in range(len(asks))]
    arrivals = [everybody[n] for n in rng.permutation(len(everybody))]
    return Case(bids, asks, gains_max(bids, asks), liar, arrivals)


def _count_rule(tally: Tally, rule: Rule, case: Case) -> None:
    award = auction(rule, case.bids, case.asks)
    gained = gains(case.bids, case.asks, award.bought, award.sold)
    buyers = _left(case.bids, award.bought, award.paid * award.volume)
    tally.count(case.best, gained, award.surplus, buyers)
    tally.count_lies(*_lying_helps(rule, case.bids, case.asks, case.liar))


def _count_continuous(tally: Tally, case: Case) -> None:
    """Nobody keeps anything, and it knows no leftovers."""
    bids, asks = case.bids, case.asks
    trades = continuous(bids, asks, case.arrivals)
    worth = (trade.quantity * (bids[trade.bid].price - asks[trade.ask].price) for trade in trades)
    buyers = (trade.quantity * (bids[trade.bid].price - trade.price) for trade in trades)
    tally.count(case.best, sum(worth, Fraction(0)), Fraction(0), sum(buyers, Fraction(0)))
    helps = _lying_helps_in_time(bids, asks, case.arrivals, case.liar)
    tally.count_lies(helps, helps)


@dataclass(frozen=True, slots=True)
class Own:
    """A reader's auction in one random case, with the same chance whoever lies."""

    name: str
    rule: Auction
    seed: int
    case: int

    def __call__(self, bids: Sequence[Offer], asks: Sequence[Offer]) -> Decided:
        """What it decides on offers that it is shown by rising price. Raises AuctionError."""
        return decided(
            f"rule {self.name}, random case {self.case}",
            self.rule,
            bids,
            asks,
            grid=CASE_GRID,
            rng=stream(self.seed, "auction", self.case),
        )


def _count_own(tally: Tally, own: Own, case: Case) -> None:
    """It knows no leftovers, so that lying helps by the auction alone."""
    bids, asks, liar = case.bids, case.asks, case.liar
    won = [own(offered, asks) for offered in _lies(bids, liar)]
    honest = won[0]
    costs, revenues = sum(honest.costs, Fraction(0)), sum(honest.revenues, Fraction(0))
    gained = gains(bids, asks, honest.bought, honest.sold)
    tally.count(case.best, gained, costs - revenues, _left(bids, honest.bought, costs))
    left = [each.bought[liar] * bids[liar].price - each.costs[liar] for each in won]
    helps = max(left) > left[0] + MONEY_AGREES_NEUR
    tally.count_lies(helps, helps)


def _left(bids: Sequence[Offer], bought: Sequence[Number], paid: Number) -> Number:
    """What buyers gain: what they would have paid at most less what they pay."""
    worth = (bid.price * amount for bid, amount in zip(bids, bought, strict=True))
    return sum(worth, Fraction(0)) - paid


def _offers(rng: np.random.Generator) -> list[Offer]:
    count = int(rng.integers(1, OFFERS_MAX + 1))
    prices = rng.integers(int(CASE_GRID.fit), int(CASE_GRID.price) + 1, count)
    quantities = rng.integers(1, QUANTITY_MAX + 1, count)
    return [Offer(int(price), int(quantity)) for price, quantity in zip(prices, quantities, strict=True)]


def _lies(bids: Sequence[Offer], liar: int) -> Iterator[list[Offer]]:
    """The bids with each other price of one buyer, the true one first."""
    step = (CASE_GRID.price - CASE_GRID.fit) // (LIES - 1)
    yield list(bids)
    for n in range(LIES):
        lie = Offer(CASE_GRID.fit + n * step, bids[liar].quantity)
        yield [*bids[:liar], lie, *bids[liar + 1 :]]


def _lying_helps(rule: Rule, bids: Sequence[Offer], asks: Sequence[Offer], liar: int) -> tuple[bool, bool]:
    """Whether another price leaves a buyer more, by its true one: of the auction, and of leftovers too."""
    true = bids[liar].price
    won, with_left = [], []
    for offered in _lies(bids, liar):
        found = served(rule, offered, asks, CASE_GRID)
        won.append(found.award.bought[liar] * (true - found.award.paid))
        with_left.append(won[-1] + found.bought_left[liar] * (true - CASE_GRID.middle))
    return max(won) > won[0], max(with_left) > with_left[0]


def _lying_helps_in_time(bids: Sequence[Offer], asks: Sequence[Offer], arrivals: Arrivals, liar: int) -> bool:
    """The same of the continuous auction, at the same time as before."""
    worth = [
        sum(
            (
                trade.quantity * (bids[liar].price - trade.price)
                for trade in continuous(offered, asks, arrivals)
                if trade.bid == liar
            ),
            Fraction(0),
        )
        for offered in _lies(bids, liar)
    ]
    return max(worth) > worth[0]


# --- what people see --------------------------------------------------------------------------------


def _case_table(case: Mapping[Rule, Served]) -> Table:
    rows = []
    for rule, found in case.items():
        award = found.award
        money = (sum(found.costs, Fraction(0)), sum(found.revenues, Fraction(0)), award.surplus)
        figures = (award.volume, award.paid, award.got, found.left, *money)
        rows.append((str(rule), *(f"{float(figure):g}" for figure in figures)))
    head = ("rule", "quantity", "buyers pay", "sellers get", "left over", "costs", "revenues", "kept")
    return Table(
        "The worked case: bids 28 26 24 20 15, asks 11 14 17 21 25, grid 30 and 10", head, tuple(rows)
    )


def _random_table(measured: Mapping[str, Mapping[str, float]]) -> Table:
    head = ("rule", "efficiency", "kept by the auctioneer", "buyers gain", "lying helps a buyer",
            "with left-over energy")  # fmt: skip
    rows = tuple(
        (name, *(f"{100 * value:.1f} %" for value in shares.values())) for name, shares in measured.items()
    )
    return Table(f"{CASES:,} random cases", head, rows)


def _draw(figure: Figure, theme: Theme) -> None:
    """Both curves of the worked case, with the price and what trades."""
    axes = figure.subplots()
    for offers, label, color in ((CASE_BIDS, "bids", theme.market), (CASE_ASKS, "asks", theme.worse)):
        edges = [0, *accumulate(float(offer.quantity) for offer in offers)]
        axes.stairs([float(offer.price) for offer in offers], edges, label=label, color=color, baseline=None)
    award = auction(Rule.UNIFORM, CASE_BIDS, CASE_ASKS)
    axes.axhline(float(award.paid), color=theme.other, linestyle="--", linewidth=1, label="uniform price")
    axes.axvline(float(award.volume), color=theme.other, linestyle=":", linewidth=1, label="quantity traded")
    axes.set(xlabel="quantity", ylabel="price", ylim=(0, 32), title="The worked case")
    axes.legend()


STUDY = Study(
    name="double-auction",
    about="one-shot auctions of a coalition, and the continuous one",
    source=Source(
        citation="Tushar et al., Grid Influenced Peer-to-Peer Energy Trading, IEEE TSG 11(2):1407-1418, 2020;"
        " McAfee, A Dominant Strategy Double Auction, J. Economic Theory 56(2), 1992",
        taken="offers between feed-in tariff and the grid's price; the last bid and ask that meet; the longer"
        " side forgoes the same",
        added="the middle of the prices that the winners leave open; rules that leave the last pair out;"
        " the worked case and the random ones",
    ),
    run=run,
    compare=compare,
)
