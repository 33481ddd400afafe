"""The central problem: the network's conic problem with one pair of columns for each device.

An assembly of its own beside the reference in `program`: the two check each other, and this one has
no modelling layer to load. Devices are scaled to [0, 1] of their range, so that an absent device is a
free share of nothing instead of a point the solver has no interior for.

Storages couple the periods: their blocks stand one after the other in one problem, with columns for
every storage's charge, discharge and state behind them, as shares of their ranges too.

With `around`, a solved power flow, the relaxed cone gives way to the tangent of P² + Q² = l·v_π at it:
one step of a sequential programme for feeders on which the relaxation is not exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import clarabel
import numpy as np
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.feeder.powerflow import Flow
from market.pricing.admission import ClearingFailed, admit
from market.pricing.branchflow import ConicData, NetworkPoint, NetworkProblem
from market.pricing.conditions import Conditions, Devices, Duals, Primal
from market.pricing.storages import netted
from market.units import Floats


def solve(feeder: Feeder, conditions: Conditions) -> tuple[Primal, Duals, int]:
    """Schedule, prices with the signs of README.md, and rounds of every period. Raises PricingError."""
    admit(feeder, conditions)
    if conditions.storages.count:
        return solve_jointly(network_problem(feeder, conditions), conditions)
    problem = NetworkProblem(feeder, conditions.devices.bus)
    points, gens, loads = [], [], []
    for period in range(conditions.periods):
        point, gen, load = solve_period(problem, conditions, period)
        points.append(point)
        gens.append(gen)
        loads.append(load)
    primal, duals = stack(points, np.array(gens), np.array(loads))
    return primal, duals, sum(point.iterations for point in points)


def network_problem(feeder: Feeder, conditions: Conditions) -> NetworkProblem:
    """The network with injections wherever there is a device or a storage."""
    return NetworkProblem(feeder, np.r_[conditions.devices.bus, conditions.storages.bus])


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
    data, cones = assembled(problem, conditions, period, around)
    solver = clarabel.DefaultSolver(
        data.hessian, data.linear, data.matrix, data.bound, cones, problem.settings()
    )
    answer = solver.solve()
    if str(answer.status) not in ("Solved", "AlmostSolved"):
        raise ClearingFailed(f"feeder {problem.feeder.name}: period {period}: solver says {answer.status}")
    gen, load = _devices(conditions.devices, period, np.asarray(answer.x)[problem.layout.columns :])
    return problem.point(answer), gen, load


def solve_jointly(
    problem: NetworkProblem, conditions: Conditions, around: Flow | None = None
) -> tuple[Primal, Duals, int]:
    """All periods at once, coupled by their storages; schedule, prices, rounds. Raises ClearingFailed."""
    blocks, cones = _periods(problem, conditions, around)
    data = _with_storages(problem, blocks, conditions)
    solver = clarabel.DefaultSolver(
        data.hessian, data.linear, data.matrix, data.bound, cones, problem.settings()
    )
    answer = solver.solve()
    if str(answer.status) not in ("Solved", "AlmostSolved"):
        raise ClearingFailed(
            f"feeder {problem.feeder.name}: {conditions.periods} periods: solver says {answer.status}"
        )
    return _read_jointly(problem, conditions, answer, [block.matrix.shape for block in blocks])


def no_schedule(feeder: Feeder, conditions: Conditions) -> bool:
    """Whether it is proven that no schedule is feasible: the relaxation without the tie-break has no point.

    Without storages there always is one, since everything firm can be shed.
    """
    if not conditions.storages.count:
        return False
    problem = network_problem(feeder, conditions)
    blocks, cones = _periods(problem, conditions)
    data = _with_storages(problem, blocks, conditions)
    width, elastic = blocks[0].matrix.shape[1], np.r_[problem.layout.elastic]
    kept = np.ones(len(data.linear))
    kept[(width * np.arange(conditions.periods)[:, None] + elastic).ravel()] = 0.0
    matrix = sp.csc_array(data.matrix @ sp.diags_array(kept))
    nothing = np.zeros(len(data.linear))
    solver = clarabel.DefaultSolver(data.hessian, nothing, matrix, data.bound, cones, problem.settings())
    return str(solver.solve().status) == "PrimalInfeasible"


def _periods(
    problem: NetworkProblem, conditions: Conditions, around: Flow | None = None
) -> tuple[list[ConicData], list[Any]]:
    """Every period's problem with its devices; their cones and those of the storages."""
    each = [assembled(problem, conditions, t, around) for t in range(conditions.periods)]
    states = conditions.periods * conditions.storages.count
    cones = [cone for _, of_period in each for cone in of_period]
    cones += [clarabel.ZeroConeT(states), clarabel.NonnegativeConeT(6 * states)]
    return [data for data, _ in each], cones


def assembled(
    problem: NetworkProblem, conditions: Conditions, period: int, around: Flow | None = None
) -> tuple[ConicData, list[Any]]:
    """One period's problem with its devices, and its cones."""
    layout = problem.layout
    network = problem.matrices(conditions, period)
    cones = problem.cones()
    if around is not None:
        network = _tangent(problem, network, around, period)
        cones = [*cones[:2], clarabel.ZeroConeT(problem.feeder.lines)]
    data = _with_devices(problem, network, conditions, period)
    count = conditions.devices.count
    cones += [clarabel.ZeroConeT(len(layout.injection_buses)), clarabel.NonnegativeConeT(4 * count)]
    return data, cones


def _devices(devices: Devices, period: int, shares: Floats) -> tuple[Floats, Floats]:
    """Generation and load from shares of their ranges."""
    span = devices.load_max[period] - devices.load_min[period]
    gen = devices.gen_max[period] * shares[: devices.count]
    return gen, devices.load_min[period] + span * shares[devices.count :]


