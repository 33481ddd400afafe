"""Study `baselines`: one day of one feeder under FiT/retail, the mid-market rate, and any auction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from market.units import NEUR_PER_EUR, UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH
from node.scenario.world import World
from node.studies.auctions import AUCTIONS, Auction
from node.studies.community import ALONE, LEVELS, MID_MARKET, Day, days, spending, traded
from node.studies.comparison import SCENARIO, Comparison, drawn
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

MONEY_AGREES_EUR = 1e-6
"""Bills are sums of floats."""
KEEPS = "two-price"
"""Of the auctions at hand, the one whose auctioneer keeps the difference of its prices."""


def run(seed: int) -> Findings:
    """The comparison with the auctions at hand."""
    return compare(seed, {}, {})


def compare(seed: int, others: Mapping[str, Auction], settings: Mapping[str, str]) -> Findings:
    """The same day under every rule, and under others of a reader's own; `settings` are the scenario's.

    Raises AuctionError and ScenarioError.
    """
    world = drawn(seed, settings)
    by_name = days(world, others, seed)
    comparison = Comparison.of(world, by_name)
    auctions = {**AUCTIONS, **others}
    apart = {name: traded(world, name, rule, seed, shared=False) for name, rule in auctions.items()}
    prices = {
        "shared_prices": _prices(world, {name: by_name[name] for name in auctions}, by_name[ALONE]),
        "own_prices": _prices(world, apart, by_name[ALONE]),
    }
    return Findings(
        figures={
            "seed": seed,
            "scenario": SCENARIO,
            "settings": dict(settings),
            "rules": comparison.to_json(),
            "auctions": {
                kind: {name: asdict(each) for name, each in found.items()} for kind, found in prices.items()
            },
        },
        tables=(
            *comparison.tables(),
            _prices_table(f"Auctions, offers on {LEVELS} prices that all share", prices["shared_prices"]),
            _prices_table(f"Auctions, offers on {LEVELS} prices of each one's own", prices["own_prices"]),
        ),
        claims=(*_of_mid_market(world, by_name, comparison), *_of_auctions(others, comparison)),
        draw=_draw(comparison),
        notes=(
            "Firm load and sun are the same under every rule; what moves is flexible load that local energy"
            " is worth switching on for, so the network's figures differ little.",
            "What an auction leaves unmatched, each meter buys and sells at the grid's two prices. What"
            " prosumers trade with one another the utility does not sell: what they save is mostly its loss.",
            "The price of trades is between prosumers: it changes no sum over them, but who of them saves."
            " Fewer prosumers leave the last bid and ask that trade further apart.",
        ),
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """What an auction traded over the day, at which mean prices (none: no trade), and who saves by it."""

    traded_mwh: float
    paid_eur_per_mwh: float | None
    got_eur_per_mwh: float | None
    saved_eur: float
    owners_saved_eur: float

    @classmethod
    def of(cls, world: World, day: Day, without: Day) -> Prices:
        """Of a day, against that without a market."""
        saved = spending(world, without) - spending(world, day)
        paid, got = (
            each / day.traded_wh / UEUR_PER_KWH_PER_EUR_PER_MWH if day.traded_wh else None
            for each in (day.paid_neur, day.paid_neur - day.kept_neur)
        )
        owners = float(saved[world.generator_peak > 0].sum())
        return cls(day.traded_wh / WH_PER_MWH, paid, got, float(saved.sum()), owners)

    def row(self) -> Iterable[str]:
        """As people read it."""
        yield f"{self.traded_mwh:.4f}"
        for price in (self.paid_eur_per_mwh, self.got_eur_per_mwh):
            yield "" if price is None else f"{price:.3f}"
        yield f"{self.saved_eur:+.2f}"
        yield f"{self.owners_saved_eur:+.2f}"


def _prices(world: World, by_name: Mapping[str, Day], without: Day) -> dict[str, Prices]:
    return {name: Prices.of(world, day, without) for name, day in by_name.items()}


def _prices_table(title: str, found: Mapping[str, Prices]) -> Table:
    head = ("rule", "traded MWh", "buyers pay €/MWh", "sellers get €/MWh", "saved €", "owners of PV save €")
    return Table(title, head, tuple((name, *each.row()) for name, each in found.items()))


def _of_mid_market(world: World, by_name: Mapping[str, Day], comparison: Comparison) -> tuple[Claim, ...]:
    """It shares money out, and moves nothing else."""
    day, shared = by_name[MID_MARKET], comparison.by_name()[MID_MARKET].found
    moved = float(np.abs(day.net_wh - by_name[ALONE].net_wh).max())
    one_meter = _bills(day) - _grid(world, day)
    return (
        Claim("no prosumer is worse off at the mid-market rate than on FiT/retail", shared.worse_off == 0,
              f"{shared.better_off} better, {shared.worse_off} worse"),
        Claim("the mid-market rate moves money, not energy", moved == 0, f"{moved:g} Wh"),
        Claim("its bills are what the community as one meter pays the grid",
              abs(one_meter) < MONEY_AGREES_EUR, f"{one_meter:+.1e} €"),
    )  # fmt: skip


def _of_auctions(others: Mapping[str, Auction], comparison: Comparison) -> tuple[Claim, ...]:
    """What is said of auctions is said of a reader's own too."""
    found = comparison.by_name()
    auctions = [found[name] for name in (*AUCTIONS, *others)]
    without = found[ALONE]
    return (
        *(
            Claim(f"nobody keeps money under {each.name}", abs(each.kept_eur) < MONEY_AGREES_EUR,
                  f"{each.kept_eur:+.2f} €",
                  basis=Basis.CONSTRUCTION if each.name in AUCTIONS else Basis.OURS)
            for each in auctions if each.name != KEEPS
        ),
        Claim("no prosumer is worse off in any auction", all(each.found.worse_off == 0 for each in auctions),
              ", ".join(f"{each.name} {each.found.worse_off}" for each in auctions)),
        Claim("trading costs the community no more than FiT/retail does",
              all(each.saved_eur(without) > -MONEY_AGREES_EUR for each in auctions),
              ", ".join(f"{each.name} {-each.saved_eur(without):+.2f} €" for each in auctions),
              basis=Basis.SOURCE),
    )  # fmt: skip


