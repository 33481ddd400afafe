"""The network's model written down in cvxpy, for the reference clearing and for LinDistFlow.

Written as a modeller would, and apart from the assembly in `branchflow`, so that each can check the
other. cvxpy compiles a problem once for its shape (disciplined parametrised programming) and only
fills in numbers after. Devices are scaled to shares of their range, flows to what their lines may carry,
as in `direct`. Where storages couple periods, one problem holds a model of each period, and the storages
as they are, unscaled.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, ConditionsError, admit
from market.pricing.branchflow import SOLVER_TOLERANCE, cone_dual
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.rules import shed_cost, tie_break_centre, tie_break_share
from market.pricing.storages import netted
from market.units import Floats, Ints

PARAMETERS = {
    "fixed_p": "buses",
    "fixed_q": "buses",
    "firm_p": "buses",
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
SIZES = {"gen_max", "gen_curvature", "load_span", "load_curvature", "spread", "shed_cost"}
"""Parameters that are never negative, which is what makes the problem convex."""
UNITS = {"p": 1, "q": 1, "l": 2}
"""Variables of lines in units of what these may carry, and to which power."""
STORED = {
    "charge_max": "states",
    "discharge_max": "states",
    "energy_min": "states",
    "energy_max": "states",
    "drain_rate": "states",
    "start_rate": "storages",
    "rate": "one",
    "charge_efficiency": "storages",
    "discharge_loss": "storages",
    "wear": "storages",
    "wear_curvature": "storages",
    "final_rate": "storages",
}
"""What changes of the storages, and its shape: a rate is an energy per hour, or 1 per hour."""


class CompiledClearing:
    """One feeder's program, compiled on first use for each placing of devices."""

    lossless = False

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self._compiled: dict[bytes, _Program] = {}
        self._joined: dict[tuple[int, bytes, bytes], _JointProgram] = {}

    def solve(self, feeder: Feeder, conditions: Conditions) -> tuple[Primal, Duals, int]:
        """Schedule, prices with the signs of README.md, and rounds of every period. Raises PricingError."""
        if feeder is not self.feeder and feeder.hash != self.feeder.hash:
            raise ConditionsError(f"compiled for feeder {self.feeder.name}, asked for {feeder.name}")
        admit(feeder, conditions)
        if conditions.storages.count:
            return _solve_jointly(self.feeder, self._joint(conditions), conditions)
        program = self._program(conditions)
        answers = [_solve(self.feeder, program, conditions, t) for t in range(conditions.periods)]
        primal, duals = _stack(self.feeder, program, conditions, answers)
        return primal, duals, sum(answer["iterations"] for answer in answers)

    def _program(self, conditions: Conditions) -> _Program:
        placing = np.asarray(conditions.devices.bus, dtype="<i8")
        key = placing.tobytes()
        if key not in self._compiled:
            self._compiled[key] = _compile(self.feeder, placing, lossless=self.lossless)
        return self._compiled[key]

    def _joint(self, conditions: Conditions) -> _JointProgram:
        devices, storages = (
            np.asarray(each.bus, dtype="<i8") for each in (conditions.devices, conditions.storages)
        )
        key = conditions.periods, devices.tobytes(), storages.tobytes()
        if key not in self._joined:
            self._joined[key] = _compile_jointly(
                self.feeder, devices, storages, conditions.periods, lossless=self.lossless
            )
        return self._joined[key]


@dataclass(frozen=True, eq=False)
class _Program:
    """A compiled problem: what to fill in, what to read off."""

    problem: Any
    parameters: dict[str, Any]
    variables: dict[str, Any]
    constraints: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _JointProgram:
    """A compiled problem of several periods: one model each, and the storages between them."""

    problem: Any
    periods: list[_Program]
    parameters: dict[str, Any]
    variables: dict[str, Any]
    states: list[Any]


def _compile(feeder: Feeder, device_bus: Ints, *, lossless: bool) -> _Program:
    """Write a period's model down and make it a problem."""
    model, cost = _model(feeder, device_bus, lossless=lossless)
    problem = cp.Problem(cp.Minimize(cost), list(model.constraints.values()))
    return _Program(problem, model.parameters, model.variables, model.constraints)