def _tangent(problem: NetworkProblem, network: ConicData, around: Flow, period: int) -> ConicData:
    """Second-order cones replaced by 2P̂·P + 2Q̂·Q − v̂_π·l − l̂·v_π = P̂² + Q̂² − l̂·v̂_π, one row a line.

    Flows are in the problem's units.
    """
    layout, feeder, unit = problem.layout, problem.feeder, problem.unit
    p, q, current = around.p[period, 1:] / unit, around.q[period, 1:] / unit, around.l[period, 1:] / unit**2
    parent, v0 = feeder.parent[1:], feeder.v0**2
    v_parent = around.v[period, parent]
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


@dataclass(frozen=True, eq=False)
class _Part:
    """One period's part of a joint answer, read as an answer of its own."""

    x: Floats
    z: Floats
    whole: Any

    @property
    def status(self) -> str:
        return str(self.whole.status)

    @property
    def obj_val(self) -> float:
        return float(self.whole.obj_val)

    @property
    def iterations(self) -> int:
        return int(self.whole.iterations)


def _with_storages(problem: NetworkProblem, blocks: list[ConicData], conditions: Conditions) -> ConicData:
    """Append shares of charge, discharge and state, each periods × storages, and what ties them.

    Rows: (e_t − e_{t−1})/hours − η_c·c + d/η_d = −drain/hours, whose multiplier is θ; then 0 ≤ share ≤ 1.
    """
    storages, periods, hours = conditions.storages, conditions.periods, conditions.hours
    states = periods * storages.count
    span = (storages.energy_max - storages.energy_min).ravel()
    charge, discharge = storages.charge_max.ravel(), storages.discharge_max.ravel()
    efficiency = np.tile(storages.charge_efficiency, periods), np.tile(storages.discharge_efficiency, periods)
    now = sp.eye_array(states)
    before = sp.eye_array(states, k=-storages.count)
    state = sp.hstack(
        [
            sp.diags_array(-efficiency[0] * charge),
            sp.diags_array(discharge / efficiency[1]),
            (now - before) @ sp.diags_array(span) / hours,
        ]
    )
    least = storages.energy_min
    known = np.vstack([storages.energy_start, least[:-1]]) - least - storages.drain
    share = sp.eye_array(3 * states)
    network = sp.block_diag([block.matrix for block in blocks])
    linear = np.concatenate([np.tile(storages.wear, periods)] * 2) * np.r_[charge, discharge]
    left = np.zeros_like(storages.energy_max)
    left[-1] = -storages.final_value / hours * (storages.energy_max - least)[-1]
    slope = np.tile(storages.wear_slope, periods)
    curvature = np.r_[slope * charge**2, slope * discharge**2, np.zeros(states)]
    return ConicData(
        hessian=sp.csc_array(
            sp.block_diag([*(block.hessian for block in blocks), sp.diags_array(curvature)])
        ),
        linear=np.concatenate([*(block.linear for block in blocks), linear, left.ravel()]),
        matrix=sp.csc_array(
            sp.block_array(
                [
                    [network, _storage_injection(problem, blocks, conditions)],
                    [None, state],
                    [None, -share],
                    [None, share],
                ]
            )
        ),
        bound=np.concatenate(
            [
                *(block.bound for block in blocks),
                known.ravel() / hours,
                np.zeros(3 * states),
                np.ones(3 * states),
            ]
        ),
    )


def _storage_injection(
    problem: NetworkProblem, blocks: list[ConicData], conditions: Conditions
) -> sp.coo_array:
    """T_b − Σ(g − d) − Σ(discharge − charge) = 0: the storages' entries in each period's rows."""
    storages, buses = conditions.storages, problem.layout.injection_buses
    count, periods = storages.count, conditions.periods
    at = np.searchsorted(buses, storages.bus)
    # the rows that tie T_b to devices come before those of the devices' four bounds
    heights = np.array([block.matrix.shape[0] for block in blocks])
    first = np.cumsum(heights) - 4 * conditions.devices.count - len(buses)
    rows = (first[:, None] + at).ravel()
    column = np.arange(periods * count)
    entries = np.r_[storages.charge_max.ravel(), -storages.discharge_max.ravel()]
    return sp.coo_array(
        (entries, (np.r_[rows, rows], np.r_[column, column + len(column)])),
        shape=(int(heights.sum()), 3 * len(column)),
    )


def _read_jointly(
    problem: NetworkProblem, conditions: Conditions, answer: Any, shapes: list[tuple[int, int]]
) -> tuple[Primal, Duals, int]:
    """Cut the solver's answer into periods and storages."""
    storages, shape = conditions.storages, (conditions.periods, conditions.storages.count)
    x, z = np.asarray(answer.x), np.asarray(answer.z)
    row = column = 0
    points, gens, loads = [], [], []
    for period, (rows, columns) in enumerate(shapes):
        part = _Part(x[column : column + columns], z[row : row + rows], answer)
        points.append(problem.point(part))
        gen, load = _devices(conditions.devices, period, part.x[problem.layout.columns :])
        gens.append(gen)
        loads.append(load)
        row, column = row + rows, column + columns
    primal, duals = stack(points, np.array(gens), np.array(loads))
    charge, discharge, state = x[column:].reshape(3, *shape)
    primal = replace(
        primal,
        charge=storages.charge_max * charge,
        discharge=storages.discharge_max * discharge,
        energy=storages.energy_min + (storages.energy_max - storages.energy_min) * state,
    )
    stored = z[row : row + state.size].reshape(shape)
    return netted(storages, primal), replace(duals, stored=stored), int(answer.iterations)
