"""The reference clearing: the branch-flow relaxation written in cvxpy, solved by Clarabel.

The model is DESIGN §6's, after M. Farivar and S. H. Low, "Branch flow model: relaxations and
convexification", IEEE Transactions on Power Systems 28(3):2554–2572, 2013. Written as a modeller
would, and apart from the assembly in `branchflow`, so that each can check the other. cvxpy compiles a
problem once for its shape (disciplined parametrised programming) and only fills in numbers after.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, admit
from market.pricing.branchflow import SOLVER_TOLERANCE, cone_dual
from market.pricing.conclude import conclude
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.units import Floats

PARAMETERS = {
    "fixed_p": "buses",
    "fixed_q": "buses",
    "shed_cost": "buses",
    "export_price": "one",
    "spread": "one",
    "centre": "one",
    "gen_max": "devices",
    "gen_cost": "devices",
    "gen_curvature": "devices",
    "load_min": "devices",
    "load_span": "devices",
    "load_worth": "devices",
    "load_curvature": "devices",
}
"""What changes from period to period, and its length; devices are scaled to shares of their range."""


def clear(feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
    """Clear once; who clears often keeps a SocpClearing. Raises PricingError."""
    return SocpClearing(feeder)(feeder, conditions, warm)


class SocpClearing:
    """The reference clearing for one feeder, compiled on first use for each placing of devices."""

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self._compiled: dict[bytes, _Program] = {}

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period. Raises PricingError; `warm` is of no use to an interior point."""
        if feeder is not self.feeder and feeder.hash != self.feeder.hash:
            raise ValueError(f"compiled for feeder {self.feeder.name}, asked for {feeder.name}")
        admit(feeder, conditions)
        program = self._program(conditions)
        answers = [_solve(self.feeder, program, conditions, t) for t in range(conditions.periods)]
        primal, duals = _stack(self.feeder, program, conditions, answers)
        iterations = sum(answer["iterations"] for answer in answers)
        return conclude(self.feeder, conditions, primal, duals, method="socp", iterations=iterations)

    def _program(self, conditions: Conditions) -> _Program:
        placing = np.asarray(conditions.devices.bus, dtype="<i8")
        key = placing.tobytes()
        if key not in self._compiled:
            self._compiled[key] = _compile(self.feeder, placing)
        return self._compiled[key]


@dataclass(frozen=True, eq=False)
class _Program:
    """A compiled problem: what to fill in, what to read off."""

    problem: Any
    parameters: dict[str, Any]
    variables: dict[str, Any]
    constraints: dict[str, Any]


def _compile(feeder: Feeder, device_bus: Any) -> _Program:
    """Write the model down."""
    buses, lines, devices = feeder.buses, feeder.lines, len(device_bus)
    length = {"buses": buses, "devices": max(devices, 1), "one": 1}
    given = {name: cp.Parameter(length[per], name=name) for name, per in PARAMETERS.items()}
    for name in ("gen_max", "gen_curvature", "load_span", "load_curvature", "spread", "shed_cost"):
        given[name] = cp.Parameter(length[PARAMETERS[name]], name=name, nonneg=True)
    var = {name: cp.Variable(lines, name=name) for name in ("p", "q", "l", "v")}
    var |= {name: cp.Variable(buses, name=name) for name in ("shed", "tie")}
    var |= {name: cp.Variable(max(devices, 1), name=name) for name in ("gen_share", "load_share")}
    var["net_import"] = cp.Variable(1, name="net_import")

    parent, r, x = feeder.parent[1:], feeder.r_pu[1:], feeder.x_pu[1:]
    j = np.arange(lines)
    # leaving[b, j] = 1 where line j leaves bus b; arriving[b, j] = 1 where it arrives
    leaving = sp.csr_array((np.ones(lines), (parent, j)), shape=(buses, lines))
    arriving = sp.csr_array((np.ones(lines), (j + 1, j)), shape=(buses, lines))
    at_bus = sp.csr_array(
        (np.ones(devices), (device_bus, np.arange(devices))), shape=(buses, length["devices"])
    )
    substation = np.zeros((buses, 1))
    substation[0, 0] = 1.0
    v_all = cp.hstack([np.array([feeder.v0**2]), var["v"]])
    v_parent = v_all[parent]
    share = tie_break_share(feeder)

    gen = cp.multiply(given["gen_max"], var["gen_share"])
    load = given["load_min"] + cp.multiply(given["load_span"], var["load_share"])
    injected = at_bus @ (gen - load) + np.sqrt(share) * var["tie"]
    active = (
        arriving @ (var["p"] - cp.multiply(r, var["l"]))
        + substation @ var["net_import"]
        - leaving @ var["p"]
        + injected
        + cp.multiply(given["fixed_p"], var["shed"])
    )
    reactive = (
        arriving @ (var["q"] - cp.multiply(x, var["l"]))
        - leaving @ var["q"]
        + cp.multiply(given["fixed_q"], var["shed"])
    )
    drop = var["v"] - v_parent + 2 * (cp.multiply(r, var["p"]) + cp.multiply(x, var["q"]))
    rated = np.flatnonzero(np.isfinite(feeder.limits.i_max[1:]))
    constraints = {
        "active": active == given["fixed_p"],
        "reactive": reactive[1:] == given["fixed_q"][1:],
        "drop": drop - cp.multiply(r**2 + x**2, var["l"]) == 0,
        "v_low": var["v"] >= feeder.limits.v_min[1:] ** 2,
        "v_high": var["v"] <= feeder.limits.v_max[1:] ** 2,
        "cone": cp.SOC(var["l"] + v_parent, cp.vstack([2 * var["p"], 2 * var["q"], var["l"] - v_parent])),
        "shares": cp.hstack([var[name] for name in ("shed", "gen_share", "load_share")]) >= 0,
        "shares_top": cp.hstack([var[name] for name in ("shed", "gen_share", "load_share")]) <= 1,
    }
    if len(rated):
        constraints["current"] = var["l"][rated] <= feeder.limits.i_max[1:][rated] ** 2
    cost = (
        given["export_price"] @ var["net_import"]
        + cp.sum(cp.pos(cp.multiply(given["spread"], var["net_import"])))
        + given["gen_cost"] @ var["gen_share"]
        + cp.sum_squares(cp.multiply(given["gen_curvature"], var["gen_share"])) / 2
        - given["load_worth"] @ var["load_share"]
        + cp.sum_squares(cp.multiply(given["load_curvature"], var["load_share"])) / 2
        + given["shed_cost"] @ var["shed"]
        + np.sqrt(share) * cp.sum(given["centre"] * var["tie"])
        + cp.sum_squares(var["tie"]) / 2
    )
    problem = cp.Problem(cp.Minimize(cost), list(constraints.values()))
    return _Program(problem, given, var, constraints)