def _model(feeder: Feeder, device_bus: Ints, *, lossless: bool, injected: Any = None) -> tuple[_Program, Any]:
    """Parameters, variables, constraints and cost of a period; storages may add to the injections by bus."""
    unit = _unit(feeder)
    length = {"buses": feeder.buses, "devices": max(len(device_bus), 1), "one": 1}
    given = {
        name: cp.Parameter(length[per], name=name, nonneg=name in SIZES) for name, per in PARAMETERS.items()
    }
    found = {name: cp.Variable(feeder.lines, name=name) for name in ("p", "q", "v")}
    found |= {name: cp.Variable(feeder.buses, name=name) for name in ("shed", "tie")}
    found |= {name: cp.Variable(length["devices"], name=name) for name in ("gen_share", "load_share")}
    found["net_import"] = cp.Variable(1, name="net_import")
    # without losses there is no current: 0 in balances and drops
    found["l"] = cp.Constant(np.zeros(feeder.lines)) if lossless else cp.Variable(feeder.lines, name="l")
    var = found | {name: cp.multiply(unit**power, found[name]) for name, power in UNITS.items()}
    constraints = {
        **_balances(feeder, device_bus, given, var, injected),
        **_limits(feeder, var, found, lossless=lossless),
    }
    return _Program(None, given, found, constraints), _cost(feeder, given, var)


def _compile_jointly(
    feeder: Feeder, device_bus: Ints, storage_bus: Ints, periods: int, *, lossless: bool
) -> _JointProgram:
    """Write the periods' models down, and the states that couple them."""
    count = len(storage_bus)
    shape = {"states": (periods, count), "storages": (count,), "one": (1,)}
    given = {name: cp.Parameter(shape[per], name=name, nonneg=True) for name, per in STORED.items()}
    given["final_rate"] = cp.Parameter(count, name="final_rate")
    var = {name: cp.Variable((periods, count), name=name) for name in ("charge", "discharge", "energy")}
    charge, discharge, energy = var.values()
    at_bus = sp.csr_array((np.ones(count), (storage_bus, np.arange(count))), shape=(feeder.buses, count))
    models, states, cost = [], [], -(given["final_rate"] @ energy[periods - 1])
    for t in range(periods):
        injected = at_bus @ (discharge[t] - charge[t])
        model, of_network = _model(feeder, device_bus, lossless=lossless, injected=injected)
        models.append(model)
        before = given["start_rate"] if t == 0 else given["rate"] * energy[t - 1]
        stored = cp.multiply(given["charge_efficiency"], charge[t])
        taken = cp.multiply(given["discharge_loss"], discharge[t])
        states.append(given["rate"] * energy[t] - before - stored + taken + given["drain_rate"][t] == 0)
        cost = cost + of_network + given["wear"] @ (charge[t] + discharge[t])
        cost = cost + sum(
            cp.sum_squares(cp.multiply(given["wear_curvature"], power[t])) / 2
            for power in (charge, discharge)
        )
    bounds = [
        charge >= 0,
        charge <= given["charge_max"],
        discharge >= 0,
        discharge <= given["discharge_max"],
        energy >= given["energy_min"],
        energy <= given["energy_max"],
    ]
    network = [constraint for model in models for constraint in model.constraints.values()]
    problem = cp.Problem(cp.Minimize(cp.sum(cost)), [*network, *states, *bounds])
    return _JointProgram(problem, models, given, var, states)


