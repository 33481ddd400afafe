"""The central clearing on the network's conic problem, with one pair of columns for each device.

An assembly of its own beside the reference in `socp`: the two check each other, and this one has no
modelling layer to load. Devices are scaled to [0, 1] of their range, so that an absent device is a
free share of nothing instead of a point the solver has no interior for.
"""

from __future__ import annotations

from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, admit
from market.pricing.branchflow import ConicData, NetworkPoint, NetworkProblem
from market.pricing.conclude import conclude
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.units import Floats


def clear(feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
    """Clear every period with Clarabel. Raises PricingError; `warm` is of no use to an interior point."""
    primal, duals, iterations = solve(feeder, conditions)
    return conclude(feeder, conditions, primal, duals, method="direct", iterations=iterations, polished=True)


def solve(feeder: Feeder, conditions: Conditions) -> tuple[Primal, Duals, int]:
    """Schedule, prices with the signs of DESIGN §6, and rounds of every period. Raises PricingError."""
    admit(feeder, conditions)
    problem = NetworkProblem(feeder, conditions.devices.bus)
    points, gens, loads = [], [], []
    for period in range(conditions.periods):
        point, gen, load = _clear_period(problem, conditions, period)
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


def _clear_period(
    problem: NetworkProblem, conditions: Conditions, period: int
) -> tuple[NetworkPoint, Floats, Floats]:
    """One period: solve, and read the devices off the extra columns."""
    layout, devices = problem.layout, conditions.devices
    network = problem.matrices(conditions, period, np.zeros(len(layout.injection_buses)))
    data = _with_devices(problem, network, conditions, period)
    cones: list[Any] = [
        *problem.cones(),
        clarabel.ZeroConeT(len(layout.injection_buses)),
        clarabel.NonnegativeConeT(4 * devices.count),
    ]
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
