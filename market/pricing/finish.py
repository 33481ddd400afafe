"""A solver's point taken to machine precision, or to the stationary point that is published.

Periods are finished one by one, or together where storages couple them. A point that does not become better
is returned as it was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.feeder.model import Feeder
from market.pricing import local
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import NetworkProblem
from market.pricing.central import network_problem, no_schedule, solve_jointly
from market.pricing.conditions import Conditions, Duals, Primal
from market.pricing.optimality import CONE_TOLERANCE, measure, residual
from market.pricing.periods import period_of, row, stacked, with_row
from market.pricing.polish import stationary
from market.pricing.storages import OVERLAP_PU, one_way

OVERLAP_ROUNDS = 8


def finish(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> tuple[Primal, Duals]:
    """Finish every period on its own, or all that storages couple.

    What is not exact is moved to a stationary point: of the true power flow where the relaxation has slack
    (`local`), of storages that do one thing at a time where it has them charge and discharge at once.
    """
    if conditions.storages.count:
        return _finish_jointly(feeder, conditions, primal, duals)
    problem = NetworkProblem(feeder, conditions.devices.bus)
    given = primal, duals
    for t in range(conditions.periods):
        one = period_of(conditions, t)
        point = row(given[0], t), row(given[1], t)
        better = _exact(problem, one, *point)
        given = with_row(given[0], t, better[0]), with_row(given[1], t, better[1])
    return given


def without_relaxation(feeder: Feeder, conditions: Conditions) -> tuple[Primal, Duals] | None:
    """Points of periods whose relaxation no solver solved; None where one of them has none, or storages."""
    if conditions.storages.count:
        return None
    problem = NetworkProblem(feeder, conditions.devices.bus)
    found = [local.cheapest(problem, period_of(conditions, t)) for t in range(conditions.periods)]
    points = [point for point in found if point is not None]
    if len(points) < conditions.periods:
        return None
    return stacked([primal for primal, _ in points]), stacked([duals for _, duals in points])


def _finish_jointly(
    feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals
) -> tuple[Primal, Duals]:
    """Finish all periods together; where a storage does two things at once, allow it one and clear again."""
    problem = network_problem(feeder, conditions)
    point, allowed = (primal, duals), conditions
    for _ in range(OVERLAP_ROUNDS):
        point = _exact(problem, allowed, *point)
        if not np.any(np.minimum(point[0].charge, point[0].discharge) > OVERLAP_PU):
            break
        allowed = replace(allowed, storages=one_way(allowed.storages, point[0], OVERLAP_PU))
        try:
            primal, duals, _ = solve_jointly(problem, allowed)
        except ClearingFailed:
            break
        point = primal, duals
    return point


def _exact(
    problem: NetworkProblem, conditions: Conditions, primal: Primal, duals: Duals
) -> tuple[Primal, Duals]:
    """Polished; where the relaxation has slack, or the polish does not settle, what `local` chooses."""
    # a relaxed point with slack is near no point of the true flow: there is nothing to look for long
    patient = _slack(problem.feeder, primal) <= CONE_TOLERANCE
    better = _better(problem, conditions, primal, duals, patient=patient)
    exact = _slack(problem.feeder, better[0]) <= CONE_TOLERANCE
    if exact and local.accepted(problem.feeder, conditions, better).finished:
        return better
    if no_schedule(problem.feeder, conditions):
        return better  # there is nothing to look for
    return local.cheapest(problem, conditions, better) or better


def _better(
    problem: NetworkProblem, conditions: Conditions, primal: Primal, duals: Duals, *, patient: bool
) -> tuple[Primal, Duals]:
    """The polished point, or the given one where that meets the conditions better."""
    polished = stationary(problem, conditions, primal, duals, patient=patient)
    if polished is None:
        return primal, duals
    gained = _error(problem.feeder, conditions, *polished) < _error(problem.feeder, conditions, primal, duals)
    return polished if gained else (primal, duals)


def _slack(feeder: Feeder, primal: Primal) -> float:
    """What the relaxed cone leaves, l·v_π − P² − Q², at most, pu²."""
    return float(np.abs(primal.l * primal.v[:, feeder.parent] - primal.p**2 - primal.q**2)[:, 1:].max())


def _error(feeder: Feeder, conditions: Conditions, primal: Primal, duals: Duals) -> float:
    """Largest residual of the optimality conditions."""
    return residual(measure(feeder, conditions, primal, duals))
