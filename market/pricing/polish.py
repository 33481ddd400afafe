"""Newton on the exact branch-flow optimality system, from an interior-point answer to machine precision.

An interior point stops with every bound a little off and prices right to about 1e-6. Which bounds
hold is clear by then: they are pinned, the rest is a square system in powers and prices
(`stationarity`). What leaves its bounds is pinned, what is pinned by a multiplier of the wrong sign is
freed, until neither happens: all of them at once, which is quick; where that leads nowhere, as it may where
a bus that sheds nearly all is at a voltage limit, once more from the start and one by one, first what the
solver's point held least clearly. The multipliers of pinned variables are what is left of their gradient.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import structural_rank
from scipy.sparse.linalg import splu

from market.pricing.branchflow import NetworkProblem
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.stationarity import FREE, HIGH, LOW, Coupled, Period, Pins, Point, System
from market.units import Floats, Ints

NEWTON_STEPS = 12
ACTIVE_SET_ROUNDS = 12
ONE_BY_ONE_ROUNDS = 60
SETTLED = 1e-12
"""Newton ends when a step is below this share of the unknowns."""
STALLED = 1e-9
"""It ends below this share too where a step is no shorter than the last: there are no more digits."""
TOUCHING = 1e-15
"""Share of its range that what is at a bound has left of it at least."""
OUTSIDE = 1e-10
"""pu beyond a bound, or share of the largest price on the wrong side of 0, that changes what is pinned."""


def stationary(
    problem: NetworkProblem, conditions: Conditions, primal: Primal, duals: Duals, *, patient: bool = False
) -> tuple[Primal, Duals] | None:
    """The point of the true power flow that Newton and active set reach from a point near it.

    One period, or several that storages couple. It meets the first-order conditions to about 1e-14. None
    where they do not settle; `patient` tries one pin at a time before.
    """
    coupled = conditions.storages.count > 0
    system = Coupled(problem, conditions) if coupled else Period(problem, conditions)
    return _polish(system, primal, duals, patient=patient)


def _polish(system: System, primal: Primal, duals: Duals, *, patient: bool) -> tuple[Primal, Duals] | None:
    """Newton and active set in turn; None where they do not settle."""
    start, clearness = _start(system, primal, duals)
    ways = ((ACTIVE_SET_ROUNDS, None), (ONE_BY_ONE_ROUNDS, clearness))
    for rounds, one_by_one in ways if patient else ways[:1]:
        point = start
        for _ in range(rounds):
            solved = _newton(system, point)
            if solved is None:
                break
            point = _repin(system, solved, one_by_one)
            if point is solved:
                return system.read(point)
    return None


def _start(system: System, primal: Primal, duals: Duals) -> tuple[Point, Floats]:
    """Pin what its multiplier holds more strongly, in shares of its scale, than its slack lets it go.

    With it how many times more strongly: what is pinned most clearly.
    """
    hub, imported, price = system.conditions.hub, primal.net_import, duals.price
    scale = max(1.0, float(np.abs(price).max()))
    x, w, weight = system.start(primal, duals)
    inside = np.minimum(hub.import_price - price[:, 0], price[:, 0] - hub.export_price) / scale
    signs = np.where(inside > np.abs(imported), 0, np.where(imported > 0, 1, -1))
    point = Point(x, w, np.zeros(len(x), dtype=np.int8), signs)
    held = system.gradient(point) / weight
    with np.errstate(invalid="ignore", divide="ignore"):
        span = np.where(np.isfinite(system.high - system.low), system.high - system.low, system.high)
        low, high = (x - system.low) / span, (system.high - x) / span
    pins = np.where(held > low, LOW, np.where(-held > high, HIGH, FREE)).astype(np.int8)
    pins[system.low == system.high] = LOW
    slack = np.where(pins == LOW, low, high)
    return replace(point, pins=_pin_hub(system, pins, signs)), np.abs(held) / np.maximum(slack, TOUCHING)


def _pin_hub(system: System, pins: Pins, signs: Ints) -> Pins:
    """Imports are pinned, at 0, where the feeder balances itself."""
    pins[system.imports] = np.where(signs == 0, LOW, FREE)
    return pins


def _newton(system: System, point: Point) -> Point | None:
    """Solve the square system for the present pins; None where it is singular or does not settle."""
    size = len(point.x)
    pinned = point.pins != FREE
    bound = np.where(point.pins == LOW, system.low, system.high)
    bound[system.imports] = 0.0
    unmoved = system.unmoved(point.pins)
    keep, hold = sp.diags_array((~pinned).astype(float)), sp.diags_array(pinned.astype(float))
    before = np.inf
    for _ in range(NEWTON_STEPS):
        jacobian = system.jacobian(point.x)
        rows, prices = jacobian, sp.csr_array((len(point.w),) * 2)
        if unmoved.any():
            prices = sp.csr_array(sp.diags_array(unmoved.astype(float)))
            rows = sp.csr_array(sp.diags_array((~unmoved).astype(float)) @ jacobian)
        top = keep @ sp.hstack([system.hessian(point), -jacobian.T]) + sp.hstack(
            [hold, sp.csr_array((size, len(point.w)))]
        )
        matrix = sp.vstack([top, sp.hstack([rows, prices])], format="csc")
        left = np.where(pinned, np.where(pinned, point.x - bound, 0.0), system.gradient(point))
        step = _solve(matrix, np.r_[left, np.where(unmoved, 0.0, system.imbalance(point.x))])
        if step is None:
            return None
        point = replace(point, x=point.x - step[:size], w=point.w - step[size:])
        length = max(_share(step[:size], point.x), _share(step[size:], point.w))
        if length <= SETTLED or before <= length <= STALLED:
            return replace(point, x=np.where(pinned, bound, point.x))
        before = length
    return None


def _solve(matrix: sp.csc_array, right: Floats) -> Floats | None:
    """matrix⁻¹·right; None where the matrix is singular.

    Where everything that an equation touches is pinned, its price has an empty column, and SuperLU then
    reads memory that it never wrote (its issue 33): such a matrix must not reach it.
    """
    if structural_rank(matrix) < matrix.shape[0]:
        return None
    try:
        found = splu(matrix).solve(right)
    except RuntimeError:  # SuperLU's word for a singular matrix
        return None
    return np.asarray(found) if np.all(np.isfinite(found)) else None


def _share(step: Floats, of: Floats) -> float:
    """Length of a step as a share of the unknowns that it moves."""
    return float(np.abs(step).max()) / max(1.0, float(np.abs(of).max()))


def _repin(system: System, point: Point, clearness: Floats | None) -> Point:
    """Pin what left its bounds, free what a multiplier of the wrong sign holds; the same point if none.

    With `clearness` one alone: the least clear of those to be freed, or what is furthest out where all hold.
    """
    held = system.gradient(point)
    wrong = OUTSIDE * max(1.0, float(np.abs(point.w[system.prices]).max()))
    free = point.pins == FREE
    beyond = np.where(free, np.maximum(system.low - point.x, point.x - system.high), 0.0)
    # a LOW is held by a force upwards, a HIGH by one downwards
    loose = (held * point.pins > wrong) & (system.low < system.high)
    out = beyond > OUTSIDE
    if clearness is not None:
        out &= (beyond == beyond.max()) & ~loose.any()
        loose &= clearness == clearness[loose].min(initial=np.inf)
    pins = point.pins.copy()
    pins[out] = np.where(point.x < system.low, LOW, HIGH)[out]
    pins[loose] = FREE
    signs = _hub_signs(system, point, wrong)
    pins = _pin_hub(system, pins, signs)
    if np.array_equal(signs, point.hub) and np.array_equal(pins, point.pins):
        return point
    return replace(point, pins=pins, hub=signs)


def _hub_signs(system: System, point: Point, wrong: float) -> Ints:
    """Import, export or balance, from what the hub rule says about the point."""
    hub, price = system.conditions.hub, point.w[system.hub_prices]
    imported = point.x[system.imports]
    leaves = np.where(price > hub.import_price + wrong, 1, np.where(price < hub.export_price - wrong, -1, 0))
    stays = (hub.import_price == hub.export_price) | (imported * point.hub >= -OUTSIDE)
    return np.where(point.hub == 0, leaves, np.where(stays, point.hub, 0))
