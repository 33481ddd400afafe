"""What a clearing is given and what it returns; arrays are periods × buses, devices or storages.

Powers are per unit on the feeder's base, prices and marginal costs in €/MWh, cost coefficients in
€/MWh per pu. Costs in these units are €/h per pu of base: multiply by `base_mw` for €/h. Stored energy
is in pu·h, one pu of power held for an hour: multiply by `base_mw` for MWh.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from market.feeder.model import Feeder
from market.slots import Tariff
from market.units import UEUR_PER_KWH_PER_EUR_PER_MWH, Floats, Ints

VOLL_EUR_PER_MWH = 3_000.0
"""Default value of lost load."""
TIE_BREAK_PU_PER_EUR_PER_MWH = 1e-6
"""ε of the tie-break rule (README.md): the whole feeder's elasticity that makes prices unique."""
NOTHING_STORED = np.zeros((0, 0))
"""Stands for periods × no storages until the number of periods is known."""


@dataclass(frozen=True, eq=False)
class Devices:
    """Prosumers' flexible devices, one column each: a generator and a flexible load behind one meter.

    Cost of column k in period t: b·g + ½a·g² − u·d + ½β·d², 0 ≤ g ≤ gen_max, load_min ≤ d ≤ load_max.
    Every array but `bus` is periods × devices. A device that is absent has its maximum at 0.
    a and β may be 0 (linear devices).
    """

    bus: Ints
    gen_cost: Floats
    gen_slope: Floats
    gen_max: Floats
    load_value: Floats
    load_slope: Floats
    load_min: Floats
    load_max: Floats

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.bus)


NO_DEVICES = Devices(np.zeros(0, dtype=np.int64), *[np.zeros((1, 0))] * 7)
"""Nobody is flexible in one period."""


@dataclass(frozen=True, eq=False)
class Storages:
    """Batteries and electric vehicles, one column each; arrays are periods × storages unless told.

    Column k takes c and gives d at its bus, 0 ≤ c ≤ charge_max, 0 ≤ d ≤ discharge_max (both 0 while a vehicle
    is away), and ends period t with

        e_t = e_{t−1} + hours·(η_c·c_t − d_t/η_d) − drain_t,   energy_min ≤ e_t ≤ energy_max,

    e_0 = energy_start before the first period. What a departure needs is an energy_min of the period
    before it, what a trip takes a drain. Its cost is ω·(c + d) + ½·wear_slope·(c² + d²) in each period, less
    final_value·e_T for what is left at the end.

    By storage: bus; energy_start, pu·h; charge_efficiency η_c and discharge_efficiency η_d in (0, 1];
    wear ω and final_value, €/MWh; wear_slope, €/MWh per pu.
    """

    bus: Ints
    charge_max: Floats
    discharge_max: Floats
    energy_min: Floats
    energy_max: Floats
    drain: Floats
    energy_start: Floats
    charge_efficiency: Floats
    discharge_efficiency: Floats
    wear: Floats
    wear_slope: Floats
    final_value: Floats

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.bus)


NO_STORAGES = Storages(np.zeros(0, dtype=np.int64), *[NOTHING_STORED] * 5, *[np.zeros(0)] * 6)
"""Nobody stores anything: periods are cleared one by one."""


@dataclass(frozen=True, eq=False)
class Hub:
    """The utility's prices at the substation by period, €/MWh: π_imp (asks) and π_exp (bids)."""

    import_price: Floats
    export_price: Floats

    @classmethod
    def of(cls, tariff: Tariff) -> Hub:
        """One period at a tariff's prices."""
        prices = np.array([[tariff.hub_import], [tariff.hub_export]]) / UEUR_PER_KWH_PER_EUR_PER_MWH
        return cls(*prices)


