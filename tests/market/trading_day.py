"""A midsummer day on IEEE 33-bus for tests of ATC and of trading: 60 prosumers with PV and flexible load."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from market.feeder import Feeder, load
from market.pricing.conditions import Conditions, Devices, Hub
from market.slots import Tariff

PROSUMERS = 60
TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)


@dataclass(frozen=True, eq=False)
class Hour:
    """Clearing inputs of an hour, the firm load of each prosumer (part of them), and passive load, pu."""

    conditions: Conditions
    firm_p: np.ndarray
    passive_p: float


@cache
def midsummer(seed: int = 21) -> tuple[Feeder, tuple[Hour, ...]]:
    """24 hours with night, a surplus at noon, both changes of sign, and an evening peak."""
    feeder = load("ieee33")
    rng = np.random.default_rng(seed)
    bus = rng.integers(1, feeder.buses, PROSUMERS)
    peak = rng.uniform(0.5, 1.5, PROSUMERS) / PROSUMERS * 0.4
    firm_peak = rng.uniform(0.5, 1.5, PROSUMERS) / PROSUMERS * 0.2
    pv_peak = rng.uniform(0.5, 1.5, PROSUMERS) / PROSUMERS * 0.9 * (rng.random(PROSUMERS) < 0.6)
    low, high = rng.uniform(60, 130, PROSUMERS), rng.uniform(150, 260, PROSUMERS)
    return feeder, tuple(
        _hour(feeder, hour, rng, bus, peak, firm_peak, pv_peak, low, high) for hour in range(24)
    )


def _hour(feeder, hour, rng, bus, peak, firm_peak, pv_peak, low, high) -> Hour:  # noqa: PLR0917
    shape = 0.35 + 0.3 * np.exp(-(((hour - 19) / 3) ** 2)) + 0.2 * np.exp(-(((hour - 11) / 4) ** 2))
    sun = max(0.0, np.sin(np.pi * (hour - 4) / 16))
    most = peak * shape * rng.uniform(0.8, 1.2, PROSUMERS)
    least = 0.45 * most
    slope = (high - low) / (most - least)
    rows = (
        rng.uniform(0, 5, PROSUMERS),
        np.divide(10.0, pv_peak, out=np.zeros(PROSUMERS), where=pv_peak > 0),
        pv_peak * sun,
        low + slope * most,
        slope,
        least,
        most,
    )
    passive = 0.4 * shape * feeder.nominal_p_mw / feeder.base_mw
    firm = firm_peak * shape
    conditions = Conditions(
        fixed_p=(passive + np.bincount(bus, firm, feeder.buses))[None],
        fixed_q=0.6 * shape * feeder.nominal_q_mvar[None] / feeder.base_mw,
        hub=Hub(np.array([TARIFF.hub_import / 1e3]), np.array([TARIFF.hub_export / 1e3])),
        devices=Devices(bus, *(row[None] for row in rows)),
        hours=1.0,
    )
    return Hour(conditions, firm, float(passive.sum()))
