"""The upper level: the utility's copy of every bus's injection, priced by the network.

    min h(import) + shedding + tie-break + Σ_b ½ w_b (T_b − Z_b)²   subject to the branch-flow model

The network is assembled once a feeder; rounds change q, slots also P, A and b, and one Clarabel solver
lives through all of them. Device limits stay out of it: they belong to the prosumers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed
from market.pricing.branchflow import NetworkPoint, NetworkProblem
from market.pricing.conditions import Conditions
from market.units import Floats, Ints

SOLVED = frozenset({"Solved", "AlmostSolved"})


class UpperLevel:
    """The utility's problem for one feeder and the buses where prosumers inject."""

    def __init__(self, feeder: Feeder, injection_buses: Ints) -> None:
        self._problem = NetworkProblem(feeder, injection_buses)
        self.buses = self._problem.layout.injection_buses
        self._solver: Any = None
        self._linear: Floats = np.zeros(0)
        self._weight: Floats = np.zeros(0)

    def begin(self, conditions: Conditions, period: int, weight: Floats) -> None:
        """Turn to a period; `weight` is w_b by injection bus, €/MWh per pu."""
        data = self._problem.matrices(conditions, period, weight)
        if self._solver is None:
            self._solver = self._problem.solver(data, self._problem.settings())
        else:
            self._solver.update(P=data.hessian, q=data.linear, A=data.matrix, b=data.bound)
        self._linear, self._weight = data.linear, weight

    def answer(self, target: Floats) -> NetworkPoint:
        """T and the balance duals λ for targets Z_b by injection bus. Raises ClearingFailed."""
        linear = self._linear.copy()
        linear[self._problem.layout.injection] -= self._weight * target
        self._solver.update(q=linear)
        point = self._problem.point(self._solver.solve())
        if point.status not in SOLVED:
            raise ClearingFailed(f"upper level: the solver ended with {point.status}")
        return point
