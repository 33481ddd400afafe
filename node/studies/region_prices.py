"""Regions of IEEE 33-bus whose providers price by three-level ATC, and what another price would gain them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from market.atc.levels import THREE_LEVELS, Levels
from market.atc.rounds import Agreement
from market.atc.upper import UpperLevel
from market.feeder import Feeder, Limits, load
from market.feeder.powerflow import Flow, power_flow
from market.mechanisms.sharing_regions import Peers, Regions
from market.pricing.conditions import Conditions, Hub
from market.pricing.newton import NewtonClearing
from market.units import Floats
from node.scenario.streams import stream

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
CLOSENESS = 1e-4
"""Rounds end at this share of the usual residuals: a limit missed by 1e-6 pu can be worth 1e-4 €/h."""
SEARCHED = 400
"""Prices of the search over the whole range, and again close by; the region's own is none of them."""
NEAR_EUR_PER_MWH = 0.5
LIMIT_TOLERANCE_PU = 1e-9
"""By so much a price of the search may be beyond what the equilibrium's flow reaches."""
GAIN_MAX = 1e-6
"""€/h: no deviation may gain more."""
FORESEEN_STEPS_EUR_PER_MWH = np.geomspace(1e-3, 60.0, 20)
"""Other prices, up and down, for which the feeder is cleared again: each costs a clearing."""
SHED_MAX = 1e-9
"""Share of a bus's load: a clearing that sheds more has no room for the peers' answers."""


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

    def kept(self, price: Floats, bus_price: Floats | None = None) -> Floats:
        """What providers keep where energy costs them λ, by region, €/h: the posted one, or another."""
        regions = self.case.regions
        cost = self.cost if bus_price is None else bus_price[regions.peers.bus]
        paid = np.bincount(regions.peers.region, cost * regions.demand(price), len(regions.fee))
        return np.asarray(self.case.feeder.base_mw * (regions.margin(price) - paid))

    def cleared_again(self, price: Floats) -> Floats | None:
        """λ by bus where the peers' answers to prices are firm; None where limits leave no room for them."""
        fixed_p = self.case.conditions.fixed_p.copy()
        fixed_p[0, self.case.regions.peers.bus] += self.case.regions.demand(price)
        clearing = NewtonClearing(self.case.feeder)
        solution = clearing(self.case.feeder, replace(self.case.conditions, fixed_p=fixed_p))
        return None if solution.primal.shed.max() > SHED_MAX else solution.duals.price[0]


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
    changes by, and prices that break a limit are none. foreseen: it foresees the λ at which the feeder is
    cleared again, best by a step of `step` €/MWh.
    """

    at_cost: float
    in_flow: float
    forbidden: int
    foreseen: float
    step: float


def searched(found: Equilibrium, region: int) -> Search:
    """Try other prices of one region, the others keeping theirs."""
    regions, own = found.case.regions, float(found.price[region])
    wide = np.linspace(regions.lowest, regions.highest, SEARCHED)
    near = np.clip(own + np.linspace(-NEAR_EUR_PER_MWH, NEAR_EUR_PER_MWH, SEARCHED), *wide[[0, -1]])
    tried = _with_price(found, region, np.concatenate([wide, near]))
    flow, here = found.flow(tried), found.price[None]
    allowed = found.allowed(flow)
    gained = found.worth(flow, tried) - found.worth(found.flow(here), here)
    before = float(found.kept(found.price)[region])
    at_cost = max(float(found.kept(each)[region]) - before for each in tried)
    forbidden = int((~allowed).sum())
    return Search(at_cost, float(gained[allowed].max()), forbidden, *_foreseen(found, region))


def _foreseen(found: Equilibrium, region: int) -> tuple[float, float]:
    """The most that a provider gains, €/h, who foresees λ, and by which step of its price, €/MWh."""
    own, before = float(found.price[region]), float(found.kept(found.price)[region])
    best = 0.0, 0.0
    steps = np.concatenate([FORESEEN_STEPS_EUR_PER_MWH, -FORESEEN_STEPS_EUR_PER_MWH])
    ends = found.case.regions.lowest, found.case.regions.highest
    for price in _with_price(found, region, np.clip(own + steps, *ends)):
        bus_price = found.cleared_again(price)
        if bus_price is not None:
            gain = float(found.kept(price, bus_price)[region]) - before
            best = max(best, (gain, float(price[region]) - own))
    return best


def _with_price(found: Equilibrium, region: int, prices: Floats) -> Floats:
    """The equilibrium's prices with others in one region's place, cases × regions."""
    tried = np.tile(found.price, (len(prices), 1))
    tried[:, region] = prices
    return tried
