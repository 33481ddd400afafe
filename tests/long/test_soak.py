"""An hour of a market of processes in which something always fails: nothing is lost, and nothing leaks."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.history import History, SlotHistory, history
from market.orders import OrderPlaced
from node.agent.drawn import as_toml, drawn
from node.scenario.streams import stream
from node.testnet.world import world_of
from tests.long.faults import Faults, mended
from tests.long.rolling import Rolling
from tests.network.processes import Network, Process, network
from tests.network.trading_day import audited

pytestmark = pytest.mark.long

SEED = 1
MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
AGENTS, ORACLES = 8, 3
WARM_SLOTS = 12
"""The first of them is settled by then, nine slots after it opened: every process has loaded what it uses."""
LOOKS = 4
"""Of so many slots in a row the least counts: connections come and go, what leaks stays."""
HANDLES_MORE = 2 * (AGENTS + ORACLES)
"""Everybody who talks to a process holds two connections at most, and none where one of the two has just
begun anew; what leaks comes with blocks and requests, of which there are dozens a slot."""
AGENT_KIB_MORE, TESTNET_KIB_PER_SLOT = 40_960, 1_024
"""Nobody but the testnet keeps the past: its chain, its contract's storage, what its pages show. An hour with
150 slots traded, of all times of day, measured 65 MiB, some 440 KiB a slot, of which twice may be."""
DISK_KB_PER_SLOT = 1_500
"""Every state is kept: some thirty blocks a slot, each with the paths of a dozen words of storage. The same
hour measured some 490 kB a slot of 19 orders; at noon, when an hour may begin, they are twice as many."""


@dataclass(frozen=True)
class Use:
    """What a process holds: resident KiB, open files."""

    resident_kib: int
    handles: int


def use_of(process: Process) -> Use:
    """Of a process that runs."""
    folder = Path(f"/proc/{process.started.pid}")
    (line,) = (line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return Use(int(line.split()[1]), len(list((folder / "fd").iterdir())))


def everybody(net: Network) -> dict[str, Process]:
    """Every process by its name."""
    named = {f"oracle {number}": each for number, each in net.oracles.items()}
    named |= {f"agent {number}": each for number, each in net.agents.items()}
    return named | {"testnet": net.testnet}


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
            print(len(market.slots), dict(faults.seen), uses[-1]["testnet"], disk[-1], flush=True)
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
    for name in uses[-1]:
        assert_no_leak(name, [each[name] for each in uses])
    assert kb_per_slot(disk) <= DISK_KB_PER_SLOT, disk
    clearings = sum((each.charges is not None) + (each.prices is not None) for each in known)
    record_property("seed", SEED)
    record_property("minutes", round((time.monotonic() - begun) / 60, 1))
    record_property("slots", len(market.slots))
    record_property("slots with fills, by what settled them", {"tariff rule": 0, "unsettled": 0, **rules})
    record_property("slots that opened without charges", opened_uncharged(known, market.slots))
    record_property("faults", dict(sorted(faults.seen.items())))
    looked = first_and_last([each["testnet"] for each in uses])
    mib = [use.resident_kib // 1024 for use in looked]
    record_property("testnet, MiB resident after the first slots and at the end", mib)
    record_property("open files of the testnet", [use.handles for use in looked])
    record_property("chain's folder, kB a slot", round(kb_per_slot(disk), 1))
    record_property("clearings of charges or prices", clearings)
    for name, count in (("clearing", clearings), ("slot", len(market.slots))):
        record_property(f"processor seconds of all oracles, a {name}", round(processor_seconds / count, 2))
    record_property("orders of agents", told.total())
    record_property("audit", report.verified[2])


def opened_uncharged(known: History, slots: list[int]) -> int:
    """Slots in which nobody could trade, since a fault kept their charges away until they opened."""
    return sum(known.slots[slot].charges is None for slot in slots if slot in known.slots)


def first_and_last(uses: list[Use]) -> tuple[Use, Use]:
    """The least that a process held when the first slots were over, and at the end; one use a slot."""
    return least(uses[WARM_SLOTS - LOOKS : WARM_SLOTS]), least(uses[-LOOKS:])


def least(uses: list[Use]) -> Use:
    """Of everything the least."""
    return Use(min(use.resident_kib for use in uses), min(use.handles for use in uses))


def assert_no_leak(name: str, uses: list[Use]) -> None:
    """Files stay as many; memory too, but for what the chain has to keep."""
    first, last = first_and_last(uses)
    assert last.handles <= first.handles + HANDLES_MORE, (name, uses)
    later_slots = len(uses) - WARM_SLOTS
    more = AGENT_KIB_MORE + (TESTNET_KIB_PER_SLOT * later_slots if name == "testnet" else 0)
    assert last.resident_kib <= first.resident_kib + more, (name, uses)
