"""ATC as a clearing: the feeder priced by rounds between the utility and the prosumers (README.md)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.atc.finished import ATC
from market.atc.horizon import JointProsumers
from market.atc.prosumers import LowerLevel, LowerLevels, Prosumers
from market.atc.rounds import Agreement, Method, Round
from market.atc.upper import UpperLevel
from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, admit
from market.pricing.central import stack
from market.pricing.conclude import conclude
from market.pricing.conditions import Conditions, Duals, Primal, Solution
from market.pricing.newton import NewtonClearing
from market.pricing.periods import period_of
from market.pricing.storages import states
from market.units import Floats

RESIDUAL_MAX = 1e-3
"""Of the exact conditions: a hundred times what the stopping rule leaves. Methods whose utility solves the
relaxed problem (`extended`) can settle far beyond, where the relaxation is not tight."""


class AtcClearing:
    """Prices one feeder by ATC; implements Clearing.

    The network's matrices are compiled once; nothing else is carried from call to call, so without `warm`
    an answer depends on the conditions alone. `lower_levels` makes who answers for a period's devices, by
    default closed forms in one piece; `regions.in_regions` divides them. `trace` has the rounds of the last
    call, by period or, where storages couple them, of all periods at once. Raises PricingError for what
    cannot be priced, ClearingFailed where the levels do not agree, ValueError for another feeder.
    """

    def __init__(self, feeder: Feeder, method: Method = ATC, lower_levels: LowerLevels = Prosumers) -> None:
        self.feeder = feeder
        self.method = method
        self.trace: tuple[tuple[Round, ...], ...] = ()
        self._lower_levels = lower_levels
        self._newton = NewtonClearing(feeder)

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period; `warm`, an earlier solution of this feeder, gives the first prices."""
        if feeder is not self.feeder and feeder.hash != self.feeder.hash:
            raise ValueError(f"made for feeder {self.feeder.name}, asked for {feeder.name}")
        admit(feeder, conditions)
        if conditions.storages.count:
            return self._jointly(conditions, warm)
        agreements = [self.agreement(conditions, period, warm) for period in range(conditions.periods)]
        for period, agreement in enumerate(agreements):
            _require_settled(self.method.name, f"period {period}", agreement)
        self.trace = tuple(agreement.rounds for agreement in agreements)
        primal, duals = stack(
            [point for agreement in agreements for point in agreement.grant.points],
            np.array([agreement.response.gen for agreement in agreements]),
            np.array([agreement.response.load for agreement in agreements]),
        )
        return self._concluded(conditions, primal, duals)

    def _jointly(self, conditions: Conditions, warm: Solution | None) -> Solution:
        """All periods at once, coupled by their storages."""
        buses = np.union1d(conditions.devices.bus, conditions.storages.bus)
        upper = UpperLevel(self.feeder, conditions, buses, self._newton)
        lower = JointProsumers(conditions, self._lower_levels)
        guesses = [
            _guess(Prosumers(conditions.devices, period), conditions, period, warm)
            for period in range(conditions.periods)
        ]
        first = np.concatenate(guesses)[lower.bus]
        agreement = self.method(upper, lower, first)
        _require_settled(self.method.name, f"{conditions.periods} periods", agreement)
        self.trace = (agreement.rounds,)
        primal, duals = stack(list(agreement.grant.points), *lower.devices_of(agreement.response))
        charge, discharge = lower.storages_of(agreement.response)
        energy = states(conditions.storages, charge, discharge, conditions.hours)
        primal = replace(primal, charge=charge, discharge=discharge, energy=energy)
        return self._concluded(conditions, primal, replace(duals, stored=lower.stored_value))

    def _concluded(self, conditions: Conditions, primal: Primal, duals: Duals) -> Solution:
        """The solution of the rounds in `trace`."""
        name, rounds = self.method.name, max(len(rounds) for rounds in self.trace)
        solution = conclude(self.feeder, conditions, primal, duals, method=name, iterations=rounds)
        if not solution.residual <= RESIDUAL_MAX:
            raise ClearingFailed(f"{name}: settled, but on no power flow, residual {solution.residual:.1e}")
        return solution

    def agreement(self, conditions: Conditions, period: int = 0, warm: Solution | None = None) -> Agreement:
        """Where the levels meet in one period, settled or not; for those who study the rounds."""
        one = period_of(conditions, period)
        lower = self._lower_levels(one.devices)
        upper = UpperLevel(self.feeder, one, one.devices.bus, self._newton)
        return self.method(upper, lower, _guess(lower, conditions, period, warm)[lower.bus])


def _require_settled(name: str, what: str, agreement: Agreement) -> None:
    """Raise ClearingFailed where the levels did not agree."""
    if not agreement.settled:
        rounds = agreement.rounds
        raise ClearingFailed(f"{name}: {what}: no agreement after {len(rounds)} rounds, {rounds[-1].apart}")


def _guess(lower: LowerLevel, conditions: Conditions, period: int, warm: Solution | None) -> Floats:
    """First price of each bus: its last one, or the hub price that would balance the feeder."""
    if warm is not None:
        return np.asarray(warm.duals.price[min(period, len(warm.duals.price) - 1)])
    everywhere = np.ones(conditions.fixed_p.shape[1])
    low = float(conditions.hub.export_price[period])
    high = float(conditions.hub.import_price[period])
    firm = float(conditions.fixed_p[period].sum())
    everyone = np.ones(len(lower.bus))
    imports = [firm - float(lower.at_price(price * everyone).power.sum()) for price in (low, high)]
    if imports[1] >= 0:
        return high * everywhere
    if imports[0] <= 0:
        return low * everywhere
    return (low + (high - low) * imports[0] / (imports[0] - imports[1])) * everywhere
