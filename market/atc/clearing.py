"""ATC as a clearing: the feeder priced by rounds between the utility and the prosumers (README.md)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from market.atc.coordination import ATC, Agreement, Method, Round, coordinate
from market.atc.prosumers import LowerLevel, Prosumers
from market.atc.upper import UpperLevel
from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, admit, refuse_storages
from market.pricing.conclude import conclude
from market.pricing.conditions import Conditions, Solution
from market.pricing.direct import stack
from market.units import Floats


class LowerLevels(Protocol):
    """Makes the lower level of a period: closed forms here, messages to agents in a deployment."""

    def __call__(self, conditions: Conditions, period: int) -> LowerLevel:
        """Whoever answers in this period; columns as in `conditions.devices`."""
        ...


def closed_form(conditions: Conditions, period: int) -> LowerLevel:
    """The devices of the conditions, answering in closed form."""
    return Prosumers(conditions.devices, period)


class AtcClearing:
    """Prices one feeder by ATC; implements Clearing.

    The network is assembled once for each placing of prosumers; nothing else is carried
    from call to call, so without `warm` an answer depends on the conditions alone. `trace` has the rounds
    of the last call by period. Raises PricingError for what
    cannot be priced, ClearingFailed where the levels do not agree, ValueError for another feeder.
    """

    def __init__(self, feeder: Feeder, method: Method = ATC, lower_levels: LowerLevels = closed_form) -> None:
        self.feeder = feeder
        self.method = method
        self.trace: tuple[tuple[Round, ...], ...] = ()
        self._lower_levels = lower_levels
        self._uppers: dict[bytes, UpperLevel] = {}

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear every period; `warm`, an earlier solution of this feeder, gives the first prices."""
        if feeder is not self.feeder and feeder.hash != self.feeder.hash:
            raise ValueError(f"made for feeder {self.feeder.name}, asked for {feeder.name}")
        admit(feeder, conditions)
        refuse_storages(conditions, self.method.name)
        upper = self._upper(conditions)
        agreements = [
            self._clear_period(upper, conditions, period, warm) for period in range(conditions.periods)
        ]
        self.trace = tuple(agreement.rounds for agreement in agreements)
        primal, duals = stack(
            [agreement.point for agreement in agreements],
            np.array([agreement.response.gen for agreement in agreements]),
            np.array([agreement.response.load for agreement in agreements]),
        )
        rounds = max(len(agreement.rounds) for agreement in agreements)
        return conclude(feeder, conditions, primal, duals, method=self.method.name, iterations=rounds)

    def _upper(self, conditions: Conditions) -> UpperLevel:
        """The kept upper level for these buses, assembled on first use."""
        buses = np.unique(conditions.devices.bus)
        key = buses.tobytes()
        if key not in self._uppers:
            self._uppers[key] = UpperLevel(self.feeder, buses)
        return self._uppers[key]

    def _clear_period(
        self, upper: UpperLevel, conditions: Conditions, period: int, warm: Solution | None
    ) -> Agreement:
        lower = self._lower_levels(conditions, period)
        upper.begin(conditions, period)
        agreement = coordinate(upper, lower, _guess(lower, conditions, period, warm), self.method)
        if not agreement.settled:
            last = agreement.rounds[-1]
            raise ClearingFailed(
                f"{self.method.name}: period {period}: no agreement after {len(agreement.rounds)} rounds,"
                f" prices {last.price_residual:.1e} and balances {last.balance_residual:.1e} pu apart"
            )
        return agreement


def _guess(lower: LowerLevel, conditions: Conditions, period: int, warm: Solution | None) -> Floats:
    """First price of each prosumer: its bus's last one, or the hub price that would balance the feeder."""
    if warm is not None:
        prices = warm.duals.price
        return np.asarray(prices[min(period, len(prices) - 1), lower.bus])
    low = float(conditions.hub.export_price[period])
    high = float(conditions.hub.import_price[period])
    firm = float(conditions.fixed_p[period].sum())
    everyone = np.ones(len(lower.bus))
    imports = [firm - float(lower.at_price(price * everyone).power.sum()) for price in (low, high)]
    if imports[1] >= 0:
        return high * everyone
    if imports[0] <= 0:
        return low * everyone
    return (low + (high - low) * imports[0] / (imports[0] - imports[1])) * everyone
