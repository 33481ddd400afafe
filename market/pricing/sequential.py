"""Where the relaxation is not exact: a stationary point on the true power flow, by tangents.

The cone leaves slack when an upper voltage limit binds under reverse flow, or when prices are
negative: burning power in the lines would pay. Here P² + Q² = l·v_π is replaced by its tangent at the
power flow of the last schedule, and the programme solved again until the schedule stands still. What
it ends at meets the exact optimality conditions with some σ > 0, so it is a stationary point, and a
schedule that the feeder really carries.
"""

from __future__ import annotations

import numpy as np

from market.feeder.model import Feeder
from market.feeder.powerflow import Flow, PowerFlowError, power_flow
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import NetworkProblem
from market.pricing.central import network_problem, solve_jointly, solve_period, stack
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.surplus import net_consumption
from market.units import Floats

ROUNDS = 40
STANDS_STILL_PU = 1e-9
"""Largest change of a bus's net consumption in the last round; Newton finishes from there."""


def exact_period(feeder: Feeder, conditions: Conditions, primal: Primal) -> tuple[Primal, Duals] | None:
    """Near a stationary point, from a relaxed schedule; None where the first step leads nowhere.

    Of one period's conditions, or of several that storages couple. Where a later step fails, as steps of
    a millionth may, it is the last that did not.
    """
    problem = network_problem(feeder, conditions)
    active, reactive = _consumption(feeder, conditions, primal)
    found = None
    for _ in range(ROUNDS):
        try:
            flow = power_flow(feeder, active, reactive)
            found = _solve(problem, conditions, flow)
        except (PowerFlowError, ClearingFailed):
            return found
        last = active, reactive
        active, reactive = _consumption(feeder, conditions, found[0])
        moved = max(np.abs(active - last[0]).max(), np.abs(reactive - last[1]).max())
        if moved <= STANDS_STILL_PU:
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