def _fill(program: _Program, conditions: Conditions, t: int) -> None:
    """Give the parameters their numbers for a period; a curvature is the root of its coefficient."""
    devices, hub = conditions.devices, conditions.hub
    top, least = devices.gen_max[t], devices.load_min[t]
    span = devices.load_max[t] - least
    shedding = shed_cost(conditions)[t]
    numbers = {
        "fixed_p": conditions.fixed_p[t],
        "fixed_q": conditions.fixed_q[t],
        # a bus without load has nothing to shed; a cost keeps its idle share at 0
        "shed_cost": np.where(shedding > 0, shedding, 1.0),
        "export_price": hub.export_price[t : t + 1],
        "spread": hub.import_price[t : t + 1] - hub.export_price[t : t + 1],
        "centre": tie_break_centre(conditions)[t : t + 1],
        "gen_max": top,
        "gen_cost": devices.gen_cost[t] * top,
        "gen_curvature": np.sqrt(devices.gen_slope[t]) * top,
        "load_min": least,
        "load_span": span,
        "load_worth": (devices.load_value[t] - devices.load_slope[t] * least) * span,
        "load_curvature": np.sqrt(devices.load_slope[t]) * span,
    }
    for name, values in numbers.items():
        # cvxpy knows no empty vectors: without devices there is one that can do nothing
        program.parameters[name].value = values if len(values) else np.zeros(1)


def _solve(feeder: Feeder, program: _Program, conditions: Conditions, t: int) -> dict[str, Any]:
    """Solve a period and copy what it found."""
    _fill(program, conditions, t)
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), SOLVER_TOLERANCE)
    with warnings.catch_warnings():
        # what an inaccurate answer is worth, the optimality conditions measure
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            program.problem.solve(solver=cp.CLARABEL, max_threads=1, **tight)
        except cp.error.SolverError as failure:
            raise ClearingFailed(f"feeder {feeder.name}: period {t}: {failure}") from failure
    if program.problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise ClearingFailed(f"feeder {feeder.name}: period {t}: solver says {program.problem.status}")
    return {
        **{name: np.array(variable.value) for name, variable in program.variables.items()},
        **{
            f"dual_{name}": np.array(program.constraints[name].dual_value)
            for name in ("active", "reactive", "drop", "v_low", "v_high", "current")
            if name in program.constraints
        },
        "iterations": program.problem.solver_stats.num_iters,
    }


def _stack(
    feeder: Feeder, program: _Program, conditions: Conditions, answers: list[dict[str, Any]]
) -> tuple[Primal, Duals]:
    """Turn the answers into powers and prices with the signs of DESIGN §6."""
    devices = conditions.devices

    def of(name: str) -> Floats:
        return np.array([answer[name] for answer in answers])

    def of_lines(name: str, first: float = 0.0) -> Floats:
        return np.insert(of(name), 0, first, axis=1)

    # cvxpy's Lagrangian is f + yᵀ(left − right), ours f − wᵀF
    price, reactive, drop = -of("dual_active"), -of_lines("dual_reactive"), -of_lines("dual_drop")
    current = np.zeros_like(price)
    if "current" in program.constraints:
        current[:, np.isfinite(feeder.limits.i_max) & (np.arange(feeder.buses) > 0)] = of("dual_current")
    v = of_lines("v", feeder.v0**2)
    span = devices.load_max - devices.load_min
    primal = Primal(
        p=of_lines("p"),
        q=of_lines("q"),
        l=of_lines("l"),
        v=v,
        shed=of("shed"),
        elastic=np.sqrt(tie_break_share(feeder)) * of("tie"),
        gen=devices.gen_max * of("gen_share")[:, : devices.count],
        load=devices.load_min + span * of("load_share")[:, : devices.count],
        net_import=of("net_import")[:, 0],
    )
    duals = Duals(
        price=price,
        reactive=reactive,
        voltage=drop,
        cone=cone_dual(feeder, v, (price, reactive, drop, current)),
        v_low=of_lines("dual_v_low"),
        v_high=of_lines("dual_v_high"),
        current=current,
    )
    return primal, duals
