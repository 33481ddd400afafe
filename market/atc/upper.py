"""The upper level: the utility's copy of every bus's injection, priced by the network.

    min h(import) + shedding + tie-break + Σ_b ½ w_b (T_b − Z_b)²   subject to the branch-flow model

solved by Newton on the true power flow (`market.pricing.newton`). To it the pull ½w(T − Z)² is one quadratic
generator a bus, so no cost and no limit of a prosumer is needed: device limits belong to the prosumers. Of
the load that devices must take it knows the sum by bus, since that is shed with the bus's fixed load. Several
periods are several networks, which nothing couples on this side: bus b of period t is number t·buses + b. The
answer of one round is where the next one starts; a clearing starts from nothing, so that oracles with
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
from market.pricing.conditions import NO_STORAGES, Conditions, Devices, Solution
from market.pricing.newton import NewtonClearing
from market.units import Floats, Ints

ROOM_PU = 1.0
"""How far, at least, an injection may be from 0 and from its target."""


class UpperLevel:
    """The utility's problem for one feeder, its conditions, and the buses where prosumers inject."""

    def __init__(
        self,
        feeder: Feeder,
        conditions: Conditions,
        injection_buses: Ints,
        newton: NewtonClearing | None = None,
    ) -> None:
        self.feeder = feeder
        self.conditions = replace(conditions, storages=NO_STORAGES)
        """What it clears: the prosumers' devices among it, which it leaves alone, and not their storages."""
        self.coupled = conditions.storages.count > 0
        """Whether storages stand behind it, which have no slopes to be asked for; of one period, too."""
        self.newton = NewtonClearing(feeder) if newton is None else newton
        """The feeder's fast clearing, also for methods that give it the prosumers' curves."""
        self._at: Ints = np.unique(injection_buses)
        self._shape = conditions.periods, len(self._at)
        self.buses: Ints = (feeder.buses * np.arange(conditions.periods)[:, None] + self._at).ravel()
        self.firm: Floats = (conditions.firm_p - conditions.fixed_p)[:, self._at].ravel()
        """What the devices of each injection bus must take at least, pu."""
        self._weight: Floats = np.ones(len(self.buses))
        self._last: Solution | None = None

    def reweigh(self, weight: Floats) -> None:
        """Set w_b by injection bus, €/MWh per pu."""
        self._weight = weight

    def answer(self, target: Floats) -> Grant:
        """T and the balance duals λ for targets Z_b by injection bus. Raises ClearingFailed."""
        weight, target, firm = (each.reshape(self._shape) for each in (self._weight, target, self.firm))
        pulled = replace(self.conditions, devices=pull(self._at, weight, target, firm))
        self._last = self.newton.near(self.feeder, pulled, self._last)
        return self.grant(self._last, (self._last.primal.gen - self._last.primal.load).ravel())

    def grant(self, solution: Solution, injection: Floats) -> Grant:
        """The network's part of a solution, in which the injection buses inject so much."""
        by_bus = np.zeros(self.conditions.periods * self.feeder.buses)
        by_bus[self.buses] = injection
        injections = by_bus.reshape(self.conditions.periods, -1)
        points = tuple(_point(solution, t, injected) for t, injected in enumerate(injections))
        return Grant(injection, solution.duals.price.ravel()[self.buses], points)

    def extended(self, extension: Extension) -> tuple[Grant, Floats]:
        """One period's answer without a pull, with a method's own rows and columns, and what those are.

        Of the relaxed problem, by Clarabel. Raises ClearingFailed.
        """
        problem = NetworkProblem(self.feeder, self.buses)
        data = problem.matrices(self.conditions, 0)
        point, added = solve(problem, data, extension)
        return Grant(point.injection[self.buses], point.price[self.buses], (point,)), added


def _point(solution: Solution, period: int, injection: Floats) -> NetworkPoint:
    """One period's; what the solver says of itself is of all of them."""
    primal, duals = solution.primal, solution.duals
    prices = ("price", "reactive", "voltage", "cone", "v_low", "v_high", "current")
    return NetworkPoint(
        **{name: getattr(primal, name)[period] for name in ("p", "q", "l", "v", "shed", "elastic")},
        **{name: getattr(duals, name)[period] for name in prices},
        injection=injection,
        net_import=float(primal.net_import[period]),
        status=solution.status,
        cost=solution.cost,
        iterations=solution.iterations,
    )


def single(upper: Utility, method: str) -> UpperLevel:
    """For methods that know one period's network only. Raises StorageError where there are several."""
    if not isinstance(upper, UpperLevel) or upper.coupled:
        raise StorageError(f"{method} clears one period at a time, and storages couple several; use atc")
    return upper


def pull(buses: Ints, weight: Floats, target: Floats, firm: Floats) -> Devices:
    """½w(T − Z)² by injection bus as a generator of T + firm above 0, and below 0 as a load beside `firm`.

    Arrays are periods × buses.
    """
    room = 2.0 * (np.abs(target) + firm + ROOM_PU)
    worth = -weight * target
    return Devices(
        bus=buses,
        gen_cost=worth - weight * firm,
        gen_slope=weight,
        gen_max=room,
        load_value=worth,
        load_slope=weight,
        load_min=firm,
        load_max=room,
    )
