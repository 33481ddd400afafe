"""What a schedule costs, and the dual function: no schedule costs less than that, where σ ≤ 0.

The bound is what firm load pays at its prices; less what each agent gains at them at most; plus what
limits hold back and what the substation's voltage is worth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from market.pricing.given import Given
from market.pricing.network import Network
from market.pricing.point import Point
from market.pricing.storages import wear_cost
from market.units import Floats

TINY = 1e-100
"""Stands for a divisor of 0 where the quotient is bounded anyway."""


class Terms(NamedTuple):
    """What several conditions share, computed once.

    leaving: P, Q and ξ + lσ of the lines that leave each bus, 3 × periods × buses; impedance_current: l
    times r, x and r² + x²; pays: λ·p̄ + λq·q̄, periods × buses; price, amount: of agents (`Given`), curve:
    slope·amount, periods × agents.
    """

    leaving: Floats
    impedance_current: Floats
    pays: Floats
    price: Floats
    amount: Floats
    curve: Floats


def hub_cost(has: Given, net_import: Floats) -> Floats:
    """h(P_0) by period: π_imp on import, π_exp on export."""
    return np.asarray(net_import * np.where(net_import > 0, has.import_price, has.export_price))


def agents_cost(has: Given, amount: Floats, curve: Floats) -> Floats:
    """cost·y + ½·slope·y², periods × agents; `curve` is slope·y."""
    each = curve / 2
    each += has.cost
    each *= amount
    return each


class Gains(NamedTuple):
    """Of all agents together by period, €/h per pu of base: cost, gain, and the most gain at these prices."""

    cost: Floats
    gained: Floats
    most: Floats


def gains(has: Given, terms: Terms, income: Floats) -> Gains:
    """What agents gain at the prices, and would by answering them; income: price·amount, periods × agents."""
    cost = np.add.reduce(agents_cost(has, terms.amount, terms.curve), axis=1)
    most = np.add.reduce(_most_gained(has, terms.price), axis=1)
    return Gains(cost, np.add.reduce(income, axis=1) - cost, most)


def cost_and_bound(
    network: Network, has: Given, at: Point, terms: Terms, agents: Gains
) -> tuple[Floats, Floats]:
    """Cost and its lower bound by period, €/h per pu of base.

    What stored energy is worth passes from period to period: it is left out of both, at the schedule's
    own states.
    """
    held = np.add.reduce(at.lines[5:] * network.held, axis=0)
    held += terms.pays
    bound = np.add.reduce(held, axis=1)
    bound += network.feeder.v0**2 * terms.leaving[2, :, 0]
    bound -= agents.most
    spent = agents.cost + hub_cost(has, at.net_import)
    if has.storages.count:
        charge, discharge, *_ = at.storages
        spent += wear_cost(has.storages, charge, discharge).sum(axis=1)
        bound += _storages(has, at)
    return spent, bound


def _most_gained(has: Given, price: Floats) -> Floats:
    """Most that each agent gains, max (price − cost)·y − ½·slope·y² over its bounds, periods × agents."""
    worth = price - has.cost
    best = worth / np.maximum(has.slope, TINY)
    np.maximum(best, has.low, out=best)
    np.minimum(best, has.high, out=best)
    gained = has.slope * best
    gained *= -0.5
    gained += worth
    gained *= best
    return gained


def _storages(has: Given, at: Point) -> Floats:
    """The storages' part of the bound by period.

    θ_t·e_{t−1} − θ_{t+1}·e_t is what passes from period to period, and what is left after the last counts
    the same.
    """
    storages = has.storages
    _, _, energy, theta = at.storages
    price = at.buses[1].take(storages.bus, axis=1)
    taking = storages.charge_efficiency * theta - price - storages.wear
    giving = price - theta / storages.discharge_efficiency - storages.wear
    total = -_most(taking, storages.wear_slope, storages.charge_max)
    total -= _most(giving, storages.wear_slope, storages.discharge_max)
    before = np.vstack([storages.energy_start, energy[:-1]])
    rise = theta - np.vstack([theta[1:], storages.final_value])
    ends = np.where(rise > 0, storages.energy_min, storages.energy_max)
    total += rise * (ends - energy) / has.hours
    total += theta * (energy - before + storages.drain) / has.hours
    return np.asarray(total.sum(axis=1))


def _most(worth: Floats, slope: Floats, top: Floats) -> Floats:
    """max worth·y − ½ slope·y² over 0 ≤ y ≤ top."""
    y = np.minimum(np.maximum(worth, 0.0) / np.maximum(slope, TINY), top)
    return np.asarray(y * (worth - slope * y / 2))
