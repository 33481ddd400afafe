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

from collections.abc import Collection, Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.pricing.bound import Terms, cost_and_bound, gains
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.given import Given, given
from market.pricing.network import Network, sum_by_bus
from market.pricing.point import Point, point
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.pricing.storages import change, overlap_price, wear_cost
from market.units import Floats

Flags = npt.NDArray[np.bool_]

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
REGRET_TOLERANCE = 1e-4
"""Of 1 € + turnover. Linear units at the price to PRICE_TOLERANCE may be anywhere between their bounds: room
for five times the turnover of them."""
FINISHED_TOLERANCE = 1e-11
"""Newton's answers, which end at the arithmetic's last digits: about 1e-15. Large feeders lose two digits."""
FLOOR = 1e-2
"""Of a unit. What is smaller is held to this size's tolerance: the last digits of larger terms are in it."""
LIKE_TERMS_FLOOR = 1e-4
"""The same where all terms of a condition are of the size of what they determine."""
VOLTAGE_FLOOR = 1e-3
"""The same of prices of voltage: with FINISHED_TOLERANCE no less than the residual at which Newton ends."""

OVERLAP_PU = 1e-6
"""Both directions of a storage above this are an overlap."""

STORAGE_CONDITIONS = 6
"""Rules of storages below."""
LARGEST_ALLOWED = 1e30
"""No error is as large as this, whatever it is compared with."""
TIE_BREAK_VOLL = 3.0
"""Average distance of prices from c, in VOLL, up to which the tie-break is believed to only break ties."""
SWITCH = PRICE_TOLERANCE / BALANCE_TOLERANCE
"""What 1 pu of import counts as in the hub rule, in prices, so that both tolerances bind alike."""


class Unit(IntEnum):
    """What a condition is measured in: 1 pu, pu², pu·h or €/MWh; the period's largest price; its turnover."""

    ONE = 0
    PRICE = 1
    TURNOVER = 2


class Rule(NamedTuple):
    """One condition: what its places are, its tolerance, its unit, and its floor for finished answers.

    It holds where |found − expected| ≤ tolerance × max(unit, |expected|); of a finished answer, where
    |found − expected| ≤ FINISHED_TOLERANCE × max(floor × unit, |expected|).
    """

    check: str
    place: str
    tolerance: float
    unit: Unit = Unit.ONE
    floor: float = FLOOR


ONE_DIRECTION = "one-direction"
"""The condition that no storage charges and discharges at once: `finish` sees to it, period by period."""

SERVED = "tie-break-energy"
"""The condition that firm devices are served by more than the tie-break: of the feeder, not of the point."""

REGRET = "regret"
"""The condition that nobody's wrong answers add up: many units below RESPONSE_TOLERANCE are one large one."""

