"""Newton on the exact branch-flow optimality system, from an interior-point answer to machine precision.

An interior point stops with every bound a little off and prices right to about 1e-6. Which bounds
hold is clear by then: they are pinned, the rest is a square system in powers and prices,

    ∇f(x) − J(x)ᵀw = 0 on what is free,  x = bound on what is pinned,  F(x) = 0,

with F the balances, voltage drops and P² + Q² = l·v_π. What leaves its bounds is pinned, what is
pinned by a multiplier of the wrong sign is freed, until neither happens. The multipliers of pinned
variables are what is left of their gradient. A point that does not become better is returned as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import structural_rank
from scipy.sparse.linalg import splu

from market.feeder.model import Feeder
from market.pricing.branchflow import NetworkProblem
from market.pricing.conditions import Conditions, Devices, Duals, Hub, Primal
from market.pricing.optimality import CONE_TOLERANCE, measure, residual
from market.pricing.rules import tie_break_share
from market.pricing.sequential import exact_period
from market.units import Floats

NEWTON_STEPS = 12
ACTIVE_SET_ROUNDS = 12
SETTLED = 1e-12
"""Newton ends when a step is below this share of the unknowns."""
OUTSIDE = 1e-10
"""pu beyond a bound, or share of the largest price on the wrong side of 0, that changes what is pinned."""
PROXIMAL = 1e-7
"""Curvature lent to linear devices in the step alone: two that are alike share what they must carry."""

FREE, LOW, HIGH = 0, -1, 1
Pins = npt.NDArray[np.int8]
Record = TypeVar("Record", Primal, Duals)


def polish(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> tuple[Primal, Duals]:
    """Polish every period on its own; a period that gains nothing keeps its point.

    A period whose relaxation is not exact is moved to a local optimum of the true power flow first.
    """
    problem = NetworkProblem(feeder, conditions.devices.bus)
    given = primal, duals
    for t in range(conditions.periods):
        one = period_of(conditions, t)
        point = _row(given[0], t), _row(given[1], t)
        better = _better(problem, one, *point)
        if _slack(feeder, better[0]) > CONE_TOLERANCE:
            exact = exact_period(feeder, one, better[0])
            better = _better(problem, one, *exact) if exact is not None else better
        given = _with_row(given[0], t, better[0]), _with_row(given[1], t, better[1])
    return given


def stationary(
    problem: NetworkProblem, conditions: Conditions, primal: Primal, duals: Duals
) -> tuple[Primal, Duals] | None:
    """The point of one period's true power flow that Newton and active set reach from a point near it.

    It meets the first-order conditions to about 1e-14. None where they do not settle.
    """
    return _polish(_System(problem, conditions), primal, duals)


def _better(
    problem: NetworkProblem, conditions: Conditions, primal: Primal, duals: Duals
) -> tuple[Primal, Duals]:
    """The polished point, or the given one where that meets the conditions better."""
    polished = stationary(problem, conditions, primal, duals)
    if polished is None:
        return primal, duals
    gained = _error(problem.feeder, conditions, *polished) < _error(problem.feeder, conditions, primal, duals)
    return polished if gained else (primal, duals)


def _slack(feeder: Feeder, primal: Primal) -> float:
    """What the relaxed cone leaves, l·v_π − P² − Q², at most, pu²."""
    return float(np.abs(primal.l * primal.v[:, feeder.parent] - primal.p**2 - primal.q**2)[:, 1:].max())


@dataclass(frozen=True, eq=False)
class _Point:
    """Powers x, prices w, and what is pinned to which bound; `hub` is the sign of the import, 0 if none."""

    x: Floats
    w: Floats
    pins: Pins
    hub: int


class _System:
    """The optimality system of one period; columns of x as in Layout up to the import, then devices."""

    def __init__(self, problem: NetworkProblem, conditions: Conditions) -> None:
        layout, devices = problem.layout, conditions.devices
        self.feeder, self.layout, self.conditions = problem.feeder, layout, conditions
        self.network = layout.net_import.stop
        self.gen = slice(self.network, self.network + devices.count)
        self.load = slice(self.gen.stop, self.gen.stop + devices.count)
        rows = problem.matrix(conditions, 0).tocsr()[: layout.equalities]
        at, k = np.searchsorted(layout.injection_buses, devices.bus), np.arange(devices.count)
        place = sp.csr_array((np.ones(len(k)), (at, k)), shape=(len(layout.injection_buses), len(k)))
        injected = rows[:, layout.injection] @ place
        self.linear = sp.hstack([rows[:, : self.network], injected, -injected], format="csr")
        self.fixed = problem.bound(conditions, 0)[: layout.equalities]
        self.cost = np.r_[
            problem.linear(conditions, 0)[: self.network], devices.gen_cost[0], -devices.load_value[0]
        ]
        self.curvature = np.zeros(self.load.stop)
        self.curvature[layout.elastic] = 1.0
        self.curvature[self.gen], self.curvature[self.load] = devices.gen_slope[0], devices.load_slope[0]
        self.low, self.high = self._bounds()
        self.parent = self.feeder.parent[1:]
        self.inner = np.flatnonzero(self.parent > 0)

    def _bounds(self) -> tuple[Floats, Floats]:
        """Bounds of x; the import has none, but may be pinned at 0."""
        layout, limits, devices = self.layout, self.feeder.limits, self.conditions.devices
        low, high = np.full(self.load.stop, -np.inf), np.full(self.load.stop, np.inf)
        high[layout.current] = limits.i_max[1:] ** 2
        low[layout.voltage], high[layout.voltage] = limits.v_min[1:] ** 2, limits.v_max[1:] ** 2
        low[layout.shed], high[layout.shed] = 0.0, 1.0
        low[self.gen], high[self.gen] = 0.0, devices.gen_max[0]
        low[self.load], high[self.load] = devices.load_min[0], devices.load_max[0]
        return low, high

    def v_parent(self, x: Floats) -> Floats:
        """Squared voltage at the sending end of every line."""
        return np.concatenate([[self.feeder.v0**2], x[self.layout.voltage]])[self.parent]

    def imbalance(self, x: Floats) -> Floats:
        """F(x)."""
        layout = self.layout
        p, q, current = x[layout.flow_p], x[layout.flow_q], x[layout.current]
        cone = p**2 + q**2 - current * self.v_parent(x)
        return np.concatenate([self.linear @ x - self.fixed, cone])

    def jacobian(self, x: Floats) -> sp.csr_array:
        """J(x)."""
        layout, lines = self.layout, self.feeder.lines
        j, inner = np.arange(lines), self.inner
        entries = (2 * x[layout.flow_p], 2 * x[layout.flow_q], -self.v_parent(x), -x[layout.current][inner])
        columns = (layout.flow_p.start + j, layout.flow_q.start + j, layout.current.start + j)
        above = layout.voltage.start + self.parent[inner] - 1
        cone = sp.csr_array(
            (np.concatenate(entries), (np.r_[j, j, j, inner], np.r_[*columns, above])), shape=(lines, len(x))
        )
        return sp.csr_array(sp.vstack([self.linear, cone], format="csr"))

    def gradient(self, point: _Point) -> Floats:
        """∇f(x) − J(x)ᵀw: the multipliers of what is pinned, 0 elsewhere at the optimum."""
        slope = self.cost + self.curvature * point.x
        slope[self.layout.net_import] = self.hub_slope(point)
        return np.asarray(slope - self.jacobian(point.x).T @ point.w)

    def hub_slope(self, point: _Point) -> float:
        """Price at the end of the hub's range that the import's sign selects."""
        hub = self.conditions.hub
        return float((hub.import_price if point.hub > 0 else hub.export_price)[0])

    def hessian(self, point: _Point) -> sp.csr_array:
        """Second derivatives of the Lagrangian; the cone's are −2σ on P and Q, σ between l and v_π."""
        layout, inner = self.layout, self.inner
        sigma = point.w[layout.equalities :]
        diagonal = self.curvature.copy()
        indifferent = np.r_[layout.shed, self.gen, self.load]
        diagonal[indifferent] = np.maximum(diagonal[indifferent], PROXIMAL)
        diagonal[layout.flow_p] -= 2 * sigma
        diagonal[layout.flow_q] -= 2 * sigma
        current, above = layout.current.start + inner, layout.voltage.start + self.parent[inner] - 1
        cross = sp.csr_array((sigma[inner], (current, above)), shape=(len(diagonal), len(diagonal)))
        return sp.csr_array(sp.diags_array(diagonal) + cross + cross.T)


