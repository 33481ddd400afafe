"""The exact optimality system of the branch flow as Newton sees it: of one period, or of coupled ones.

    ∇f(x) − J(x)ᵀw = 0 on what is free,  x = bound on what is pinned,  F(x) = 0,

with F the balances, voltage drops and P² + Q² = l·v_π. `Period` has the columns of Layout up to the import,
flows and currents in its units, then generation and load of the devices. `Coupled` has its periods one
after the other, then charge, discharge and state of the storages, each periods × storages, and a row for
each state,

    (θ) η_c·c − d/η_d − (e_t − e_{t−1})/hours − drain/hours = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from market.pricing.branchflow import NetworkProblem
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.periods import period_of, row, stacked
from market.pricing.rules import tie_break_share
from market.pricing.storages import netted
from market.units import Floats, Ints

PROXIMAL = 1e-7
"""Curvature lent to linear devices in the step alone: two that are alike share what they must carry."""

FREE, LOW, HIGH = 0, -1, 1
Pins = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Point:
    """Powers x, prices w, what is pinned to which bound, and the sign of each period's import, 0 if none."""

    x: Floats
    w: Floats
    pins: Pins
    hub: Ints


class System(Protocol):
    """What Newton needs: columns with bounds, F, J, and the Lagrangian's derivatives.

    imports, hub_prices: columns of the imports and rows of λ_0, by period; prices: rows of all λ.
    """

    low: Floats
    high: Floats
    imports: Ints
    hub_prices: Ints
    prices: Ints
    conditions: Conditions

    def imbalance(self, x: Floats) -> Floats:
        """F(x)."""
        ...

    def jacobian(self, x: Floats) -> sp.csr_array:
        """J(x)."""
        ...

    def gradient(self, point: Point) -> Floats:
        """∇f(x) − J(x)ᵀw: the multipliers of what is pinned, 0 elsewhere at the optimum."""
        ...

    def hessian(self, point: Point) -> sp.csr_array:
        """Second derivatives of the Lagrangian."""
        ...

    def unmoved(self, pins: Pins) -> npt.NDArray[np.bool_]:
        """Rows whose price nothing free determines: it stays, and the row holds by what is pinned."""
        ...

    def start(self, primal: Primal, duals: Duals) -> tuple[Floats, Floats, Floats]:
        """x and w of a point, and the scale of what each multiplier may be."""
        ...

    def read(self, point: Point) -> tuple[Primal, Duals]:
        """Powers and prices of a settled point."""
        ...


class Period:
    """The optimality system of one period."""

    def __init__(self, problem: NetworkProblem, conditions: Conditions) -> None:
        layout, devices = problem.layout, conditions.devices
        self.feeder, self.layout, self.conditions = problem.feeder, layout, conditions
        self.unit = problem.unit
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
        self.imports = np.r_[layout.net_import]
        self.prices = np.r_[layout.active]
        self.hub_prices = self.prices[:1]

    def _bounds(self) -> tuple[Floats, Floats]:
        """Bounds of x; the import has none, but may be pinned at 0."""
        layout, limits, devices = self.layout, self.feeder.limits, self.conditions.devices
        low, high = np.full(self.load.stop, -np.inf), np.full(self.load.stop, np.inf)
        high[layout.current] = (limits.i_max[1:] / self.unit) ** 2
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

    def gradient(self, point: Point) -> Floats:
        """∇f(x) − J(x)ᵀw: the multipliers of what is pinned, 0 elsewhere at the optimum."""
        slope = self.cost + self.curvature * point.x
        slope[self.layout.net_import] = self.hub_slope(point)
        return np.asarray(slope - self.jacobian(point.x).T @ point.w)

    def hub_slope(self, point: Point) -> float:
        """Price at the end of the hub's range that the import's sign selects."""
        hub = self.conditions.hub
        return float((hub.import_price if point.hub[0] > 0 else hub.export_price)[0])

    def hessian(self, point: Point) -> sp.csr_array:
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

    def unmoved(self, pins: Pins) -> npt.NDArray[np.bool_]:
        """None: every row of the network has something free, or the matrix is singular."""
        return np.zeros(self.layout.equalities + self.feeder.lines, dtype=np.bool_)

    def start(self, primal: Primal, duals: Duals) -> tuple[Floats, Floats, Floats]:
        """x and w of a point, and the scale of what each multiplier may be."""
        unit, tie = self.unit, primal.elastic[0] / np.sqrt(tie_break_share(self.feeder))
        lines = primal.p[0, 1:] / unit, primal.q[0, 1:] / unit, primal.l[0, 1:] / unit**2, primal.v[0, 1:]
        x = np.r_[*lines, primal.shed[0], tie, primal.net_import, primal.gen[0], primal.load[0]]
        of_lines = duals.reactive[0, 1:], duals.voltage[0, 1:], duals.cone[0, 1:] * unit**2
        w = np.r_[duals.price[0], *of_lines]
        weight = np.full(len(x), max(1.0, float(np.abs(duals.price).max())))
        weight[self.layout.current] *= unit
        weight[self.layout.shed] = self.cost[self.layout.shed]
        return x, w, weight

    def read(self, point: Point) -> tuple[Primal, Duals]:
        """Powers and prices of a settled point."""
        layout, feeder, unit, x = self.layout, self.feeder, self.unit, point.x
        held = self.gradient(point)
        low, high = np.where(point.pins == LOW, held, 0.0), np.where(point.pins == HIGH, -held, 0.0)

        def lines(values: Floats, first: float = 0.0) -> Floats:
            return np.concatenate([[first], values])[None]

        primal = Primal(
            p=lines(x[layout.flow_p] * unit),
            q=lines(x[layout.flow_q] * unit),
            l=lines(x[layout.current] * unit**2),
            v=lines(x[layout.voltage], feeder.v0**2),
            shed=x[layout.shed][None],
            elastic=np.sqrt(tie_break_share(feeder)) * x[layout.elastic][None],
            gen=x[self.gen][None],
            load=x[self.load][None],
            net_import=x[layout.net_import],
        )
        duals = Duals(
            price=point.w[layout.active][None],
            reactive=lines(point.w[layout.reactive]),
            voltage=lines(point.w[layout.drop]),
            cone=lines(point.w[layout.equalities :] / unit**2),
            v_low=lines(low[layout.voltage]),
            v_high=lines(high[layout.voltage]),
            current=lines(high[layout.current] / unit**2),
        )
        return primal, duals


