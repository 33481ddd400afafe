"""Study `sharing-regions`: providers that price their regions of IEEE 33-bus, by three-level ATC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from market.atc.levels import THREE_LEVELS, Levels
from market.atc.rounds import Agreement
from market.atc.upper import UpperLevel
from market.feeder import Feeder, Limits, load
from market.feeder.powerflow import Flow, power_flow
from market.mechanisms.sharing_regions import Peers, Regions
from market.pricing.conditions import Conditions, Hub
from market.units import Floats
from node.scenario.streams import stream
from node.studies.study import Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

LATERALS = (range(1, 18), range(18, 22), range(22, 25), range(25, 33))
"""Regions by bus: the trunk and the three laterals."""
FEES_EUR_PER_MWH = (4.0, 8.0, 12.0, 16.0)
FIT, RETAIL = 70.0, 240.0
"""Prices without sharing, €/MWh; energy is taken at the substation for the higher of the next two."""
HUB_IMPORT, HUB_EXPORT = 130.0, 70.0
PASSIVE_SHARE = 0.6
"""Of the nominal load, firm; what peers do comes on top."""
WANTING = (0.65, 0.0, 0.5, 0.8)
"""Share of peers, by region, whose first unit is worth much: they take energy, the others give it."""
RATED_BUS = 25
"""The line into the last lateral has a rating."""
RAISED_PU, CARRIED = 0.007, 0.85
"""Limits: the lowest voltage without them, raised, and a share of the current without them."""
BINDS_PU = 1e-7
"""A limit that is as near binds."""
CLOSENESS = 1e-4
"""Rounds end at this share of the usual residuals: a limit missed by 1e-6 pu can be worth 1e-4 €/h."""
SEARCHED = 400
"""Prices of the search over the whole range, and again close by; the region's own is none of them."""
NEAR_EUR_PER_MWH = 0.5
LIMIT_TOLERANCE_PU = 1e-9
"""By so much a price of the search may be beyond what the equilibrium's flow reaches."""
GAIN_MAX = 1e-6
"""€/h: no deviation may gain more."""


@dataclass(frozen=True, eq=False)
class Case:
    """A feeder, its firm load and the regions on it."""

    feeder: Feeder
    conditions: Conditions
    regions: Regions


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """Prices by region, and where the levels met."""

    case: Case
    price: Floats
    agreement: Agreement

    @property
    def bus_price(self) -> Floats:
        """λ by bus."""
        return self.agreement.grant.points[0].price

    @property
    def cost(self) -> Floats:
        """What energy costs at the bus of each peer."""
        return self.bus_price[self.case.regions.peers.bus]

    def flow(self, price: Floats) -> Flow:
        """What the feeder carries at prices, cases × regions."""
        regions, fixed = self.case.regions, self.case.conditions
        demand = np.array([regions.demand(each) for each in price])
        net = np.zeros((len(price), self.case.feeder.buses))
        net[:, regions.peers.bus] = demand
        net += fixed.fixed_p - self.agreement.grant.points[0].elastic
        return power_flow(self.case.feeder, net, np.broadcast_to(fixed.fixed_q, net.shape))

    def allowed(self, flow: Flow) -> npt.NDArray[np.bool_]:
        """Which cases are within all limits, as far as the equilibrium's own flow is."""
        limits, own = self.case.feeder.limits, self.flow(self.price[None])
        low = np.minimum(limits.v_min, np.sqrt(own.v)) - LIMIT_TOLERANCE_PU
        high = np.maximum(limits.v_max, np.sqrt(own.v)) + LIMIT_TOLERANCE_PU
        most = np.maximum(limits.i_max, np.sqrt(own.l)) + LIMIT_TOLERANCE_PU
        v, current = np.sqrt(flow.v), np.sqrt(flow.l)
        return np.asarray(np.all((v >= low) & (v <= high) & ((current <= most) | (current == 0)), axis=1))

    def worth(self, flow: Flow, price: Floats) -> Floats:
        """Margins of all regions less what the feeder's import costs, by case, €/h.

        A provider is charged for what it adds to the import's cost, losses and all, so its own result differs
        between two prices of its own by what this differs.
        """
        hub, imported = self.case.conditions.hub, flow.net_import
        paid = hub.import_price[0] * np.maximum(imported, 0) + hub.export_price[0] * np.minimum(imported, 0)
        margin = np.array([self.case.regions.margin(each).sum() for each in price])
        return np.asarray(self.case.feeder.base_mw * (margin - paid))

    def kept(self, price: Floats) -> Floats:
        """What providers keep where energy costs them λ, by region, €/h."""
        regions = self.case.regions
        paid = np.bincount(regions.peers.region, self.cost * regions.demand(price), len(regions.fee))
        return np.asarray(self.case.feeder.base_mw * (regions.margin(price) - paid))