def _balances(
    feeder: Feeder, device_bus: Ints, given: dict[str, Any], var: dict[str, Any], injected: Any
) -> dict[str, Any]:
    """Active power at every bus, reactive power at all but the substation."""
    buses, lines = feeder.buses, feeder.lines
    j, k = np.arange(lines), np.arange(len(device_bus))
    # leaving[b, j] = 1 where line j leaves bus b; arriving[b, j] = 1 where it arrives
    leaving = sp.csr_array((np.ones(lines), (feeder.parent[1:], j)), shape=(buses, lines))
    arriving = sp.csr_array((np.ones(lines), (j + 1, j)), shape=(buses, lines))
    at_bus = sp.csr_array((np.ones(len(k)), (device_bus, k)), shape=(buses, max(len(k), 1)))
    substation = np.zeros((buses, 1))
    substation[0, 0] = 1.0
    gen = cp.multiply(given["gen_max"], var["gen_share"])
    load = given["load_min"] + cp.multiply(given["load_span"], var["load_share"])
    active = (
        arriving @ (var["p"] - cp.multiply(feeder.r_pu[1:], var["l"]))
        + substation @ var["net_import"]
        - leaving @ var["p"]
        + at_bus @ (gen - load)
        + np.sqrt(tie_break_share(feeder)) * var["tie"]
        + cp.multiply(given["firm_p"], var["shed"])
    )
    if injected is not None:
        active = active + injected
    reactive = (
        arriving @ (var["q"] - cp.multiply(feeder.x_pu[1:], var["l"]))
        - leaving @ var["q"]
        + cp.multiply(given["fixed_q"], var["shed"])
    )
    return {
        "active": active == given["fixed_p"],
        "reactive": reactive[1:] == given["fixed_q"][1:],
    }


def _limits(feeder: Feeder, var: dict[str, Any], found: dict[str, Any], *, lossless: bool) -> dict[str, Any]:
    """Voltage drops; with flows in units: the current's cone, limits of voltages, ratings and shares."""
    r, x, limits = feeder.r_pu[1:], feeder.x_pu[1:], feeder.limits
    p, q, current, v = (var[name] for name in ("p", "q", "l", "v"))
    v_parent = cp.hstack([np.array([feeder.v0**2]), v])[feeder.parent[1:]]
    drop = v - v_parent + 2 * (cp.multiply(r, p) + cp.multiply(x, q)) - cp.multiply(r**2 + x**2, current)
    shares = cp.hstack([var[name] for name in ("shed", "gen_share", "load_share")])
    constraints = {
        "drop": drop == 0,
        "v_low": v >= limits.v_min[1:] ** 2,
        "v_high": v <= limits.v_max[1:] ** 2,
        "shares": shares >= 0,
        "shares_top": shares <= 1,
    }
    rated = np.flatnonzero(np.isfinite(limits.i_max[1:]))
    rating = (limits.i_max[1:] / _unit(feeder))[rated] ** 2
    p, q, current = (found[name] for name in UNITS)
    if not lossless:
        constraints["cone"] = cp.SOC(current + v_parent, cp.vstack([2 * p, 2 * q, current - v_parent]))
    if len(rated) and lossless:
        constraints["current"] = (cp.square(p[rated]) + cp.square(q[rated])) / feeder.v0**2 <= rating
    elif len(rated):
        constraints["current"] = current[rated] <= rating
    return constraints


def _cost(feeder: Feeder, given: dict[str, Any], var: dict[str, Any]) -> Any:
    """Hub, devices, shedding and tie-break, €/h per pu of base."""
    tie_break = np.sqrt(tie_break_share(feeder)) * cp.sum(given["centre"] * var["tie"])
    return (
        given["export_price"] @ var["net_import"]
        + cp.sum(cp.pos(cp.multiply(given["spread"], var["net_import"])))
        + given["gen_cost"] @ var["gen_share"]
        + cp.sum_squares(cp.multiply(given["gen_curvature"], var["gen_share"])) / 2
        - given["load_worth"] @ var["load_share"]
        + cp.sum_squares(cp.multiply(given["load_curvature"], var["load_share"])) / 2
        + given["shed_cost"] @ var["shed"]
        + tie_break
        + cp.sum_squares(var["tie"]) / 2
    )


def _unit(feeder: Feeder) -> Floats:
    """What flows are measured in by line, pu: what it may carry, 1 at most."""
    return np.minimum(feeder.limits.i_max[1:], 1.0)


