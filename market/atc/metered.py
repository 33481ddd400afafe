"""The lower level of one account: its devices and its storage behind one meter, answering as one.

Over periods t the meter sees p_t = x_t + n_t, x the devices' injection and n the storage's, so the step is

    min Σ_t C_t(x_t) + ½ρ_t(x_t + n_t − z_t)² + S(n)

with S the storage's cost and limits (`storages`). Seen by the storage, devices and pull together are
h_t(z_t − n_t), h_t(w) = min_x C_t(x) + ½ρ_t(x − w)²: convex, its slope μ_t = ρ_t(w − x) the marginal price,
its curvature ρ_t/(1 + ρ_t·dx/dμ) constant between corners. So the storage's own proximal step solves the
problem exactly where no device passes a corner on the way: Newton's method, made safe by a search along
each step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.atc.prosumers import Prosumers, Response
from market.atc.storages import StorageLevel
from market.pricing.admission import ClearingFailed
from market.pricing.conditions import Devices, Storages
from market.units import Floats

STEPS = 100
"""Newton steps at most; a handful in a day of 24 periods."""
FLATTEST_SHARE = 1e-6
"""Curvature at least, as a share of the weight: an indifferent linear device has none."""
SAME_PU = 5e-11
"""By which schedules of two steps may differ: the storage's own step is exact to 1e-12 pu·h."""
HALVINGS = 60
"""Of the interval in which a step's best length lies."""


@dataclass(frozen=True, eq=False)
class Metered:
    """An answer by period: power at the meter, pu, and what the storage does for it.

    charge, discharge: pu; energy: its state at the end of each period, pu·h.
    """

    power: Floats
    charge: Floats
    discharge: Floats
    energy: Floats


class Meter:
    """Devices of T periods, as T columns of one period, and one storage over these periods."""

    def __init__(self, devices: Devices, storage: Storages, hours: float) -> None:
        self._devices = Prosumers(devices)
        self._storage, self._level, self._hours = storage, StorageLevel(storage, hours), hours

    def respond(self, target: Floats, weight: Floats) -> Metered:
        """The proximal step, exact, one entry a period. Raises ClearingFailed."""
        alone = self._devices.respond(target, weight).power
        at = self._schedule(target - alone, weight)
        for _ in range(STEPS):
            seen = self._seen(target, weight, at)
            curve = np.maximum(weight / (1.0 + weight * seen.slope), FLATTEST_SHARE * weight)
            wanted = self._schedule(_net(at) + seen.price / curve, curve)
            then = self._seen(target, weight, wanted)
            straight = bool(np.all((then.low == seen.low) & (then.high == seen.high)))
            exact = straight and bool(np.isfinite(seen.slope).all())
            if exact or np.abs(wanted - at).max(initial=0.0) <= SAME_PU:
                return self._metered(then.power, wanted)
            at = wanted if straight else self._along(target, weight, at, wanted)
        raise ClearingFailed(f"a meter's storage: no schedule after {STEPS} steps")

    def _schedule(self, target: Floats, weight: Floats) -> Floats:
        """The storage's own proximal step: charge and discharge, 2 × periods."""
        response = self._level.respond(target[:, None], weight[:, None])
        return np.stack([response.load[:, 0], response.gen[:, 0]])

    def _seen(self, target: Floats, weight: Floats, schedule: Floats) -> Response:
        """What the devices do beside a schedule of the storage."""
        return self._devices.respond(target - _net(schedule), weight)

    def _along(self, target: Floats, weight: Floats, start: Floats, end: Floats) -> Floats:
        """The best schedule between two, where the cost, which is convex, no longer falls."""
        step = end - start

        def rises(share: float) -> bool:
            at = start + share * step
            price = self._seen(target, weight, at).price
            return bool(np.sum(step * self._marginal_cost(at)) > np.sum(price * _net(step)))

        if not rises(1.0):
            return end
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if rises(middle) else (middle, high)
        return start + low * step

    def _marginal_cost(self, schedule: Floats) -> Floats:
        """What a little more charge and discharge cost, less what the energy is worth: 2 × periods."""
        of = self._storage
        worn = of.wear + of.wear_slope * schedule
        kept = np.array([[of.charge_efficiency[0]], [-1.0 / of.discharge_efficiency[0]]])
        return np.asarray(worn - kept * of.final_value)

    def _metered(self, power: Floats, schedule: Floats) -> Metered:
        of, (charge, discharge) = self._storage, schedule
        stored = of.charge_efficiency * charge - discharge / of.discharge_efficiency
        energy = of.energy_start + np.cumsum(self._hours * stored - of.drain[:, 0])
        return Metered(power + _net(schedule), charge, discharge, energy)


def _net(schedule: Floats) -> Floats:
    """What a schedule injects by period."""
    charge, discharge = schedule
    return np.asarray(discharge - charge)
