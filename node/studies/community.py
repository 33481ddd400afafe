"""One day of the prosumers of a scenario under any auction: what they offer, what comes of it, what it did.

A prosumer's net demand falls with the price. Between feed-in tariff and retail it is offered in steps: what
is wanted at retail still is a bid at retail, what would be sold at the feed-in tariff already is an ask
there, and what lies between is offered at the prices that it is worth. A rule decides who trades at what.
What is then left of bids at retail is bought from the grid, what is left of asks at the feed-in tariff
sold to it; the rest does not happen: a load is not switched on, or sun is used behind the meter. Every
meter's net energy is then run over the feeder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from market.agents.welfare import Schedule, alone_schedule, contracted_schedule
from market.atc.prosumers import Prosumers, cost_by_device
from market.feeder.powerflow import Flow, power_flow
from market.mechanisms.baselines import mid_market_rates
from market.mechanisms.double_auction import Grid, Offer
from market.units import NEUR_PER_EUR, UEUR_PER_KWH_PER_EUR_PER_MWH, WH_PER_MWH, Floats, Ints, eur_per_mwh
from node.scenario.streams import stream
from node.scenario.world import World
from node.simulate.result import DayResult
from node.studies.auctions import AUCTIONS, Auction, decided

LEVELS = 21
"""Prices at which net demand is offered, evenly from the feed-in tariff to retail."""
ALONE, MID_MARKET = "FiT/retail", "mid-market rate"
"""What these two are called wherever they are compared with auctions."""


@dataclass(frozen=True, eq=False)
class Offers:
    """Bids and asks of one slot and whose they are."""

    bids: tuple[Offer, ...]
    bidders: Ints
    asks: tuple[Offer, ...]
    askers: Ints


@dataclass(frozen=True, eq=False)
class Day:
    """A day under one rule: by slot and prosumer net energy in Wh and bills in n€, and the feeder's flow.

    `traded_wh` is what changed hands in auctions, `paid_neur` what buyers paid there, `kept_neur` what of it
    sellers did not get.
    """

    net_wh: Ints
    bills_neur: Floats
    schedule: Schedule
    flow: Flow
    kept_neur: float = 0.0
    traded_wh: float = 0.0
    paid_neur: float = 0.0


# --- what is offered ----------------------------------------------------------------------------------


def offers(world: World, slot: int, *, shared: bool = True) -> Offers:
    """What every prosumer offers in a slot, by what it is worth to it, by rising price.

    Prices are `shared` by all, or between the grid's two each one's own.
    """
    prices = _prices(world, shared=shared)
    net = _net_by_price(world, slot, prices)
    wanted, given = np.maximum(net, 0), np.maximum(-net, 0)
    bids = _by_price(prices, np.vstack([wanted[:-1] - wanted[1:], wanted[-1:]]))
    asks = _by_price(prices, np.vstack([given[:1], given[1:] - given[:-1]]))
    return Offers(
        tuple(offer for offer, _ in bids),
        np.array([owner for _, owner in bids], dtype=np.int64),
        tuple(offer for offer, _ in asks),
        np.array([owner for _, owner in asks], dtype=np.int64),
    )


def _prices(world: World, *, shared: bool) -> Ints:
    """At which prices prosumers offer, µ€/kWh, levels × prosumers.

    Where they are each one's own, those between the grid's two are moved by less than half a step, evenly
    over the prosumers, so that the last bid and ask that trade seldom have one price.
    """
    count = len(world.bus)
    levels = np.linspace(world.tariff.fit, world.tariff.retail, LEVELS)
    moved = np.zeros((LEVELS, count))
    if not shared:
        moved[1:-1] = (levels[1] - levels[0]) * ((np.arange(count) + 0.5) / count - 0.5)
    return np.asarray((levels[:, None] + moved).round().astype(np.int64))


def _by_price(prices: Ints, amounts: Ints) -> list[tuple[Offer, int]]:
    """Offers of these amounts (levels × prosumers, Wh) and their owners, by rising price."""
    found = [
        (Offer(int(prices[k, i]), int(amounts[k, i])), int(i))
        for k, i in zip(*np.nonzero(amounts), strict=True)
    ]
    return sorted(found, key=lambda each: each[0].price)


def _net_by_price(world: World, slot: int, prices: Ints) -> Ints:
    """Net demand of every prosumer at each of its prices, Wh, never rising with the price."""
    prosumers = Prosumers(world.conditions(slot, world.actual).devices)
    firm = world.actual.firm_p[slot]
    power = np.array([prosumers.at_price(row / UEUR_PER_KWH_PER_EUR_PER_MWH).power for row in prices])
    rounded = np.rint((firm - power) * wh_per_pu(world)).astype(np.int64)
    return np.minimum.accumulate(rounded, axis=0)


def wh_per_pu(world: World) -> float:
    """Energy of one pu of power held for a slot."""
    return world.feeder.base_mw * world.hours * WH_PER_MWH


# --- what comes of it ---------------------------------------------------------------------------------


def traded(world: World, name: str, rule: Auction, seed: int, *, shared: bool = True) -> Day:
    """The day under an auction of this name in every slot, offers at prices that are `shared` or not.

    Raises AuctionError for what the auction may not decide.
    """
    count = len(world.bus)
    net, bills = np.zeros((world.periods, count)), np.zeros((world.periods, count))
    grid = Grid(world.tariff.retail, world.tariff.fit)
    kept = volume = costs = Fraction(0)
    for slot in range(world.periods):
        offered = offers(world, slot, shared=shared)
        where = f"rule {name}, slot {slot}"
        found = decided(where, rule, offered.bids, offered.asks, grid=grid, rng=chance(seed, slot))
        volume += sum(found.bought, Fraction(0))
        costs += sum(found.costs, Fraction(0))
        kept += sum(found.costs, Fraction(0)) - sum(found.revenues, Fraction(0))
        for sign, sides, owners, edge, amounts, money in (
            (1, offered.bids, offered.bidders, grid.price, found.bought, found.costs),
            (-1, offered.asks, offered.askers, grid.fit, found.sold, found.revenues),
        ):
            for offer, owner, amount, paid in zip(sides, owners, amounts, money, strict=True):
                rest = offer.quantity - amount if offer.price == edge else 0
                net[slot, owner] += sign * float(amount + rest)
                bills[slot, owner] += sign * float(paid + rest * edge)
    day = metered(world, np.rint(net).astype(np.int64), bills)
    return replace(day, kept_neur=float(kept), traded_wh=float(volume), paid_neur=float(costs))


def chance(seed: int, slot: int) -> np.random.Generator:
    """What an auction of a slot may draw from."""
    return stream(seed, "auction", slot)


def alone(world: World) -> Day:
    """The day of everybody on FiT/retail."""
    return _billed(world, lambda net: on_tariff(world, net))


def on_tariff(world: World, net_wh: Ints) -> list[tuple[float, float]]:
    """Retail and feed-in tariff in every slot, µ€/kWh."""
    return [(world.tariff.retail, world.tariff.fit)] * len(net_wh)


def at_mid_market_rate(world: World) -> Day:
    """The same meters, billed at the mid-market rate of each slot: it moves money, not energy."""

    def rates(net: Ints) -> list[tuple[float, float]]:
        found = [
            mid_market_rates([int(n) for n in row], world.tariff.retail, world.tariff.fit) for row in net
        ]
        return [(float(rate.buy), float(rate.sell)) for rate in found]

    return _billed(world, rates)


def _billed(world: World, rates: Callable[[Ints], Sequence[tuple[float, float]]]) -> Day:
    """Everybody's own best on FiT/retail, billed at what buying costs and selling brings by slot."""
    net = np.array([alone_net(world, slot) for slot in range(world.periods)])
    return billed(world, net, rates)