def drawn(seed: int) -> Case:
    """A peer at every bus but the substation, some that want energy, some that have it; no limits bind."""
    rng = stream(seed, "sharing-regions")
    feeder = load("ieee33", v_min=0.8)
    buses = np.arange(1, feeder.buses)
    region = np.zeros(len(buses), dtype=np.int64)
    for number, lateral in enumerate(LATERALS):
        region[np.isin(buses, lateral)] = number
    wants = rng.uniform(size=len(buses)) < np.array(WANTING)[region]
    value = np.where(wants, rng.uniform(200.0, 320.0, len(buses)), rng.uniform(30.0, 110.0, len(buses)))
    peers = Peers(buses, region, value, slope=rng.uniform(1_500.0, 4_000.0, len(buses)))
    hub = Hub(np.array([HUB_IMPORT]), np.array([HUB_EXPORT]))
    conditions = Conditions.firm(feeder, PASSIVE_SHARE, hub, hours=1.0)
    return Case(feeder, conditions, Regions(peers, np.array(FEES_EUR_PER_MWH), FIT, RETAIL))


def limited(free: Equilibrium) -> Case:
    """The same case with limits that its prices break."""
    feeder = free.case.feeder
    flow = free.flow(free.price[None])
    current = np.full(feeder.buses, np.inf)
    current[RATED_BUS] = CARRIED * float(np.sqrt(flow.l[0, RATED_BUS]))
    least = np.full(feeder.buses, float(np.sqrt(flow.v).min()) + RAISED_PU)
    return replace(free.case, feeder=replace(feeder, limits=Limits(least, feeder.limits.v_max, current)))


def equilibrium(case: Case, method: Levels = THREE_LEVELS) -> Equilibrium:
    """Prices by region that the utility, the regions and their peers agree on, closer than is usual."""
    regions, peers = case.regions, case.regions.peers
    upper = UpperLevel(case.feeder, case.conditions, peers.bus)
    first = np.full(len(peers.bus), HUB_IMPORT)
    agreement = replace(method, closeness=CLOSENESS)(upper, regions, first)
    _, one_of = np.unique(peers.region, return_index=True)
    price = (peers.value + peers.slope * agreement.response.power)[one_of]
    return Equilibrium(case, price, agreement)


@dataclass(frozen=True, slots=True)
class Search:
    """What the best other price of a region would gain it, €/h, and at how many prices limits forbid it.

    at_cost: energy costs the provider λ by bus, as posted; in_flow: it costs what the feeder's import
    changes by, and prices that break a limit are none.
    """

    at_cost: float
    in_flow: float
    forbidden: int


