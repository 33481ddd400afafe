"""Rounds of ATC on every slot of the demo's day, beside textbook ADMM, and its error to the central solve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from market.atc.alternating import ACCELERATED, ADMM
from market.atc.clearing import AtcClearing
from market.pricing import direct
from node.bench.day import demo_day, price_error
from node.bench.row import Row

PROSUMERS = (10, 32, 100, 1_000)
ROUNDS_GOAL, ERROR_GOAL = 20, 1e-4
TEXTBOOK = "textbook ADMM between the same levels, same run"


def rows() -> Iterable[Row]:
    """The worst slot of the day, by number of prosumers."""
    for prosumers in PROSUMERS:
        yield from _day(prosumers)


def _day(prosumers: int) -> Iterator[Row]:
    world = demo_day(prosumers)
    methods = {method.name: AtcClearing(world.feeder, method) for method in (ATC, ADMM)}
    rounds = dict.fromkeys(methods, 0)
    errors = dict.fromkeys(methods, 0.0)
    for slot in range(world.periods):
        conditions = world.conditions(slot)
        central = direct.clear(world.feeder, conditions)
        for name, clearing in methods.items():
            solution = clearing(world.feeder, conditions)
            rounds[name] = max(rounds[name], solution.iterations)
            errors[name] = max(errors[name], price_error(solution, central))
    who = f"{prosumers:,} prosumers"
    atc, admm, slots = ATC.name, ADMM.name, world.periods
    yield Row(
        f"{who}: rounds, worst of {slots} slots", rounds[atc], "rounds", TEXTBOOK, rounds[admm], ROUNDS_GOAL
    )
    yield Row(
        f"{who}: DLMP error, worst of {slots} slots",
        errors[atc],
        "relative",
        TEXTBOOK,
        errors[admm],
        ERROR_GOAL,
    )