def billed(world: World, net: Floats, rates: Callable[[Ints], Sequence[tuple[float, float]]]) -> Day:
    """Meters (slots × prosumers, pu) billed at what buying costs and selling brings by slot, µ€/kWh."""
    net_wh: Ints = np.rint(net * wh_per_pu(world)).astype(np.int64)
    prices = np.array(rates(net_wh), dtype=np.float64)
    bills: Floats = np.where(net_wh > 0, prices[:, :1], prices[:, 1:]) * net_wh
    return metered(world, net_wh, bills)


def alone_net(world: World, slot: int) -> Floats:
    """What everybody does on FiT/retail, pu, consumption positive."""
    conditions, firm = world.conditions(slot, world.actual), world.actual.firm_p[slot]
    prices = (np.atleast_1d(eur_per_mwh(price)) for price in (world.tariff.retail, world.tariff.fit))
    gen, load = alone_schedule(conditions, firm[None, :], *prices)
    return np.asarray(firm + load[0] - gen[0])


def days(world: World, others: Mapping[str, Auction], seed: int) -> dict[str, Day]:
    """The day on FiT/retail, at the mid-market rate, and under every auction, those at hand and others.

    Others run first, so that AuctionError is raised at once.
    """
    own = {name: traded(world, name, auction, seed) for name, auction in others.items()}
    at_hand = {name: traded(world, name, auction, seed) for name, auction in AUCTIONS.items()}
    return {ALONE: alone(world), MID_MARKET: at_mid_market_rate(world), **at_hand, **own}


