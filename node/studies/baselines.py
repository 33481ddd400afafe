"""Study `baselines`: one day of one feeder under FiT/retail, the mid-market rate, and any auction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from node.scenario import load
from node.scenario.world import World, build
from node.studies.community import (
    AUCTIONS,
    NEUR_PER_EUR,
    Auction,
    Benefits,
    Day,
    alone,
    at_mid_market_rate,
    benefits,
    traded,
)
from node.studies.study import Claim, Draw, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

SCENARIO = "ieee33-day"
ALONE, MID_MARKET = "fit-retail", "mid-market-rate"
MONEY_AGREES_EUR = 1e-6
"""Bills are sums of floats."""


def run(seed: int) -> Findings:
    """The comparison with the auctions at hand."""
    return compare(seed, {})


def compare(seed: int, others: Mapping[str, Auction]) -> Findings:
    """The same day under every rule, and under others of a reader's own."""
    world = build(load(SCENARIO, {}, seed))
    days = {ALONE: alone(world), MID_MARKET: at_mid_market_rate(world)}
    for name, auction in {**AUCTIONS, **others}.items():
        days[name] = traded(world, auction, seed)
    found = {name: benefits(world, day, days[ALONE]) for name, day in days.items()}
    kept = {name: day.kept_neur / NEUR_PER_EUR for name, day in days.items()}
    one_meter = _bills(days[MID_MARKET]) - _grid(world, days[MID_MARKET])
    without, shared = found[ALONE], found[MID_MARKET]
    moved = float(np.abs(days[MID_MARKET].net_wh - days[ALONE].net_wh).max())
    return Findings(
        figures={
            "seed": seed,
            "scenario": SCENARIO,
            "rules": {
                name: {
                    "renewable_use": one.renewable_use,
                    "cost_eur": one.cost_eur,
                    "peak_import_mw": one.peak_import_mw,
                    "losses_mwh": one.losses_mwh,
                    "loading_pu": one.loading_pu,
                    "better_off": one.better_off,
                    "worse_off": one.worse_off,
                    "kept_eur": kept[name],
                }
                for name, one in found.items()
            },
        },
        tables=(_table(found, kept),),
        claims=(
            Claim("no prosumer is worse off at the mid-market rate than on FiT/retail", shared.worse_off == 0,
                  f"{shared.better_off} better, {shared.worse_off} worse"),
            Claim("the mid-market rate moves money, not energy", moved == 0, f"{moved:g} Wh"),
            Claim("its bills are what the community as one meter pays the grid",
                  abs(one_meter) < MONEY_AGREES_EUR, f"{one_meter:+.1e} €"),
            *(
                Claim(f"nobody keeps money under {name}", kept[name] == 0,
                      f"{kept[name]:+.1e} €")
                for name in ("uniform", "reduce", "continuous")
            ),
            Claim("no prosumer is worse off in any auction at hand", all(
                found[name].worse_off == 0 for name in AUCTIONS),
                  ", ".join(f"{name} {found[name].worse_off}" for name in AUCTIONS)),
            Claim("trading costs the community no more than FiT/retail does", all(
                found[name].cost_eur <= without.cost_eur + MONEY_AGREES_EUR for name in AUCTIONS),
                  f"{without.cost_eur - min(found[name].cost_eur for name in AUCTIONS):.2f} € less at best"),
        ),
        draw=_draw(found),
        notes=(
            "Firm load and sun are the same under every rule; what moves is flexible load that local energy"
            " is worth switching on for, so the network's figures differ little.",
            "What an auction leaves unmatched, each meter buys and sells at the grid's two prices.",
        ),
    )  # fmt: skip


def _bills(day: Day) -> float:
    return float(day.bills_neur.sum()) / NEUR_PER_EUR


def _grid(world: World, day: Day) -> float:
    """What the community pays the grid by slot as one meter, €."""
    net = day.net_wh.sum(axis=1)
    return float(np.where(net > 0, net * world.tariff.retail, net * world.tariff.fit).sum()) / NEUR_PER_EUR


def _table(found: Mapping[str, Benefits], kept: Mapping[str, float]) -> Table:
    head = ("rule", "sun used", "cost €", "peak MW", "losses MWh", "line pu", "better", "worse", "kept €")
    return Table(
        f"{SCENARIO}: the same day under every rule",
        head,
        tuple(
            (
                name,
                f"{one.renewable_use:.1%}",
                f"{one.cost_eur:.2f}",
                f"{one.peak_import_mw:.3f}",
                f"{one.losses_mwh:.4f}",
                f"{one.loading_pu:.3f}",
                str(one.better_off),
                str(one.worse_off),
                f"{kept[name]:.2f}",
            )
            for name, one in found.items()
        ),
    )


def _draw(found: Mapping[str, Benefits]) -> Draw:
    """What each rule saves the community against FiT/retail."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        names = [name for name in found if name != ALONE]
        saved = [found[ALONE].cost_eur - found[name].cost_eur for name in names]
        axes.barh(names[::-1], saved[::-1], color=theme.market)
        axes.set(
            xlabel="€ a day less than on FiT/retail, all prosumers together", title="Saved by the community"
        )

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
)
