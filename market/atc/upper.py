"""The upper level: the utility's copy of every bus's injection, priced by the network.

    min h(import) + shedding + tie-break + Σ_b ½ w_b (T_b − Z_b)²   subject to the branch-flow model

solved by Newton on the true power flow (`market.pricing.newton`). To it the pull ½w(T − Z)² is one quadratic
generator a bus, so no cost and no limit of a prosumer is needed: device limits belong to the prosumers. Of
the load that devices must take it knows the sum by bus, since that is shed with the bus's fixed load. The
answer of one round is where the next one starts; a period starts from nothing, so that oracles with
different pasts come to the same prices.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.atc.extended import Extension, solve
from market.atc.rounds import Grant, Utility
from market.feeder.model import Feeder
from market.pricing.admission import StorageError
from market.pricing.branchflow import NetworkPoint, NetworkProblem
from market.pricing.conditions import Conditions, Devices, Solution
from market.pricing.newton import NewtonClearing
from market.pricing.periods import period_of
from market.units import Floats, Ints

ROOM_PU = 1.0
"""How far, at least, an injection may be from 0 and from its target."""


class UpperLevel:
    """The utility's problem of one period for one feeder and the buses where prosumers inject."""

    def __init__(self, feeder: Feeder, injection_buses: Ints, newton: NewtonClearing | None = None) -> None:
        self.feeder = feeder
        self.buses: Ints = np.unique(injection_buses)
        self.newton = NewtonClearing(feeder) if newton is None else newton
        """The feeder's fast clearing, also for methods that give it the prosumers' curves."""
        self.firm: Floats = np.zeros(len(self.buses))
        """What the devices of each injection bus must take at least, pu."""
        self._weight: Floats = np.ones(len(self.buses))
        self._conditions: Conditions | None = None
        self._last: Solution | None = None

    def begin(self, conditions: Conditions, period: int) -> None:
        """Turn to a period, forgetting the last one; `reweigh` must follow."""
        self._conditions = one = period_of(conditions, period)
        self.firm = (one.firm_p - one.fixed_p)[0, self.buses]
        self._last = None

    @property
    def conditions(self) -> Conditions:
        """The period it stands at, the prosumers' devices among it, which it leaves alone."""
        if self._conditions is None:
            raise ValueError("upper level: no period was begun")
        return self._conditions

    def reweigh(self, weight: Floats) -> None:
        """Set w_b by injection bus, €/MWh per pu."""
        self._weight = weight

    def answer(self, target: Floats) -> Grant:
        """T and the balance duals λ for targets Z_b by injection bus. Raises ClearingFailed."""
        pulled = replace(self.conditions, devices=pull(self.buses, self._weight, target, self.firm))
        self._last = self.newton(self.feeder, pulled, self._last)
        return self.grant(self._last, self._last.primal.gen[0] - self._last.primal.load[0])

    def grant(self, solution: Solution, injection: Floats) -> Grant:
        """The network's part of a solution, in which the injection buses inject so much."""
        primal, duals = solution.primal, solution.duals
        by_bus = np.zeros(self.feeder.buses)
        by_bus[self.buses] = injection
        prices = ("price", "reactive", "voltage", "cone", "v_low", "v_high", "current")
        point = NetworkPoint(
            **{name: getattr(primal, name)[0] for name in ("p", "q", "l", "v", "shed", "elastic")},
            **{name: getattr(duals, name)[0] for name in prices},
            injection=by_bus,
            net_import=float(primal.net_import[0]),
            status=solution.status,
            cost=solution.cost,
            iterations=solution.iterations,
        )
        return Grant.at(point, self.buses)

    def extended(self, extension: Extension) -> tuple[Grant, Floats]:
        """The answer without a pull, with rows and columns of a method's own, and what those are.

        Of the relaxed problem, by Clarabel. Raises ClearingFailed.
        """
        problem = NetworkProblem(self.feeder, self.buses)
        data = problem.matrices(self.conditions, 0)
        point, added = solve(problem, data, extension)
        return Grant.at(point, self.buses), added


def single(upper: Utility, method: str) -> UpperLevel:
    """For methods that know one period's network only. Raises StorageError where there are several."""
    if not isinstance(upper, UpperLevel):
        raise StorageError(f"{method} clears one period at a time, and storages couple several; use atc")
    return upper


def pull(buses: Ints, weight: Floats, target: Floats, firm: Floats) -> Devices:
    """½w(T − Z)² by injection bus as a generator of T + firm above 0, and below 0 as a load beside `firm`."""
    room = 2.0 * (np.abs(target) + firm + ROOM_PU)
    slope, worth = weight[None], -(weight * target)[None]
    return Devices(
        bus=buses,
        gen_cost=worth - (weight * firm)[None],
        gen_slope=slope,
        gen_max=room[None],
        load_value=worth,
        load_slope=slope,
        load_min=firm[None],
        load_max=room[None],
    )
