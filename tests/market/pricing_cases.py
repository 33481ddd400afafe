"""Seeded clearings for the tests of pricing: small functions that draw conditions, nothing random else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from market.feeder import Feeder, load
from market.pricing.conditions import Conditions, Devices, Hub

NO_DEVICES = np.zeros((1, 0))


def bare(
    feeder: Feeder, import_price: float = 120.0, export_price: float = 40.0, scale: float = 1.0
) -> Conditions:
    """One hour at a share of the feeder's nominal load, nobody flexible."""
    return Conditions(
        fixed_p=scale * feeder.nominal_p_mw[None] / feeder.base_mw,
        fixed_q=scale * feeder.nominal_q_mvar[None] / feeder.base_mw,
        hub=Hub(np.array([import_price]), np.array([export_price])),
        devices=Devices(np.zeros(0, dtype=np.int64), *[NO_DEVICES] * 7),
        hours=1.0,
    )


def draw(
    seed: int,
    *,
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
    """IEEE 33-bus with `count` prosumers: the share `generation` generates, `linear` has linear costs."""
    feeder = load("ieee33", v_min, v_max, rated=rated)
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 1.5, count)
    weight /= weight.sum()
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


def add_load(conditions: Conditions, bus: int, power: float, *, reactive: bool = False) -> Conditions:
    """The same conditions with a little more firm load at a bus, in every period."""
    name = "fixed_q" if reactive else "fixed_p"
    changed = getattr(conditions, name).copy()
    changed[:, bus] += power
    return replace(conditions, **{name: changed})


CASES: dict[str, dict[str, Any]] = {
    "no devices": {"count": 0, "scale": 0.5},
    "plenty": {"scale": 0.5},
    "voltage low": {"scale": 2.0},
    "shedding": {"scale": 50.0},
    "export": {"generation": 1.0, "scale": 0.1},
    "balanced": {"v_min": 0.97, "seed": 7},
    "voltage high": {"generation": 1.0, "scale": 0.3, "v_max": 1.002, "export_price": 10.0},
    "flat hub": {"import_price": 80.0, "export_price": 80.0},
    "rated": {"rated": True, "scale": 3.0, "v_min": 0.8},
    "all linear": {"linear": 1.0},
    "four periods": {"periods": 4},
}
"""Named cases that between them bind every kind of limit; see test_pricing_clearing."""


def case(name: str) -> tuple[Feeder, Conditions]:
    """A named case."""
    return draw(**{"seed": 1, **CASES[name]})


def stressed(seed: int) -> tuple[Feeder, Conditions]:
    """Random conditions of ten kinds in turn: no period of any market should be harder.

    Negative prices and prices near 0; cheap sun against an upper voltage limit; an island that the hub's
    prices hold at a balance; loads × 10 to 50 that must be shed; reactive load × 2.5; four kinds of no kind.
    """
    rng = np.random.default_rng([seed, 33])
    kind = seed % 10
    prices = float(rng.uniform(50, 200)), float(rng.uniform(0, 50))
    prices = {
        0: (float(rng.uniform(-30, 5)), -30.0),
        1: (float(rng.uniform(0, 5)), 0.0),
        4: (3000.0, -500.0),
    }.get(kind, prices)
    feeder, conditions = draw(
        seed,
        count=int(rng.integers(0, 80)),
        scale=float(rng.choice([10, 20, 50] if kind == 5 else [0.1, 0.5, 1, 1.5, 2, 4])),
        v_min=float(rng.choice([0.9, 0.95, 0.97])),
        v_max=float(rng.choice([1.005, 1.01, 1.03, 1.1])),
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