def _fill(program: _Program, conditions: Conditions, t: int) -> None:
    """Give the parameters their numbers for a period; a curvature is the root of its coefficient."""
    devices, hub = conditions.devices, conditions.hub
    top, least = devices.gen_max[t], devices.load_min[t]
    span = devices.load_max[t] - least
    shedding = shed_cost(conditions)[t]
    numbers = {
        "fixed_p": conditions.fixed_p[t],
        "fixed_q": conditions.fixed_q[t],
        "firm_p": conditions.firm_p[t],
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
    _run(program.problem, f"feeder {feeder.name}: period {t}")
    return _answer(program) | {"iterations": program.problem.solver_stats.num_iters}


def _run(problem: Any, where: str, **how: Any) -> None:
    """Solve a filled problem. Raises ClearingFailed."""
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), SOLVER_TOLERANCE)
    with warnings.catch_warnings():
        # what an inaccurate answer is worth, the optimality conditions measure
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            # a warm solver keeps the scaling of an earlier period: answers would depend on history
            problem.solve(solver=cp.CLARABEL, warm_start=False, max_threads=1, **tight, **how)
        except cp.error.SolverError as failure:
            raise ClearingFailed(f"{where}: {failure}") from failure
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise ClearingFailed(f"{where}: solver says {problem.status}")


def _answer(program: _Program) -> dict[str, Any]:
    """A period's variables and multipliers."""
    return {
        **{name: np.array(variable.value) for name, variable in program.variables.items()},
        **{
            f"dual_{name}": np.array(program.constraints[name].dual_value)
            for name in ("active", "reactive", "drop", "v_low", "v_high", "current")
            if name in program.constraints
        },
    }


def _solve_jointly(
    feeder: Feeder, program: _JointProgram, conditions: Conditions
) -> tuple[Primal, Duals, int]:
    """Solve all periods at once."""
    storages, hours = conditions.storages, conditions.hours
    for t, model in enumerate(program.periods):
        _fill(model, conditions, t)
    numbers = {
        **{name: getattr(storages, name) for name in STORED if hasattr(storages, name)},
        "drain_rate": storages.drain / hours,
        "start_rate": storages.energy_start / hours,
        "rate": np.array([1 / hours]),
        "discharge_loss": 1 / storages.discharge_efficiency,
        "final_rate": storages.final_value / hours,
        "wear_curvature": np.sqrt(storages.wear_slope),
    }
    for name, values in numbers.items():
        program.parameters[name].value = values
    # a map from every parameter of a day to the solver's matrices takes gigabytes: they are written anew
    _run(program.problem, f"feeder {feeder.name}: {conditions.periods} periods", ignore_dpp=True)
    primal, duals = _stack(
        feeder, program.periods[0], conditions, [_answer(model) for model in program.periods]
    )
    stored = {name: np.array(variable.value) for name, variable in program.variables.items()}
    theta = np.array([constraint.dual_value for constraint in program.states])
    iterations = int(program.problem.solver_stats.num_iters)
    primal = netted(storages, replace(primal, **stored))
    return primal, replace(duals, stored=theta), iterations


def _stack(
    feeder: Feeder, program: _Program, conditions: Conditions, answers: list[dict[str, Any]]
) -> tuple[Primal, Duals]:
    """Turn the answers into powers and prices with the signs of README.md."""
    devices, unit = conditions.devices, _unit(feeder)

    def of(name: str) -> Floats:
        return np.array([answer[name] for answer in answers])

    def of_lines(name: str, first: float = 0.0) -> Floats:
        return np.insert(of(name), 0, first, axis=1)

    # cvxpy's Lagrangian is f + yᵀ(left − right), ours f − wᵀF
    price, reactive, drop = -of("dual_active"), -of_lines("dual_reactive"), -of_lines("dual_drop")
    current = np.zeros_like(price)
    if "current" in program.constraints:
        rated = np.flatnonzero(np.isfinite(feeder.limits.i_max[1:]))
        current[:, 1 + rated] = of("dual_current") / unit[rated] ** 2
    v = of_lines("v", feeder.v0**2)
    p, q, squared = (np.insert(of(name) * unit**power, 0, 0.0, axis=1) for name, power in UNITS.items())
    span = devices.load_max - devices.load_min
    primal = Primal(
        p=p,
        q=q,
        l=squared,
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