def _polish(system: _System, primal: Primal, duals: Duals) -> tuple[Primal, Duals] | None:
    """Newton and active set in turn; None where they do not settle."""
    point = _start(system, primal, duals)
    for _ in range(ACTIVE_SET_ROUNDS):
        solved = _newton(system, point)
        if solved is None:
            return None
        point = _repin(system, solved)
        if point is solved:
            return _read(system, point)
    return None


def _start(system: _System, primal: Primal, duals: Duals) -> _Point:
    """Pin what its multiplier holds more strongly, in shares of its scale, than its slack lets it go."""
    feeder, hub = system.feeder, system.conditions.hub
    lines = [array[0, 1:] for array in (primal.p, primal.q, primal.l, primal.v)]
    tie = primal.elastic[0] / np.sqrt(tie_break_share(feeder))
    x = np.r_[*lines, primal.shed[0], tie, primal.net_import, primal.gen[0], primal.load[0]]
    w = np.r_[duals.price[0], *(array[0, 1:] for array in (duals.reactive, duals.voltage, duals.cone))]
    scale = max(1.0, float(np.abs(duals.price).max()))
    price, imported = duals.price[0, 0], primal.net_import[0]
    inside = min(hub.import_price[0] - price, price - hub.export_price[0]) / scale
    sign = 0 if inside > abs(imported) else 1 if imported > 0 else -1
    point = _Point(x, w, np.zeros(len(x), dtype=np.int8), sign)
    weight = np.full(len(x), scale)
    weight[system.layout.shed] = system.cost[system.layout.shed]
    held = system.gradient(point) / weight
    with np.errstate(invalid="ignore", divide="ignore"):
        span = np.where(np.isfinite(system.high - system.low), system.high - system.low, system.high)
        low, high = (x - system.low) / span, (system.high - x) / span
    pins = np.where(held > low, LOW, np.where(-held > high, HIGH, FREE)).astype(np.int8)
    pins[system.low == system.high] = LOW
    return replace(point, pins=_pin_hub(system, pins, sign))


