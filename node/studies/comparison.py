"""The mechanisms that can run the day, and the best dispatches of it, by what trading is praised for.

The day is foreseen exactly, so that the market, which trades by forecasts, is held to what auctions are that
see the day as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace

from market.feeder.powerflow import violations
from market.units import NEUR_PER_EUR
from node.scenario import ScenarioError, load
from node.scenario.world import World, build
from node.studies.auctions import AUCTIONS, Auction
from node.studies.community import (
    ALONE,
    MID_MARKET,
    Benefits,
    Day,
    benefits,
    days,
    settled_day,
    utility_eur,
)
from node.studies.dispatch import BY_HUB, BY_WHOLESALE, dispatched
from node.studies.study import Table, Value

SCENARIO, FORESEEN = "ieee33-day", {"forecast.error": "0"}
RULES = ("dlmp", "tariff")
OURS = "Wattbook"
GROUP = 10
COALITIONS = f"{OURS}, coalitions of {GROUP}"
NAMES = (
    ALONE, MID_MARKET, *AUCTIONS, *(f"{OURS}, rule {rule}" for rule in RULES), COALITIONS,
    BY_HUB, BY_WHOLESALE,
)  # fmt: skip
"""All that are compared where nobody brings another."""
LEFT_OUT = (
    ("half of the price difference for each side (utility)",
     "its loop of trades and prices need not settle, and where it does not, a slot has no bills"),
    ("the leader's price (stackelberg, peak-hour)", "a price for one hour of peak, not for a day"),
    ("payoffs of coalitions (coalitions)", "a worth that is shared, without trades; coalitions that bid"
     " together have a row"),
    ("providers of regions (sharing-regions)", "one period of a case drawn for itself, with demand that no"
     " day has"),
    ("classes of energy (energy-classes)", "single slots: scenarios have no books by class yet"),
    ("the microgrid's platform (microgrid-platform)", "ten houses of its own, in winter"),
    ("the plan that prices follow (vpp)", "one slot and a plan for it; nobody trades"),
    ("the street's sealed auction (local-market, cosimulation)", "another feeder, in steps of 5 and 15"
     " minutes; its auction is `uniform`, which has a row"),
    ("shares of losses (loss-allocation)", "it shares what a flow loses, and moves no energy"),
    ("ATC's rivals (decomposition)", "other ways to the same prices, so the same day"),
)  # fmt: skip
"""Published systems that have no row, with their studies, and why."""


@dataclass(frozen=True, eq=False)
class Mechanism:
    """A day under one mechanism, the limits that it breaks, and whose money is what, €.

    `utility_eur` is what the utility is left with, `kept_eur` what an auctioneer keeps. What is not
    `billed`, a best dispatch, has energy and welfare, and nobody's share of it.
    """

    name: str
    found: Benefits
    broken: int
    utility_eur: float
    kept_eur: float
    billed: bool = True

    @property
    def welfare_eur(self) -> float:
        """What all together are left with: utility and auctioneer less what prosumers spend."""
        return self.utility_eur + self.kept_eur - self.found.cost_eur

    def saved_eur(self, without: Mechanism) -> float:
        """How much less than without a market prosumers spend."""
        return without.found.cost_eur - self.found.cost_eur

    def gained_eur(self, without: Mechanism) -> float:
        """How much more all together are left with than without a market."""
        return self.welfare_eur - without.welfare_eur

    def transferred_eur(self, without: Mechanism) -> float:
        """How much less the utility is left with: what others get beyond the gain of welfare."""
        return without.utility_eur - self.utility_eur

    def to_json(self) -> dict[str, Value]:
        """Every figure by its name; none for the shares of what is not billed."""
        money = {"utility_eur": self.utility_eur, "kept_eur": self.kept_eur, "welfare_eur": self.welfare_eur}
        told: dict[str, Value] = {**asdict(self.found), "violations": self.broken, **money}
        return told if self.billed else {**told, **dict.fromkeys(SHARES)}


SHARES = ("cost_eur", "better_off", "worse_off", "utility_eur", "kept_eur")
"""Whose money is what, by name: what only bills say."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """All mechanisms on one day of one feeder, FiT/retail first, the best dispatches last."""

    feeder: str
    prosumers: int
    slots: int
    mechanisms: tuple[Mechanism, ...]

    @classmethod
    def of(cls, world: World, by_name: Mapping[str, Day]) -> Comparison:
        """Measure days of this world, among them that on FiT/retail. Raises ClearingFailed."""
        without = by_name[ALONE]
        billed = [_measured(world, name, day, without) for name, day in by_name.items()]
        best = [
            replace(_measured(world, name, day, without), billed=False)
            for name, day in dispatched(world).items()
        ]
        return cls(world.feeder.name, len(world.bus), world.periods, (*billed, *best))

    def by_name(self) -> dict[str, Mechanism]:
        """The mechanisms by their names, in order."""
        return {each.name: each for each in self.mechanisms}

    def tables(self) -> tuple[Table, Table]:
        """Who gains what against FiT/retail, then energy and network: a row a mechanism."""
        day = f"the same {self.slots} slots of {self.prosumers} prosumers on {self.feeder}"
        money = ("welfare gains €", "prosumers save €", "utility loses €", "auctioneer keeps €", "better off",
                 "worse off", "prosumers' cost €", "utility's result €")  # fmt: skip
        network = ("sun used", "peak MW", "losses MWh", "line pu", "limits broken")
        return (
            Table(f"Who gains what: {day}", ("mechanism", *money), tuple(self._money())),
            Table(f"Energy and network: {day}", ("mechanism", *network), tuple(self._network())),
        )

    def _money(self) -> Iterable[tuple[str, ...]]:
        """Welfare gains what prosumers save and auctioneers keep, less what the utility loses."""
        without = self.mechanisms[0]
        for each in self.mechanisms:
            shares = (
                f"{each.saved_eur(without):+z.2f}",
                f"{each.transferred_eur(without):+z.2f}",
                f"{each.kept_eur:z.2f}",
                str(each.found.better_off),
                str(each.found.worse_off),
                f"{each.found.cost_eur:.2f}",
                f"{each.utility_eur:.2f}",
            )
            yield (
                each.name,
                f"{each.gained_eur(without):+z.2f}",
                *(shares if each.billed else [""] * len(shares)),
            )

    def _network(self) -> Iterable[tuple[str, ...]]:
        for each in self.mechanisms:
            yield (
                each.name,
                f"{each.found.renewable_use:.1%}",
                f"{each.found.peak_import_mw:.3f}",
                f"{each.found.losses_mwh:.4f}",
                f"{each.found.loading_pu:.3f}",
                str(each.broken),
            )

    def to_json(self) -> dict[str, Value]:
        """By mechanism, its figures by their names."""
        return {each.name: each.to_json() for each in self.mechanisms}


def compared(seed: int, others: Mapping[str, Auction], settings: Mapping[str, str]) -> Comparison:
    """The day under every mechanism and auctions of a reader's own; `settings` are the scenario's.

    Raises AuctionError and ScenarioError.
    """
    world = drawn(seed, settings)
    found = days(world, others, seed)
    for rule in RULES:
        found[f"{OURS}, rule {rule}"] = _by_contract(drawn(seed, {**settings, "market.rule": rule}))
    found[COALITIONS] = _by_contract(drawn(seed, {**settings, **_grouped(len(world.bus))}))
    return Comparison.of(world, found)


def drawn(seed: int, settings: Mapping[str, str]) -> World:
    """The day that is compared, under further settings. Raises ScenarioError."""
    scenario = load(SCENARIO, {**FORESEEN, **settings}, seed)
    for kind in ("batteries", "vehicles"):
        share = getattr(scenario, kind).share
        if share:
            raise ScenarioError(
                f"{kind}.share = {share}: auctions of single slots hold no storage; must be 0"
            )
    return build(scenario)


def _grouped(count: int) -> dict[str, str]:
    """Settings of coalitions by number, which trade together what their members want of others."""
    groups = [list(range(first, min(first + GROUP, count + 1))) for first in range(1, count + 1, GROUP)]
    return {"bidding.policy": '"coalition"', "bidding.coalitions": str(groups)}


def _measured(world: World, name: str, day: Day, without: Day) -> Mechanism:
    return Mechanism(
        name,
        benefits(world, day, without),
        len(violations(world.feeder, day.flow)),
        utility_eur(world, day),
        day.kept_neur / NEUR_PER_EUR,
    )


def _by_contract(world: World) -> Day:
    """The day in the real market: charges, the book, prices, delivery and settlement, without a chain."""
    from node.simulate.run import traded_without_ledger  # noqa: PLC0415 - loads solvers

    return settled_day(world, traded_without_ledger(world))
