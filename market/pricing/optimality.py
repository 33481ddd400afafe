"""The optimality conditions of the clearing, measured at a point with NumPy alone (README.md).

With L = f − wᵀF, price differences along a line, reactive prices, currents and voltages obey

    (P)  λ_π − λ_j − 2 r ξ_j − 2 P σ_j = 0          (l)  r λ_j + x λq_j + (r² + x²) ξ_j + v_π σ_j + η_j = 0
    (Q)  λq_π − λq_j − 2 x ξ_j − 2 Q σ_j = 0        (v)  −ξ_j + Σ_children (ξ + l σ) − μ̲_j + μ̄_j = 0

and hub, devices, shedding and tie-break are best responses to λ. σ ≤ 0 everywhere makes the relaxed
problem's multipliers rank one, s = −σ·((l+v_π)/2, −P, −Q, −(l−v_π)/2), so the point is its global
optimum. `measure` lists each condition as a Comparison; a condition holds where |found − expected| is
at most tolerance × scale.

Storages add their states, and what θ_t, the value of what they store in period t, must be: charging answers
η_c·θ − λ, discharging λ − θ/η_d, and θ changes from period to period only where the state is at a bound.
Charging and discharging at once is refused; that nothing would be gained by it (`response-overlap`) is a
condition of the global optimum only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.pricing.storages import change, injected, wear_cost
from market.units import Floats

BALANCE_TOLERANCE = 2e-6
"""pu. ATC stops at 1e-6 between the utility's copy and the responses; as much again for the solver."""
NETWORK_TOLERANCE = 1e-6
"""pu. Reactive balance and voltage drop hold inside one conic solve, feasible to 1e-7 when it sheds load."""
CONE_TOLERANCE = 1e-6
"""pu². An interior-point solver leaves gap/|σ| of slack, with a gap of 1e-10 of a cost of at most 1e5."""
LIMIT_TOLERANCE = 1e-5
"""pu of a squared limit, or of a quantity, that a price holds: the same slack; 5e-6 pu of voltage."""
STATIONARITY_TOLERANCE = 5e-6
"""Of the period's largest price: solvers measure dual residuals over all prices, and end at 1e-6 of them."""
PRICE_TOLERANCE = 2e-5
"""Of max(|λ_b|, 1). ATC stops when marginal costs are within 1e-5 of it; as much again for the solver."""
TIE_BREAK_VOLL = 3.0
"""Average distance of prices from c, in VOLL, up to which the tie-break is believed to only break ties."""
GAP_TOLERANCE = 1e-5
"""Of 1 € + turnover, what everyone takes or gives at the bus's price: 1e-6 pu of imbalance at every bus."""

OVERLAP_PU = 1e-6
"""Both directions of a storage above this are an overlap."""

GLOBAL = frozenset({"sign-cone", "gap", "response-overlap"})
"""Conditions that make a point that meets all the others the global optimum instead of a local one."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One optimality condition over all periods and places: `place` says what the second axis counts."""

    check: str
    place: str
    found: Floats
    expected: Floats
    scale: Floats
    tolerance: float

    @property
    def error(self) -> Floats:
        """|found − expected| in units of scale."""
        return np.asarray(np.abs(self.found - self.expected) / self.scale)


