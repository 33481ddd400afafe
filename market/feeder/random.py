"""Radial feeders drawn from a seed, of any size: for tests and benchmarks of what must work on every feeder.

A drawn feeder looks like one from the country: mains that go on for a while and branch, loads of very
different size at most buses, cables and overhead lines. Impedances are scaled at last, so that at nominal
load the linearised voltage drop to the worst bus is what was asked for, whatever the size.
"""

from __future__ import annotations

import numpy as np

from market.feeder.model import Feeder, FeederError, Limits
from market.units import Floats, Ints

GOES_ON = 0.8
"""Chance that a bus continues the line drawn last; else it branches off anywhere."""
LOADED = 0.7
"""Share of buses with load."""
KW_PER_LOAD = 60.0
"""Mean of the loads, which are exponential."""
POWER_FACTOR = (0.90, 0.98)
X_PER_R = (0.3, 1.5)
"""From low-voltage cable to medium-voltage overhead line."""
DROP_PU = 0.05
BUSES_MAX = 1_000_000
"""What a name may ask for; a power flow of that many takes seconds."""


def random_feeder(
    buses: int,
    rng: np.random.Generator,
    *,
    name: str = "random",
    drop_pu: float = DROP_PU,
    v_min: float = 0.90,
    v_max: float = 1.10,
) -> Feeder:
    """Draw a feeder with `buses` buses, substation included, on a base of its own load, without ratings.

    `drop_pu` is the largest voltage drop of LinDistFlow at nominal load. Raises FeederError below 2 buses.
    """
    if buses < 2:
        raise FeederError(f"feeder {name}: {buses} buses are no feeder; at least 2")
    parent = _parents(buses, rng)
    load_kw = rng.exponential(KW_PER_LOAD, buses) * (rng.random(buses) < LOADED)
    load_kw[0], load_kw[-1] = 0.0, max(load_kw[-1], KW_PER_LOAD)  # there is at least one load
    load_kvar = load_kw * np.tan(np.arccos(rng.uniform(*POWER_FACTOR, buses)))
    base_mw = float(load_kw.sum() / 1e3)
    r = rng.lognormal(0.0, 0.7, buses)
    x = r * rng.uniform(*X_PER_R, buses)
    r[0] = x[0] = 0.0
    scale = drop_pu / _worst_drop(parent, r, x, load_kw / 1e3 / base_mw, load_kvar / 1e3 / base_mw)
    return Feeder(
        name=name,
        bus_names=tuple(str(bus) for bus in range(buses)),
        parent=parent,
        r_pu=r * scale,
        x_pu=x * scale,
        limits=Limits(np.full(buses, v_min), np.full(buses, v_max), np.full(buses, np.inf)),
        base_mw=base_mw,
        v0=1.0,
        nominal_p_mw=load_kw / 1e3,
        nominal_q_mvar=load_kvar / 1e3,
    )


def named(rest: str, v_min: float, v_max: float) -> Feeder:
    """The feeder of `random:BUSES:SEED`, from what stands after the first colon. Raises FeederError."""
    buses, _, seed = rest.partition(":")
    if not (buses.isdecimal() and seed.isdecimal() and 2 <= int(buses) <= BUSES_MAX):
        raise FeederError(f"feeder 'random:{rest}' is not random:BUSES:SEED with 2 to {BUSES_MAX} buses")
    rng = np.random.default_rng(int(seed))
    return random_feeder(int(buses), rng, name=f"random:{rest}", v_min=v_min, v_max=v_max)


def _parents(buses: int, rng: np.random.Generator) -> Ints:
    """Each bus goes on from the one before it, or branches off one drawn before."""
    before = np.arange(buses) - 1
    anywhere = (rng.random(buses) * np.arange(buses)).astype(np.int64)
    parent = np.where(rng.random(buses) < GOES_ON, before, anywhere)
    parent[0] = -1
    return np.asarray(parent, dtype=np.int64)


def _worst_drop(parent: Ints, r: Floats, x: Floats, p: Floats, q: Floats) -> float:
    """Largest drop of voltage in LinDistFlow, pu: Σ (r·P + x·Q) on the way to the worst bus."""
    p, q = p.copy(), q.copy()
    for j in range(len(parent) - 1, 0, -1):
        p[parent[j]] += p[j]
        q[parent[j]] += q[j]
    drop = r * p + x * q
    drop[0] = 0.0
    for j in range(1, len(parent)):
        drop[j] += drop[parent[j]]
    return float(drop.max())
