"""The network's part of the clearing as one sparse conic problem in Clarabel's standard form.

    min ½ xᵀP x + qᵀx   subject to   A x + s = b,   s ∈ K = {0} × R₊ × second-order cones

for one period. Whoever owns the prosumers adds what they cost to the `injection` columns T_b, or columns and
rows of its own: the direct clearing a pair of columns a device, some of ATC's methods their cuts and bounds.
P, q, A and b keep their sparsity pattern from slot to slot.

    problem = NetworkProblem(feeder, injection_buses)
    data, cones = problem.matrices(conditions, period), problem.cones()
    solver = clarabel.DefaultSolver(
        data.hessian, data.linear, data.matrix, data.bound, cones, problem.settings()
    )
    point = problem.point(solver.solve())

Columns (`Layout`): per line P/u, Q/u, l/u², v (v of the bus it feeds), with u = min(1, rating) pu, so that to
the solver a line that may carry next to nothing is as large as any other; per bus shed s and the scaled
tie-break τ, with t = √(ε/(n+1))·τ so that the solver sees a curvature of 1; the net import m and the
premium u ≥ (π_imp − π_exp)·m⁺ paid on it; T of every injection bus.
Rows: balances (λ, λq), voltage drop (ξ); limits; then (l + v_π, 2P, 2Q, l − v_π) ∈ second-order cone.
The hub's cost is π_exp·m + u, which is h(m) at any optimum and stays well posed at π_imp = π_exp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.pricing.conditions import Conditions
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.units import Floats, Ints

SOLVER_TOLERANCE = 1e-10
"""Asked of Clarabel for gap and feasibility; it reaches this on feeders of tens of buses."""


@dataclass(frozen=True)
class Layout:
    """Where everything stands: columns of x first, then rows of A; one slice each.

    Line j is entry j − 1 of a line block; a bus block has the substation first; `injection` and
    `rating` have one entry for each of `injection_buses` and `rated_lines`. `cone` has four rows a line.
    """

    injection_buses: Ints
    rated_lines: Ints
    flow_p: slice
    flow_q: slice
    current: slice
    voltage: slice
    shed: slice
    elastic: slice
    net_import: slice
    premium: slice
    injection: slice
    active: slice
    reactive: slice
    drop: slice
    v_low: slice
    v_high: slice
    rating: slice
    shed_low: slice
    shed_high: slice
    premium_low: slice
    premium_spread: slice
    cone: slice

    @property
    def columns(self) -> int:
        """Length of x."""
        return int(self.injection.stop)

    @property
    def rows(self) -> int:
        """Length of b, s and z."""
        return int(self.cone.stop)

    @property
    def equalities(self) -> int:
        """Rows of the zero cone, which come first."""
        return int(self.drop.stop)

    @property
    def inequalities(self) -> int:
        """Rows of the nonnegative cone, which come next."""
        return int(self.premium_spread.stop - self.drop.stop)


def _layout(feeder: Feeder, injection_buses: Iterable[int]) -> Layout:
    """Lay the blocks out one after the other."""
    buses, lines = feeder.buses, feeder.lines
    injecting = np.unique(np.asarray(list(injection_buses), dtype=np.int64))
    rated = np.flatnonzero(np.isfinite(feeder.limits.i_max[1:])) + 1
    columns = {"flow_p": lines, "flow_q": lines, "current": lines, "voltage": lines, "shed": buses}
    columns |= {"elastic": buses, "net_import": 1, "premium": 1, "injection": len(injecting)}
    rows = {"active": buses, "reactive": lines, "drop": lines, "v_low": lines, "v_high": lines}
    rows |= {"rating": len(rated), "shed_low": buses, "shed_high": buses}
    rows |= {"premium_low": 1, "premium_spread": 1, "cone": 4 * lines}
    slices = {}
    for blocks in (columns, rows):
        start = 0
        for name, length in blocks.items():
            slices[name] = slice(start, start + length)
            start += length
    return Layout(injection_buses=injecting, rated_lines=rated, **slices)


@dataclass(frozen=True, eq=False)
class ConicData:
    """Clarabel's P (upper triangle), q, A, b for one period."""

    hessian: sp.csc_array
    linear: Floats
    matrix: sp.csc_array
    bound: Floats


@dataclass(frozen=True, eq=False)
class NetworkPoint:
    """One period's answer in the terms of Primal and Duals: arrays by bus, the substation first.

    `injection` is T by bus, zero where nobody injects; `status` the solver's word; `cost` its objective,
    €/h per pu of base.
    """

    p: Floats
    q: Floats
    l: Floats  # noqa: E741 - the symbol of the branch-flow model
    v: Floats
    shed: Floats
    elastic: Floats
    injection: Floats
    net_import: float
    price: Floats
    reactive: Floats
    voltage: Floats
    cone: Floats
    v_low: Floats
    v_high: Floats
    current: Floats
    status: str
    cost: float
    iterations: int


