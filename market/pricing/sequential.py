"""Where the relaxation is not exact: a stationary point on the true power flow, by tangents.

The cone leaves slack when an upper voltage limit binds under reverse flow, or when prices are
negative: burning power in the lines would pay. Here P² + Q² = l·v_π is replaced by its tangent at a
power flow, and the programme solved again at the power flow of what it says, until the schedule stands
still. What it ends at meets the exact optimality conditions with some σ > 0, so it is a stationary
point, and a schedule that the feeder really carries. Where it ends depends on where it begins.
"""

from __future__ import annotations

import numpy as np

from market.feeder.model import Feeder
from market.feeder.powerflow import Flow, PowerFlowError, power_flow
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import NetworkProblem
from market.pricing.central import solve_jointly, solve_period, stack
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.surplus import net_consumption
from market.units import Floats

ROUNDS = 40
STANDS_STILL_PU = 1e-9
"""Largest change of a bus's net consumption in the last round; Newton finishes from there."""


def nothing_flows(feeder: Feeder, periods: int) -> Flow:
    """The flow of a feeder that carries nothing: the first programme is then the lossless one."""
    zero = np.zeros((periods, feeder.buses))
    none = np.zeros(periods)
    return Flow(
        p=zero, q=zero, l=zero, v=zero + feeder.v0**2, loss=none, net_import=none, reactive_import=none
    )


def carried(feeder: Feeder, conditions: Conditions, primal: Primal) -> Flow:
    """The true power flow of a schedule. Raises PowerFlowError."""
    return power_flow(feeder, *_consumption(feeder, conditions, primal))


def tangents(problem: NetworkProblem, conditions: Conditions, flow: Flow) -> tuple[Primal, Duals] | None:
    """Near a stationary point, from a power flow; None where the first step leads nowhere.

    Of one period's conditions, or of several that storages couple. Where a later step fails, as steps of
    a millionth may, it is the last that did not.
    """
    found = None
    last: tuple[Floats, Floats] | None = None
    for _ in range(ROUNDS):
        try:
            found = _solve(problem, conditions, flow)
            taken = _consumption(problem.feeder, conditions, found[0])
            if last is not None and np.abs(np.subtract(taken, last)).max() <= STANDS_STILL_PU:
                break
            flow, last = power_flow(problem.feeder, *taken), taken
        except (PowerFlowError, ClearingFailed):
            break
    return found


def _solve(problem: NetworkProblem, conditions: Conditions, around: Flow) -> tuple[Primal, Duals]:
    if conditions.storages.count:
        primal, duals, _ = solve_jointly(problem, conditions, around)
        return primal, duals
    point, gen, load = solve_period(problem, conditions, 0, around)
    return stack([point], gen[None], load[None])


def _consumption(feeder: Feeder, conditions: Conditions, primal: Primal) -> tuple[Floats, Floats]:
    """Net consumption of a schedule, active and reactive, periods × buses, pu."""
    return net_consumption(feeder, conditions, primal), conditions.fixed_q * (1 - primal.shed)
