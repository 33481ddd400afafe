"""Study `sharing-regions`: providers that price their regions of IEEE 33-bus, by three-level ATC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from market.units import Floats
from node.studies.region_prices import (
    FIT,
    GAIN_MAX,
    LATERALS,
    RATED_BUS,
    RETAIL,
    SEARCHED,
    Equilibrium,
    Search,
    drawn,
    equilibrium,
    limited,
    searched,
)
from node.studies.study import Basis, Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

BINDS_PU = 1e-7
"""A limit that is as near binds."""


def run(seed: int) -> Findings:
    """Without limits and with them: prices, the search, every peer against feed-in and retail."""
    free = equilibrium(drawn(seed))
    found = equilibrium(limited(free))
    regions = found.case.regions
    searches, free_searches = (
        [searched(each, region) for region in range(len(regions.fee))] for each in (found, free)
    )
    gained = [_peers_gain(each) for each in (free, found)]
    limits, flow = found.case.feeder.limits, found.flow(found.price[None])
    spare_v = float((np.sqrt(flow.v[0]) - limits.v_min).min())
    spare_i = float(limits.i_max[RATED_BUS] - np.sqrt(flow.l[0, RATED_BUS]))
    worst = max(max(each.at_cost, each.in_flow) for each in (*searches, *free_searches))
    forbidden = sum(each.forbidden for each in searches)
    return Findings(
        figures={"seed": seed, **_to_json(free, found, searches, free_searches)},
        tables=(_prices(free, found), _gains("with limits", searches), _gains("without", free_searches)),
        claims=(
            Claim("three levels agree on prices and powers, with limits and without",
                  free.agreement.settled and found.agreement.settled,
                  f"{len(free.agreement.rounds)} and {len(found.agreement.rounds)} rounds"),
            Claim("at the posted λ no region gains more than 1e-6 €/h by another price of its own, with"
                  " limits and without: its provider foresees the peers' answers, not λ", worst <= GAIN_MAX,
                  f"{worst:.1e} €/h at best"),
            Claim("limits on voltage and current that would be broken without them hold, and bind",
                  min(spare_v, spare_i) > -BINDS_PU and min(spare_v, spare_i) < BINDS_PU and forbidden > 0,
                  f"{spare_v:.1e} and {spare_i:.1e} pu to spare; {forbidden} prices of the search forbidden"),
            Claim("no peer is worse off than with feed-in tariff and retail",
                  all(bool(np.all(each >= 0)) for each in gained),
                  f"{len(regions.peers.bus)} peers, the least gain {float(gained[1].min()):.3f} €/h",
                  basis=Basis.CONSTRUCTION),
        ),
        draw=_draw(free, found),
        notes=(
            "A reconstruction: the paper's peers, fees and network are not in its abstract, and none of its"
            " figures is claimed.",
            _of_foresight(searches, free_searches),
            _of_losses(found),
        ),
    )  # fmt: skip


def _of_foresight(searches: Sequence[Search], free: Sequence[Search]) -> str:
    """What the equilibrium is not: one among providers who foresee λ."""
    limited_gain, free_gain = (max(each.foreseen for each in some) for some in (searches, free))
    return (
        "Providers take λ as posted. One that foresaw the λ of a feeder cleared again after its step, the"
        f" others' prices as they are, would gain up to {limited_gain:.2f} €/h with limits and"
        f" {free_gain:.4f} without:"
        " a little less over a line that binds takes away what that line costs. Among such providers these"
        " prices are no equilibrium."
    )


def _of_losses(found: Equilibrium) -> str:
    kept = found.kept(found.price)
    losing = [f"{region + 1} ({kept[region]:.2f} €/h)" for region in np.flatnonzero(kept < 0)]
    if not losing:
        return "No provider loses money with limits."
    return f"With limits providers lose, and had better not share, in the regions {', '.join(losing)}."


def _to_json(
    free: Equilibrium, found: Equilibrium, searches: Sequence[Search], free_searches: Sequence[Search]
) -> dict[str, Value]:
    regions = found.case.regions
    border, kept = found.case.feeder.base_mw * regions.border(found.price), found.kept(found.price)
    return {
        "scenario": "IEEE 33-bus, four regions",
        "rounds": len(found.agreement.rounds),
        "regions": [
            {
                "fee": float(regions.fee[region]),
                "price": float(found.price[region]),
                "price_without_limits": float(free.price[region]),
                "border_mw": float(border[region]),
                "provider_eur_per_h": float(kept[region]),
                "best_gain_at_cost": searches[region].at_cost,
                "best_gain_in_flow": searches[region].in_flow,
                "prices_that_break_limits": searches[region].forbidden,
                "gain_if_foreseen": searches[region].foreseen,
                "gain_if_foreseen_by_step": searches[region].step,
                "best_gain_at_cost_without_limits": free_searches[region].at_cost,
                "best_gain_in_flow_without_limits": free_searches[region].in_flow,
                "gain_if_foreseen_without_limits": free_searches[region].foreseen,
            }
            for region in range(len(regions.fee))
        ],
        "bus_price_max": float(found.bus_price.max()),
        "peers": len(regions.peers.bus),
        "peers_least_gain_eur_per_h": float(_peers_gain(found).min()),
        "peers_gain_eur_per_h": float(_peers_gain(found).sum()),
    }


def _prices(free: Equilibrium, found: Equilibrium) -> Table:
    regions = found.case.regions
    border, kept = found.case.feeder.base_mw * regions.border(found.price), found.kept(found.price)
    rows = tuple(
        (
            str(region + 1),
            f"{lateral[0] + 1} to {lateral[-1] + 1}",
            f"{regions.fee[region]:g}",
            f"{found.price[region]:.3f}",
            f"{free.price[region]:.3f}",
            f"{border[region]:+.4f}",
            f"{kept[region]:.2f}",
        )
        for region, lateral in enumerate(LATERALS)
    )
    head = (
        "region",
        "buses",
        "fee",
        "price",
        "without limits",
        "crosses its border",
        "its provider keeps, €/h",
    )
    return Table("Regions, €/MWh and MW", head, rows)


def _gains(when: str, searches: Sequence[Search]) -> Table:
    rows = tuple(
        (
            str(region + 1),
            f"{each.at_cost:.1e}",
            f"{each.in_flow:.1e}",
            str(each.forbidden),
            f"{each.foreseen:.4f}",
            f"{each.step:+.3f}",
        )
        for region, each in enumerate(searches)
    )
    head = ("region", "energy at λ", "by the flow", "forbidden", "λ foreseen", "by a step of")
    return Table(f"What the best of {2 * SEARCHED} other prices would gain, {when}, €/h", head, rows)


def _peers_gain(found: Equilibrium) -> Floats:
    """What sharing leaves each peer beyond feed-in tariff and retail, €/h."""
    peers = found.case.regions.peers
    own = found.price[peers.region]
    everybody = np.ones(len(own))
    without = peers.surplus(RETAIL * everybody, FIT * everybody)
    return np.asarray(found.case.feeder.base_mw * (peers.surplus(own, own) - without))


def _draw(free: Equilibrium, found: Equilibrium) -> Draw:
    """λ by bus and each region's price over it, with limits and without."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        for each, label, colour in (
            (free, "without limits", theme.market),
            (found, "with limits", theme.worse),
        ):
            axes.plot(
                np.arange(1, len(each.bus_price) + 1), each.bus_price, color=colour, label=f"λ, {label}"
            )
            for region, lateral in enumerate(LATERALS):
                ends = [lateral[0] + 1, lateral[-1] + 1]
                axes.plot(ends, [each.price[region]] * 2, color=colour, linewidth=3)
        axes.set(
            xlabel="bus", ylabel="€/MWh", title="Prices of four regions (bars) and cost of energy by bus"
        )
        axes.legend()

    return draw


STUDY = Study(
    name="sharing-regions",
    about="regions with providers and fees of their own, on a feeder with limits",
    source=Source(
        citation="Chen, Liu, Wang, P2P Energy Sharing in Distribution Networks with Multiple Sharing Regions,"
        " IEEE TII 16(11), 2020",
        taken="regions with different network fees and a provider each; providers lead with prices between"
        " feed-in tariff and retail, peers follow",
        added="the functions of peers and providers, the cost of what crosses a border (λ of the feeder, or"
        " what its import changes by), the regions on IEEE 33-bus, their fees and limits, three-level ATC",
    ),
    run=run,
)
