"""The optimality conditions of the clearing, measured at a point with NumPy alone (README.md).

With L = f − wᵀF, price differences along a line, reactive prices, currents and voltages obey

    (P)  λ_π − λ_j − 2 r ξ_j − 2 P σ_j = 0          (l)  r λ_j + x λq_j + (r² + x²) ξ_j + v_π σ_j + η_j = 0
    (Q)  λq_π − λq_j − 2 x ξ_j − 2 Q σ_j = 0        (v)  −ξ_j + Σ_children (ξ + l σ) − μ̲_j + μ̄_j = 0

and whatever has bounds is where its marginal benefit m wants it: y = min(max(y + m, low), high), which
holds where m = 0 between the bounds, m ≤ 0 at the lower and m ≥ 0 at the upper one, and y is within them.
A limit and its multiplier are held together likewise: min(slack, μ) = 0.

σ ≤ 0 everywhere makes the relaxed problem's multipliers rank one, s = −σ·((l+v_π)/2, −P, −Q, −(l−v_π)/2),
so a point that meets all of it is the problem's global optimum. `RULES` lists the conditions with what
they are held to, and why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.pricing.bound import TINY, dual_bound
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.network import Network
from market.pricing.point import Point, point
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.pricing.storages import change, wear_cost
from market.units import Floats, Ints

BALANCE_TOLERANCE = 2e-6
"""pu. ATC stops at 1e-6 between the utility's copy and the responses; as much again for the solver."""
NETWORK_TOLERANCE = 1e-6
"""pu. Reactive balance and voltage drop hold inside one conic solve, feasible to 1e-7 when it sheds load."""
CONE_TOLERANCE = 1e-6
"""pu². An interior-point solver leaves gap/|σ| of slack, with a gap of 1e-10 of a cost of at most 1e5."""
LIMIT_TOLERANCE = 1e-5
"""pu of a squared limit, or its multiplier in largest prices: the same slack; 5e-6 pu of voltage."""
STATIONARITY_TOLERANCE = 5e-6
"""Of the period's largest price: solvers measure dual residuals over all prices, and end at 1e-6 of them."""
PRICE_TOLERANCE = 2e-5
"""Of a price. ATC stops when marginal costs are within 1e-5 of it; as much again for the solver."""
RESPONSE_TOLERANCE = PRICE_TOLERANCE
"""pu, or of a price: a quantity is off by no more, or its marginal benefit is."""
GAP_TOLERANCE = 1e-5
"""Of 1 € + turnover, what everyone takes or gives at the bus's price: 1e-6 pu of imbalance at every bus."""
FINISHED_TOLERANCE = 1e-11
"""Newton's answers, which end at the arithmetic's last digits: about 1e-15. Large feeders lose two digits."""
FLOOR = 1e-2
"""Of a unit. What is smaller is held to this size's tolerance: the last digits of larger terms are in it."""
LOCAL_FLOOR = 1e-4
"""The same where all terms of a condition are of the size of what they determine."""

OVERLAP_PU = 1e-6
"""Both directions of a storage above this are an overlap."""

TIE_BREAK_VOLL = 3.0
"""Average distance of prices from c, in VOLL, up to which the tie-break is believed to only break ties."""
SWITCH = PRICE_TOLERANCE / BALANCE_TOLERANCE
"""What 1 pu of import counts as in the hub rule, in prices, so that both tolerances bind alike."""


class Rule(NamedTuple):
    """One condition: what its places are, its tolerance, and its floor for finished answers.

    It holds where |found − expected| ≤ tolerance × max(unit, |expected|); of a finished answer, where
    |found − expected| ≤ FINISHED_TOLERANCE × max(floor × unit, |expected|).
    """

    check: str
    place: str
    tolerance: float
    floor: float = FLOOR


