"""What a schedule costs, and the dual function: no schedule costs less than that, where σ ≤ 0.

The bound is what firm load pays at its prices, shedding being dearer or not; less what each device gains
at them at most; less the tie-break's gain; plus what limits hold back and what the substation's voltage
is worth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from market.pricing.given import SELLS, Given
from market.pricing.network import Network
from market.pricing.point import Point
from market.pricing.storages import wear_cost
from market.units import Floats

TINY = 1e-100
"""Stands for a divisor of 0 where the quotient is bounded anyway."""


class Terms(NamedTuple):
    """What several conditions share, computed once.

    leaving: P and Q of the lines that leave each bus, 2 × periods × buses; impedance_current: l times r, x
    and r² + x²; pays: λ·p̄ + λq·q̄, periods × buses; worth: what a device's first unit gains, 2 × periods ×
    devices; worth_of_substation: v_0²·Σ_root(ξ + σl), periods.
    """

    leaving: Floats
    impedance_current: Floats
    pays: Floats
    worth: Floats
    worth_of_substation: Floats


def cost(has: Given, shed: Floats, elastic: Floats, devices: Floats, net_import: Floats) -> Floats:
    """Hub, devices, shedding and tie-break by period, €/h per pu of base."""
    by_bus = has.shed_cost * shed
    by_bus += elastic * (has.centre + elastic / (2 * has.share))
    by_device = devices * (SELLS * has.price + has.slope * devices / 2)
    hub = has.import_price * np.maximum(net_import, 0) + has.export_price * np.minimum(net_import, 0)
    return np.asarray(hub + np.add.reduce(by_bus, axis=1) + np.add.reduce(by_device, axis=(0, 2)))


def cost_and_bound(network: Network, has: Given, at: Point, terms: Terms) -> tuple[Floats, Floats]:
    """Cost and its lower bound by period, €/h per pu of base.

    What stored energy is worth passes from period to period: it is left out of both, at the schedule's
    own states.
    """
    _, price, _, shed, elastic = at.buses
    by_bus = np.minimum(has.shed_cost, terms.pays)
    away = price - has.centre
    away *= away
    away *= has.share / 2
    by_bus -= away
    by_bus += np.add.reduce(at.lines[5:] * network.held, axis=0)
    bound = np.add.reduce(by_bus, axis=1)
    bound += terms.worth_of_substation
    bound -= np.add.reduce(_gained(has, terms.worth), axis=(0, 2))
    spent = cost(has, shed, elastic, at.devices, at.net_import)
    if has.storages.count:
        charge, discharge, *_ = at.storages
        spent += wear_cost(has.storages, charge, discharge).sum(axis=1)
        bound += _storages(has, at)
    return spent, bound


def _gained(has: Given, worth: Floats) -> Floats:
    """Most that each device gains, max worth·y − ½ slope·y² over its bounds, 2 × periods × devices."""
    y = np.maximum(worth, 0.0)
    y /= np.maximum(has.slope, TINY)
    np.maximum(y, has.low, out=y)
    np.minimum(y, has.high, out=y)
    halved = has.slope * y
    halved *= -0.5
    halved += worth
    halved *= y
    return halved


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
