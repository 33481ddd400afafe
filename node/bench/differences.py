"""λ against finite differences of the optimal cost: what one more unit of load costs, found without a dual.

A bus's firm load is moved by 1e-7 pu either way and everything cleared again. Where all three clearings
have the same quantities at their bounds, the cost is smooth between them and λ is the central difference;
where not, λ lies between the one-sided ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from market.feeder import is_simbench, load
from market.feeder.model import Feeder
from market.pricing.conditions import Conditions, Solution
from market.pricing.newton import NewtonClearing
from market.units import Ints
from node.bench.drawn import drawn_conditions

STEP_PU = 1e-7
BUSES = 24
"""Buses of a feeder that are looked at."""
PROSUMERS = 60
LIMITS_PU = 0.95, 1.05
"""Narrow enough to bind on one feeder in four."""


def errors_of(names: Sequence[str]) -> dict[str, float]:
    """Largest error on each of these feeders; SimBench's are missing without the extra."""
    errors = {}
    for name in names:
        if is_missing(name):
            continue
        feeder = load(name, *LIMITS_PU)
        errors[name] = worst_error(feeder, conditions_of(feeder), spread(feeder))
    return errors


def is_missing(name: str) -> bool:
    """Whether a feeder is SimBench's, and the extra that has it is not there."""
    return is_simbench(name) and find_spec("simbench") is None


def conditions_of(feeder: Feeder) -> Conditions:
    """One hour of a feeder, with no more prosumers than it has room for."""
    return drawn_conditions(feeder, min(PROSUMERS, 3 * feeder.buses))


def worst_error(feeder: Feeder, conditions: Conditions, buses: Sequence[int] | Ints) -> float:
    """Largest error of λ at these buses, of max(|λ|, 1 €/MWh); `conditions` of one period."""
    clearing = NewtonClearing(feeder, exact=0.0)
    same = clearing(feeder, conditions)
    return max(_error(clearing, conditions, same, int(bus)) for bus in buses)


def spread(feeder: Feeder) -> Ints:
    """Buses from the substation to the last, evenly, BUSES at most."""
    return np.unique(np.linspace(0, feeder.buses - 1, BUSES).astype(np.int64))


def _error(clearing: NewtonClearing, conditions: Conditions, same: Solution, bus: int) -> float:
    """How far λ of a bus is from the cost's slope, or from between its slopes on either side."""
    less, more = (
        clearing.near(clearing.feeder, _moved(conditions, bus, step), same) for step in (-STEP_PU, STEP_PU)
    )
    slope = (same.cost - less.cost) / STEP_PU, (more.cost - same.cost) / STEP_PU
    smooth = all(
        np.array_equal(_bounds(each, conditions), _bounds(same, conditions)) for each in (less, more)
    )
    low, high = (sum(slope) / 2,) * 2 if smooth else (min(slope), max(slope))
    found = _marginal(same, conditions, bus)
    return max(low - found, found - high, 0.0) / max(abs(found), 1.0)


def _moved(conditions: Conditions, bus: int, step: float) -> Conditions:
    fixed_p = conditions.fixed_p.copy()
    fixed_p[0, bus] += step
    return replace(conditions, fixed_p=fixed_p)


def _marginal(solution: Solution, conditions: Conditions, bus: int) -> float:
    """Cost of one more unit of firm load: λ for the share that is served, VOLL for what is shed."""
    price, shed = solution.duals.price[0, bus], solution.primal.shed[0, bus]
    if not shed > 0:
        return float(price)
    load = conditions.firm_p[0, bus]
    lost = conditions.voll * load / np.hypot(load, conditions.fixed_q[0, bus])
    return float((1 - shed) * price + shed * lost)


def _bounds(solution: Solution, conditions: Conditions) -> Ints:
    """Where each bounded quantity is: −1 at its lower bound, 1 at its upper, 0 between."""
    primal, duals, devices = solution.primal, solution.duals, conditions.devices
    held = (
        (primal.gen, 0.0, devices.gen_max),
        (primal.load, devices.load_min, devices.load_max),
        (primal.shed, 0.0, 1.0),
        (duals.v_low, 0.0, np.inf),
        (duals.v_high, 0.0, np.inf),
        (duals.current, 0.0, np.inf),
    )
    sides = [np.sign(primal.net_import)]
    sides += [np.where(found <= low, -1, np.where(found >= high, 1, 0))[0] for found, low, high in held]
    return np.concatenate(sides).astype(np.int64)