RULES = {
    rule.check: rule
    for rule in (
        Rule("balance-active", "bus", BALANCE_TOLERANCE),
        Rule("balance-reactive", "bus", NETWORK_TOLERANCE),
        Rule("voltage-drop", "bus", NETWORK_TOLERANCE),
        Rule("cone", "bus", CONE_TOLERANCE, LOCAL_FLOOR),
        Rule("stationarity-p", "bus", STATIONARITY_TOLERANCE),
        Rule("stationarity-q", "bus", STATIONARITY_TOLERANCE),
        Rule("stationarity-l", "bus", STATIONARITY_TOLERANCE),
        Rule("stationarity-v", "bus", STATIONARITY_TOLERANCE, LOCAL_FLOOR),
        Rule("limit-v-low", "bus", LIMIT_TOLERANCE),
        Rule("limit-v-high", "bus", LIMIT_TOLERANCE),
        Rule("limit-current", "bus", LIMIT_TOLERANCE),
        Rule("sign-cone", "bus", PRICE_TOLERANCE),
        Rule("tie-break", "bus", PRICE_TOLERANCE),
        Rule("response-shed", "bus", RESPONSE_TOLERANCE),
        Rule("response-generation", "device", RESPONSE_TOLERANCE),
        Rule("response-load", "device", RESPONSE_TOLERANCE),
        Rule("state-of-charge", "storage", NETWORK_TOLERANCE),
        Rule("one-direction", "storage", OVERLAP_PU),
        Rule("response-charge", "storage", RESPONSE_TOLERANCE),
        Rule("response-discharge", "storage", RESPONSE_TOLERANCE),
        Rule("response-overlap", "storage", RESPONSE_TOLERANCE),
        Rule("response-energy", "storage", RESPONSE_TOLERANCE),
        Rule("hub-rule", "period", PRICE_TOLERANCE),
        Rule("tie-break-energy", "period", 0.0),
        Rule("gap", "period", GAP_TOLERANCE),
    )
}
GLOBAL = frozenset({"sign-cone", "gap", "response-overlap"})
"""Conditions that make a point that meets all the others the global optimum instead of a local one."""


class Comparison(NamedTuple):
    """One condition over all periods and places, found and expected periods × places, in units of `unit`."""

    rule: Rule
    found: Floats
    expected: Floats
    unit: Floats | float = 1.0

    @property
    def error(self) -> Floats:
        """|found − expected|, of the unit or of what is expected, whichever is more."""
        return np.asarray(np.abs(self.found - self.expected) / np.maximum(self.unit, np.abs(self.expected)))

    @property
    def check(self) -> str:
        """Name of the condition."""
        return self.rule.check