def measure(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> tuple[Comparison, ...]:
    """Every optimality condition at this point, in the order flows, limits, prices, responses, gap."""
    stored = _storages(conditions, primal, duals) if conditions.storages.count else ()
    return (
        *_flows(feeder, conditions, primal),
        *_limits(feeder, conditions, primal),
        *_stationarity(feeder, primal, duals),
        *_multipliers(feeder, primal, duals),
        *_responses(feeder, conditions, primal, duals),
        *stored,
        _gap(feeder, conditions, primal, duals),
    )


def residual(comparisons: tuple[Comparison, ...]) -> float:
    """Largest error of the first-order conditions, each in its scale."""
    first_order = (each for each in comparisons if each.check not in GLOBAL and each.error.size)
    return max((float(each.error.max()) for each in first_order), default=0.0)


def costs(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """Objective by period, €/h per pu of base: hub, devices, shedding, tie-break."""
    hub, devices = conditions.hub, conditions.devices
    m, g, d, t = primal.net_import, primal.gen, primal.load, primal.elastic
    device_cost = devices.gen_cost * g + devices.gen_slope * g**2 / 2
    device_cost = device_cost - devices.load_value * d + devices.load_slope * d**2 / 2
    centre, share = tie_break_centre(conditions), tie_break_share(feeder)
    elastic_cost = centre[:, None] * t + t**2 / (2 * share)
    hub_cost = hub.import_price * np.maximum(m, 0) + hub.export_price * np.minimum(m, 0)
    shedding = (shed_cost(conditions) * primal.shed).sum(axis=1)
    total = hub_cost + device_cost.sum(axis=1) + shedding + elastic_cost.sum(axis=1)
    if conditions.storages.count:
        total = total + wear_cost(conditions.storages, primal.charge, primal.discharge).sum(axis=1)
        total[-1] -= _left(conditions, primal)
    return np.asarray(total)


def _left(conditions: Conditions, primal: Primal) -> float:
    """What is stored after the last period is worth, €/h per pu of base."""
    return float((conditions.storages.final_value * primal.energy[-1]).sum() / conditions.hours)


def injections(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """T_b = Σ_{k at b} (g − d + discharge − charge), periods × buses, pu."""
    by_bus = np.zeros((conditions.periods, feeder.buses))
    np.add.at(by_bus.T, conditions.devices.bus, (primal.gen - primal.load).T)
    return by_bus + injected(feeder, conditions.storages, primal) if conditions.storages.count else by_bus


def children_sum(feeder: Feeder, of_lines: Floats) -> Floats:
    """Sum over the lines that leave each bus; entry 0 of `of_lines` counts for nothing."""
    total = np.zeros_like(of_lines)
    np.add.at(total.T, feeder.parent[1:], of_lines[:, 1:].T)
    return total


def _flows(feeder: Feeder, conditions: Conditions, primal: Primal) -> list[Comparison]:
    """Power balances, voltage drops and the current's definition."""
    r, x, parent = feeder.r_pu, feeder.x_pu, feeder.parent
    p, q, current, v = primal.p, primal.q, primal.l, primal.v
    arriving = p - r * current
    arriving[:, 0] = primal.net_import
    arriving += injections(feeder, conditions, primal) + primal.elastic
    served = 1 - primal.shed
    drop = v - v[:, parent] + 2 * (r * p + x * q) - (r**2 + x**2) * current
    drop[:, 0] = v[:, 0] - feeder.v0**2
    taken_q = (conditions.fixed_q * served + children_sum(feeder, q))[:, 1:]
    return [
        _pu(
            "balance-active",
            arriving,
            conditions.fixed_p * served + children_sum(feeder, p),
            BALANCE_TOLERANCE,
        ),
        _pu("balance-reactive", (q - x * current)[:, 1:], taken_q, NETWORK_TOLERANCE, "line"),
        _pu("voltage-drop", drop, np.zeros_like(drop), NETWORK_TOLERANCE),
        _pu("cone", (current * v[:, parent])[:, 1:], (p**2 + q**2)[:, 1:], CONE_TOLERANCE, "line"),
    ]


def _limits(feeder: Feeder, conditions: Conditions, primal: Primal) -> list[Comparison]:
    """Everything within its bounds."""
    limits, devices = feeder.limits, conditions.devices

    def inside(check: str, value: Floats, low: Floats, high: Floats, place: str) -> Comparison:
        return _pu(check, value, np.clip(value, low, high), NETWORK_TOLERANCE, place)

    rated = np.where(np.arange(feeder.buses) > 0, limits.i_max**2, np.inf)
    zero = np.zeros(())
    return [
        inside("limit-voltage", primal.v, limits.v_min**2, limits.v_max**2, "bus"),
        inside("limit-current", primal.l[:, 1:], zero, rated[1:], "line"),
        inside("limit-shed", primal.shed, zero, zero + 1, "bus"),
        inside("limit-generation", primal.gen, zero, devices.gen_max, "device"),
        inside("limit-load", primal.load, devices.load_min, devices.load_max, "device"),
    ]


def _stationarity(feeder: Feeder, primal: Primal, duals: Duals) -> list[Comparison]:
    """The network's four equations between prices."""
    r, x, parent = feeder.r_pu, feeder.x_pu, feeder.parent
    price, reactive, drop, sigma = duals.price, duals.reactive, duals.voltage, duals.cone
    scale = _price_scale(duals)[:, None]
    by_p = price[:, parent] - price - 2 * r * drop - 2 * primal.p * sigma
    by_q = reactive[:, parent] - reactive - 2 * x * drop - 2 * primal.q * sigma
    by_l = r * price + x * reactive + (r**2 + x**2) * drop + primal.v[:, parent] * sigma + duals.current
    by_v = children_sum(feeder, drop + primal.l * sigma) - drop - duals.v_low + duals.v_high
    found = [
        ("stationarity-p", by_p),
        ("stationarity-q", by_q),
        ("stationarity-l", by_l),
        ("stationarity-v", by_v),
    ]
    return [
        *(
            Comparison(
                check, "line", error[:, 1:], np.zeros_like(error[:, 1:]), scale, STATIONARITY_TOLERANCE
            )
            for check, error in found
        ),
        _price("reactive-hub", reactive[:, :1], np.zeros_like(reactive[:, :1]), scale),
    ]


def _multipliers(feeder: Feeder, primal: Primal, duals: Duals) -> list[Comparison]:
    """Multipliers have their sign, and hold only what is at its limit."""
    limits, scale = feeder.limits, _price_scale(duals)[:, None]
    rated = np.isfinite(limits.i_max)
    rating = np.where(rated, limits.i_max, 0.0) ** 2
    signs = {
        "sign-v-low": np.minimum(duals.v_low, 0),
        "sign-v-high": np.minimum(duals.v_high, 0),
        "sign-current": np.where(rated, np.minimum(duals.current, 0), duals.current),
        "sign-cone": np.maximum(duals.cone, 0),
    }
    slack = {
        "slack-v-low": (duals.v_low, primal.v, limits.v_min**2),
        "slack-v-high": (duals.v_high, primal.v, limits.v_max**2),
        "slack-current": (duals.current, primal.l, rating),
    }
    comparisons = [_price(check, wrong, np.zeros_like(wrong), scale) for check, wrong in signs.items()]
    for check, (multiplier, value, limit) in slack.items():
        held = multiplier > PRICE_TOLERANCE * scale
        expected = np.where(held, limit, value)
        comparisons.append(_pu(check, value, expected, LIMIT_TOLERANCE))
    return comparisons


def _responses(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> list[Comparison]:
    """Hub, tie-break, shedding and devices are best responses to the prices."""
    hub, devices, price = conditions.hub, conditions.devices, duals.price
    tolerance = PRICE_TOLERANCE * np.maximum(np.abs(price), 1)
    imports, exports = primal.net_import > BALANCE_TOLERANCE, primal.net_import < -BALANCE_TOLERANCE
    low = np.where(imports, hub.import_price, hub.export_price)
    high = np.where(exports, hub.export_price, hub.import_price)
    hub_price = price[:, 0]
    tie_break = tie_break_centre(conditions)[:, None] + primal.elastic / tie_break_share(feeder)
    # a feeder that cannot serve what it must is served by the tie-break, at prices beyond all reason
    served = np.abs(primal.elastic).sum(axis=1, keepdims=True)
    most = TIE_BREAK_VOLL * conditions.voll * tie_break_share(feeder) * feeder.buses
    # a share may be anything where shedding is worth its cost to within the tolerance of prices
    load = np.hypot(conditions.fixed_p, conditions.fixed_q)
    worth = price * conditions.fixed_p + duals.reactive * conditions.fixed_q - shed_cost(conditions)
    margin = PRICE_TOLERANCE * _price_scale(duals)[:, None] * load
    shed = np.clip(primal.shed, worth > margin, worth >= -margin)
    at, slack = price[:, devices.bus], tolerance[:, devices.bus]
    gen_low, load_high = respond(conditions, at - slack, downwards=True)
    gen_high, load_low = respond(conditions, at + slack, downwards=False)
    return [
        _price("hub-rule", hub_price[:, None], np.clip(hub_price, low, high)[:, None], _floor(price[:, :1])),
        _price("tie-break", tie_break, price, _floor(price)),
        Comparison("tie-break-energy", "period", served, np.minimum(served, most), np.ones((1, 1)), 0.0),
        _pu("response-shed", primal.shed, shed, LIMIT_TOLERANCE),
        _pu(
            "response-generation",
            primal.gen,
            np.clip(primal.gen, gen_low, gen_high),
            LIMIT_TOLERANCE,
            "device",
        ),
        _pu(
            "response-load", primal.load, np.clip(primal.load, load_low, load_high), LIMIT_TOLERANCE, "device"
        ),
    ]


def _storages(conditions: Conditions, primal: Primal, duals: Duals) -> list[Comparison]:
    """States, bounds, one direction at a time, and best responses to λ and θ."""
    storages, place = conditions.storages, "storage"
    charge, discharge, energy = primal.charge, primal.discharge, primal.energy
    before = np.vstack([storages.energy_start, energy[:-1]])
    expected = before + change(storages, charge, discharge, conditions.hours) - storages.drain
    zero = np.zeros(())

    def inside(check: str, value: Floats, low: Floats, high: Floats) -> Comparison:
        return _pu(check, value, np.clip(value, low, high), NETWORK_TOLERANCE, place)

    def answer(check: str, value: Floats, low: Floats, high: Floats) -> Comparison:
        return _pu(check, value, np.clip(value, low, high), LIMIT_TOLERANCE, place)

    price = duals.price[:, storages.bus]
    slack = PRICE_TOLERANCE * np.maximum(np.maximum(np.abs(price), np.abs(duals.stored)), 1)
    taking = storages.charge_efficiency * duals.stored - price - storages.wear
    giving = price - duals.stored / storages.discharge_efficiency - storages.wear
    slope, tops = storages.wear_slope, (storages.charge_max, storages.discharge_max)
    least = [
        _respond(m - slack, slope, top, most=False) for m, top in zip((taking, giving), tops, strict=True)
    ]
    most = [_respond(m + slack, slope, top, most=True) for m, top in zip((taking, giving), tops, strict=True)]
    # one direction being used, the other may not be, whatever it would pay
    alone = [
        np.where(other > OVERLAP_PU, 0.0, low) for other, low in zip((discharge, charge), least, strict=True)
    ]
    both = np.maximum(_outside(charge, least[0], most[0]), _outside(discharge, least[1], most[1]))
    later = np.vstack([duals.stored[1:], storages.final_value])
    kept = np.where(duals.stored - later > slack, storages.energy_min, energy)
    kept = np.where(later - duals.stored > slack, storages.energy_max, kept)
    return [
        _pu("state-of-charge", energy, expected, NETWORK_TOLERANCE, place),
        inside("limit-charge", charge, zero, storages.charge_max),
        inside("limit-discharge", discharge, zero, storages.discharge_max),
        inside("limit-energy", energy, storages.energy_min, storages.energy_max),
        _pu("one-direction", np.minimum(charge, discharge), zero, OVERLAP_PU, place),
        answer("response-charge", charge, alone[0], most[0]),
        answer("response-discharge", discharge, alone[1], most[1]),
        _pu("response-overlap", both, zero, LIMIT_TOLERANCE, place),
        _pu("response-energy", energy, kept, LIMIT_TOLERANCE, place),
    ]


def _outside(value: Floats, low: Floats, high: Floats) -> Floats:
    """How far a value is from a range."""
    return np.asarray(np.abs(value - np.clip(value, low, high)))


def respond(conditions: Conditions, price: Floats, *, downwards: bool) -> tuple[Floats, Floats]:
    """Best generation and load of every device at a price, periods × devices, pu.

    A linear device at exactly its price is indifferent: `downwards` takes least generation and most load.
    """
    devices = conditions.devices
    gen = _respond(price - devices.gen_cost, devices.gen_slope, devices.gen_max, most=not downwards)
    span = devices.load_max - devices.load_min
    worth = devices.load_value - devices.load_slope * devices.load_min - price
    return gen, devices.load_min + _respond(worth, devices.load_slope, span, most=downwards)


def _respond(worth: Floats, slope: Floats, top: Floats, *, most: bool) -> Floats:
    """argmax worth·y − ½ slope·y² over 0 ≤ y ≤ top; the largest or the smallest where there are many."""
    linear = np.where(worth >= 0 if most else worth > 0, top, 0.0)
    curved = np.clip(worth / np.where(slope > 0, slope, 1.0), 0.0, top)
    return np.asarray(np.where(slope > 0, curved, linear))


def _gap(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> Comparison:
    """Cost against the dual function, by period; the rank-one multipliers make it a lower bound."""
    cost, price = costs(feeder, conditions, primal), duals.price
    devices, share = conditions.devices, tie_break_share(feeder)
    at = price[:, devices.bus]
    g, d = respond(conditions, at, downwards=True)
    device = (devices.gen_cost - at) * g + devices.gen_slope * g**2 / 2
    device = device - (devices.load_value - at) * d + devices.load_slope * d**2 / 2
    fixed = price * conditions.fixed_p + duals.reactive * conditions.fixed_q
    shed = np.minimum(0.0, shed_cost(conditions) - fixed)
    elastic = -share / 2 * (price - tie_break_centre(conditions)[:, None]) ** 2
    limits = feeder.limits
    rating = np.where(np.isfinite(limits.i_max), limits.i_max, 0.0) ** 2
    held = duals.v_low * limits.v_min**2 - duals.v_high * limits.v_max**2 - duals.current * rating
    root = np.flatnonzero(feeder.parent == 0)
    substation = feeder.v0**2 * (duals.voltage + primal.l * duals.cone)[:, root].sum(axis=1)
    bound = device.sum(axis=1) + (fixed + shed + elastic + held).sum(axis=1) + substation
    traded = np.abs(at) * (primal.gen + primal.load)
    turnover = 1 + traded.sum(axis=1) + np.abs(price * conditions.fixed_p).sum(axis=1)
    if conditions.storages.count:
        cost[-1] += _left(conditions, primal)
        bound = bound + _storage_bound(conditions, primal, duals)
        at_storage = np.abs(price[:, conditions.storages.bus])
        turnover = turnover + (at_storage * (primal.charge + primal.discharge)).sum(axis=1)
    return Comparison("gap", "period", cost[:, None], bound[:, None], turnover[:, None], GAP_TOLERANCE)


def _storage_bound(conditions: Conditions, primal: Primal, duals: Duals) -> Floats:
    """The storages' part of the dual function by period, €/h per pu of base.

    What states are worth passes from period to period: θ_t·e_{t−1} − θ_{t+1}·e_t at the schedule's own
    states is left out of each period's bound, as the value of what is left is out of its cost.
    """
    storages, hours, theta = conditions.storages, conditions.hours, duals.stored
    price = duals.price[:, storages.bus]
    slope = storages.wear_slope
    total = np.zeros_like(theta)
    for margin, top in (
        (storages.charge_efficiency * theta - price - storages.wear, storages.charge_max),
        (price - theta / storages.discharge_efficiency - storages.wear, storages.discharge_max),
    ):
        best = _respond(margin, slope, top, most=False)
        total += slope * best**2 / 2 - margin * best
    before = np.vstack([storages.energy_start, primal.energy[:-1]])
    rise = theta - np.vstack([theta[1:], storages.final_value])
    ends = np.where(rise > 0, storages.energy_min, storages.energy_max)
    total += rise * (ends - primal.energy) / hours
    total += theta * (primal.energy - before + storages.drain) / hours
    return np.asarray(total.sum(axis=1))


def _pu(check: str, found: Floats, expected: Floats, tolerance: float, place: str = "bus") -> Comparison:
    """A comparison of per-unit quantities; large ones are compared relatively."""
    return Comparison(check, place, found, expected, _floor(expected), tolerance)


def _price(check: str, found: Floats, expected: Floats, scale: Floats) -> Comparison:
    """A comparison of prices."""
    return Comparison(check, "bus", found, expected, scale, PRICE_TOLERANCE)


def _floor(values: Floats) -> Floats:
    """max(|value|, 1)."""
    return np.asarray(np.maximum(np.abs(values), 1.0))


def _price_scale(duals: Duals) -> Floats:
    """Largest price of each period, at least 1 €/MWh."""
    return np.asarray(np.maximum(1.0, np.abs(duals.price).max(axis=1)))
