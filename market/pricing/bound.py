"""The dual function of the clearing: no schedule costs less than this, where σ ≤ 0.

What firm load pays at its prices, shedding being dearer or not; less what each device gains at them at
most; less the tie-break's gain; plus what limits hold back and what the substation's voltage is worth.
"""

from __future__ import annotations

import numpy as np

from market.pricing.conditions import Conditions
from market.pricing.network import Network
from market.pricing.point import Point
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.units import Floats

TINY = 1e-200
"""Stands for a divisor of 0 where the quotient is bounded anyway."""


def dual_bound(network: Network, conditions: Conditions, at: Point) -> Floats:
    """Lower bound of the cost by period, €/h per pu of base."""
    _, price, reactive, *_ = at.buses
    fixed = price * conditions.fixed_p + reactive * conditions.fixed_q
    by_bus = np.minimum(shed_cost(conditions), fixed)
    away = price - tie_break_centre(conditions)[:, None]
    by_bus -= tie_break_share(network.feeder) / 2 * away * away
    by_bus += _held_by_limits(network, at)
    total = by_bus.sum(axis=1) - _gained(conditions, price) + _substation(network, at)
    if conditions.storages.count:
        total += _storages(conditions, at)
    return np.asarray(total)


def _gained(conditions: Conditions, price: Floats) -> Floats:
    """Most that all devices together gain at the prices, by period."""
    devices = conditions.devices
    at_device = price.take(devices.bus, axis=1)
    least = devices.load_min
    worth = devices.load_value - at_device
    gained = _most(at_device - devices.gen_cost, devices.gen_slope, devices.gen_max)
    gained += _most(worth - devices.load_slope * least, devices.load_slope, devices.load_max - least)
    gained += least * (worth - devices.load_slope * least / 2)
    return np.asarray(gained.sum(axis=1))


def _most(worth: Floats, slope: Floats, top: Floats) -> Floats:
    """max worth·y − ½ slope·y² over 0 ≤ y ≤ top."""
    y = _best(worth, slope, top)
    return np.asarray(y * (worth - slope * y / 2))


def _best(worth: Floats, slope: Floats, top: Floats) -> Floats:
    """argmax worth·y − ½ slope·y² over 0 ≤ y ≤ top; 0 where all are alike."""
    return np.asarray(np.minimum(np.maximum(worth, 0.0) / np.maximum(slope, TINY), top))


def _held_by_limits(network: Network, at: Point) -> Floats:
    """μ̲v̲² − μ̄v̄² − ηl̄ by bus; a limit that is none holds nothing."""
    *_, v_low, v_high, rent = at.lines
    v_min, v_max, rating = network.given_limits
    return np.asarray(v_low * v_min - v_high * v_max - rent * rating)


def _substation(network: Network, at: Point) -> Floats:
    """v_0²·Σ_root(ξ + σl): what the substation's voltage is worth."""
    _, _, current, drop, sigma, *_ = at.lines
    root = network.root
    at_root = drop.take(root, axis=1) + sigma.take(root, axis=1) * current.take(root, axis=1)
    return np.asarray(network.feeder.v0**2 * at_root.sum(axis=1))


def _storages(conditions: Conditions, at: Point) -> Floats:
    """The storages' part by period.

    What states are worth passes from period to period: θ_t·e_{t−1} − θ_{t+1}·e_t at the schedule's own
    states is left out of each period's bound, as the value of what is left is out of its cost.
    """
    storages = conditions.storages
    _, _, energy, theta = at.storages
    price = at.buses[1].take(storages.bus, axis=1)
    taking = storages.charge_efficiency * theta - price - storages.wear
    giving = price - theta / storages.discharge_efficiency - storages.wear
    total = -_most(taking, storages.wear_slope, storages.charge_max)
    total -= _most(giving, storages.wear_slope, storages.discharge_max)
    before = np.vstack([storages.energy_start, energy[:-1]])
    rise = theta - np.vstack([theta[1:], storages.final_value])
    ends = np.where(rise > 0, storages.energy_min, storages.energy_max)
    total += rise * (ends - energy) / conditions.hours
    total += theta * (energy - before + storages.drain) / conditions.hours
    return np.asarray(total.sum(axis=1))