def settled_day(world: World, day: DayResult) -> Day:
    """A day of the real market, by its meters and what each account was settled for."""
    net = np.array([slot.metered_wh for slot in day.slots], dtype=np.int64)
    bills = np.array(
        [[settled.total_neur for settled in slot.settled] for slot in day.slots], dtype=np.float64
    )
    return metered(world, net, bills)


def metered(world: World, net_wh: Ints, bills_neur: Floats) -> Day:
    """A day by its meters and bills, run over the feeder with the passive load of the scenario."""
    power = net_wh / wh_per_pu(world)
    rows = []
    for slot in range(world.periods):
        conditions = world.conditions(slot, world.actual)
        rows.append(contracted_schedule(conditions, world.actual.firm_p[slot][None, :], power[slot][None, :]))
    by_bus = np.array([world.by_bus(row) for row in power])
    reactive = np.array([world.by_bus(row) for row in world.actual.firm_q]) + world.actual.passive_q
    flow = power_flow(world.feeder, world.actual.passive_p + by_bus, reactive)
    schedule = np.vstack([gen for gen, _ in rows]), np.vstack([load for _, load in rows])
    return Day(net_wh, bills_neur, schedule, flow)


# --- what it did --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Benefits:
    """What a day brought: the benefits that peer-to-peer trading is praised for, measured.

    `renewable_use` is the share of sun that stays on the feeder, `peak_import_mw` at the substation,
    `loading_pu` the highest current of any line, `cost_eur` all bills together less what flexible energy is
    worth, `better_off` and `worse_off` count prosumers against FiT/retail by the same measure.
    """

    renewable_use: float
    cost_eur: float
    peak_import_mw: float
    losses_mwh: float
    loading_pu: float
    better_off: int
    worse_off: int


def benefits(world: World, day: Day, without: Day) -> Benefits:
    """Measure a day against the day without a market."""
    base = world.feeder.base_mw * world.hours
    gen = float(day.schedule[0].sum()) * base
    exported = float(np.maximum(-day.flow.net_import, 0.0).sum()) * base
    spent, alone_spent = spending(world, day), spending(world, without)
    change = alone_spent - spent
    tolerance = 1e-6  # €, of bills that are sums of floats
    return Benefits(
        renewable_use=1.0 - exported / gen if gen > 0 else 1.0,
        cost_eur=float(spent.sum()),
        peak_import_mw=float(day.flow.net_import.max()) * world.feeder.base_mw,
        losses_mwh=float(day.flow.loss.sum()) * base,
        loading_pu=float(np.sqrt(day.flow.l.max())),
        better_off=int(np.count_nonzero(change > tolerance)),
        worse_off=int(np.count_nonzero(change < -tolerance)),
    )


def utility_eur(world: World, day: Day) -> float:
    """What the utility is left with, €: prosumers' bills beyond what goes to other prosumers or is kept, and
    passive load's at retail, less what the import costs wholesale.
    """
    scale = wh_per_pu(world)
    bills = float(day.bills_neur.sum()) - day.kept_neur
    passive = float(world.actual.passive_p.sum()) * scale * world.tariff.retail
    bought = float((day.flow.net_import * scale * world.wholesale).sum())
    return (bills + passive - bought) / NEUR_PER_EUR


def spending(world: World, day: Day) -> Floats:
    """By prosumer, €: its bills, and what its devices cost it less what flexible energy is worth to it."""
    gen, load = day.schedule
    devices = (world.conditions(slot, world.actual).devices for slot in range(world.periods))
    own = [cost_by_device(one, gen[slot], load[slot])[0] for slot, one in enumerate(devices)]
    in_eur = world.feeder.base_mw * world.hours
    return np.asarray(np.sum(own, axis=0) * in_eur + day.bills_neur.sum(axis=0) / NEUR_PER_EUR)
