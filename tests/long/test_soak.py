"""An hour of a market of processes in which something always fails: nothing is lost, and nothing leaks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.history import history
from market.orders import OrderPlaced
from node.agent.drawn import as_toml, drawn
from node.scenario.streams import stream
from node.testnet.market import world_of
from tests.long.faults import Faults, mended
from tests.network.processes import Network, Process, network
from tests.network.trading_day import audited, trade

pytestmark = pytest.mark.long

SEED = 1
MINUTES = float(os.environ.get("SOAK_MINUTES", "60"))
AGENTS, ORACLES = 8, 3
WARM_SLOTS = 4
"""The first cycle: by then every process has loaded what it uses."""
HANDLES_MORE = 8
"""Connections that happen to be open when it is looked; what leaks shows as one for each slot at least."""
AGENT_KIB_MORE, TESTNET_KIB_PER_SLOT = 40_960, 4_096
"""Nobody but the testnet keeps the past: its chain, its contract's storage, what its pages show."""


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


def settle(net: Network, slots: list[int]) -> None:
    """Once readings are due nobody is waited for, and every slot settles."""
    net.move_to(net.exchange.terms().readings_due(slots[-1]) + 1)
    for slot in slots:
        net.wait(f"settlement of {slot}", lambda slot=slot: net.exchange.slot_of(slot).settled)


def bytes_in(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_an_hour_with_faults(tmp_path: Path, record_property: Callable[[str, object], None]):
    world = world_of(AGENTS)
    data = tmp_path / "chain"
    slots: list[int] = []
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
        while time.monotonic() - begun < 60 * MINUTES or len(slots) < 2 * WARM_SLOTS:
            traded = trade(net, faults.strike)
            faults.mend()
            settle(net, traded)
            slots += traded
            uses.append({name: use_of(each) for name, each in everybody(net).items()})
            disk.append(bytes_in(data))
            print(len(slots), dict(faults.seen), uses[-1]["testnet"], disk[-1], flush=True)
        placed = [
            event["slot"]
            for agent in net.agents.values()
            for event in agent.events
            if event["event"] == "order" and "refused" not in event
        ]
        record, report = audited(net, tmp_path / "bundle")
    assert report.ok, str(report)
    known = history(record)
    assert all(known.slots[slot].finished for slot in slots), "a slot is not settled"
    kept = {slot: len(known.slots[slot].of(OrderPlaced)) for slot in slots}
    assert all(placed.count(slot) <= kept[slot] for slot in slots), "an order that was taken is not there"
    for name in uses[-1]:
        assert_no_leak(name, [each[name] for each in uses], len(slots))
    record_property("seed", SEED)
    record_property("minutes", round((time.monotonic() - begun) / 60, 1))
    record_property("slots", len(slots))
    record_property("faults", dict(sorted(faults.seen.items())))
    record_property("testnet, MiB resident after the first slots and at the end", resident(uses, "testnet"))
    record_property("open files of the testnet", [uses[0]["testnet"].handles, uses[-1]["testnet"].handles])
    record_property(
        "chain's folder, kB a slot", round((disk[-1] - disk[0]) / 1e3 / (len(slots) - WARM_SLOTS), 1)
    )
    record_property("orders", sum(kept.values()))
    record_property("audit", report.verified[2])


def resident(uses: list[dict[str, Use]], name: str) -> list[int]:
    """First and last, MiB."""
    return [each[name].resident_kib // 1024 for each in (uses[0], uses[-1])]


def assert_no_leak(name: str, uses: list[Use], slots: int) -> None:
    """Files stay as many; memory too, but for what the chain has to keep."""
    warm = uses[WARM_SLOTS // 4 - 1]
    assert uses[-1].handles <= warm.handles + HANDLES_MORE, (name, uses)
    more = AGENT_KIB_MORE + (TESTNET_KIB_PER_SLOT * slots if name == "testnet" else 0)
    assert uses[-1].resident_kib <= warm.resident_kib + more, (name, uses)
