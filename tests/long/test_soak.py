"""An hour of a market of processes in which something always fails: nothing is lost, and nothing leaks."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ledger.history import History, SlotHistory, history
from market.orders import OrderPlaced
from node.agent.drawn import as_toml, drawn
from node.scenario.streams import stream
from node.testnet.world import world_of
from tests.long.faults import Faults, mended
from tests.long.leaks import Watch, everybody
from tests.long.rolling import Rolling
from tests.network.processes import Network, network
from tests.network.trading_day import audited

pytestmark = pytest.mark.long

SEED = 1
MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
AGENTS, ORACLES = 8, 3
WARM_SLOTS = 12
"""The first of them is settled by then, nine slots after it opened: every process has loaded what it uses."""
KINDS = 6
"""Of faults, each of which an hour has."""
HANDLES_PER_SLOT = 0.5
"""What leaks a file a slot opens twice as many."""
KIB_PER_SLOT = {"agent": 192, "oracle": 512, "testnet": 4_096}
"""Nobody but the testnet keeps the past: its chain, its contract's storage, what its pages show. In the first
ten slots after a start it took 1 500 to 2 500 KiB more with each, an oracle 150, an agent 80, and 11 later:
somewhat more may be."""
DISK_KB_PER_SLOT = 1_500
"""Every state is kept: some thirty blocks a slot, each with the paths of a dozen words of storage. An hour
measured some 460 kB a slot of 19 orders; at noon, when an hour may begin, they are twice as many."""


def told_orders(net: Network) -> Counter[tuple[str, int]]:
    """How many orders each account told of that the exchange took, by account and slot."""
    return Counter(
        (net.document["accounts"][number]["address"], event["slot"])
        for number, agent in net.agents.items()
        for event in agent.events
        if event["event"] == "order" and "refused" not in event
    )


def kept_orders(slots: Iterable[SlotHistory]) -> Counter[tuple[str, int]]:
    """How many orders the chain has, by account and slot."""
    return Counter((order.trader, each.slot) for each in slots for _, order in each.of(OrderPlaced))


def rule_of(slot: SlotHistory) -> str:
    """By what a slot was settled, in words for the report."""
    if slot.finished is None:
        return "unsettled"
    return "tariff rule" if slot.prices is None else "priced"


def opened_uncharged(known: History, slots: list[int]) -> int:
    """Slots in which nobody could trade, since a fault kept their charges away until they opened."""
    return sum(known.slots[slot].charges is None for slot in slots if slot in known.slots)


def test_an_hour_with_faults(tmp_path: Path, record_property: Callable[[str, object], None]):
    world = world_of(AGENTS)
    begun = time.monotonic()
    with (
        network(
            tmp_path,
            accounts=AGENTS,
            signers=ORACLES,
            devices=lambda number: as_toml(drawn(world, number)),
            oracles=dict.fromkeys(range(ORACLES), ()),
            agents=dict.fromkeys(range(AGENTS), ()),
            answer_seconds=10,
            turn_seconds=60,
            data=tmp_path / "chain",
        ) as net,
        mended(Faults(net, stream(SEED, "soak", "faults"))) as faults,
    ):
        market, watch = Rolling(net), Watch(net, tmp_path / "chain", WARM_SLOTS)
        while time.monotonic() - begun < 60 * MINUTES or len(market.slots) <= WARM_SLOTS:
            market.next_slot(faults.strike)
            faults.mend()
            watch.look()
            print(len(market.slots), dict(faults.seen), watch.uses[-1]["testnet"], flush=True)
        market.run_out()
        told = told_orders(net)
        processor_seconds = sum(oracle.processor_seconds for oracle in net.oracles.values())
        failed = [name for name, each in everybody(net).items() if "Traceback" in each.said]
        record, report = audited(net, tmp_path / "bundle")
    known = history(record)
    rules = Counter(rule_of(each) for each in known if each.traded.fills)
    uncharged = opened_uncharged(known, market.slots)
    clearings = sum((each.charges is not None) + (each.prices is not None) for each in known)
    recorded = {
        "seed": SEED,
        "minutes": round((time.monotonic() - begun) / 60, 1),
        "slots": len(market.slots),
        "slots with fills, by what settled them": {"tariff rule": 0, "unsettled": 0, **rules},
        "slots that opened without charges": uncharged,
        "faults": dict(sorted(faults.seen.items())),
        "testnet, MiB resident after the first slots and at the end": watch.testnet_mib,
        "more with each slot of a life": {kind: str(each) for kind, each in watch.grown.items()},
        "chain's folder, kB a slot": round(watch.disk_kb_per_slot, 1),
        "clearings of charges or prices": clearings,
        "processor seconds of all oracles, a clearing": round(processor_seconds / clearings, 2),
        "processor seconds of all oracles, a slot": round(processor_seconds / len(market.slots), 2),
        "orders of agents": told.total(),
        "audit": report.verified[2],
    }
    for what, value in recorded.items():
        record_property(what, value)
    assert not failed, "a traceback was printed"
    assert report.ok, str(report)
    assert told, "nobody traded"
    assert set(rules) == {"priced"}, rules
    assert not told - kept_orders(known), "an order that was taken is not there"
    assert uncharged <= len(market.slots) / 2, "hardly anybody could trade"
    assert len(faults.seen) == KINDS or MINUTES < 60, faults.seen
    assert watch.disk_kb_per_slot <= DISK_KB_PER_SLOT
    for kind, each in watch.grown.items():
        assert each.kib_per_slot <= KIB_PER_SLOT[kind], (kind, each)
        assert each.handles_per_slot <= HANDLES_PER_SLOT, (kind, each)
