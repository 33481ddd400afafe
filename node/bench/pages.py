"""A testnet's pages and events with 1 000 resting orders, 50 events a second, and 200 who listen.

The testnet is the command itself, in a process of its own, with its chain in a data folder: its memory is the
server's and the market's, not the chain's pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from node.api.feed import BLOCKS_KEPT
from node.bench.row import Row
from node.bench.started import pause, started_testnet, until
from node.bench.timing import now_seconds
from node.bench.traffic import Traffic
from node.bench.usage import Usage, usage
from node.bench.visitors import Listener, listening, visiting

ACCOUNTS = 70
RESTING = 1_000
LISTENERS = 200
VISITORS = 4
VISIT_SECONDS = 0.5
"""A page renews itself so often at most."""
ORDERS_A_STEP, STEP_SECONDS = 5, 0.2
"""Each order is placed and filled: two events."""
STEPS = 300
WARM_UP_STEPS = BLOCKS_KEPT
"""As fast as they go: what is kept of blocks and state, and for listeners, is then full."""
MEMORY, MEMORY_LEFT = "the server's memory", "memory that an event leaves"
BYTES_PER_MIB, BYTES_PER_KB = 2**20, 1_000
MEMORY_LEFT_MAX_KB = 2.0
"""An order, with its fill, is kept as long as its slot is shown: some 1 kB for each of the two events.

So bounded, the `ORDERS_KEPT` orders after which settled slots are forgotten take at most 400 MB.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A block of the flow: when its orders were handed in, and how many events it has."""

    handed_in_at: float
    events: int


def rows() -> Iterable[Row]:
    """Latency of events and pages, who missed none, processor and memory of the server."""
    with started_testnet(ACCOUNTS) as (pid, document):
        traffic, url = Traffic(document), document["api_url"]
        traffic.rest(RESTING)
        page = f"{url}/?slot={traffic.slot}"
        with listening(url, LISTENERS) as listeners, visiting(page, VISITORS, VISIT_SECONDS) as visits:
            until(lambda: all(each.events for each in listeners), "not all listeners were let in")
            for _ in range(WARM_UP_STEPS):
                traffic.step(ORDERS_A_STEP)
            visits.clear()
            flow, lasted, used = _measured(traffic, pid)
            until(
                lambda: all(max(flow) in each.heard_at for each in listeners),
                "a listener did not hear the end",
            )
        yield from _latencies(flow, listeners, visits)
    events = sum(each.events for each in flow.values())
    yield Row("events a second", events / lasted, "1/s", goal=50, better="more")
    if used is not None:
        yield from _used(*used, lasted, events)


def _measured(traffic: Traffic, pid: int) -> tuple[dict[int, Told], float, tuple[Usage, Usage] | None]:
    """The flow by its blocks, its seconds, and what the server had used before and after it."""
    before, begun = usage(pid), now_seconds()
    flow = dict(_step(traffic, begun + number * STEP_SECONDS) for number in range(STEPS))
    lasted, after = now_seconds() - begun, usage(pid)
    return flow, lasted, None if before is None or after is None else (before, after)


def _step(traffic: Traffic, due_seconds: float) -> tuple[int, Told]:
    """The next orders when they are due, with their block."""
    pause(max(0.0, due_seconds - now_seconds()))
    handed_in_at = now_seconds()
    block, events = traffic.step(ORDERS_A_STEP)
    return block, Told(handed_in_at, events)


def _latencies(
    flow: Mapping[int, Told], listeners: Sequence[Listener], visits: Sequence[float]
) -> Iterator[Row]:
    whole = [all(each.events[block] == told.events for block, told in flow.items()) for each in listeners]
    yield Row("heard every event once", sum(whole), "listeners", goal=LISTENERS, better="more")
    waits = [each.heard_at[block] - told.handed_in_at for each in listeners for block, told in flow.items()]
    for name, taken in (("order handed in, listener told", waits), ("the market's page", visits)):
        yield Row(f"{name}: median", float(np.median(taken)), "s")
        yield Row(f"{name}: 99 of 100", float(np.percentile(taken, 99)), "s")


def _used(before: Usage, after: Usage, lasted_seconds: float, events: int) -> Iterator[Row]:
    used = after.processor_seconds - before.processor_seconds
    yield Row("the server's share of a core", 100 * used / lasted_seconds, "%")
    yield Row(MEMORY, after.memory_mib, "MiB", "before the flow", before.memory_mib)
    left_kb = (after.memory_mib - before.memory_mib) * BYTES_PER_MIB / BYTES_PER_KB / events
    yield Row(MEMORY_LEFT, left_kb, "kB", goal=MEMORY_LEFT_MAX_KB)