@dataclass(frozen=True, eq=False)
class Conditions:
    """Inputs of one clearing over `periods` periods of `hours` each.

    fixed_p, fixed_q: firm load by bus (passive and prosumers'), periods × buses, pu; beside it devices take
    at least their `load_min`. Storages couple the periods; `first_slot` is then the number on the chain of
    the slot that period 0 is, 0 if it is none.
    """

    fixed_p: Floats
    fixed_q: Floats
    hub: Hub
    devices: Devices
    hours: float
    voll: float = VOLL_EUR_PER_MWH
    storages: Storages = NO_STORAGES
    first_slot: int = 0

    @classmethod
    def firm(cls, feeder: Feeder, share: float, hub: Hub, hours: float) -> Conditions:
        """One period of a share of the feeder's nominal load; nobody is flexible."""
        return cls(
            fixed_p=share * feeder.nominal_p_mw[None] / feeder.base_mw,
            fixed_q=share * feeder.nominal_q_mvar[None] / feeder.base_mw,
            hub=hub,
            devices=NO_DEVICES,
            hours=hours,
        )

    @property
    def periods(self) -> int:
        """Number of periods."""
        return len(self.fixed_p)

    @property
    def firm_p(self) -> Floats:
        """All load that shedding alone lowers, periods × buses, pu: fixed, and what devices must take."""
        bus, buses = self.devices.bus, self.fixed_p.shape[1]
        return self.fixed_p + [np.bincount(bus, least, buses) for least in self.devices.load_min]


@dataclass(frozen=True, eq=False)
class Primal:
    """The schedule: periods × buses (lines by the bus they feed, entry 0 zero), periods × devices.

    p, q: flow into line j at its sending end; l: squared current; v: squared voltage; shed: share of
    firm load shed; elastic: the tie-break injection t_b; gen, load: devices, as if nothing were shed of what
    they must take; net_import: periods.
    charge, discharge, energy (pu·h, at the end of the period): periods × storages.
    """

    p: Floats
    q: Floats
    l: Floats  # noqa: E741 - the symbol of the branch-flow model
    v: Floats
    shed: Floats
    elastic: Floats
    gen: Floats
    load: Floats
    net_import: Floats
    charge: Floats = field(default_factory=lambda: NOTHING_STORED)
    discharge: Floats = field(default_factory=lambda: NOTHING_STORED)
    energy: Floats = field(default_factory=lambda: NOTHING_STORED)

    def __post_init__(self) -> None:
        for name in ("charge", "discharge", "energy"):
            _as_periods(self, name, len(self.net_import))


@dataclass(frozen=True, eq=False)
class Duals:
    """Multipliers with the signs of README.md, periods × buses, €/MWh (entry 0 of line arrays zero).

    price: λ (entry 0 is the hub price λ_0); reactive: λq (entry 0 is 0); voltage: ξ; cone: σ (≤ 0 where
    the relaxation is exact); v_low, v_high: μ; current: η. stored, periods × storages: θ, what one MWh more
    in the storage is worth during the period.
    """

    price: Floats
    reactive: Floats
    voltage: Floats
    cone: Floats
    v_low: Floats
    v_high: Floats
    current: Floats
    stored: Floats = field(default_factory=lambda: NOTHING_STORED)

    def __post_init__(self) -> None:
        _as_periods(self, "stored", len(self.price))


def _as_periods(record: Primal | Duals, name: str, periods: int) -> None:
    """Give an array of no storages its rows, so that every array has one a period."""
    if getattr(record, name) is NOTHING_STORED:
        object.__setattr__(record, name, np.zeros((periods, 0)))


@dataclass(frozen=True, eq=False)
class Components:
    """λ = energy + loss + voltage + congestion, periods × buses, €/MWh; exact and additive."""

    energy: Floats
    loss: Floats
    voltage: Floats
    congestion: Floats


@dataclass(frozen=True, eq=False)
class Solution:
    """A cleared feeder. `status` is 'optimal' or 'local'; `residual` the largest KKT residual.

    'optimal' is proven global; 'local' with a small residual meets the exact first-order conditions.

    `cost` is the objective in €/h per pu of base, summed over periods; `iterations` the method's rounds.
    """

    primal: Primal
    duals: Duals
    components: Components
    status: str
    residual: float
    cost: float
    iterations: int
    method: str


class Clearing(Protocol):
    """Anything that prices a feeder: SOCP, Newton, LinDistFlow, ATC."""

    def __call__(self, feeder: Feeder, conditions: Conditions, warm: Solution | None = None) -> Solution:
        """Clear the feeder, from `warm` where the method can use it. Raises PricingError."""


@dataclass(frozen=True, slots=True)
class SlotPrices:
    """What is posted for a slot: integer λ_b by bus (µ€/kWh, entry 0 is λ_0), forecast import (Wh)."""

    bus_price: tuple[int, ...]
    forecast_import_wh: int

    @property
    def hub_price(self) -> int:
        """λ_0."""
        return self.bus_price[0]

    @property
    def charges(self) -> tuple[int, ...]:
        """ν_b = int λ_b − int λ_0, the network usage charge of each bus."""
        return tuple(price - self.bus_price[0] for price in self.bus_price)
