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
from tests.long.leaks import Use, growth, use_of
from tests.long.rolling import Rolling
from tests.network.processes import Network, Process, network
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
KIB_PER_SLOT = {"agent": 128, "oracle": 512, "testnet": 3_072}
"""Nobody but the testnet keeps the past: its chain, its contract's storage, what its pages show. In the ten
slots after a start it took 1 500 KiB more with each, an oracle some hundred. Twice as much may be, and more
of little."""
DISK_KB_PER_SLOT = 1_500
"""Every state is kept: some thirty blocks a slot, each with the paths of a dozen words of storage. The same
hour measured some 490 kB a slot of 19 orders; at noon, when an hour may begin, they are twice as many."""


def everybody(net: Network) -> dict[str, Process]:
    """Every process by its name."""
    named = {f"oracle {number}": each for number, each in net.oracles.items()}
    named |= {f"agent {number}": each for number, each in net.agents.items()}
    return named | {"testnet": net.testnet}


def kinds(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of processes by kind: agents, oracles, the testnet."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.split()[0], []).append(name)
    return found


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


def bytes_in(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kb_per_slot(sizes_bytes: list[int]) -> float:
    """By how much the chain's folder grew after the first slots; one size of each slot."""
    return (sizes_bytes[-1] - sizes_bytes[WARM_SLOTS - 1]) / 1e3 / (len(sizes_bytes) - WARM_SLOTS)


def test_an_hour_with_faults(tmp_path: Path, record_property: Callable[[str, object], None]):
    world = world_of(AGENTS)
    data = tmp_path / "chain"
    uses: list[dict[str, Use]] = []
    disk: list[int] = []
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
            data=data,
        ) as net,
        mended(Faults(net, stream(SEED, "soak", "faults"))) as faults,
    ):
        market = Rolling(net)
        while time.monotonic() - begun < 60 * MINUTES or len(market.slots) <= WARM_SLOTS:
            market.next_slot(faults.strike)
            faults.mend()
            uses.append({name: use_of(each) for name, each in everybody(net).items()})
            disk.append(bytes_in(data))
            print(len(market.slots), dict(faults.seen), uses[-1], disk[-1], flush=True)
        market.run_out()
        told = told_orders(net)
        processor_seconds = sum(oracle.processor_seconds for oracle in net.oracles.values())
        assert not [name for name, each in everybody(net).items() if "Traceback" in each.said]
        record, report = audited(net, tmp_path / "bundle")
    assert report.ok, str(report)
    known = history(record)
    assert told, "nobody traded"
    rules = Counter(rule_of(each) for each in known if each.traded.fills)
    assert set(rules) == {"priced"}, rules
    assert not told - kept_orders(known), "an order that was taken is not there"
    grown = {
        kind: growth([[each[name] for each in uses] for name in names])
        for kind, names in kinds(uses[-1]).items()
    }
    for kind, each in grown.items():
        assert each.kib_per_slot <= KIB_PER_SLOT[kind], (kind, each)
        assert each.handles_per_slot <= HANDLES_PER_SLOT, (kind, each)
    uncharged = opened_uncharged(known, market.slots)
    assert uncharged <= len(market.slots) / 2, "hardly anybody could trade"
    assert len(faults.seen) == KINDS or MINUTES < 60, faults.seen
    assert kb_per_slot(disk) <= DISK_KB_PER_SLOT, disk
    clearings = sum((each.charges is not None) + (each.prices is not None) for each in known)
    record_property("seed", SEED)
    record_property("minutes", round((time.monotonic() - begun) / 60, 1))
    record_property("slots", len(market.slots))
    record_property("slots with fills, by what settled them", {"tariff rule": 0, "unsettled": 0, **rules})
    record_property("slots that opened without charges", uncharged)
    record_property("faults", dict(sorted(faults.seen.items())))
    resident = [each["testnet"].resident_kib // 1024 for each in (uses[WARM_SLOTS - 1], uses[-1])]
    record_property("testnet, MiB resident after the first slots and at the end", resident)
    for kind, each in grown.items():
        record_property(f"{kind}, more with each slot of a life, KiB", round(each.kib_per_slot))
        record_property(f"{kind}, files more with each", round(each.handles_per_slot, 2))
    record_property("chain's folder, kB a slot", round(kb_per_slot(disk), 1))
    record_property("clearings of charges or prices", clearings)
    for name, count in (("clearing", clearings), ("slot", len(market.slots))):
        record_property(f"processor seconds of all oracles, a {name}", round(processor_seconds / count, 2))
    record_property("orders of agents", told.total())
    record_property("audit", report.verified[2])


def opened_uncharged(known: History, slots: list[int]) -> int:
    """Slots in which nobody could trade, since a fault kept their charges away until they opened."""
    return sum(known.slots[slot].charges is None for slot in slots if slot in known.slots)