RULES = (
    Rule("balance-active", "bus", BALANCE_TOLERANCE),
    Rule("balance-reactive", "bus", NETWORK_TOLERANCE),
    Rule("voltage-drop", "bus", NETWORK_TOLERANCE),
    Rule("cone", "line", CONE_TOLERANCE, floor=LIKE_TERMS_FLOOR),
    Rule("stationarity-p", "line", STATIONARITY_TOLERANCE, Unit.PRICE),
    Rule("stationarity-q", "line", STATIONARITY_TOLERANCE, Unit.PRICE),
    Rule("stationarity-l", "line", STATIONARITY_TOLERANCE, Unit.PRICE),
    Rule("stationarity-v", "line", STATIONARITY_TOLERANCE, Unit.PRICE, VOLTAGE_FLOOR),
    Rule("limit-v-low", "bus", LIMIT_TOLERANCE),
    Rule("limit-v-high", "bus", LIMIT_TOLERANCE),
    Rule("limit-current", "line", LIMIT_TOLERANCE),
    Rule("sign-cone", "line", PRICE_TOLERANCE, Unit.PRICE),
    Rule("response-generation", "device", RESPONSE_TOLERANCE),
    Rule("response-load", "device", RESPONSE_TOLERANCE),
    Rule("response-shed", "bus", RESPONSE_TOLERANCE),
    Rule("tie-break", "bus", RESPONSE_TOLERANCE),
    Rule("state-of-charge", "storage", NETWORK_TOLERANCE),
    Rule(ONE_DIRECTION, "storage", OVERLAP_PU),
    Rule("response-charge", "storage", RESPONSE_TOLERANCE),
    Rule("response-discharge", "storage", RESPONSE_TOLERANCE),
    Rule("response-energy", "storage", RESPONSE_TOLERANCE),
    Rule("response-overlap", "storage", RESPONSE_TOLERANCE),
    Rule("hub-rule", "period", PRICE_TOLERANCE),
    Rule(SERVED, "period", 0.0, floor=0.0),
    Rule(REGRET, "period", REGRET_TOLERANCE, Unit.TURNOVER, 1.0),
    Rule("gap", "period", GAP_TOLERANCE, Unit.TURNOVER, 1.0),
)
"""Every condition, in the order in which they are measured."""
NOT_CONVEX = frozenset({"sign-cone", "response-overlap"})
"""Conditions that fail only where the problem is not convex at the point."""
GLOBAL = NOT_CONVEX | {"gap"}
"""Conditions that make a point that meets all the others the global optimum instead of a local one."""

_UNITS = np.array([rule.unit for rule in RULES])
_FLOORS = np.array([rule.floor for rule in RULES])[:, None]
_TOLERANCES = np.array([rule.tolerance for rule in RULES])

Sides = tuple[Floats, Floats]
"""What is found and what is expected: conditions × periods × places, each."""


class Comparison(NamedTuple):
    """One condition over all periods and places, found and expected periods × places; unit: periods × 1."""

    rule: Rule
    found: Floats
    expected: Floats
    unit: Floats

    @property
    def error(self) -> Floats:
        """|found − expected|, of the unit or of what is expected, whichever is more."""
        return np.asarray(np.abs(self.found - self.expected) / np.maximum(self.unit, np.abs(self.expected)))

    @property
    def check(self) -> str:
        """Name of the condition."""
        return self.rule.check


class Measured:
    """All conditions at a point; `units` by Unit, units × periods."""

    def __init__(self, sides: Sequence[Sides], units: Floats) -> None:
        self._sides, self._units = sides, units

    def comparisons(self) -> tuple[Comparison, ...]:
        """The conditions one by one."""
        found = [row for side, _ in self._sides for row in side]
        expected = [row for _, side in self._sides for row in side]
        units = self._units[_UNITS][:, :, None]
        return tuple(Comparison(*each) for each in zip(RULES, found, expected, units, strict=True))

    def hold(self, *, finished: bool) -> bool:
        """Whether every condition does, compared all at once: one by one takes longer than they are worth."""
        return bool(self._holds(finished).all())

    def broken(self, *, finished: bool) -> list[tuple[Comparison, Flags]]:
        """Conditions that do not hold, with where, periods × places."""
        holds, at, found = self._holds(finished), 0, []
        for comparison in self.comparisons():
            shape, size = comparison.found.shape, comparison.found.size
            here = ~holds[at : at + size].reshape(shape)
            at += size
            if here.any():
                found.append((comparison, here))
        return found

    def wrong(self) -> tuple[bool, list[tuple[Comparison, Flags]]]:
        """Whether the point is finished, and what does not hold of it by that measure.

        What only keeps a finished point from being the global optimum does not make it less finished: σ a
        thousandth of a price above 0 is no solver's noise there.
        """
        exactly = self.broken(finished=True)
        if {each.check for each, _ in exactly} <= GLOBAL:
            return True, exactly
        return False, self.broken(finished=False)

    def _holds(self, finished: bool) -> Flags:
        found = np.concatenate([one.ravel() for one, _ in self._sides])
        expected = np.concatenate([other.ravel() for _, other in self._sides])
        units = self._units.take(_UNITS, axis=0)
        rows = _rows(tuple(one.shape for one, _ in self._sides))
        found -= expected
        allowed = np.abs(expected, out=expected)
        if finished:
            np.maximum(allowed, (units * _FLOORS).take(rows), out=allowed)
            allowed *= FINISHED_TOLERANCE
        else:
            np.maximum(allowed, units.take(rows), out=allowed)
            allowed *= _TOLERANCES.repeat(units.shape[1]).take(rows)
        # what is not a number is below nothing, and what is beyond all bounds allows nothing
        np.minimum(allowed, LARGEST_ALLOWED, out=allowed)
        return np.asarray(np.abs(found, out=found) <= allowed)


