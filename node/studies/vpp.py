"""Study `vpp`: one price for all that makes their sum follow a plan, and prices by bus where limits bind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from market.mechanisms.vpp import Dispatch, Members, follow
from market.pricing.conditions import Clearing, Hub, Solution
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
SCENARIO, SLOT = "ieee33-day", 18
"""An hour without sun, in which the feeder imports and its lowest voltage depends on load."""
PRICES_EUR_PER_MWH = (10.0, 160.0)
"""Between these the price at the substation is looked for."""
IMPORT_SHARE = 0.75
"""Of the way from the import at the higher price to that at the lower one, where the limit begins to bind."""


@dataclass(frozen=True, eq=False)
class OnFeeder:
    """The plan on the feeder, pu of import, the price at the substation that meets it, and its clearing.

    `v_min` is the lower voltage limit, pu.
    """

    plan: float
    v_min: float
    price: float
    solution: Solution

    @property
    def distance(self) -> float:
        """How far the import is from the plan, pu."""
        return float(self.solution.primal.net_import[0]) - self.plan

    @property
    def lowest(self) -> float:
        """The lowest voltage of any bus, pu."""
        return lowest_voltage(self.solution)

    @property
    def spread(self) -> float:
        """By how much prices differ between buses, €/MWh."""
        return float(np.ptp(self.solution.duals.price[0]))

    def cells(self) -> tuple[str, str, str]:
        """Price, distance, spread."""
        return f"{self.price:.3f} €/MWh", f"{self.distance:.1e} pu", f"{self.spread:.3f}"

    def to_json(self) -> dict[str, float]:
        """The same, and the plan, the voltage limit and the lowest voltage."""
        told = {"plan_pu": self.plan, "hub_price": self.price, "distance_pu": self.distance}
        return {"v_min_pu": self.v_min, "v_lowest_pu": self.lowest, **told, "price_spread": self.spread}


def run(seed: int) -> Findings:
    """Members without a network, then the prosumers of a feeder with its limits, cleared by ATC."""
    members = drawn(seed)
    low, high = float(members.low.sum()), float(members.high.sum())
    plan = low + PLAN_SHARE * (high - low)
    followed = follow(members, plan, members.step_max / 2, 0.0, TOLERANCE)
    away = abs(float(followed.powers.sum()) - plan)
    wide, tight = on_feeder(seed)
    return Findings(
        figures={
            "seed": seed,
            "members": MEMBERS,
            "plan": plan,
            "price": followed.price,
            "distance": away,
            "rounds": len(followed.distances),
            "feeder": [wide.to_json(), tight.to_json()],
        },
        tables=(
            Table(
                "Following the plan",
                ("", "price", "distance", "prices differ by"),
                (
                    ("no network", f"{followed.price:.4f}", f"{away:.1e}", "0"),
                    ("own limits", *wide.cells()),
                    (f"{tight.v_min:.6f} pu or more", *tight.cells()),
                ),
            ),
        ),
        claims=(
            Claim("the sum follows the plan within 1e-6", away < TOLERANCE,
                  f"{away:.1e} after {len(followed.distances)} rounds"),
            Claim("on the feeder too, by ATC", abs(wide.distance) < TOLERANCE,
                  f"{abs(wide.distance):.1e} pu"),
            Claim("and with a voltage limit that binds, at prices that differ by bus",
                  abs(tight.distance) < TOLERANCE
                  and wide.lowest < tight.v_min - TOLERANCE
                  and abs(tight.lowest - tight.v_min) < TOLERANCE and tight.spread > wide.spread,
                  f"{abs(tight.distance):.1e} pu, lowest voltage {tight.lowest:.6f} pu in the place of"
                  f" {wide.lowest:.6f}"),
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


@dataclass(frozen=True, eq=False)
class Slot:
    """A world's slot with one price at the substation, cleared by ATC."""

    world: World
    clearing: Clearing

    @classmethod
    def of(cls, seed: int, settings: Mapping[str, str]) -> Slot:
        """The hour of the scenario, under further settings."""
        world = build(load(SCENARIO, settings, seed))
        return cls(world, METHODS["atc"](world.feeder))

    def at(self, price: float) -> Solution:
        """What is cleared at this price, whichever way energy flows, €/MWh."""
        hub = Hub(np.array([price]), np.array([price]))
        return self.clearing(self.world.feeder, replace(self.world.conditions(SLOT), hub=hub))

    def imported(self, price: float) -> float:
        """What the feeder then takes, pu."""
        return float(self.at(price).primal.net_import[0])

    def reach(self) -> tuple[float, float]:
        """The least and the most that it takes at the prices looked at, pu."""
        most, least = map(self.imported, PRICES_EUR_PER_MWH)
        return least, most

    def price_of(self, plan: float) -> float:
        """The price at which the import is the plan."""
        return float(
            brentq(lambda price: self.imported(price) - plan, *PRICES_EUR_PER_MWH, xtol=1e-9, rtol=1e-12)
        )

    def following(self, plan: float) -> OnFeeder:
        """The plan, met."""
        price = self.price_of(plan)
        return OnFeeder(plan, float(self.world.feeder.limits.v_min[1]), price, self.at(price))


def on_feeder(seed: int) -> tuple[OnFeeder, OnFeeder]:
    """One plan under the feeder's own limits, and under a voltage limit that binds.

    The limit is the lowest voltage that a smaller import has by itself: so the limit allows this import, and
    binds at any larger one. The plan lies between this and the most that the limit allows.
    """
    free = Slot.of(seed, {})
    least, most = free.reach()
    smaller = least + IMPORT_SHARE * (most - least)
    v_min = lowest_voltage(free.at(free.price_of(smaller)))
    bound = Slot.of(seed, {"feeder.v_min_pu": f"{v_min:.6f}"})
    plan = (smaller + bound.reach()[1]) / 2
    return free.following(plan), bound.following(plan)


def lowest_voltage(solution: Solution) -> float:
    """Of any bus, pu."""
    return float(np.sqrt(solution.primal.v[0].min()))


def _draw(followed: Dispatch, wide: OnFeeder, tight: OnFeeder) -> Draw:
    """Rounds without a network; prices by bus with one."""

    def draw(figure: Figure, theme: Theme) -> None:
        left, right = figure.subplots(1, 2)
        left.semilogy(np.abs(followed.distances), color=theme.market)
        left.set(xlabel="round", ylabel="distance from the plan", title="One price for all")
        for found, label, colour in (
            (wide, "own limits", theme.market),
            (tight, f"{tight.v_min:.4f} pu", theme.worse),
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
