"""Study `vpp`: one price for all that makes their sum follow a plan, and prices by bus where limits bind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from market.mechanisms.vpp import Dispatch, Members, follow
from market.pricing.conditions import Conditions, Hub, Solution
from node.price.clearing import METHODS
from node.scenario import load
from node.scenario.streams import stream
from node.scenario.world import World, build
from node.studies.study import Claim, Draw, Findings, Source, Study, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

MEMBERS = 50
PLAN_SHARE = 0.7
"""Of the way from the least to the most that all can do."""
TOLERANCE = 1e-6
SCENARIO, SLOT = "ieee33-day", 12
PRICES_EUR_PER_MWH = (10.0, 160.0)
"""Between these the price at the substation is looked for."""
IMPORT_SHARE = 0.75
"""The plan on the feeder: of the way from the import at the higher price to that at the lower one."""
V_MIN_PU = 0.986
"""Tight enough that the lower limit binds at the plan."""


@dataclass(frozen=True, eq=False)
class OnFeeder:
    """The plan on the feeder, pu of import, the price at the substation that meets it, and its clearing."""

    plan: float
    price: float
    solution: Solution

    @property
    def distance(self) -> float:
        """How far the import is from the plan, pu."""
        return float(self.solution.primal.net_import[0]) - self.plan

    @property
    def spread(self) -> float:
        """By how much prices differ between buses, €/MWh."""
        return float(np.ptp(self.solution.duals.price[0]))

    def cells(self) -> tuple[str, str, str]:
        """Price, distance, spread."""
        return f"{self.price:.3f} €/MWh", f"{self.distance:.1e} pu", f"{self.spread:.3f}"

    def to_json(self, v_min: float | None) -> dict[str, float | None]:
        """The same, and the plan, under a voltage limit of its own."""
        told = {"plan_pu": self.plan, "hub_price": self.price, "distance_pu": self.distance}
        return {"v_min_pu": v_min, **told, "price_spread": self.spread}


def run(seed: int) -> Findings:
    """Members without a network, then the prosumers of a feeder with its limits, cleared by ATC."""
    members = drawn(seed)
    low, high = float(members.low.sum()), float(members.high.sum())
    plan = low + PLAN_SHARE * (high - low)
    followed = follow(members, plan, members.step_max / 2, 0.0, TOLERANCE)
    away = abs(float(followed.powers.sum()) - plan)
    wide, tight = (on_feeder(seed, v_min) for v_min in (None, V_MIN_PU))
    lowest = float(tight.solution.primal.v[0].min()) ** 0.5
    return Findings(
        figures={
            "seed": seed,
            "members": MEMBERS,
            "plan": plan,
            "price": followed.price,
            "distance": away,
            "rounds": len(followed.distances),
            "feeder": [wide.to_json(None), tight.to_json(V_MIN_PU)],
        },
        tables=(
            Table(
                "Following the plan",
                ("", "price", "distance", "prices differ by"),
                (
                    ("no network", f"{followed.price:.4f}", f"{away:.1e}", "0"),
                    ("feeder, its own limits", *wide.cells()),
                    (f"feeder, {V_MIN_PU} pu at least", *tight.cells()),
                ),
            ),
        ),
        claims=(
            Claim("the sum follows the plan within 1e-6", away < TOLERANCE,
                  f"{away:.1e} after {len(followed.distances)} rounds"),
            Claim("on the feeder too, by ATC", abs(wide.distance) < TOLERANCE,
                  f"{abs(wide.distance):.1e} pu"),
            Claim("and with a voltage limit that binds, at prices that differ by bus",
                  abs(tight.distance) < TOLERANCE and lowest < V_MIN_PU + 1e-6 and tight.spread > wide.spread,
                  f"{abs(tight.distance):.1e} pu, lowest voltage {lowest:.4f} pu"),
        ),
        draw=_draw(followed, wide, tight),
    )  # fmt: skip


def drawn(seed: int) -> Members:
    """Random members, some that give, some that take."""
    rng = stream(seed, "vpp")
    low = -rng.uniform(0.0, 5.0, MEMBERS)
    return Members(
        a=rng.uniform(2.0, 20.0, MEMBERS),
        b=rng.uniform(10.0, 40.0, MEMBERS),
        low=low,
        high=low + rng.uniform(1.0, 10.0, MEMBERS),
    )


def on_feeder(seed: int, v_min: float | None) -> OnFeeder:
    """The price at the substation at which the feeder's import is the plan; ATC clears everything else."""
    settings = {} if v_min is None else {"feeder.v_min_pu": str(v_min)}
    world = build(load(SCENARIO, settings, seed))
    clearing = METHODS["atc"](world.feeder)

    def imported(price: float) -> float:
        return float(clearing(world.feeder, _at(world, price)).primal.net_import[0])

    most, least = map(imported, PRICES_EUR_PER_MWH)
    plan = least + IMPORT_SHARE * (most - least)

    def beyond(price: float) -> float:
        return imported(price) - plan

    price = float(brentq(beyond, *PRICES_EUR_PER_MWH, xtol=1e-9, rtol=1e-12))
    return OnFeeder(plan, price, clearing(world.feeder, _at(world, price)))


def _at(world: World, price: float) -> Conditions:
    """The slot's forecast with one price at the substation, whichever way energy flows."""
    conditions = world.conditions(SLOT)
    return replace(conditions, hub=Hub(np.array([price]), np.array([price])))


def _draw(followed: Dispatch, wide: OnFeeder, tight: OnFeeder) -> Draw:
    """Rounds without a network; prices by bus with one."""

    def draw(figure: Figure, theme: Theme) -> None:
        left, right = figure.subplots(1, 2)
        left.semilogy(np.abs(followed.distances), color=theme.market)
        left.set(xlabel="round", ylabel="distance from the plan", title="One price for all")
        for found, label, colour in (
            (wide, "own limits", theme.market),
            (tight, f"{V_MIN_PU} pu", theme.worse),
        ):
            right.plot(found.solution.duals.price[0], label=label, color=colour)
        right.set(xlabel="bus", ylabel="€/MWh", title="Prices by bus at the plan")
        right.legend()

    return draw


STUDY = Study(
    name="vpp",
    about="prosumers that follow a price so that their sum follows a plan",
    source=Source(
        citation="price-based coordination as a virtual power plant: dual decomposition of one balance",
        taken="the price moves by the sum's distance from the plan; members answer with their marginal cost",
        added="the members, the plan, and the feeder: the substation's price moves, ATC clears the rest",
    ),
    run=run,
)