def searched(found: Equilibrium, region: int) -> Search:
    """Try other prices of one region, the others keeping theirs."""
    regions, own = found.case.regions, float(found.price[region])
    wide = np.linspace(regions.lowest, regions.highest, SEARCHED)
    near = np.clip(own + np.linspace(-NEAR_EUR_PER_MWH, NEAR_EUR_PER_MWH, SEARCHED), *wide[[0, -1]])
    tried = np.tile(found.price, (2 * SEARCHED, 1))
    tried[:, region] = np.concatenate([wide, near])
    flow, here = found.flow(tried), found.price[None]
    allowed = found.allowed(flow)
    gained = found.worth(flow, tried) - found.worth(found.flow(here), here)
    before = float(found.kept(found.price)[region])
    at_cost = max(float(found.kept(each)[region]) - before for each in tried)
    return Search(at_cost, float(gained[allowed].max()), int((~allowed).sum()))


def run(seed: int) -> Findings:
    """Without limits and with them: prices, the search, every peer against feed-in and retail."""
    free = equilibrium(drawn(seed))
    found = equilibrium(limited(free))
    regions = found.case.regions
    searches = [searched(found, region) for region in range(len(regions.fee))]
    gained = [_peers_gain(each) for each in (free, found)]
    limits, flow = found.case.feeder.limits, found.flow(found.price[None])
    spare_v = float((np.sqrt(flow.v[0]) - limits.v_min).min())
    spare_i = float(limits.i_max[RATED_BUS] - np.sqrt(flow.l[0, RATED_BUS]))
    worst = max(max(each.at_cost, each.in_flow) for each in searches)
    forbidden = sum(each.forbidden for each in searches)
    return Findings(
        figures={"seed": seed, **_to_json(free, found, searches)},
        tables=_tables(free, found, searches),
        claims=(
            Claim("three levels agree on prices and powers, with limits and without",
                  free.agreement.settled and found.agreement.settled,
                  f"{len(free.agreement.rounds)} and {len(found.agreement.rounds)} rounds"),
            Claim("no region gains more than 1e-6 €/h by another price of its own", worst <= GAIN_MAX,
                  f"{worst:.1e} €/h at best"),
            Claim("limits on voltage and current that would be broken without them hold, and bind",
                  min(spare_v, spare_i) > -BINDS_PU and min(spare_v, spare_i) < BINDS_PU and forbidden > 0,
                  f"{spare_v:.1e} and {spare_i:.1e} pu to spare; {forbidden} prices of the search forbidden"),
            Claim("no peer is worse off than with feed-in tariff and retail",
                  all(bool(np.all(each >= 0)) for each in gained),
                  f"{len(regions.peers.bus)} peers, the least gain {float(gained[1].min()):.3f} €/h"),
        ),
        draw=_draw(free, found),
        notes=(
            "A reconstruction: the paper's peers, fees and network are not in its abstract, and none of its"
            " figures is claimed.",
        ),
    )  # fmt: skip


def _to_json(free: Equilibrium, found: Equilibrium, searches: Sequence[Search]) -> dict[str, Value]:
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
            }
            for region in range(len(regions.fee))
        ],
        "bus_price_max": float(found.bus_price.max()),
        "peers": len(regions.peers.bus),
        "peers_least_gain_eur_per_h": float(_peers_gain(found).min()),
        "peers_gain_eur_per_h": float(_peers_gain(found).sum()),
    }


def _tables(free: Equilibrium, found: Equilibrium, searches: Sequence[Search]) -> tuple[Table, ...]:
    regions = found.case.regions
    border, kept = found.case.feeder.base_mw * regions.border(found.price), found.kept(found.price)
    return (
        Table(
            "Regions, €/MWh and MW",
            (
                "region",
                "buses",
                "fee",
                "price",
                "without limits",
                "crosses its border",
                "its provider keeps, €/h",
            ),
            tuple(
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
            ),
        ),
        Table(
            f"What the best of {2 * SEARCHED} other prices would gain, €/h",
            ("region", "energy at λ", "energy by the flow", "prices that limits forbid"),
            tuple(
                (str(region + 1), f"{each.at_cost:.1e}", f"{each.in_flow:.1e}", str(each.forbidden))
                for region, each in enumerate(searches)
            ),
        ),
    )


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
