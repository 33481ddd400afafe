"""The upper level: the utility's copy of every bus's injection, priced by the network.

    min h(import) + shedding + tie-break + Σ_b ½ w_b (T_b − Z_b)²   subject to the branch-flow model

The network is assembled once a feeder. Rounds change q, rebalanced weights P; one Clarabel solver lives
through the rounds of a period. Each period gets a new one: scaling is chosen when a solver is made, and
oracles with different pasts must come to the same prices. Device limits stay out of it: they belong to
the prosumers.

The conic answer is finished by Newton steps on the true power flow where it is not good enough: where
the solver stopped short of its tolerance, as it does when load is shed and multipliers spread over many
orders of magnitude, where the relaxed cone leaves slack, and at the end, since what the network says of
its own prices must hold to better than the conic solver's tolerance of the largest cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import ConicData, NetworkPoint, NetworkProblem
from market.pricing.central import stack
from market.pricing.conditions import Conditions, Devices, Duals, Primal
from market.pricing.optimality import CONE_TOLERANCE
from market.pricing.polish import period_of, stationary
from market.units import Floats, Ints

SOLVED = "Solved"
USABLE = frozenset({SOLVED, "AlmostSolved", "InsufficientProgress"})
"""Near enough to the answer for Newton's steps; the finished solution is measured in any case."""
FRUITLESS_MAX = 40
"""After so many refinements that led nowhere a period's answers are taken as they come."""
ROOM_PU = 1.0
"""How far, at least, an injection may move from target and last answer while it is refined."""


class UpperLevel:
    """The utility's problem for one feeder and the buses where prosumers inject."""

    def __init__(self, feeder: Feeder, injection_buses: Ints) -> None:
        self._problem = NetworkProblem(feeder, injection_buses)
        self.buses = self._problem.layout.injection_buses
        self._weight: Floats = np.zeros(len(self.buses))
        self._conditions: Conditions | None = None
        self._data: ConicData | None = None
        self._solver: Any = None
        self._on_true_flow: NetworkPoint | None = None
        self._fruitless = 0

    def begin(self, conditions: Conditions, period: int) -> None:
        """Turn to a period, forgetting the last one; `reweigh` must follow."""
        self._conditions = period_of(conditions, period)
        self._data = self._problem.matrices(conditions, period, np.ones(len(self.buses)))
        self._on_true_flow = None
        self._fruitless = 0
        self._renew()

    def reweigh(self, weight: Floats) -> None:
        """Set w_b by injection bus, €/MWh per pu."""
        self._weight = weight
        self._data = replace(self._begun, hessian=self._problem.hessian(weight))
        self._solver.update(P=self._begun.hessian)

    def answer(self, target: Floats, *, finish: bool = False) -> NetworkPoint:
        """T and the balance duals λ for targets Z_b by injection bus; `finish` wants them to the last digit.

        Raises ClearingFailed.
        """
        point = self._conic(target)
        loose = _slack(self._problem.feeder, point) > CONE_TOLERANCE
        good = point.status == SOLVED and not loose and not finish
        if good or self._fruitless >= FRUITLESS_MAX:
            return point
        # the relaxed answer is far from the true flow's where it is loose; the last round's is near
        starts = [self._on_true_flow, point] if loose else [point]
        for start in starts:
            refined = None if start is None else self._refined(start, target)
            if refined is not None:
                self._on_true_flow = refined
                return refined
        self._fruitless += 1
        return point

    def _conic(self, target: Floats) -> NetworkPoint:
        """The conic solver's answer, from a solver of fresh scaling where the kept one does not get there."""
        linear = self._begun.linear.copy()
        linear[self._problem.layout.injection] -= self._weight * target
        self._solver.update(q=linear)
        answer = self._solver.solve()
        if str(answer.status) not in USABLE:
            self._renew()
            self._solver.update(q=linear)
            answer = self._solver.solve()
        if str(answer.status) not in USABLE:
            raise ClearingFailed(f"upper level: the solver ended with {answer.status}")
        return self._problem.point(answer)

    def _refined(self, point: NetworkPoint, target: Floats) -> NetworkPoint | None:
        """The stationary point of the true power flow near `point`; None where Newton does not reach it.

        The pull ½w(T − Z)² is that of one generator a bus with quadratic cost, beside a rigid load R
        that lets T = g − R have either sign.
        """
        assert self._conditions is not None
        injected = point.injection[self.buses]
        room = 2.0 * (np.abs(target) + np.abs(injected) + ROOM_PU)
        pull = Devices(
            bus=self.buses,
            gen_cost=-(self._weight * (room + target))[None],
            gen_slope=self._weight[None],
            gen_max=2.0 * room[None],
            load_value=np.zeros((1, len(room))),
            load_slope=np.zeros((1, len(room))),
            load_min=room[None],
            load_max=room[None],
        )
        start = stack([point], (injected + room)[None], room[None])
        found = stationary(self._problem, replace(self._conditions, devices=pull), *start)
        return None if found is None else _point(point, self.buses, *found)

    @property
    def _begun(self) -> ConicData:
        if self._data is None:
            raise ValueError("upper level: no period was begun")
        return self._data

    def _renew(self) -> None:
        self._solver = self._problem.solver(self._begun, self._problem.settings())


def _slack(feeder: Feeder, point: NetworkPoint) -> float:
    """What the relaxed cone leaves, l·v_π − P² − Q², at most, pu²."""
    slack = point.l * point.v[feeder.parent] - point.p**2 - point.q**2
    return float(np.abs(slack[1:]).max())


def _point(point: NetworkPoint, buses: Ints, primal: Primal, duals: Duals) -> NetworkPoint:
    """`point` with the flows and prices of one period's schedule, its devices summed at `buses`."""
    flows = {name: getattr(primal, name)[0] for name in ("p", "q", "l", "v", "shed", "elastic")}
    names = ("price", "reactive", "voltage", "cone", "v_low", "v_high", "current")
    injection = np.zeros_like(point.injection)
    injection[buses] = primal.gen[0] - primal.load[0]
    return replace(
        point,
        **flows,
        **{name: getattr(duals, name)[0] for name in names},
        injection=injection,
        net_import=float(primal.net_import[0]),
    )
