"""Study `loss-allocation`: who bears the losses of an unbalanced feeder, by path, pro rata, and by price."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from market.feeder.three_phase import PhaseFlow, three_phase_flow
from market.mechanisms.loss_allocation import factors, pro_rata, shares, trade_losses
from market.pricing.conditions import Devices
from market.pricing.newton import NewtonClearing
from market.units import Floats, Ints
from node.scenario.world import DEVICE_ARRAYS, World
from node.studies.auctions import AUCTIONS, trades_in_time
from node.studies.community import chance, offers, traded, wh_per_pu
from node.studies.streets import EUROPEAN_LV, Plan, Street, street
from node.studies.study import Claim, Draw, Findings, Source, Study, Table, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from node.simulate.canvas import Theme

PLANS = (
    Plan(EUROPEAN_LV, houses=55, pv_share=0.5, pv_kw=3.0, slot_seconds=3_600),
    Plan("pandapower:kerber-dorf", houses=57, pv_share=0.5, pv_kw=6.0, slot_seconds=3_600),
)
NOON = 12
TOLERANCE = 1e-9
"""pu of the feeder's load; the flow itself is settled to that."""


@dataclass(frozen=True, eq=False)
class Rule:
    """What a rule has transactions bear, pu: each trade, each exchange with the grid, all reactive power."""

    name: str
    trades: Floats
    grid: Floats
    reactive: float

    @property
    def total(self) -> float:
        """All that it collects."""
        return float(self.trades.sum() + self.grid.sum()) + self.reactive


@dataclass(frozen=True, eq=False)
class Allocation:
    """A slot of a street: its flow, who trades how much with whom, and three ways to share the losses.

    `shares` are buses × 3, pu; `even_loss` is what the same powers lose on balanced phases; trades have one
    entry each, seller and buyer by prosumer.
    """

    street: Street
    flow: PhaseFlow
    even_loss: float
    shares: Floats
    seller: Ints
    buyer: Ints
    power: Floats
    by_path: Rule
    rules: tuple[Rule, ...]

    @property
    def apart(self) -> float:
        """Sum of the shares less the losses of the flow, pu."""
        return float(self.shares.sum()) - self.flow.loss


def run(seed: int) -> Findings:
    """A sunny hour on two low-voltage feeders."""
    found = [allocated(street(plan, seed), seed) for plan in PLANS]
    names = [plan.feeder for plan in PLANS]
    sums = [abs(one.by_path.total - float(one.shares.sum())) for one in found]
    relieved = [int(np.count_nonzero(one.by_path.trades < 0)) for one in found]
    counted = [f"{count} of {len(one.power)}" for count, one in zip(relieved, found, strict=True)]
    times = [one.rules[2].total / one.even_loss for one in found]
    sums_up = [
        Claim(f"on {name} shares add up to the losses within 1e-9 pu", abs(one.apart) < TOLERANCE,
              f"{abs(one.apart):.1e}")
        for name, one in zip(names, found, strict=True)
    ]  # fmt: skip
    return Findings(
        figures={"seed": seed, "slot": NOON, "feeders": [_to_json(one) for one in found]},
        tables=tuple(_table(one) for one in found),
        claims=(
            *sums_up,
            Claim("trades, exchange with the grid and reactive power add up to the same",
                  max(sums) < TOLERANCE, f"{max(sums):.1e} pu"),
            Claim("trades that relieve the feeder bear less than nothing", min(relieved) > 0,
                  ", ".join(counted)),
            Claim("prices of losses collect more than the balanced flow that they are made for loses",
                  min(times) > 1, ", ".join(f"{each:.2f} times" for each in times)),
        ),
        draw=_draw(found[0]),
        notes=(
            "By path a trade bears what the currents of its two parties do on their way to each other; pro"
            " rata every watt-hour bears the same, between neighbours as much as across the feeder.",
            "The loss component of the DLMP is of the last unit, which costs twice the average, and of"
            " balanced phases: where every house is on one phase, most losses are beyond what it sees.",
            *(f"On {name} {one.street.impedances}." for name, one in zip(names, found, strict=True)),
        ),
    )  # fmt: skip


def allocated(place: Street, seed: int) -> Allocation:
    """A slot's trades by the continuous auction, its flow, and the rules."""
    world, scale = place.world, wh_per_pu(place.world)
    day = traded(world, "continuous", AUCTIONS["continuous"], seed)
    net = day.net_wh[NOON] / scale
    seller, buyer, power = _trades(world, seed)
    power = power / scale
    p = place.spread(net, world.actual.passive_p[NOON])
    q = place.spread(world.actual.firm_q[NOON], world.actual.passive_q[NOON])
    flow = three_phase_flow(world.feeder, p, q)
    count = len(world.bus)
    grid = net - np.bincount(buyer, power, count) + np.bincount(seller, power, count)
    unit = factors(flow)
    active = unit.active[world.bus, place.phase]
    by_path = Rule(
        "by path",
        trade_losses(active, seller, buyer, power),
        active * grid,
        float((unit.reactive * q).sum()),
    )
    every = pro_rata(flow.loss, np.concatenate([2 * power, grid]))
    even = Rule("pro rata", every[: len(power)], every[len(power) :], 0.0)
    marginal = _marginal_losses(world, net)[world.bus]
    priced = Rule(
        "DLMP's loss part", trade_losses(marginal, seller, buyer, power), marginal * grid, reactive=0.0
    )
    rules = (by_path, even, priced)
    even_loss = float(day.flow.loss[NOON])
    return Allocation(place, flow, even_loss, shares(flow, p, q), seller, buyer, power, by_path, rules)