@lru_cache(maxsize=8)
def _rows(shapes: tuple[tuple[int, ...], ...]) -> npt.NDArray[np.intp]:
    """Which condition and period each entry of the sides is of, one after the other."""
    places = [places for conditions, periods, places in shapes for _ in range(conditions * periods)]
    return np.arange(len(places)).repeat(places)


def measure(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> tuple[Comparison, ...]:
    """Every optimality condition at this point, in the order of RULES."""
    return measure_point(Network(feeder), given(feeder, conditions), point(primal, duals)).comparisons()


def measure_point(network: Network, has: Given, at: Point) -> Measured:
    """The same for who measures often."""
    above = at.buses[:3].take(network.parent, axis=2)
    terms = _terms(network, has, at)
    largest = np.maximum(np.maximum.reduce(np.abs(at.buses[1]), axis=1), 1.0)
    regret, gap, turnover = _sums(network, has, at, terms)
    sides = (
        *_flows(network, has, at, terms, above[0]),
        *_stationarity(network, at, terms, above),
        *_limits(network, at, largest),
        *_responses(has, terms),
        _storages(has, at),
        *_hub(has, at),
        regret,
        gap,
    )
    return Measured(sides, np.array((np.ones_like(largest), largest, turnover)))


def _terms(network: Network, has: Given, at: Point) -> Terms:
    """What several conditions share."""
    p, q, current, drop, sigma, *_ = at.lines
    pays = np.add.reduce(at.buses[1:3] * has.fixed, axis=0)
    amount = has.amounts(at)
    return Terms(
        leaving=network.leaving(np.array((p, q, drop + current * sigma))),
        impedance_current=network.impedance * current,
        pays=pays,
        price=has.prices(at.buses[1:3]),
        amount=amount,
        curve=has.slope * amount,
    )


def unexcused(wrong: Collection[str], *, apart: Collection[str] = ()) -> set[str]:
    """Of the checks that fail, those that a stationary point must meet; `apart` are set aside.

    Only where the problem is not convex at a point may it be no global optimum: where no σ is above 0 and no
    storage would do two things at once, a gap is an error like others.
    """
    excused = GLOBAL if NOT_CONVEX & set(wrong) else frozenset()
    return set(wrong) - excused - set(apart)


def residual(comparisons: Iterable[Comparison]) -> float:
    """Largest error of the first-order conditions, each in its unit; regret is the sum of responses'."""
    apart = GLOBAL | {SERVED, REGRET}
    first_order = (each for each in comparisons if each.check not in apart and each.found.size)
    return max((float(each.error.max()) for each in first_order), default=0.0)


def costs(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """Objective by period, €/h per pu of base: hub, devices, storages, shedding, tie-break."""
    devices, hub, imported = conditions.devices, conditions.hub, primal.net_import
    total = imported * np.where(imported > 0, hub.import_price, hub.export_price)
    total += (primal.gen * (devices.gen_cost + devices.gen_slope / 2 * primal.gen)).sum(axis=1)
    total += (primal.load * (devices.load_slope / 2 * primal.load - devices.load_value)).sum(axis=1)
    total += (primal.shed * shed_cost(conditions)).sum(axis=1)
    per_elastic = tie_break_centre(conditions)[:, None] + primal.elastic / (2 * tie_break_share(feeder))
    total += (primal.elastic * per_elastic).sum(axis=1)
    if conditions.storages.count:
        total += wear_cost(conditions.storages, primal.charge, primal.discharge).sum(axis=1)
        total[-1] -= (conditions.storages.final_value * primal.energy[-1]).sum() / conditions.hours
    return np.asarray(total)


def injections(feeder: Feeder, conditions: Conditions, primal: Primal) -> Floats:
    """T_b = Σ_{k at b} (g − d + discharge − charge), periods × buses, pu."""
    by_bus = sum_by_bus(feeder.buses, conditions.devices.bus, primal.gen - primal.load)
    if conditions.storages.count:
        by_bus += sum_by_bus(feeder.buses, conditions.storages.bus, primal.discharge - primal.charge)
    return by_bus


def _flows(network: Network, has: Given, at: Point, terms: Terms, v_above: Floats) -> tuple[Sides, ...]:
    """Power balances, voltage drops and the current's definition."""
    v, _, _, shed, elastic = at.buses
    gen, load = at.devices
    flows = at.lines[:2]
    served = has.fixed - has.firm * shed
    served += terms.leaving[:2]
    arriving = flows - terms.impedance_current[:2]
    arriving[0] += elastic
    arriving[0] += sum_by_bus(network.feeder.buses, has.bus, gen - load)
    if has.storages.count:
        charge, discharge, *_ = at.storages
        arriving[0] += sum_by_bus(network.feeder.buses, has.storages.bus, discharge - charge)
    arriving[0, :, 0] += at.net_import
    arriving[1, :, 0] = served[1, :, 0]  # the substation compensates
    dropped = v_above - np.add.reduce(network.twice * flows, axis=0)
    dropped += terms.impedance_current[2]
    dropped[:, 0] = network.feeder.v0**2
    current = at.lines[2]
    return (
        (arriving, served),
        (v[None], dropped[None]),
        ((current * v_above)[None], np.add.reduce(flows * flows, axis=0)[None]),
    )


def _stationarity(network: Network, at: Point, terms: Terms, above: Floats) -> tuple[Sides, ...]:
    """The network's four equations between prices; `above` is v, λ and λq at the sending ends."""
    _, _, _, drop, sigma, v_low, v_high, rent = at.lines
    prices = at.buses[1:3]
    by_flow = above[1:] - network.twice * drop
    by_flow -= at.lines[:2] * (2 * sigma)
    by_flow[1, :, 0] = 0.0  # λq_0 = 0
    by_current = np.add.reduce(network.impedance[:2] * prices, axis=0)
    by_current += network.impedance[2] * drop
    by_current += rent
    by_voltage = terms.leaving[2] + v_high
    by_voltage -= v_low
    by_voltage[:, 0] = drop[:, 0]  # v_0 is given
    return (
        (prices, by_flow),
        ((-above[0] * sigma)[None], by_current[None]),
        (drop[None], by_voltage[None]),
    )


def _limits(network: Network, at: Point, largest: Floats) -> tuple[Sides, ...]:
    """Limits and what holds them: neither is below 0, and one of them is 0; σ ≤ 0."""
    v, current, sigma = at.buses[0], at.lines[2], at.lines[4]
    met = at.lines[5:] / largest[:, None]
    for each, slack in zip(
        met, (v - network.v_low, network.v_high - v, network.rating - current), strict=True
    ):
        np.minimum(each, slack, out=each)
    return (met, np.zeros_like(met)), (sigma[None], np.minimum(sigma, 0.0)[None])


def _responses(has: Given, terms: Terms) -> tuple[Sides, ...]:
    """Agents do what is best for them at the prices, the tie-break among them."""
    best = terms.price - has.cost
    best -= terms.curve
    best /= np.maximum(np.maximum(np.abs(terms.price), np.abs(has.cost)), 1.0)
    best += terms.amount
    return tuple(zip(has.by_kind(terms.amount), has.by_kind(_within(best, has.low, has.high)), strict=True))


def _storages(has: Given, at: Point) -> Sides:
    """States, one direction at a time, and best responses to λ and θ."""
    storages = has.storages
    if not storages.count:
        nothing = np.zeros((STORAGE_CONDITIONS, len(at.net_import), 0))
        return nothing, nothing
    charge, discharge, energy, theta = at.storages
    before = np.vstack([storages.energy_start, energy[:-1]])
    expected = before + change(storages, charge, discharge, has.hours) - storages.drain
    price = at.buses[1].take(storages.bus, axis=1)
    per_price = 1.0 / np.maximum(np.maximum(np.abs(price), np.abs(theta)), 1.0)
    taking = storages.charge_efficiency * theta - price - storages.wear - storages.wear_slope * charge
    giving = price - theta / storages.discharge_efficiency - storages.wear - storages.wear_slope * discharge
    later = np.vstack([theta[1:], storages.final_value])
    takes = _within(charge + taking * per_price, 0.0, storages.charge_max)
    gives = _within(discharge + giving * per_price, 0.0, storages.discharge_max)
    keeps = _within(energy + (later - theta) * per_price, storages.energy_min, storages.energy_max)
    # one direction being used, the other may not be, whatever it would pay
    # nor, where both at once would pay, need an idle one answer in more than the direction it was given
    idle = (price < overlap_price(storages)) & (np.maximum(charge, discharge) <= OVERLAP_PU)
    gives_more = gives - discharge > takes - charge
    takes_alone = np.where((discharge > OVERLAP_PU) | (idle & ~gives_more), np.minimum(takes, charge), takes)
    gives_alone = np.where((charge > OVERLAP_PU) | (idle & gives_more), np.minimum(gives, discharge), gives)
    overlap = np.maximum(takes - takes_alone, gives - gives_alone)
    none = np.zeros_like(charge)
    return (
        np.array((energy, np.minimum(charge, discharge), charge, discharge, energy, overlap)),
        np.array((expected, none, takes_alone, gives_alone, keeps, none)),
    )


def _hub(has: Given, at: Point) -> tuple[Sides, ...]:
    """λ_0 at the end of the hub's range that the import selects; the tie-break breaks ties and no more."""
    hub_price = at.buses[1, :, 0]
    pull = SWITCH * np.maximum(np.abs(hub_price), 1.0) * at.net_import
    right = _within(hub_price + pull, has.export_price, has.import_price)
    # a feeder that cannot serve what it must is served by the tie-break, at prices beyond all reason
    served = np.add.reduce(np.abs(at.buses[4]), axis=1)
    beyond = np.maximum(served - TIE_BREAK_VOLL * has.most_tie_break, 0.0)
    none = np.zeros((1, len(beyond), 1))
    return (hub_price[None, :, None], right[None, :, None]), (beyond[None, :, None], none)


def _sums(network: Network, has: Given, at: Point, terms: Terms) -> tuple[Sides, Sides, Floats]:
    """Agents' gain against the most at these prices, cost against the dual function, and 1 € + turnover.

    The rank-one multipliers make the dual function a lower bound.
    """
    income = terms.price * terms.amount
    agents = gains(has, terms, income)
    spent, bound = cost_and_bound(network, has, at, terms, agents)
    turnover = 1 + np.add.reduce(np.abs(income), axis=1)
    turnover += np.add.reduce(np.abs(terms.pays), axis=1)
    if has.storages.count:
        moved = sum_by_bus(network.feeder.buses, has.storages.bus, at.storages[0] + at.storages[1])
        turnover += (np.abs(at.buses[1]) * moved).sum(axis=1)
    regret = agents.gained[None, :, None], agents.most[None, :, None]
    return regret, (spent[None, :, None], bound[None, :, None]), turnover


def _within(values: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """min(max(values, low), high)."""
    return np.minimum(np.maximum(values, low), high, out=values)