class Coupled:
    """The optimality system of several periods and the storages that couple them."""

    def __init__(self, problem: NetworkProblem, conditions: Conditions) -> None:
        self.conditions = conditions
        self.periods = [Period(problem, period_of(conditions, t)) for t in range(conditions.periods)]
        one = self.periods[0]
        self._columns, self._rows = len(one.low), one.layout.equalities + one.feeder.lines
        at, down = self._columns * np.arange(conditions.periods), self._rows * np.arange(conditions.periods)
        self.imports = at + one.imports[0]
        self.prices = (down[:, None] + one.prices).ravel()
        self.hub_prices = down + one.hub_prices[0]
        storages, shape = conditions.storages, (conditions.periods, conditions.storages.count)
        self._states = conditions.periods * storages.count
        powers = self._columns * conditions.periods
        self._charge, self._discharge, self._energy = (
            slice(powers + k * self._states, powers + (k + 1) * self._states) for k in range(3)
        )
        self._theta = slice(self._rows * conditions.periods, self._rows * conditions.periods + self._states)
        zero = np.zeros(2 * self._states)
        self.low = np.r_[*(period.low for period in self.periods), zero, storages.energy_min.ravel()]
        tops = (storages.charge_max, storages.discharge_max, storages.energy_max)
        self.high = np.r_[*(period.high for period in self.periods), *(top.ravel() for top in tops)]
        self._wear, self._slope = (
            np.broadcast_to(a, shape).ravel() for a in (storages.wear, storages.wear_slope)
        )
        left = np.zeros(shape)
        left[-1] = storages.final_value / conditions.hours
        self._left = left.ravel()
        self._storing, self._known = self._states_rows()
        self._injecting = self._injection_rows(down)

    def _states_rows(self) -> tuple[sp.csr_array, Floats]:
        """Rows of the states on (c, d, e), and what is known of them."""
        storages, hours = self.conditions.storages, self.conditions.hours
        periods = self.conditions.periods
        change = sp.eye_array(self._states) - sp.eye_array(self._states, k=-storages.count)
        rows = sp.hstack(
            [
                sp.diags_array(np.tile(storages.charge_efficiency, periods)),
                sp.diags_array(-1 / np.tile(storages.discharge_efficiency, periods)),
                -change / hours,
            ]
        )
        known = -storages.drain / hours
        known[0] += storages.energy_start / hours
        return sp.csr_array(rows), known.ravel()

    def _injection_rows(self, down: Ints) -> sp.csr_array:
        """Discharge less charge in the active balances, rows of all periods × (c, d, e)."""
        rows = (down[:, None] + self.periods[0].prices[0] + self.conditions.storages.bus).ravel()
        k = np.arange(self._states)
        entries = np.r_[-np.ones(self._states), np.ones(self._states)]
        shape = (self._theta.start, 3 * self._states)
        return sp.csr_array((entries, (np.r_[rows, rows], np.r_[k, k + self._states])), shape=shape)

    def _parts(self, point: Point) -> Sequence[tuple[Period, Point]]:
        """Each period with its part of a point."""
        return [
            (
                period,
                Point(
                    x=point.x[t * self._columns : (t + 1) * self._columns],
                    w=point.w[t * self._rows : (t + 1) * self._rows],
                    pins=point.pins[t * self._columns : (t + 1) * self._columns],
                    hub=point.hub[t : t + 1],
                ),
            )
            for t, period in enumerate(self.periods)
        ]

    def _by_period(self, x: Floats) -> Floats:
        """The periods' columns, one row a period."""
        return np.asarray(x[: self._charge.start].reshape(len(self.periods), self._columns))

    def imbalance(self, x: Floats) -> Floats:
        """F(x)."""
        stored = x[self._charge.start :]
        network = [
            period.imbalance(part) for period, part in zip(self.periods, self._by_period(x), strict=True)
        ]
        balances = np.concatenate(network) + self._injecting @ stored
        return np.concatenate([balances, self._storing @ stored + self._known])

    def jacobian(self, x: Floats) -> sp.csr_array:
        """J(x)."""
        network = [
            period.jacobian(part) for period, part in zip(self.periods, self._by_period(x), strict=True)
        ]
        return sp.csr_array(
            sp.block_array([[sp.block_diag(network), self._injecting], [None, self._storing]])
        )

    def gradient(self, point: Point) -> Floats:
        """∇f(x) − J(x)ᵀw: the multipliers of what is pinned, 0 elsewhere at the optimum."""
        network = [period.gradient(part) for period, part in self._parts(point)]
        charge, discharge = point.x[self._charge], point.x[self._discharge]
        slope = np.r_[self._wear + self._slope * charge, self._wear + self._slope * discharge, -self._left]
        prices = self._injecting.T @ point.w[: self._theta.start] + self._storing.T @ point.w[self._theta]
        return np.concatenate([*network, slope - prices])

    def hessian(self, point: Point) -> sp.csr_array:
        """Second derivatives of the Lagrangian."""
        network = [period.hessian(part) for period, part in self._parts(point)]
        slope = np.maximum(self._slope, PROXIMAL)
        stored = sp.diags_array(np.r_[slope, slope, np.zeros(self._states)])
        return sp.csr_array(sp.block_diag([*network, stored]))

    def unmoved(self, pins: Pins) -> npt.NDArray[np.bool_]:
        """Where a storage idles from one bound of its state to the next, θ is free within a range.

        Between two pinned states with nothing to charge or discharge in between, one row follows from the
        others: the first, whose θ stays, and takes the others' with it.
        """
        shape = (len(self.periods), self.conditions.storages.count)
        moves = ((pins[self._charge] == FREE) | (pins[self._discharge] == FREE)).reshape(shape)
        held = (pins[self._energy] != FREE).reshape(shape)
        unmoved = np.zeros(self._theta.stop, dtype=np.bool_)
        found = unmoved[self._theta].reshape(shape)
        first = np.zeros(shape[1], dtype=np.int64)
        idle = np.ones(shape[1], dtype=np.bool_)
        column = np.arange(shape[1])
        for t in range(shape[0]):
            idle &= ~moves[t]
            ends = held[t] & idle
            found[first[ends], column[ends]] = True
            idle = np.where(held[t], True, idle)
            first = np.where(held[t], t + 1, first)
        return unmoved

    def start(self, primal: Primal, duals: Duals) -> tuple[Floats, Floats, Floats]:
        """x and w of a point, and the scale of what each multiplier may be."""
        parts = [period.start(row(primal, t), row(duals, t)) for t, period in enumerate(self.periods)]
        x, w, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        scale = max(1.0, float(np.abs(duals.price).max()))
        of_states = np.full(self._states, scale / self.conditions.hours)
        stored = (primal.charge.ravel(), primal.discharge.ravel(), primal.energy.ravel())
        weights = np.r_[weight, np.full(2 * self._states, scale), of_states]
        return np.r_[x, *stored], np.r_[w, duals.stored.ravel()], weights

    def read(self, point: Point) -> tuple[Primal, Duals]:
        """Powers and prices of a settled point."""
        shape = (len(self.periods), self.conditions.storages.count)
        read = [period.read(part) for period, part in self._parts(point)]
        primal, duals = stacked([one for one, _ in read]), stacked([one for _, one in read])
        charge, discharge, energy = (
            point.x[part].reshape(shape) for part in (self._charge, self._discharge, self._energy)
        )
        primal = replace(primal, charge=charge, discharge=discharge, energy=energy)
        stored = point.w[self._theta].reshape(shape)
        return netted(self.conditions.storages, primal), replace(duals, stored=stored)
