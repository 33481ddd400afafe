"""Random conditions on a feeder, by default IEEE 33-bus: usual ones, and harder than any market should meet.

Benchmarks and tests draw the same; each brings its own generators.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from market.feeder import Feeder, load
from market.pricing.conditions import Conditions, Devices, Hub

FEEDERS = (
    "ieee33",
    "ieee69",
    "ieee85",
    "ieee141",
    "pandapower:cigre-mv",
    "pandapower:cigre-lv",
    "pandapower:kerber-dorf",
)
"""Feeders of benchmarks and tests: long and short lines, mostly resistive and mostly inductive ones."""
IEEE33_MW = 3.715
"""Nominal load of IEEE 33-bus, beside which `drawn` has prosumers of about 1 MW in all."""


def drawn(
    rng: np.random.Generator,
    *,
    name: str = "ieee33",
    periods: int = 1,
    count: int = 40,
    scale: float = 1.0,
    v_min: float = 0.95,
    v_max: float = 1.05,
    rated: bool = False,
    import_price: float = 120.0,
    export_price: float = 40.0,
    generation: float = 0.6,
    linear: float = 0.2,
) -> tuple[Feeder, Conditions]:
    """A feeder with `count` prosumers: the share `generation` generates, `linear` has linear costs.

    Prosumers are as large, beside the feeder's nominal load, on every feeder as on IEEE 33-bus.
    """
    feeder = load(name, v_min, v_max, rated=rated)
    weight = rng.uniform(0.5, 1.5, count)
    weight /= weight.sum()
    # rounded, so that it is exactly 1 on IEEE 33-bus, whose draws are known by their seeds
    weight *= round(float(feeder.nominal_p_mw.sum()), 9) / IEEE33_MW
    level = rng.uniform(0.5, 1.5, (periods, 1))
    sun = rng.uniform(0.0, 1.5, (periods, 1))
    generates = rng.random(count) < generation
    size = 0.6 * scale * weight

    def every_period(values: np.ndarray) -> np.ndarray:
        return np.tile(values, (periods, 1))

    devices = Devices(
        bus=rng.integers(1, feeder.buses, count),
        gen_cost=every_period(rng.uniform(15, 90, count)),
        gen_slope=every_period(rng.uniform(10, 40, count) / weight * (rng.random(count) >= linear)),
        gen_max=generates * weight * sun,
        load_value=every_period(rng.uniform(60, 160, count)),
        load_slope=every_period(rng.uniform(40, 90, count) / size * (rng.random(count) >= linear)),
        load_min=every_period(0.2 * size * (rng.random(count) < 0.5)) * 0.1,
        load_max=every_period(size),
    )
    conditions = Conditions(
        fixed_p=0.7 * scale * level * feeder.nominal_p_mw / feeder.base_mw,
        fixed_q=0.7 * scale * every_period(feeder.nominal_q_mvar / feeder.base_mw),
        hub=Hub(np.full(periods, import_price), np.full(periods, export_price)),
        devices=devices,
        hours=1.0,
    )
    return feeder, conditions


def usual(
    rng: np.random.Generator, devices_rng: np.random.Generator, name: str = "ieee33"
) -> tuple[Feeder, Conditions]:
    """Between 10 and 300 prosumers with curved costs, hub prices 60 to 160 over 10 to 60 €/MWh."""
    return drawn(
        devices_rng,
        name=name,
        count=int(rng.choice([10, 32, 100, 300])),
        scale=float(rng.uniform(0.3, 1.0)),
        generation=float(rng.uniform(0.2, 1.0)),
        linear=0.0,
        v_min=0.92,
        import_price=float(rng.uniform(60, 160)),
        export_price=float(rng.uniform(10, 60)),
    )


def stressed(
    kind: int, rng: np.random.Generator, devices_rng: np.random.Generator, name: str = "ieee33"
) -> tuple[Feeder, Conditions]:
    """Random conditions of one of ten kinds, 0 to 9: no period of any market should be harder.

    Negative prices and prices near 0; cheap sun against an upper voltage limit; an island that the hub's
    prices hold at a balance; loads × 10 to 50 that must be shed; reactive load × 2.5; four kinds of no kind.
    """
    prices = float(rng.uniform(50, 200)), float(rng.uniform(0, 50))
    prices = {
        0: (float(rng.uniform(-30, 5)), -30.0),
        1: (float(rng.uniform(0, 5)), 0.0),
        4: (3000.0, -500.0),
    }.get(kind, prices)
    above = load(name).v0 - 1.0  # limits go with what the substation holds
    feeder, conditions = drawn(
        devices_rng,
        name=name,
        count=int(rng.integers(0, 80)),
        scale=float(rng.choice([10, 20, 50] if kind == 5 else [0.1, 0.5, 1, 1.5, 2, 4])),
        v_min=float(rng.choice([0.9, 0.95, 0.97])) + above,
        v_max=float(rng.choice([1.005, 1.01, 1.03, 1.1])) + above,
        rated=bool(rng.integers(2)),
        import_price=prices[0],
        export_price=prices[1],
        generation=float(rng.choice([0.2, 0.6, 1])),
        linear=float(rng.choice([0, 0.2, 1])),
    )
    devices = conditions.devices
    if kind in (2, 3):
        sun = float(rng.uniform(2, 6))
        devices = replace(devices, gen_cost=0.2 * devices.gen_cost, gen_max=sun * devices.gen_max)
    reactive = 2.5 if kind == 6 else 1.0
    return feeder, replace(conditions, devices=devices, fixed_q=reactive * conditions.fixed_q)