def _bills(day: Day) -> float:
    return float(day.bills_neur.sum()) / NEUR_PER_EUR


def _grid(world: World, day: Day) -> float:
    """What the community pays the grid by slot as one meter, €."""
    net = day.net_wh.sum(axis=1)
    return float(np.where(net > 0, net * world.tariff.retail, net * world.tariff.fit).sum()) / NEUR_PER_EUR


def _draw(comparison: Comparison) -> Draw:
    """By how much each rule raises welfare, and what prosumers save beside it at the utility's expense."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        without = comparison.mechanisms[0]
        shown = comparison.mechanisms[:0:-1]
        names, gained = [each.name for each in shown], [each.gained_eur(without) for each in shown]
        lost = [each.transferred_eur(without) if each.billed else 0.0 for each in shown]
        axes.barh(names, gained, color=theme.market, label="gain of welfare")
        axes.barh(names, lost, left=gained, color=theme.faint, label="what the utility loses to prosumers")
        axes.set(
            xlabel="€ a day more than on FiT/retail", title="What is gained, and what only changes hands"
        )
        axes.legend()

    return draw


STUDY = Study(
    name="baselines",
    about="one day under FiT/retail, the mid-market rate, and any auction",
    source=Source(
        citation="Tushar et al., Peer-to-Peer Trading in Electricity Networks: An Overview, IEEE TSG"
        " 11(4):3185-3200, 2020; Long et al., IEEE PES General Meeting, 2017",
        taken="FiT/retail and mid-market-rate bills; the benefits that trading is praised for",
        added="the day, the offers by what energy is worth, and how each benefit is measured",
    ),
    run=run,
    compare=compare,
    scenario=SCENARIO,
)
