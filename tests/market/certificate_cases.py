"""Random certificates of every kind, and every number of a certificate told wrong in turn."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from market.feeder import Feeder
from market.pricing import newton
from market.pricing.certificate import Checker, certificate, decode
from market.pricing.conditions import Conditions, Solution
from market.pricing.optimality import PRICE_TOLERANCE
from market.pricing.point import BUSES, DEVICES, LINES, Point
from market.units import Floats
from tests.market.pricing_cases import draw, elsewhere

KINDS = ("plain", "limits", "many devices", "low prices", "negative prices", "island", "shedding", "day")
LIMITS: tuple[dict[str, Any], ...] = (
    {"scale": 2.0, "v_min": 0.95},
    {"scale": 0.2, "generation": 1.0, "v_max": 1.001, "export_price": 10.0},
    {"scale": 3.0, "v_min": 0.8, "rated": True},
)
"""Draws that bind the lower voltage limit, the upper one, ratings."""
LIE = 1e-6
"""Relative error of a lie."""
HEADER_BYTES = 56


@dataclass(frozen=True, eq=False)
class Case:
    """A cleared draw with its certificate."""

    seed: int
    kind: str
    feeder: Feeder
    conditions: Conditions
    solution: Solution
    data: bytes


def random_case(seed: int) -> Case:
    """Draw number `seed`, of the kinds in turn."""
    kind = KINDS[seed % len(KINDS)]
    rng = np.random.default_rng(seed)
    return _cleared(seed, kind, *_drawn(seed, kind, rng))


def elsewhere_case(seed: int) -> Case:
    """Stressed draw number `seed` on other feeders than IEEE 33-bus."""
    feeder, conditions = elsewhere(seed)
    return _cleared(seed, feeder.name, feeder, conditions)


def _cleared(seed: int, kind: str, feeder: Feeder, conditions: Conditions) -> Case:
    solution = newton.clear(feeder, conditions)
    return Case(seed, kind, feeder, conditions, solution, certificate(solution, feeder, conditions))


def _drawn(seed: int, kind: str, rng: np.random.Generator) -> tuple[Feeder, Conditions]:
    def pick(*values: float) -> float:
        return float(rng.choice(values))

    match kind:
        case "plain":
            return draw(seed, count=int(rng.integers(0, 40)), scale=pick(0.3, 0.6, 1))
        case "limits":
            return draw(seed, **LIMITS[seed // len(KINDS) % len(LIMITS)])
        case "many devices":
            return draw(seed, count=120, scale=0.4, generation=1.0, linear=pick(0, 0.2, 1))
        case "low prices":
            return draw(seed, import_price=pick(0.5, 2), export_price=pick(0, 0.1))
        case "negative prices":
            return draw(seed, import_price=-10, export_price=-30, generation=pick(0.3, 1))
        case "island":
            # a hub so dear both ways that the feeder rather feeds itself
            return draw(seed, import_price=400, export_price=-50, generation=1.0, scale=pick(0.3, 0.5))
        case "shedding":
            return draw(seed, scale=pick(4, 10, 50), v_min=pick(0.9, 0.95))
        case _:
            return draw(seed, periods=3, count=15, scale=pick(0.4, 1), rated=True)


def units(case: Case) -> Floats:
    """What each number of the certificate is measured in, as CERTIFICATE.md says."""
    at = decode(case.data).point
    largest = np.maximum(np.abs(at.buses[1]).max(axis=1, keepdims=True), 1.0)
    size = Point(
        lines=np.ones_like(at.lines),
        buses=np.ones_like(at.buses),
        devices=np.ones_like(at.devices),
        storages=np.ones_like(at.storages),
        net_import=np.ones_like(at.net_import),
    )
    for row, name in enumerate(LINES):
        if name in {"voltage", "cone", "v_low", "v_high", "current"}:
            size.lines[row] = largest
    for name in ("price", "reactive"):
        size.buses[BUSES.index(name)] = largest
    # the tie-break's injection is a price, (ε/(n+1))·(λ − c)
    size.buses[BUSES.index("elastic")] = 1e-6 / case.feeder.buses * largest
    return np.concatenate(
        [block.ravel() for block in (size.lines, size.buses, size.devices, size.net_import)]
    )


def names(case: Case) -> list[str]:
    """What each number of the certificate is."""
    periods, buses = case.conditions.periods, case.feeder.buses
    count = case.conditions.devices.count
    rows = [(name, periods * buses) for name in (*LINES, *BUSES)]
    rows += [(name, periods * count) for name in DEVICES] + [("net_import", periods)]
    return [name for name, size in rows for _ in range(size)]


def lies(case: Case, smallest: float) -> Iterator[tuple[int, bytes]]:
    """The certificate with one number wrong by LIE, for every number of at least `smallest` units."""
    values = np.frombuffer(case.data, dtype="<f8", offset=HEADER_BYTES)
    data = bytearray(case.data)
    for index in np.flatnonzero(np.abs(values) >= smallest * units(case)):
        at = HEADER_BYTES + 8 * int(index)
        value = float(values[index])
        struct.pack_into("<d", data, at, value * (1 + LIE))
        yield int(index), bytes(data)
        struct.pack_into("<d", data, at, value)


def unfound(case: Case, smallest: float) -> tuple[int, list[str]]:
    """How many lies were told, and which the checker did not find."""
    checker, what = Checker(case.feeder, case.conditions), names(case)
    values = np.frombuffer(case.data, dtype="<f8", offset=HEADER_BYTES)
    told, passed = 0, []
    for index, data in lies(case, smallest):
        told += 1
        if not checker(data):
            passed.append(f"seed {case.seed} {case.kind}: {what[index]}[{index}] = {values[index]:.3e}")
    return told, passed


def wrong_end(case: Case) -> Iterator[bytes]:
    """The certificate with all prices moved along until λ_0 is at the other end of the hub's range.

    Where λ_0 is that end but for what a stopped answer may be off by, there is nothing to be found.
    """
    hub, solution = case.conditions.hub, case.solution
    ends = hub.import_price + hub.export_price - solution.duals.price[:, 0]
    inside = (solution.duals.price[:, 0] > hub.export_price) & (solution.duals.price[:, 0] < hub.import_price)
    for end in (np.where(inside, hub.import_price, ends), np.where(inside, hub.export_price, ends)):
        if np.allclose(end, solution.duals.price[:, 0], rtol=PRICE_TOLERANCE, atol=0.0):
            continue
        price = solution.duals.price + (end - solution.duals.price[:, 0])[:, None]
        moved = replace(solution, duals=replace(solution.duals, price=price))
        yield certificate(moved, case.feeder, case.conditions)