def _trades(world: World, seed: int) -> tuple[Ints, Ints, Floats]:
    """Sellers, buyers and Wh of the slot's trades between two prosumers."""
    offered = offers(world, NOON)
    trades = trades_in_time(offered.bids, offered.asks, chance(seed, NOON))
    seller = np.array([offered.askers[trade.ask] for trade in trades], dtype=np.int64)
    buyer = np.array([offered.bidders[trade.bid] for trade in trades], dtype=np.int64)
    return seller, buyer, np.array([float(trade.quantity) for trade in trades])


def _marginal_losses(world: World, net: Floats) -> Floats:
    """The loss component of the DLMP over the hub price, by bus, where everybody does what it does."""
    conditions = world.conditions(NOON, world.actual)
    nobody = Devices(np.zeros(0, dtype=np.int64), **{name: np.zeros((1, 0)) for name in DEVICE_ARRAYS})
    fixed_p = world.actual.passive_p[NOON] + world.by_bus(net)
    given = replace(conditions, fixed_p=fixed_p[None, :], devices=nobody)
    solution = NewtonClearing(world.feeder)(world.feeder, given)
    return np.asarray(solution.components.loss[0] / solution.duals.price[0, 0])


def _kwh(one: Allocation, power: float) -> float:
    return power * wh_per_pu(one.street.world) / 1_000


def _table(one: Allocation) -> Table:
    world = one.street.world
    rows = []
    for rule in one.rules:
        per_unit = rule.trades / one.power
        rows.append(
            (
                rule.name,
                f"{_kwh(one, float(rule.trades.sum())):+.3f}",
                f"{_kwh(one, float(rule.grid.sum())):+.3f}",
                f"{_kwh(one, rule.reactive):+.3f}",
                f"{_kwh(one, rule.total):.3f}",
                f"{per_unit.min():+.2%} to {per_unit.max():+.2%}",
            )
        )
    title = (
        f"{world.feeder.name}: losses of {_kwh(one, one.flow.loss):.3f} kWh,"
        f" {len(one.power)} trades of {_kwh(one, float(one.power.sum())):.1f} kWh"
    )
    head = ("losses borne, kWh", "trades", "with the grid", "reactive", "together", "of a traded kWh")
    return Table(title, head, tuple(rows))


def _to_json(one: Allocation) -> dict[str, Value]:
    return {
        "feeder": one.street.world.feeder.name,
        "impedances": one.street.impedances,
        "loss_kwh": _kwh(one, one.flow.loss),
        "balanced_loss_kwh": _kwh(one, one.even_loss),
        "sum_apart_pu": one.apart,
        "trades": len(one.power),
        "traded_kwh": _kwh(one, float(one.power.sum())),
        "rules": {
            rule.name: {
                "trades_kwh": _kwh(one, float(rule.trades.sum())),
                "grid_kwh": _kwh(one, float(rule.grid.sum())),
                "reactive_kwh": _kwh(one, rule.reactive),
                "total_kwh": _kwh(one, rule.total),
            }
            for rule in one.rules
        },
    }


def _draw(one: Allocation) -> Draw:
    """What each trade bears of a unit traded, by path and by the other rules."""

    def draw(figure: Figure, theme: Theme) -> None:
        axes = figure.subplots()
        unit = [100 * rule.trades / one.power for rule in one.rules]
        order = np.argsort(unit[0])
        for rule, each, colour in zip(one.rules, unit, (theme.market, theme.other, theme.worse), strict=True):
            axes.plot(each[order], ".", label=rule.name, color=colour)
        axes.set(xlabel="trades, by what they bear by path", ylabel="% of what is traded",
                 title=f"Losses of trades on {one.street.world.feeder.name}")  # fmt: skip
        axes.legend()

    return draw


STUDY = Study(
    name="loss-allocation",
    about="who bears the losses of an unbalanced feeder: by path, pro rata, by price",
    source=Source(
        citation="Nikolaidis, Charalambous and Mancarella, A Graph-Based Loss Allocation Framework for"
        " Transactive Energy Markets in Unbalanced Radial Distribution Networks, IEEE TPWRS 34(5), 2019",
        taken="losses follow currents along their paths on an unbalanced radial feeder, trade by trade",
        added="the share of a node in a branch; houses, their sun and their trades; the two other rules",
    ),
    run=run,
)
