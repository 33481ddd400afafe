"""Study `stackelberg`: the leader's price against a search, and what price alone cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from market.mechanisms.stackelberg import Buyer, Leader, delivered, equilibrium, remaining_share
from node.studies.study import Basis, Claim, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

BUYERS = tuple(Buyer(v, beta) for v, beta in zip((30, 34, 38, 42, 46), (6, 5, 4, 5, 6), strict=True))
SURPLUS = 8.0
OTHER_PRICE = 24.6
"""What the leader asks of everybody else: p_r."""
LOADS = (160.0, 60.0)
"""Of the leader's other customers: above and below the threshold."""
GRID = np.linspace(0.0, 46.0, 46_001)
"""Prices of the search."""
INELASTIC, LOCAL = 1.0, 0.6
"""Demand that knows no price, and what peers have of it."""
SEARCH_AGREES = 1e-4
"""The search is this coarse, in cost, about its best price."""


def leader(load: float) -> Leader:
    """The case's leader: C(E) = 0.15E² + 2E, and OTHER_PRICE from everybody else."""
    return Leader(a=0.15, b=2.0, other_load=load, other_price=OTHER_PRICE)


def run(seed: int) -> Findings:
    """Solve both loads; the seed changes nothing, since nothing is drawn."""
    found = {load: equilibrium(leader(load), BUYERS, SURPLUS) for load in LOADS}
    searched = {load: min(_costs(load)) for load in LOADS}
    large, small = (found[load] for load in LOADS)
    left = remaining_share(LOCAL, INELASTIC)
    apart = max(abs(found[load].cost - searched[load]) for load in LOADS)
    agree = apart <= SEARCH_AGREES
    rows = tuple(
        (
            f"{load:g}",
            f"{game.price:.4f}",
            f"{game.delivered:.4f}",
            f"{game.cost:.2f}",
            f"{searched[load]:.2f}",
        )
        for load, game in found.items()
    )
    return Findings(
        figures={
            "seed": seed,
            "choke_price": large.choke_price,
            "threshold": large.threshold,
            "cases": [
                {"other_load": load, "price": game.price, "delivered": game.delivered, "cost": game.cost}
                for load, game in found.items()
            ],
            "inelastic_share_left": left,
        },
        tables=(
            Table("Equilibrium", ("other load", "price", "delivered", "cost", "cost by search"), rows),
        ),
        claims=(
            Claim("the price that leaves nothing to deliver is 29.8644",
                  round(large.choke_price, 4) == 29.8644, f"{large.choke_price:.4f}"),
            Claim("it is the best from a load of 92.881 on",
                  round(large.threshold, 3) == 92.881, f"{large.threshold:.3f}"),
            Claim("where the grid's load is large, its best price leaves peers nothing to buy of it",
                  abs(large.delivered) < 1e-9, f"{large.delivered:z.4f} at a load of {LOADS[0]:g}",
                  basis=Basis.SOURCE),
            Claim("at a load of 160 the leader's cost is 224.00", round(large.cost, 2) == 224.0,
                  f"{large.cost:.2f}"),
            Claim("at a load of 60 they buy 4.2266 at 25.5662",
                  (round(small.price, 4), round(small.delivered, 4)) == (25.5662, 4.2266),
                  f"{small.delivered:.4f} at {small.price:.4f}"),
            Claim("no price of a search is better", agree,
                  f"{len(GRID):,} prices each, costs at most {apart:.1e} apart"),
        ),
        draw=_draw,
        notes=(
            f"Demand that knows no price stays: with {LOCAL:.0%} of it among peers, {left:.0%} is left to the"
            " leader whatever it asks. That follows from the shares, for any price.",
            "A reconstruction: the paper's cost and demand functions are not in its abstract.",
            "Study `peak-hour` takes the price into the market: the utility's quote in one hour's book.",
        ),
    )  # fmt: skip


def _costs(load: float) -> list[float]:
    """The leader's cost at each price of the search."""
    return [leader(load).cost(delivered(BUYERS, SURPLUS, float(price)), float(price)) for price in GRID]


def _draw(figure: Figure, theme: Theme) -> None:
    """The leader's cost over its price, for both loads, with the equilibria."""
    for axes, load in zip(figure.subplots(1, len(LOADS)), LOADS, strict=True):
        game = equilibrium(leader(load), BUYERS, SURPLUS)
        prices = GRID[(GRID > 15) & (GRID < 40)][::50]
        costs = [leader(load).cost(delivered(BUYERS, SURPLUS, float(p)), float(p)) for p in prices]
        axes.plot(prices, costs, color=theme.market)
        axes.plot([game.price], [game.cost], "o", color=theme.worse, label=f"equilibrium, {game.price:.2f}")
        axes.set(xlabel="the leader's price", ylabel="its cost", title=f"other load {load:g}")
        axes.legend()


STUDY = Study(
    name="stackelberg",
    about="a grid that prices its peak away, and peers who trade instead",
    source=Source(
        citation="Tushar et al., Grid Influenced Peer-to-Peer Energy Trading, IEEE TSG 11(2):1407-1418, 2020",
        taken="the grid leads with a price at which prosumers buy nothing of it; one stable equilibrium; the"
        " leader's price in closed form",
        added="cost and demand functions, the closed form itself and its ranges, the figures of the case",
    ),
    run=run,
)