def _pin_hub(system: _System, pins: Pins, sign: int) -> Pins:
    """The import is pinned, at 0, where the feeder balances itself."""
    pins[system.layout.net_import] = LOW if sign == 0 else FREE
    return pins


def _newton(system: _System, point: _Point) -> _Point | None:
    """Solve the square system for the present pins; None where it is singular or does not settle."""
    size = len(point.x)
    pinned = point.pins != FREE
    bound = np.where(point.pins == LOW, system.low, system.high)
    bound[system.layout.net_import] = 0.0
    keep, hold = sp.diags_array((~pinned).astype(float)), sp.diags_array(pinned.astype(float))
    for _ in range(NEWTON_STEPS):
        jacobian = system.jacobian(point.x)
        top = keep @ sp.hstack([system.hessian(point), -jacobian.T]) + sp.hstack(
            [hold, sp.csr_array((size, len(point.w)))]
        )
        matrix = sp.vstack([top, sp.hstack([jacobian, sp.csr_array((len(point.w),) * 2)])], format="csc")
        left = np.where(pinned, np.where(pinned, point.x - bound, 0.0), system.gradient(point))
        step = _solve(matrix, np.r_[left, system.imbalance(point.x)])
        if step is None:
            return None
        point = replace(point, x=point.x - step[:size], w=point.w - step[size:])
        if _settled(step[:size], point.x) and _settled(step[size:], point.w):
            return replace(point, x=np.where(pinned, bound, point.x))
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