def measure(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> tuple[Comparison, ...]:
    """Every optimality condition at this point, in the order flows, prices, limits, responses, hub, gap."""
    return measure_point(Network(feeder), conditions, point(primal, duals))


def measure_point(network: Network, conditions: Conditions, at: Point) -> tuple[Comparison, ...]:
    """The same for who measures often."""
    above = at.buses[:3].take(network.parent, axis=2)
    p, q, current, drop, sigma, *_ = at.lines
    leaving = network.leaving(np.array((p, q, drop + current * sigma)))
    unit = _price_unit(at)
    return (
        *_flows(network, conditions, at, above[0], leaving),
        *_stationarity(network, at, above, leaving[2], unit),
        *_limits(network, at, unit),
        *_responses(network, conditions, at, unit),
        *(_storages(conditions, at) if conditions.storages.count else ()),
        *_hub(network, conditions, at),
        _gap(network, conditions, at),
    )


def residual(comparisons: Iterable[Comparison]) -> float:
    """Largest error of the first-order conditions, each in its unit."""
    first_order = (each for each in comparisons if each.check not in GLOBAL and each.found.size)
    return max((float(each.error.max()) for each in first_order), default=0.0)


def broken(
    comparisons: Iterable[Comparison], *, finished: bool
) -> list[tuple[Comparison, npt.NDArray[np.bool_]]]:
    """Conditions that do not hold, with where, periods × places."""
    by_shape: dict[tuple[int, ...], list[Comparison]] = {}
    for each in comparisons:
        by_shape.setdefault(each.found.shape, []).append(each)
    found = []
    for shape, alike in by_shape.items():
        holds = _hold(alike, shape, finished=finished)
        if not holds.all():
            found += [(each, ~of) for each, of in zip(alike, holds, strict=True) if not of.all()]
    return found


def _hold(alike: list[Comparison], shape: tuple[int, ...], *, finished: bool) -> npt.NDArray[np.bool_]:
    """Whether conditions of one shape hold, conditions × periods × places."""
    size = np.empty((len(alike), shape[0], 1))
    error, expected = np.empty((2, len(alike), *shape))
    for i, each in enumerate(alike):
        size[i] = each.rule.floor * each.unit if finished else each.unit
        expected[i] = each.expected
        error[i] = each.found
    tolerances = [0.0 if each.rule.tolerance == 0 else FINISHED_TOLERANCE for each in alike]
    if not finished:
        tolerances = [each.rule.tolerance for each in alike]
    error -= expected
    allowed = np.maximum(np.abs(expected, out=expected), size, out=expected)
    allowed *= np.array(tolerances)[:, None, None]
    # what is not a number is below nothing, and what is infinite allows nothing
    return np.asarray((np.abs(error, out=error) <= allowed) & (allowed < np.inf))


def costs(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """Objective by period, €/h per pu of base: hub, devices, storages, shedding, tie-break."""
    hub, devices = conditions.hub, conditions.devices
    m, g, d, t = primal.net_import, primal.gen, primal.load, primal.elastic
    device = g * (devices.gen_cost + devices.gen_slope * g / 2)
    device -= d * (devices.load_value - devices.load_slope * d / 2)
    elastic = t * (tie_break_centre(conditions)[:, None] + t / (2 * tie_break_share(feeder)))
    elastic += shed_cost(conditions) * primal.shed
    total = hub.import_price * np.maximum(m, 0) + hub.export_price * np.minimum(m, 0)
    total += device.sum(axis=1) + elastic.sum(axis=1)
    if conditions.storages.count:
        total += wear_cost(conditions.storages, primal.charge, primal.discharge).sum(axis=1)
        total[-1] -= value_left(conditions, primal.energy)
    return np.asarray(total)


def value_left(conditions: Conditions, energy: Floats) -> float:
    """What is stored after the last period is worth, €/h per pu of base."""
    return float((conditions.storages.final_value * energy[-1]).sum() / conditions.hours)


def injections(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """T_b = Σ_{k at b} (g − d + discharge − charge), periods × buses, pu."""
    net = primal.gen - primal.load
    by_bus = _by_bus(feeder.buses, conditions.devices.bus, net)
    if conditions.storages.count:
        by_bus += _by_bus(feeder.buses, conditions.storages.bus, primal.discharge - primal.charge)
    return by_bus


def _by_bus(buses: int, bus: Ints, power: Floats) -> Floats:
    """Sums by bus of columns at `bus`, periods × buses."""
    place = (buses * np.arange(len(power))[:, None] + bus).ravel()
    sums = np.bincount(place, power.ravel(), len(power) * buses)
    return np.asarray(sums.reshape(len(power), buses), dtype=np.float64)


def _flows(
    network: Network, conditions: Conditions, at: Point, v_above: Floats, leaving: Floats
) -> tuple[Comparison, ...]:
    """Power balances, voltage drops and the current's definition."""
    p, q, current, *_ = at.lines
    v, _, _, shed, elastic = at.buses
    gen, load = at.devices
    served = 1 - shed
    arriving = p - network.r * current + elastic
    arriving += _by_bus(network.feeder.buses, conditions.devices.bus, gen - load)
    if conditions.storages.count:
        charge, discharge, *_ = at.storages
        arriving += _by_bus(network.feeder.buses, conditions.storages.bus, discharge - charge)
    arriving[:, 0] += at.net_import
    arriving_q = q - network.x * current
    taken_q = conditions.fixed_q * served + leaving[1]
    taken_q[:, 0] = arriving_q[:, 0]  # the substation compensates
    dropped = v_above - network.r2 * p - network.x2 * q + network.z2 * current
    dropped[:, 0] = network.feeder.v0**2
    return (
        Comparison(RULES["balance-active"], arriving, conditions.fixed_p * served + leaving[0]),
        Comparison(RULES["balance-reactive"], arriving_q, taken_q),
        Comparison(RULES["voltage-drop"], v, dropped),
        Comparison(RULES["cone"], current * v_above, p * p + q * q),
    )


def _stationarity(
    network: Network, at: Point, above: Floats, below: Floats, unit: Floats
) -> tuple[Comparison, ...]:
    """The network's four equations between prices; `below` sums ξ + lσ over the lines that leave a bus."""
    p, q, _, drop, sigma, v_low, v_high, rent = at.lines
    _, price, reactive, *_ = at.buses
    v_above, price_above, reactive_above = above
    twice = 2 * sigma
    by_q = reactive_above - network.x2 * drop - q * twice
    by_q[:, 0] = 0.0  # λq_0 = 0
    by_v = below + v_high - v_low
    by_v[:, 0] = drop[:, 0]  # v_0 is given
    by_l = network.r * price + network.x * reactive + network.z2 * drop + rent
    return (
        Comparison(RULES["stationarity-p"], price, price_above - network.r2 * drop - p * twice, unit),
        Comparison(RULES["stationarity-q"], reactive, by_q, unit),
        Comparison(RULES["stationarity-l"], -v_above * sigma, by_l, unit),
        Comparison(RULES["stationarity-v"], drop, by_v, unit),
    )


def _limits(network: Network, at: Point, unit: Floats) -> tuple[Comparison, ...]:
    """Limits and what holds them: neither is below 0, and one of them is 0; σ ≤ 0."""
    _, _, current, _, sigma, v_low, v_high, rent = at.lines
    v, weight = at.buses[0], 1.0 / unit
    met = np.zeros_like(v)
    return (
        Comparison(RULES["limit-v-low"], np.minimum(v - network.v_low, weight * v_low), met),
        Comparison(RULES["limit-v-high"], np.minimum(network.v_high - v, weight * v_high), met),
        Comparison(RULES["limit-current"], np.minimum(network.rating - current, weight * rent), met),
        Comparison(RULES["sign-cone"], np.maximum(sigma, 0.0), met, unit),
    )


def _responses(network: Network, conditions: Conditions, at: Point, unit: Floats) -> tuple[Comparison, ...]:
    """Tie-break, shedding and devices are best responses to the prices."""
    devices = conditions.devices
    _, price, reactive, shed, elastic = at.buses
    tie_break = tie_break_centre(conditions)[:, None] + elastic / tie_break_share(network.feeder)
    cost = shed_cost(conditions)
    worth = price * conditions.fixed_p + reactive * conditions.fixed_q - cost
    # of a bus without load there is nothing to shed
    per_share = conditions.voll / (np.maximum(cost, TINY) * unit)
    some = np.sign(cost)
    at_device = price.take(devices.bus, axis=1)
    per_price = 1.0 / np.maximum(np.abs(at_device), 1.0)
    gen, load = at.devices
    sold = (at_device - devices.gen_cost - devices.gen_slope * gen) * per_price
    used = (devices.load_value - devices.load_slope * load - at_device) * per_price
    return (
        Comparison(RULES["tie-break"], tie_break, price),
        Comparison(RULES["response-shed"], shed, _within(shed + worth * per_share, 0.0, some)),
        Comparison(RULES["response-generation"], gen, _within(gen + sold, 0.0, devices.gen_max)),
        Comparison(RULES["response-load"], load, _within(load + used, devices.load_min, devices.load_max)),
    )


def _storages(conditions: Conditions, at: Point) -> tuple[Comparison, ...]:
    """States, one direction at a time, and best responses to λ and θ."""
    storages = conditions.storages
    charge, discharge, energy, theta = at.storages
    before = np.vstack([storages.energy_start, energy[:-1]])
    expected = before + change(storages, charge, discharge, conditions.hours) - storages.drain
    price = at.buses[1].take(storages.bus, axis=1)
    per_price = 1.0 / np.maximum(np.maximum(np.abs(price), np.abs(theta)), 1.0)
    taking = storages.charge_efficiency * theta - price - storages.wear - storages.wear_slope * charge
    giving = price - theta / storages.discharge_efficiency - storages.wear - storages.wear_slope * discharge
    later = np.vstack([theta[1:], storages.final_value])
    takes = _within(charge + taking * per_price, 0.0, storages.charge_max)
    gives = _within(discharge + giving * per_price, 0.0, storages.discharge_max)
    keeps = _within(energy + (later - theta) * per_price, storages.energy_min, storages.energy_max)
    # one direction being used, the other may not be, whatever it would pay
    takes_alone = np.where(discharge > OVERLAP_PU, np.minimum(takes, charge), takes)
    gives_alone = np.where(charge > OVERLAP_PU, np.minimum(gives, discharge), gives)
    overlap = np.maximum(takes - takes_alone, gives - gives_alone)
    return (
        Comparison(RULES["state-of-charge"], energy, expected),
        Comparison(RULES["one-direction"], np.minimum(charge, discharge), np.zeros_like(charge)),
        Comparison(RULES["response-charge"], charge, takes_alone),
        Comparison(RULES["response-discharge"], discharge, gives_alone),
        Comparison(RULES["response-overlap"], overlap, np.zeros_like(overlap)),
        Comparison(RULES["response-energy"], energy, keeps),
    )


def _hub(network: Network, conditions: Conditions, at: Point) -> tuple[Comparison, ...]:
    """λ_0 at the end of the hub's range that the import selects; the tie-break breaks ties and no more."""
    hub, hub_price = conditions.hub, at.buses[1][:, 0]
    size = np.maximum(np.abs(hub_price), 1.0)
    right = _within(hub_price + SWITCH * size * at.net_import, hub.export_price, hub.import_price)
    # a feeder that cannot serve what it must is served by the tie-break, at prices beyond all reason
    served = np.abs(at.buses[4]).sum(axis=1)
    most = TIE_BREAK_VOLL * conditions.voll * tie_break_share(network.feeder) * network.feeder.buses
    return (
        Comparison(RULES["hub-rule"], hub_price[:, None], right[:, None]),
        Comparison(RULES["tie-break-energy"], served[:, None], np.minimum(served, most)[:, None]),
    )


def _gap(network: Network, conditions: Conditions, at: Point) -> Comparison:
    """Cost against the dual function, by period; the rank-one multipliers make it a lower bound."""
    cost, bound = costs(network.feeder, conditions, at.primal), dual_bound(network, conditions, at)
    price = at.buses[1]
    traded = np.abs(price.take(conditions.devices.bus, axis=1)) * at.devices.sum(axis=0)
    turnover = 1 + traded.sum(axis=1) + np.abs(price * conditions.fixed_p).sum(axis=1)
    if conditions.storages.count:
        charge, discharge, energy, _ = at.storages
        cost[-1] += value_left(conditions, energy)
        at_storage = np.abs(price.take(conditions.storages.bus, axis=1))
        turnover += (at_storage * (charge + discharge)).sum(axis=1)
    return Comparison(RULES["gap"], cost[:, None], bound[:, None], turnover[:, None])


def _within(values: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """min(max(values, low), high)."""
    return np.asarray(np.minimum(np.maximum(values, low), high))


def _price_unit(at: Point) -> Floats:
    """Largest price of each period, at least 1 €/MWh, periods × 1."""
    return np.asarray(np.maximum(1.0, np.abs(at.buses[1]).max(axis=1, keepdims=True)))
