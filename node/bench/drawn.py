"""Large radial feeders and their conditions, drawn: what stands for a city where none may be shipped."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from market.feeder.model import Feeder, Limits
from market.pricing.conditions import Conditions, Devices, Hub
from node.scenario.streams import stream

SEED = 1
NEAR = 30
"""A bus hangs on one of about so many before it: branches of some length, and forks."""
DROP = 0.06
"""Largest drop of the squared voltage at nominal load, without losses."""
LOADED = 0.7
"""Firm load of the slot, as a share of the nominal one."""


def drawn_feeder(buses: int) -> Feeder:
    """A feeder whose lines are as thick as what they carry asks for."""
    rng = stream(SEED, "bench", "feeder", buses)
    number = np.arange(buses)
    parent = np.maximum(number - 1 - rng.integers(0, rng.integers(1, NEAR, buses)), -1)
    parent[1:] = np.maximum(parent[1:], 0)
    load = rng.uniform(0.0, 1.0, buses) * (rng.random(buses) < 0.7)
    load[0] = 0.0
    load /= load.sum()
    carried = load.copy()
    for j in range(buses - 1, 0, -1):
        carried[parent[j]] += carried[j]
    r_pu = rng.uniform(0.3, 1.0, buses) / np.sqrt(np.maximum(carried, 1e-4))
    r_pu[0] = 0.0
    drop = np.zeros(buses)
    for j in range(1, buses):
        drop[j] = drop[parent[j]] + 2 * r_pu[j] * carried[j]
    r_pu *= DROP / drop.max()
    return Feeder(
        name=f"drawn {buses}",
        bus_names=tuple(map(str, range(buses))),
        parent=parent,
        r_pu=r_pu,
        x_pu=r_pu * rng.uniform(0.5, 1.0, buses),
        limits=Limits(np.full(buses, 0.95), np.full(buses, 1.05), np.full(buses, np.inf)),
        base_mw=10.0,
        v0=1.0,
        nominal_p_mw=10.0 * load,
        nominal_q_mvar=10.0 * load * rng.uniform(0.2, 0.4, buses),
    )


def drawn_conditions(feeder: Feeder, count: int) -> Conditions:
    """One hour with `count` prosumers: three in five generate, one in five is linear."""
    rng = stream(SEED, "bench", "devices", feeder.buses)
    share = rng.dirichlet(np.full(count, 5.0))
    curved = rng.random(count) >= 0.2

    def of(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, dtype=np.float64)[None]

    devices = Devices(
        bus=rng.integers(1, feeder.buses, count),
        gen_cost=of(rng.uniform(15, 90, count)),
        gen_slope=of(rng.uniform(10, 40, count) / share * curved),
        gen_max=of(0.7 * share * (rng.random(count) < 0.6)),
        load_value=of(rng.uniform(60, 160, count)),
        load_slope=of(rng.uniform(70, 150, count) / share * curved),
        load_min=of(np.zeros(count)),
        load_max=of(0.6 * share),
    )
    return Conditions(
        fixed_p=LOADED * feeder.nominal_p_mw[None] / feeder.base_mw,
        fixed_q=LOADED * feeder.nominal_q_mvar[None] / feeder.base_mw,
        hub=Hub(np.array([120.0]), np.array([40.0])),
        devices=devices,
        hours=1.0,
    )


def drawn_day(feeder: Feeder, count: int, steps: int) -> Conditions:
    """So many hours with `count` prosumers: firm load and sun change from each to the next."""
    rng = stream(SEED, "bench", "day", feeder.buses)
    one = drawn_conditions(feeder, count)
    level, sun = rng.uniform(0.5, 1.2, (steps, 1)), rng.uniform(0.0, 1.5, (steps, 1))
    columns = [field.name for field in fields(Devices) if field.name != "bus"]
    every = {name: np.tile(getattr(one.devices, name), (steps, 1)) for name in columns}
    every["gen_max"] *= sun
    return replace(
        one,
        fixed_p=level * one.fixed_p,
        fixed_q=level * one.fixed_q,
        hub=Hub(np.tile(one.hub.import_price, steps), np.tile(one.hub.export_price, steps)),
        devices=Devices(bus=one.devices.bus, **every),
    )
