"""Study `local-market`: a street's sealed auction every quarter of an hour, after the Brooklyn Microgrid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from market.feeder.powerflow import violations
from market.mechanisms.double_auction import Award, Grid, Offer, Rule, auction, gains, gains_max
from market.units import NEUR_PER_EUR, UEUR_PER_KWH_PER_EUR_PER_MWH, Floats
from node.scenario.world import World
from node.studies.auctions import Outcome, awarded
from node.studies.community import (
    ALONE,
    MID_MARKET,
    Benefits,
    Day,
    alone,
    at_mid_market_rate,
    benefits,
    traded,
)
from node.studies.streets import EUROPEAN_LV, Plan, street
from node.studies.study import Claim, Draw, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

OURS = "local market"
PLAN = Plan(EUROPEAN_LV, houses=55, pv_share=0.5, pv_kw=3.0, slot_seconds=900)
COMPONENTS = (
    ("1 microgrid setup", "participants, connections and aims, as a scenario", "node/scenario"),
    ("2 grid connection", "the feeder, its substation and limits", "market/feeder"),
    ("3 information system", "a contract on a chain; signed orders, meters' keys", "contracts, ledger"),
    ("4 market mechanism", "one book a slot; a sealed auction here", "market/book.py, market/mechanisms"),
    ("5 pricing mechanism", "hub prices, charges and prices by bus", "market/pricing, market/atc"),
    ("6 energy management", "agents that trade what devices are worth", "market/agents, node/agent"),
    ("7 regulation", "tariff, network fee and rule of a slot; audit", "market/settlement.py, ledger/audit"),
)
"""The seven components of a microgrid energy market, what stands for each here, and where."""


@dataclass(frozen=True, slots=True)
class Clearing:
    """One sealed auction: what it traded at which price, and how much there was, Wh and µ€/kWh.

    `reached` is the share of the possible gains that it brought, 1 where nothing could be gained.
    """

    price: float
    volume: float
    wanted: float
    offered: float
    reached: float


class Recorded:
    """The uniform-price auction, which notes what it does slot by slot."""

    def __init__(self) -> None:
        self.clearings: list[Clearing] = []
        self.broken = 0

    def __call__(
        self, bids: Sequence[Offer], asks: Sequence[Offer], grid: Grid, rng: np.random.Generator
    ) -> Outcome:
        """Hold the auction: nobody has seen the offers of others."""
        award = auction(Rule.UNIFORM, bids, asks)
        best = gains_max(bids, asks)
        self.clearings.append(
            Clearing(
                price=float(award.paid) / UEUR_PER_KWH_PER_EUR_PER_MWH if award.volume else np.nan,
                volume=float(award.volume),
                wanted=float(sum((bid.quantity for bid in bids), Fraction(0))),
                offered=float(sum((ask.quantity for ask in asks), Fraction(0))),
                reached=float(gains(bids, asks, award.bought, award.sold) / best) if best else 1.0,
            )
        )
        self.broken += _broken(award, bids, asks)
        return awarded(award)


def _broken(award: Award, bids: Sequence[Offer], asks: Sequence[Offer]) -> int:
    """Offers that trade at a price worse than their own."""
    paid = sum(1 for bid, n in zip(bids, award.bought, strict=True) if n and award.paid > bid.price)
    return paid + sum(1 for ask, n in zip(asks, award.sold, strict=True) if n and award.got < ask.price)


@dataclass(frozen=True, eq=False)
class Held:
    """A day of auctions beside the same day without them."""

    world: World
    days: dict[str, Day]
    found: dict[str, Benefits]
    clearings: tuple[Clearing, ...]
    broken: int

    @property
    def prices(self) -> Floats:
        """By slot, €/MWh; not a number where nothing is traded."""
        return np.array([each.price for each in self.clearings])

    @property
    def scarcity(self) -> Floats:
        """By slot, what is wanted as a share of all that is wanted or offered."""
        return np.array(
            [
                each.wanted / (each.wanted + each.offered) if each.wanted + each.offered else 0.5
                for each in self.clearings
            ]
        )

    @property
    def price_follows(self) -> float:
        """Correlation of price and scarcity over the slots with trade."""
        traded_in = np.isfinite(self.prices)
        return float(np.corrcoef(self.prices[traded_in], self.scarcity[traded_in])[0, 1])


def run(seed: int) -> Findings:
    """A midsummer day of a street, every quarter of an hour an auction."""
    held = hold(seed)
    tariff, prices = held.world.tariff, held.prices[np.isfinite(held.prices)]
    low, high = (each / UEUR_PER_KWH_PER_EUR_PER_MWH for each in (tariff.fit, tariff.retail))
    local = held.found[OURS]
    breaking = {name: len(violations(held.world.feeder, day.flow)) for name, day in held.days.items()}
    kept = held.days[OURS].kept_neur / NEUR_PER_EUR
    volume = sum(each.volume for each in held.clearings)
    reached = min(each.reached for each in held.clearings)
    within = len(prices) > 0 and bool(low <= prices.min() and prices.max() <= high)
    return Findings(
        figures={
            "seed": seed,
            "auctions": len(held.clearings),
            "auctions_with_trade": len(prices),
            "traded_kwh": volume / 1_000,
            "price_min": float(prices.min()),
            "price_mean": float(prices.mean()),
            "price_max": float(prices.max()),
            "price_follows_scarcity": held.price_follows,
            "gains_reached_min": reached,
            "violations": breaking,
            "saved_eur": held.found[ALONE].cost_eur - local.cost_eur,
            "better_off": local.better_off,
            "worse_off": local.worse_off,
        },
        tables=(_table(held), Table("The seven components", ("component", "here", "where"), COMPONENTS)),
        claims=(
            Claim("every price is between feed-in tariff and retail", within,
                  f"{prices.min():.1f} to {prices.max():.1f} €/MWh in {len(prices)} auctions"),
            Claim("nobody trades at a price worse than offered", held.broken == 0, f"{held.broken} offers"),
            Claim("what buyers pay is what sellers get", kept == 0, f"{kept:+.1e} €"),
            Claim("nobody is worse off than on FiT/retail", local.worse_off == 0,
                  f"{local.better_off} of {len(held.world.bus)} better, {local.worse_off} worse"),
            Claim("the price rises with scarcity", held.price_follows > 0,
                  f"correlation {held.price_follows:.2f}"),
            Claim("the feeder's limits hold in the balanced flow", breaking[OURS] == 0,
                  f"{breaking[OURS]} broken, {breaking[ALONE]} without the market"),
        ),
        draw=_draw(held),
        notes=(
            f"The uniform price brings at least {reached:.1%} of what each auction could gain: all winners of"
            " the longer side forgo the same, whatever theirs is worth.",
        ),
    )  # fmt: skip


def hold(seed: int) -> Held:
    """The day with its auctions, and the same day under the two tariffs."""
    world = street(PLAN, seed).world
    rule = Recorded()
    days = {
        ALONE: alone(world),
        MID_MARKET: at_mid_market_rate(world),
        OURS: traded(world, OURS, rule, seed),
    }
    found = {name: benefits(world, day, days[ALONE]) for name, day in days.items()}
    return Held(world, days, found, tuple(rule.clearings), rule.broken)


def _table(held: Held) -> Table:
    rows = tuple(
        (
            name,
            f"{one.renewable_use:.1%}",
            f"{one.cost_eur:.2f}",
            f"{1_000 * one.peak_import_mw:.1f}",
            f"{1_000 * one.losses_mwh:.2f}",
            str(one.better_off),
            str(one.worse_off),
        )
        for name, one in held.found.items()
    )
    head = ("rule", "sun used", "cost €", "peak kW", "losses kWh", "better", "worse")
    return Table(f"{held.world.feeder.name}: a day of {len(held.world.bus)} houses", head, rows)


def _draw(held: Held) -> Draw:
    """Price and volume over the day."""

    def draw(figure: Figure, theme: Theme) -> None:
        hours = held.world.hours * np.arange(len(held.clearings))
        above, below = figure.subplots(2, 1, sharex=True)
        above.step(hours, held.prices, where="post", color=theme.market)
        above.set(ylabel="€/MWh", title="Price of each auction")
        below.fill_between(
            hours, [each.volume / 1_000 for each in held.clearings], step="post", color=theme.third
        )
        below.set(xlabel="hour (UTC)", ylabel="kWh", title="Traded in it")

    return draw


STUDY = Study(
    name="local-market",
    about="a street's sealed auction every quarter of an hour, after the Brooklyn Microgrid",
    source=Source(
        citation="Mengelkamp, Gärttner, Rock, Kessler, Orsini and Weinhardt, Designing microgrid energy"
        " markets. A case study: The Brooklyn Microgrid, Applied Energy 210:870-880, 2018",
        taken="closed book, a double auction each 15 minutes at one price; a market's seven components",
        added="the street and its day, offers by what energy is worth, and the rule for the marginal offer",
    ),
    run=run,
)
