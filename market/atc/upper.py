"""The upper level: the utility's copy of every bus's injection, priced by the network.

    min h(import) + shedding + tie-break + Σ_b ½ w_b (T_b − Z_b)²   subject to the branch-flow model

The network is assembled once a feeder. Rounds change q, rebalanced weights P, a new slot all of P, q, A
and b; one Clarabel solver lives through all of them. Device limits stay out of it: they belong to the
prosumers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import ConicData, NetworkPoint, NetworkProblem
from market.pricing.conditions import Conditions
from market.units import Floats, Ints

SOLVED = frozenset({"Solved", "AlmostSolved"})
USABLE = SOLVED | {"InsufficientProgress"}
"""A last resort in the middle of the rounds; the finished solution is measured in any case."""


class UpperLevel:
    """The utility's problem for one feeder and the buses where prosumers inject."""

    def __init__(self, feeder: Feeder, injection_buses: Ints) -> None:
        self._problem = NetworkProblem(feeder, injection_buses)
        self.buses = self._problem.layout.injection_buses
        self._weight: Floats = np.zeros(len(self.buses))
        self._data: ConicData | None = None
        self._solver: Any = None

    def begin(self, conditions: Conditions, period: int) -> None:
        """Turn to a period; `reweigh` must follow."""
        self._data = self._problem.matrices(conditions, period, np.ones(len(self.buses)))
        if self._solver is None:
            self._renew()
        else:
            data = self._data
            self._solver.update(P=data.hessian, q=data.linear, A=data.matrix, b=data.bound)

    def reweigh(self, weight: Floats) -> None:
        """Set w_b by injection bus, €/MWh per pu."""
        self._weight = weight
        self._data = replace(self._begun, hessian=self._problem.hessian(weight))
        self._solver.update(P=self._begun.hessian)

    def answer(self, target: Floats) -> NetworkPoint:
        """T and the balance duals λ for targets Z_b by injection bus. Raises ClearingFailed."""
        linear = self._begun.linear.copy()
        linear[self._problem.layout.injection] -= self._weight * target
        self._solver.update(q=linear)
        answer = self._solver.solve()
        if str(answer.status) not in SOLVED:
            # scaling is chosen when a solver is made; numbers that drifted far from it get a new one
            self._renew()
            self._solver.update(q=linear)
            answer = self._solver.solve()
        if str(answer.status) not in USABLE:
            raise ClearingFailed(f"upper level: the solver ended with {answer.status}")
        return self._problem.point(answer)

    @property
    def _begun(self) -> ConicData:
        if self._data is None:
            raise ValueError("upper level: no period was begun")
        return self._data

    def _renew(self) -> None:
        self._solver = self._problem.solver(self._begun, self._problem.settings())