class NetworkProblem:
    """The network's conic problem for one feeder and one set of buses where prosumers inject."""

    def __init__(self, feeder: Feeder, injection_buses: Iterable[int]) -> None:
        self.feeder = feeder
        self.layout = _layout(feeder, injection_buses)
        self.unit: Floats = np.minimum(feeder.limits.i_max[1:], 1.0)
        """u by line, pu."""
        self._elastic_scale = float(np.sqrt(tie_break_share(feeder)))
        self._rows, self._columns, self._entries = self._fixed_entries()

    def matrices(self, conditions: Conditions, period: int) -> ConicData:
        """P, q, A, b of a period, without any cost on the injections."""
        return ConicData(
            hessian=self._hessian(),
            linear=self.linear(conditions, period),
            matrix=self.matrix(conditions, period),
            bound=self.bound(conditions, period),
        )

    def _hessian(self) -> sp.csc_array:
        """P: 1 on the tie-break; the injections have their place in it, and nothing there."""
        layout = self.layout
        diagonal = np.concatenate([np.ones(self.feeder.buses), np.zeros(len(layout.injection_buses))])
        at = np.r_[layout.elastic, layout.injection]
        return sp.csc_array((diagonal, (at, at)), shape=(layout.columns, layout.columns))

    def linear(self, conditions: Conditions, period: int) -> Floats:
        """q: hub, shedding, tie-break; nothing on the injections."""
        layout = self.layout
        q = np.zeros(layout.columns)
        cost = shed_cost(conditions)[period]
        # a bus without load has nothing to shed; a cost keeps its idle share at 0
        q[layout.shed] = np.where(cost > 0, cost, 1.0)
        q[layout.elastic] = self._elastic_scale * tie_break_centre(conditions)[period]
        q[layout.net_import] = conditions.hub.export_price[period]
        q[layout.premium] = 1.0
        return q

    def matrix(self, conditions: Conditions, period: int) -> sp.csc_array:
        """A: fixed but for the firm loads (in the columns of shed) and the hub's spread."""
        layout, feeder = self.layout, self.feeder
        p, q = conditions.firm_p[period], conditions.fixed_q[period]
        spread = conditions.hub.import_price[period] - conditions.hub.export_price[period]
        entries = np.concatenate([self._entries, p, q[1:], [spread]])
        bus = np.arange(feeder.buses)
        rows = np.r_[self._rows, layout.active, layout.reactive, layout.premium_spread]
        columns = np.r_[self._columns, layout.shed, layout.shed.start + bus[1:], layout.net_import]
        # scipy would drop nothing here, zeros included: the pattern is the same in every period
        return sp.csc_array((entries, (rows, columns)), shape=(layout.rows, layout.columns))

    def bound(self, conditions: Conditions, period: int) -> Floats:
        """b: fixed loads, the substation's voltage, limits."""
        layout, feeder, limits = self.layout, self.feeder, self.feeder.limits
        from_root = feeder.parent[1:] == 0
        v0 = feeder.v0**2
        b = np.zeros(layout.rows)
        b[layout.active] = conditions.fixed_p[period]
        b[layout.reactive] = conditions.fixed_q[period][1:]
        b[layout.drop] = np.where(from_root, v0, 0.0)
        b[layout.v_low] = -(limits.v_min[1:] ** 2)
        b[layout.v_high] = limits.v_max[1:] ** 2
        b[layout.rating] = (limits.i_max[layout.rated_lines] / self.unit[layout.rated_lines - 1]) ** 2
        b[layout.shed_high] = 1.0
        b[layout.cone][0::4] = np.where(from_root, v0, 0.0)
        b[layout.cone][3::4] = np.where(from_root, -v0, 0.0)
        return b

    def cones(self) -> list[Any]:
        """K in Clarabel's words."""
        layout = self.layout
        second_order = [clarabel.SecondOrderConeT(4)] * self.feeder.lines
        return [
            clarabel.ZeroConeT(layout.equalities),
            clarabel.NonnegativeConeT(layout.inequalities),
            *second_order,
        ]

    @staticmethod
    def settings(tolerance: float = SOLVER_TOLERANCE) -> Any:
        """Clarabel's settings: silent; one thread: runs repeat; no presolve: data can change."""
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.max_threads = 1
        settings.presolve_enable = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
        return settings

    def point(self, answer: Any) -> NetworkPoint:
        """Turn Clarabel's solution into powers and prices with the signs of README.md."""
        feeder, layout = self.feeder, self.layout
        x, z = np.asarray(answer.x), np.asarray(answer.z)
        p, q = (_lines(self.unit * x[block]) for block in (layout.flow_p, layout.flow_q))
        current = _lines(self.unit**2 * x[layout.current])
        v = np.concatenate([[feeder.v0**2], x[layout.voltage]])
        injection = np.zeros(feeder.buses)
        injection[layout.injection_buses] = x[layout.injection]
        # Clarabel's Lagrangian is f + zᵀ(Ax − b), ours f − wᵀF
        price, reactive, drop = -z[layout.active], _lines(-z[layout.reactive]), _lines(-z[layout.drop])
        current_dual = np.zeros(feeder.buses)
        current_dual[layout.rated_lines] = z[layout.rating] / self.unit[layout.rated_lines - 1] ** 2
        return NetworkPoint(
            p=p,
            q=q,
            l=current,
            v=v,
            shed=x[layout.shed],
            elastic=self._elastic_scale * x[layout.elastic],
            injection=injection,
            net_import=float(x[layout.net_import][0]),
            price=price,
            reactive=reactive,
            voltage=drop,
            cone=cone_dual(feeder, v, (price, reactive, drop, current_dual)),
            v_low=_lines(z[layout.v_low]),
            v_high=_lines(z[layout.v_high]),
            current=current_dual,
            status=str(answer.status),
            cost=float(answer.obj_val),
            iterations=int(answer.iterations),
        )

    def _fixed_entries(self) -> tuple[Ints, Ints, Floats]:
        """Rows, columns and values of what A holds in every period."""
        feeder, layout = self.feeder, self.layout
        j = np.arange(feeder.lines)
        r, x, parent = feeder.r_pu[1:], feeder.x_pu[1:], feeder.parent[1:]
        u, u2 = self.unit, self.unit**2
        inner = np.flatnonzero(parent > 0)
        above = parent[inner] - 1
        at = {name: getattr(layout, name).start for name in _STARTS}
        cone = at["cone"] + 4 * j
        rated = layout.rated_lines - 1
        bus = np.arange(feeder.buses)
        one = np.ones
        blocks = [
            # active balance: what arrives at a bus, less what its lines take on; the import at the substation
            (at["active"] + 1 + j, at["flow_p"] + j, u),
            (at["active"] + parent, at["flow_p"] + j, -u),
            (at["active"] + 1 + j, at["current"] + j, -r * u2),
            (at["active"] + bus, at["elastic"] + bus, np.full(len(bus), self._elastic_scale)),
            (
                at["active"] + layout.injection_buses,
                np.r_[layout.injection],
                one(len(layout.injection_buses)),
            ),
            (np.r_[layout.active][:1], np.r_[layout.net_import], one(1)),
            # reactive balance, free at the substation
            (at["reactive"] + j, at["flow_q"] + j, u),
            (at["reactive"] + above, at["flow_q"] + inner, -u[inner]),
            (at["reactive"] + j, at["current"] + j, -x * u2),
            # voltage drop
            (at["drop"] + j, at["voltage"] + j, one(len(j))),
            (at["drop"] + inner, at["voltage"] + above, -one(len(inner))),
            (at["drop"] + j, at["flow_p"] + j, 2 * r * u),
            (at["drop"] + j, at["flow_q"] + j, 2 * x * u),
            (at["drop"] + j, at["current"] + j, -(r**2 + x**2) * u2),
            # limits, as b − Ax ≥ 0
            (at["v_low"] + j, at["voltage"] + j, -one(len(j))),
            (at["v_high"] + j, at["voltage"] + j, one(len(j))),
            (np.r_[layout.rating], at["current"] + rated, one(len(rated))),
            (at["shed_low"] + bus, at["shed"] + bus, -one(len(bus))),
            (at["shed_high"] + bus, at["shed"] + bus, one(len(bus))),
            (np.r_[layout.premium_low], np.r_[layout.premium], -one(1)),
            (np.r_[layout.premium_spread], np.r_[layout.premium], -one(1)),
            # (l + v_π, 2P, 2Q, l − v_π) in the second-order cone, flows in their units
            (cone, at["current"] + j, -one(len(j))),
            (cone[inner], at["voltage"] + above, -one(len(inner))),
            (cone + 1, at["flow_p"] + j, np.full(len(j), -2.0)),
            (cone + 2, at["flow_q"] + j, np.full(len(j), -2.0)),
            (cone + 3, at["current"] + j, -one(len(j))),
            (cone[inner] + 3, at["voltage"] + above, one(len(inner))),
        ]
        rows, columns, entries = (np.concatenate(part) for part in zip(*blocks, strict=True))
        return rows, columns, entries


_STARTS = (
    *("flow_p", "flow_q", "current", "voltage", "shed", "elastic"),
    *("active", "reactive", "drop", "v_low", "v_high", "shed_low", "shed_high", "cone"),
)


def cone_dual(feeder: Feeder, v: Floats, duals: tuple[Floats, Floats, Floats, Floats]) -> Floats:
    """σ_j = −(r·λ + x·λq + (r² + x²)·ξ + η)/v_π from (λ, λq, ξ, η), entry 0 zero; buses come last."""
    r, x = feeder.r_pu, feeder.x_pu
    price, reactive, drop, current = duals
    sigma = -(r * price + x * reactive + (r**2 + x**2) * drop + current) / v[..., feeder.parent]
    sigma[..., 0] = 0.0
    return np.asarray(sigma)


def _lines(of_lines: Floats) -> Floats:
    """Put the unused entry 0 before a line array."""
    return np.concatenate([[0.0], of_lines])
