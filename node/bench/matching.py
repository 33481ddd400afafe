"""Matching of many orders over arrays outside the chain, and a market day on the twin and on a chain."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

import numpy as np

from market.mechanisms.matching import Orders, called, matched
from node.bench.row import Row, WrongWork
from node.bench.timing import again, timed, times
from node.scenario.loading import load
from node.scenario.streams import stream
from node.scenario.world import build
from node.simulate.run import traded_on_chain, traded_without_ledger

ORDERS, ACCOUNTS = 100_000, 10_000
SEED, RUNS = 1, 3
CONTINUOUS_GOAL_S, CALL_GOAL_S, MEMORY_GOAL_MB = 0.5, 0.35, 150.0
LEMLAB = "lemlab's batch auction, measured elsewhere"
LEMLAB_SECONDS, LEMLAB_MB = 0.70, 334.0
HOUSES, SLOTS = 1_000, 4
DAY_GOAL_S, CHAIN_GOAL_S = 5.0, 60.0
GSY, GSY_SECONDS = "gsy-e, the faster of two runs, measured elsewhere", 50.0
SCENARIO, NOON = "ieee33-day", "2026-06-23T10:00:00Z"


def rows() -> Iterable[Row]:
    """The continuous auction, the call auction, and a market day."""
    orders = drawn(ORDERS)
    auctions: tuple[tuple[str, float, Callable[[], bytes]], ...] = (
        ("continuous auction", CONTINUOUS_GOAL_S, lambda: _continuous(orders)),
        ("call auction of full volume", CALL_GOAL_S, lambda: _called(orders)),
    )
    for name, goal, auction in auctions:
        yield from _auction(name, goal, auction)
    yield from _day()


def drawn(count: int) -> Orders:
    """Sides and ticks drawn evenly, as for `book`."""
    rng = stream(SEED, "bench", "book")
    sides = rng.integers(2, size=count)
    ticks = rng.integers(700, 1_601, size=count)
    return Orders.plain(np.arange(count) % ACCOUNTS, sides, ticks, 100 * rng.integers(1, 101, size=count))


def _continuous(orders: Orders) -> bytes:
    return matched(orders).fills.tobytes()


def _called(orders: Orders) -> bytes:
    return called(orders).traded_wh.tobytes()


def _auction(name: str, goal: float, auction: Callable[[], bytes]) -> Iterator[Row]:
    """Time, memory, and that reruns give the same bytes."""
    results = {sha256(auction()).digest() for _ in range(RUNS)}
    if len(results) != 1:
        raise WrongWork(f"{name}: {len(results)} results in {RUNS} runs")
    (taken,) = times(again(auction), runs=RUNS, warm_ups=0)
    what = f"{ORDERS:,} random orders, half buys, {name}"
    yield Row(f"{what}: time", taken.median, "s", LEMLAB, LEMLAB_SECONDS, goal)
    yield Row(f"{what}: peak memory", _peak_mb(auction), "MB", LEMLAB, LEMLAB_MB, MEMORY_GOAL_MB)
    yield Row(f"{what}: different results in {RUNS} runs", len(results) - 1, "results", goal=0)


def _peak_mb(work: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _day() -> Iterator[Row]:
    """Slots of many houses with agents, charges, book, delivery and settlement: on the twin, on a chain."""
    settings = {"prosumers.count": str(HOUSES), "slots.count": str(SLOTS), "slots.start": NOON}
    world = build(load(SCENARIO, settings))
    alone, seconds = timed(lambda: traded_without_ledger(world))
    proved, chain_seconds = timed(lambda: traded_on_chain(world)[0])
    fills, again = ([fill for slot in day.slots for fill in slot.fills] for day in (alone, proved))
    if not fills or fills != again:
        raise WrongWork(f"{len(fills)} fills without a chain, {len(again)} on one")
    what = f"{HOUSES:,} houses, {SLOTS} slots, {len(fills):,} fills"
    yield Row(f"{what}, no chain: time", seconds, "s", GSY, GSY_SECONDS, DAY_GOAL_S)
    yield Row(
        f"{what}, every order signed and on a chain: time", chain_seconds, "s", GSY, GSY_SECONDS, CHAIN_GOAL_S
    )
