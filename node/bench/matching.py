"""Matching of many orders over arrays outside the chain, and a market day on the twin and on a chain."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from node.bench.matched_orders import AUCTIONS, CALL, CONTINUOUS, digest, drawn, traded_wh
from node.bench.peers import ASSUME, GSY, PYMARKET, TESP, Peer, compared
from node.bench.row import Row, WrongWork
from node.bench.timing import again, timed, times
from node.scenario.loading import load
from node.scenario.world import build
from node.simulate.run import traded_on_chain, traded_without_ledger

ORDERS, ACCOUNTS = 100_000, 10_000
RUNS = 3
BESIDE = (10_000, ORDERS)
"""Orders that other packages get too."""
PATIENCE_SECONDS = 60.0
"""What another package gets for a run."""
OTHER_HASHES = 4_242
"""A seed of Python's hashes, which are drawn anew for each process else."""
CONTINUOUS_GOAL_S, CALL_GOAL_S, MEMORY_GOAL_MB = 0.5, 0.35, 150.0
LEMLAB = "lemlab's batch auction, measured elsewhere"
LEMLAB_SECONDS, LEMLAB_MB = 0.70, 334.0
HOUSES, SLOTS = 1_000, 4
DAY_GOAL_S, CHAIN_GOAL_S = 5.0, 60.0
GSY_E, GSY_E_SECONDS = "gsy-e, the faster of two runs, measured elsewhere", 50.0
OTHERS: tuple[tuple[str, Peer, str], ...] = (
    (CALL, ASSUME, "pay-as-clear"),
    (CALL, GSY, "pay-as-clear"),
    (CALL, PYMARKET, "huang"),
    (CALL, TESP, "double auction"),
    (CONTINUOUS, ASSUME, "pay-as-bid"),
    (CONTINUOUS, GSY, "pay-as-bid"),
)
"""Our auction, whose other package's, and which of its mechanisms comes closest."""
SCENARIO, NOON = "ieee33-day", "2026-06-23T10:00:00Z"


def rows() -> Iterable[Row]:
    """The continuous auction, the call auction, and a market day."""
    for name, goal in zip(AUCTIONS, (CONTINUOUS_GOAL_S, CALL_GOAL_S), strict=True):
        yield from _auction(name, goal)
    for count in BESIDE:
        yield from _beside(count)
    yield from _day()


def _auction(name: str, goal: float) -> Iterator[Row]:
    """Time, memory, and whether reruns give the same bytes: here, and where Python hashes otherwise."""
    orders = drawn(ORDERS, ACCOUNTS)
    work = partial(AUCTIONS[name], orders)
    (taken,) = times(again(work), runs=RUNS, warm_ups=0)
    what = f"{ORDERS:,} random orders, half buys, {name}"
    yield Row.timed(f"{what}: time", "s", taken, LEMLAB, LEMLAB_SECONDS, goal=goal)
    yield Row(
        f"{what}: peak memory beyond the orders'", _peak_mb(work), "MB", LEMLAB, LEMLAB_MB, MEMORY_GOAL_MB
    )
    results = [digest(name, ORDERS, ACCOUNTS) for _ in range(RUNS)] + [_elsewhere(name)]
    unlike = sum(each != results[0] for each in results)
    yield Row(f"{what}: reruns of {len(results)} unlike the first", unlike, "results", goal=0)


def _beside(count: int) -> Iterator[Row]:
    """The same orders through auctions of other packages, in turns, and how much of our energy they trade.

    One that trades nothing has not done the work, so that its time is no figure to be ahead of.
    """
    orders = drawn(count, ACCOUNTS)
    columns = orders.trader, orders.side, orders.tick, orders.quantity_wh
    listed = np.stack(columns, axis=1).tolist()
    for auction, peer, kind in OTHERS:
        found = compared(
            again(partial(AUCTIONS[auction], orders)),
            peer,
            {"auction": kind, "orders": listed},
            PATIENCE_SECONDS,
            RUNS,
        )
        if found.ended is None and found.theirs is not None and not (found.found or 0.0) > 0.0:
            found = found.without("finds no trade")
        share = f"{100 * (found.found or 0.0) / traded_wh(auction, orders):.4g} % of our energy"
        yield found.row(
            f"{count:,} random orders, {auction}: time, and {peer.title}'s {kind}",
            peer.title,
            f"trades {share}",
        )


def _elsewhere(name: str) -> str:
    """The same hash from another process, of another seed of Python's own hashes."""
    code = f"from node.bench.matched_orders import digest; print(digest({name!r}, {ORDERS}, {ACCOUNTS}))"
    environment = {**os.environ, "PYTHONHASHSEED": str(OTHER_HASHES)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise WrongWork(f"{name}: another process failed: {done.stderr.strip()[-200:]}")
    return done.stdout.strip()


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
    alone = traded_without_ledger(world)
    (taken,) = times(again(lambda: traded_without_ledger(world)), runs=RUNS, warm_ups=0)
    proved, on_chain = timed(lambda: traded_on_chain(world)[0])
    fills, on_chains = ([fill for slot in day.slots for fill in slot.fills] for day in (alone, proved))
    if not fills or fills != on_chains:
        raise WrongWork(f"{len(fills)} fills without a chain, {len(on_chains)} on one")
    what = f"{HOUSES:,} houses, {SLOTS} slots, {len(fills):,} fills"
    yield Row.timed(f"{what}, no chain: time", "s", taken, GSY_E, GSY_E_SECONDS, goal=DAY_GOAL_S)
    name = f"{what}, every order signed and on a chain: time"
    yield Row.timed(name, "s", on_chain, GSY_E, GSY_E_SECONDS, goal=CHAIN_GOAL_S)
