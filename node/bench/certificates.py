"""Time to check a certificate: reading it and judging every condition, the inputs prepared.

Preparing the inputs (admitting, hashing and arranging them, and the feeder's structure) is a row of its
own: it is done once for a slot, however many check. The large feeder is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from market.feeder.model import Feeder, Limits
from market.pricing import direct
from market.pricing.certificate import Accuracy, Checker, certificate, decode
from market.pricing.conditions import Conditions, Devices, Hub
from node.bench.day import demo_day
from node.bench.row import Row, WrongWork
from node.bench.timing import again, times
from node.scenario.streams import stream

SLOT = 19
"""The demo's evening peak."""
LARGE_BUSES, LARGE_DEVICES = 5_294, 300
SEED = 1
RUNS = 41
FEWER = "fewer of them would judge several conditions at once, and say less well which one fails"
SMALL_WHY = f"calls of NumPy on small arrays, a few microseconds each: {FEWER}"
LARGE_WHY = f"NumPy's passes over the feeder's arrays: {FEWER}"


def rows() -> Iterable[Row]:
    """The demo's feeder, and one of 5 294 buses."""
    world = demo_day(60)
    yield from _one(world.feeder, world.conditions(SLOT), 0.2, SMALL_WHY)
    yield from _one(*_large(), 1.0, LARGE_WHY)


def _one(feeder: Feeder, conditions: Conditions, goal_ms: float, why: str) -> Iterator[Row]:
    data = certificate(direct.clear(feeder, conditions), feeder, conditions)
    checker = Checker(feeder, conditions)
    if checker(data) or decode(data).accuracy is not Accuracy.FINISHED:
        raise WrongWork("the certificate does not hold as finished")
    lie = bytearray(data)
    # λ of the last bus: a bit of its mantissa that is worth about a millionth
    lie[_last_price(feeder, conditions) + 4] ^= 1
    if not checker(bytes(lie)):
        raise WrongWork("a lie in a price is not found")
    checking, preparing = times(
        again(lambda: checker(data)), again(lambda: Checker(feeder, conditions)), runs=RUNS
    )
    who = f"{feeder.buses:,} buses"
    yield Row.timed(f"{who}: certificate checked", "ms", checking, goal=goal_ms, why=why)
    yield Row.timed(f"{who}: inputs prepared", "ms", preparing)


def _last_price(feeder: Feeder, conditions: Conditions) -> int:
    """Where λ of the last bus is: after the header, eight line arrays, and voltages."""
    return 56 + 8 * (10 * feeder.buses * conditions.periods - 1)


def _large() -> tuple[Feeder, Conditions]:
    """A drawn feeder at 70 % of its load, with devices at a few hundred buses."""
    rng = stream(SEED, "bench", "feeder")
    buses, near = LARGE_BUSES, 40
    back = np.where(rng.random(buses) < 0.9, rng.integers(1, near, buses), rng.integers(1, buses, buses))
    parent = np.maximum(np.arange(buses) - back, 0)
    parent[0] = -1
    r_pu = 2e-4 * rng.uniform(0.2, 1.0, buses)
    load = rng.uniform(0.0, 1.0, buses)
    r_pu[0] = load[0] = 0.0
    load /= load.sum()
    feeder = Feeder(
        name="drawn",
        bus_names=tuple(map(str, range(buses))),
        parent=parent,
        r_pu=r_pu,
        x_pu=0.6 * r_pu,
        limits=Limits(np.full(buses, 0.9), np.full(buses, 1.1), np.full(buses, np.inf)),
        base_mw=10.0,
        v0=1.0,
        nominal_p_mw=10.0 * load,
        nominal_q_mvar=3.0 * load,
    )
    share = rng.dirichlet(np.ones(LARGE_DEVICES) * 5)[None]

    def between(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (1, LARGE_DEVICES))

    devices = Devices(
        bus=rng.integers(1, buses, LARGE_DEVICES),
        gen_cost=between(15, 90),
        gen_slope=between(10, 40) / share,
        gen_max=0.3 * share,
        load_value=between(60, 160),
        load_slope=between(40, 90) / share,
        load_min=np.zeros_like(share),
        load_max=0.3 * share,
    )
    hub = Hub(np.array([120.0]), np.array([40.0]))
    return feeder, Conditions(0.7 * load[None], 0.21 * load[None], hub, devices, hours=1.0)
