"""What stored energy can do: which states lead to which, and when it would pay to burn it.

States are pu·h at the end of a period; a tube of states has one row more than there are periods, the
first for the state before the first period.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from market.feeder.model import Feeder
from market.pricing.conditions import Primal, Storages
from market.units import Floats

BY_PERIOD = ("charge_max", "discharge_max", "energy_min", "energy_max", "drain")
"""Arrays of Storages that are periods × storages."""
BY_STORAGE = tuple(field.name for field in fields(Storages) if field.name not in (*BY_PERIOD, "bus"))
"""Arrays of Storages that have one number a storage."""

OVERLAP_PU = 1e-6
"""Both directions of a storage above this are an overlap."""


def window(storages: Storages, first: int, stop: int, energy: Floats | None = None) -> Storages:
    """The periods from `first` up to `stop`, from another state before the first where one is given."""
    if not storages.count:
        return storages
    rows = {name: getattr(storages, name)[first:stop] for name in BY_PERIOD}
    start = storages.energy_start if energy is None else energy
    return replace(storages, **rows, energy_start=start)


def change(storages: Storages, charge: Floats, discharge: Floats, hours: float) -> Floats:
    """What goes in less what is taken out, before drains: hours·(η_c·c − d/η_d), pu·h, shaped as `charge`."""
    stored = storages.charge_efficiency * charge - discharge / storages.discharge_efficiency
    return np.asarray(hours * stored)


def states(storages: Storages, charge: Floats, discharge: Floats, hours: float) -> Floats:
    """State at the end of each period of a schedule, periods × storages."""
    gained = change(storages, charge, discharge, hours) - storages.drain
    return np.asarray(storages.energy_start + np.cumsum(gained, axis=0))


def wear_cost(storages: Storages, charge: Floats, discharge: Floats) -> Floats:
    """ω·(c + d) + ½·wear_slope·(c² + d²), periods × storages, €/h per pu of base."""
    moved = storages.wear * (charge + discharge)
    return np.asarray(moved + storages.wear_slope * (charge**2 + discharge**2) / 2)


def tube(storages: Storages, hours: float) -> tuple[Floats, Floats]:
    """Least and greatest states from which every later bound can be met, (1 + periods) × storages.

    Where least is above greatest there are none.
    """
    zero = np.zeros_like(storages.charge_max)
    rise = change(storages, storages.charge_max, zero, hours)
    fall = -change(storages, zero, storages.discharge_max, hours)
    least = np.zeros((len(rise) + 1, storages.count))
    most = np.full_like(least, np.inf)
    for t in range(len(rise), 0, -1):
        least[t] = np.maximum(least[t], storages.energy_min[t - 1])
        most[t] = np.minimum(most[t], storages.energy_max[t - 1])
        least[t - 1] = np.maximum(least[t] + storages.drain[t - 1] - rise[t - 1], 0.0)
        most[t - 1] = most[t] + storages.drain[t - 1] + fall[t - 1]
    return least, most


def reachable(storages: Storages, hours: float) -> Storages:
    """The same storages, asked for no more than they can still do from where they start.

    A need that full charging does not meet in time is lowered to what it reaches; a trip takes what is there.
    """
    level, least, drain = storages.energy_start, storages.energy_min.copy(), storages.drain.copy()
    rise = change(storages, storages.charge_max, np.zeros_like(storages.charge_max), hours)
    for t in range(len(least)):
        full = level + rise[t]
        drain[t] = np.minimum(drain[t], np.maximum(full, 0.0))
        level = np.minimum(full - drain[t], storages.energy_max[t])
        least[t] = np.minimum(least[t], level)
    return replace(storages, energy_min=least, drain=drain)


def possible(
    storages: Storages, charge: Floats, discharge: Floats, hours: float
) -> tuple[Floats, Floats, Floats]:
    """What can be done of a plan for the first period, by storage, and the state after it.

    No state leaves its bounds for it, and no discharge takes what a later period needs.
    """
    start, drain = storages.energy_start, storages.drain[0]
    least, _ = tube(storages, hours)
    room = np.maximum(storages.energy_max[0] - start + drain, 0.0)
    spare = np.maximum(start - drain - least[1], 0.0)
    most = np.minimum(storages.charge_max[0], room / (storages.charge_efficiency * hours))
    charge = np.minimum(charge, most)
    most = np.minimum(storages.discharge_max[0], spare * storages.discharge_efficiency / hours)
    discharge = np.minimum(discharge, most)
    after = start + change(storages, charge, discharge, hours) - drain
    return charge, discharge, np.maximum(after, 0.0)


def overlap_price(storages: Storages) -> Floats:
    """Price below which charging and discharging at once would pay, €/MWh by storage; −inf where never.

    −ω·(1 + η²)/(1 − η²) with η² = η_c·η_d: what is burnt on the way round is paid for, less wear both ways.
    """
    both = storages.charge_efficiency * storages.discharge_efficiency
    lost = np.where(both < 1, 1 - both, 1.0)
    return np.where(both < 1, -storages.wear * (1 + both) / lost, -np.inf)


def overlap_pays(storages: Storages, price: Floats) -> npt.NDArray[np.bool_]:
    """Where λ is below `overlap_price`, periods × storages, from prices periods × buses.

    There the clearing is not convex: no storage does both at once, and the answer is a stationary point.
    """
    return np.asarray(price[:, storages.bus] < overlap_price(storages))


def injected(feeder: Feeder, storages: Storages, primal: Primal) -> Floats:
    """Σ_{k at b} (d − c), periods × buses, pu."""
    by_bus = np.zeros((len(primal.net_import), feeder.buses))
    np.add.at(by_bus.T, storages.bus, (primal.discharge - primal.charge).T)
    return by_bus


class Scheduled(Protocol):
    """What has the storages' powers, periods × storages."""

    @property
    def charge(self) -> Floats:
        """Taken, pu."""

    @property
    def discharge(self) -> Floats:
        """Given, pu."""


def netted(storages: Storages, primal: Primal) -> Primal:
    """Without what storages that lose nothing charge and discharge at once: no state or balance has it."""
    lossless = storages.charge_efficiency * storages.discharge_efficiency == 1
    both = np.where(lossless, np.minimum(primal.charge, primal.discharge), 0.0)
    return replace(primal, charge=primal.charge - both, discharge=primal.discharge - both)


def one_way(storages: Storages, primal: Scheduled, overlap: float) -> Storages:
    """Who charges and discharges at once, by more than `overlap` pu, keeps the direction that prevails."""
    both = np.minimum(primal.charge, primal.discharge) > overlap
    charges = primal.charge >= primal.discharge
    return replace(
        storages,
        charge_max=np.where(both & ~charges, 0.0, storages.charge_max),
        discharge_max=np.where(both & charges, 0.0, storages.discharge_max),
    )
