"""The central problem: the network's conic problem with one pair of columns for each device.

An assembly of its own beside the reference in `program`: the two check each other, and this one has
no modelling layer to load. Devices are scaled to [0, 1] of their range, so that an absent device is a
free share of nothing instead of a point the solver has no interior for.

With `around`, a solved power flow, the relaxed cone gives way to the tangent of P² + Q² = l·v_π at it:
one step of a sequential programme for feeders on which the relaxation is not exact.
"""

from __future__ import annotations

from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.feeder.powerflow import Flow
from market.pricing.admission import ClearingFailed, admit
from market.pricing.branchflow import ConicData, NetworkPoint, NetworkProblem
from market.pricing.conditions import Conditions, Duals, Primal
from market.units import Floats


def solve(feeder: Feeder, conditions: Conditions) -> tuple[Primal, Duals, int]:
    """Schedule, prices with the signs of README.md, and rounds of every period. Raises PricingError."""
    admit(feeder, conditions)
    problem = NetworkProblem(feeder, conditions.devices.bus)
    points, gens, loads = [], [], []
    for period in range(conditions.periods):
        point, gen, load = solve_period(problem, conditions, period)
        points.append(point)
        gens.append(gen)
        loads.append(load)
    primal, duals = stack(points, np.array(gens), np.array(loads))
    return primal, duals, sum(point.iterations for point in points)


def stack(points: list[NetworkPoint], gen: Floats, load: Floats) -> tuple[Primal, Duals]:
    """Periods one below the other, with the devices' schedules (periods × devices)."""

    def of(name: str) -> Floats:
        return np.array([getattr(point, name) for point in points])

    flows = {name: of(name) for name in ("p", "q", "l", "v", "shed", "elastic", "net_import")}
    prices = ("price", "reactive", "voltage", "cone", "v_low", "v_high", "current")
    return Primal(**flows, gen=gen, load=load), Duals(**{name: of(name) for name in prices})


def solve_period(
    problem: NetworkProblem, conditions: Conditions, period: int, around: Flow | None = None
) -> tuple[NetworkPoint, Floats, Floats]:
    """One period's network, generation and load of the devices. Raises ClearingFailed."""
    layout, devices = problem.layout, conditions.devices
    network = problem.matrices(conditions, period, np.zeros(len(layout.injection_buses)))
    cones = problem.cones()
    if around is not None:
        network = _tangent(problem, network, around)
        cones = [*cones[:2], clarabel.ZeroConeT(problem.feeder.lines)]
    data = _with_devices(problem, network, conditions, period)
    cones += [clarabel.ZeroConeT(len(layout.injection_buses)), clarabel.NonnegativeConeT(4 * devices.count)]
    solver = clarabel.DefaultSolver(
        data.hessian, data.linear, data.matrix, data.bound, cones, problem.settings()
    )
    answer = solver.solve()
    if str(answer.status) not in ("Solved", "AlmostSolved"):
        raise ClearingFailed(f"feeder {problem.feeder.name}: period {period}: solver says {answer.status}")
    shares = np.asarray(answer.x)[layout.columns :]
    span = devices.load_max[period] - devices.load_min[period]
    gen = devices.gen_max[period] * shares[: devices.count]
    load = devices.load_min[period] + span * shares[devices.count :]
    return problem.point(answer), gen, load


def _tangent(problem: NetworkProblem, network: ConicData, around: Flow) -> ConicData:
    """Second-order cones replaced by 2P̂·P + 2Q̂·Q − v̂_π·l − l̂·v_π = P̂² + Q̂² − l̂·v̂_π, one row a line."""
    layout, feeder = problem.layout, problem.feeder
    p, q, current = around.p[0, 1:], around.q[0, 1:], around.l[0, 1:]
    parent, v0 = feeder.parent[1:], feeder.v0**2
    v_parent = around.v[0, parent]
    j, inner = np.arange(feeder.lines), np.flatnonzero(parent > 0)
    entries = np.r_[2 * p, 2 * q, -v_parent, -current[inner]]
    rows = np.r_[j, j, j, inner]
    columns = np.r_[layout.flow_p, layout.flow_q, layout.current, layout.voltage.start + parent[inner] - 1]
    tangent = sp.csc_array((entries, (rows, columns)), shape=(feeder.lines, layout.columns))
    at_root = np.where(parent == 0, current * v0, 0.0)
    return ConicData(
        hessian=network.hessian,
        linear=network.linear,
        matrix=sp.csc_array(sp.vstack([network.matrix.tocsr()[: layout.cone.start], tangent])),
        bound=np.r_[network.bound[: layout.cone.start], p**2 + q**2 - current * v_parent + at_root],
    )


def _with_devices(
    problem: NetworkProblem, network: ConicData, conditions: Conditions, period: int
) -> ConicData:
    """Append the devices' shares of their range, T_b = Σ(g − d), and 0 ≤ share ≤ 1."""
    layout, devices = problem.layout, conditions.devices
    count, buses = devices.count, len(layout.injection_buses)
    top, least = devices.gen_max[period], devices.load_min[period]
    span = devices.load_max[period] - least
    at = np.searchsorted(layout.injection_buses, devices.bus)
    k = np.arange(count)
    link = sp.csc_array((np.r_[-top, span], (np.r_[at, at], np.r_[k, count + k])), shape=(buses, 2 * count))
    injection = sp.csc_array(
        (np.ones(buses), (np.arange(buses), np.r_[layout.injection])), shape=(buses, layout.columns)
    )
    share = sp.eye_array(2 * count)
    worth = devices.load_value[period] - devices.load_slope[period] * least
    curvature = np.r_[devices.gen_slope[period] * top**2, devices.load_slope[period] * span**2]
    blocks: list[list[Any]] = [[network.matrix, None], [injection, link], [None, -share], [None, share]]
    return ConicData(
        hessian=sp.csc_array(sp.block_diag([network.hessian, sp.diags_array(curvature)])),
        linear=np.r_[network.linear, devices.gen_cost[period] * top, -worth * span],
        matrix=sp.csc_array(sp.block_array(blocks)),
        bound=np.r_[network.bound, -np.bincount(at, least, buses), np.zeros(2 * count), np.ones(2 * count)],
    )