def _settled(step: Floats, of: Floats) -> bool:
    """A step that moves nothing any more."""
    return float(np.abs(step).max()) <= SETTLED * max(1.0, float(np.abs(of).max()))


def _repin(system: _System, point: _Point) -> _Point:
    """Pin what left its bounds, free what a multiplier of the wrong sign holds; the same point if none."""
    held = system.gradient(point)
    wrong = OUTSIDE * max(1.0, float(np.abs(point.w[system.layout.active]).max()))
    pins = point.pins.copy()
    free = pins == FREE
    pins[free & (point.x < system.low - OUTSIDE)] = LOW
    pins[free & (point.x > system.high + OUTSIDE)] = HIGH
    loose = ((point.pins == LOW) & (held < -wrong)) | ((point.pins == HIGH) & (held > wrong))
    pins[loose & (system.low < system.high)] = FREE
    sign = _hub_sign(system, point, wrong)
    pins = _pin_hub(system, pins, sign)
    if sign == point.hub and np.array_equal(pins, point.pins):
        return point
    return replace(point, pins=pins, hub=sign)


def _hub_sign(system: _System, point: _Point, wrong: float) -> int:
    """Import, export or balance, from what the hub rule says about the point."""
    hub, price = system.conditions.hub, point.w[0]
    imported = point.x[system.layout.net_import][0]
    if point.hub == 0:
        return 1 if price > hub.import_price[0] + wrong else -1 if price < hub.export_price[0] - wrong else 0
    if hub.import_price[0] == hub.export_price[0] or imported * point.hub >= -OUTSIDE:
        return point.hub
    return 0


def _read(system: _System, point: _Point) -> tuple[Primal, Duals]:
    """Powers and prices of the settled point, one period."""
    layout, feeder, x = system.layout, system.feeder, point.x
    held = system.gradient(point)
    low, high = np.where(point.pins == LOW, held, 0.0), np.where(point.pins == HIGH, -held, 0.0)

    def lines(values: Floats, first: float = 0.0) -> Floats:
        return np.concatenate([[first], values])[None]

    primal = Primal(
        p=lines(x[layout.flow_p]),
        q=lines(x[layout.flow_q]),
        l=lines(x[layout.current]),
        v=lines(x[layout.voltage], feeder.v0**2),
        shed=x[layout.shed][None],
        elastic=np.sqrt(tie_break_share(feeder)) * x[layout.elastic][None],
        gen=x[system.gen][None],
        load=x[system.load][None],
        net_import=x[layout.net_import],
    )
    duals = Duals(
        price=point.w[layout.active][None],
        reactive=lines(point.w[layout.reactive]),
        voltage=lines(point.w[layout.drop]),
        cone=lines(point.w[layout.equalities :]),
        v_low=lines(low[layout.voltage]),
        v_high=lines(high[layout.voltage]),
        current=lines(high[layout.current]),
    )
    return primal, duals


def _error(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> float:
    """Largest residual of the optimality conditions."""
    return residual(measure(feeder, conditions, primal, duals))


def period_of(conditions: Conditions, t: int) -> Conditions:
    """One period's conditions on their own."""
    devices, hub, one = conditions.devices, conditions.hub, slice(t, t + 1)
    arrays = {
        field.name: getattr(devices, field.name)[one] for field in fields(devices) if field.name != "bus"
    }
    return replace(
        conditions,
        fixed_p=conditions.fixed_p[one],
        fixed_q=conditions.fixed_q[one],
        hub=Hub(hub.import_price[one], hub.export_price[one]),
        devices=Devices(bus=devices.bus, **arrays),
    )


def _row(record: Record, t: int) -> Record:
    """One period of a record of arrays."""
    return replace(record, **{field.name: getattr(record, field.name)[t : t + 1] for field in fields(record)})


def _with_row(record: Record, t: int, row: Record) -> Record:
    """The record with one period replaced."""
    changed = {}
    for field in fields(record):
        changed[field.name] = getattr(record, field.name).copy()
        changed[field.name][t] = getattr(row, field.name)[0]
    return replace(record, **changed)
