"""Four slots of a network's market, from their charges to their settlement, and what they are measured by."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

import numpy as np

from ledger.address import checksummed
from ledger.audit import audit
from ledger.audit.report import Report
from ledger.bundle import write_bundle
from ledger.history import SlotHistory, history
from ledger.record import Record
from market.atc.messages import per_unit
from market.atc.responses import Responses, Stand
from market.pricing.conditions import Devices
from market.pricing.newton import NewtonClearing
from market.pricing.quantise import quantise
from market.slots import Terms
from node.scenario.world import World
from tests.network.processes import Network

SLOTS = 4
LAST_ROUND_SECONDS = 5_200
"""After opening: the last of four rounds of bidding, 6 900 s from opening to gate."""
AFTER_GATE_SECONDS = 100
QUIET_SECONDS = 4.0
READINGS_SECONDS = 70


def trade(net: Network) -> list[int]:
    """Take four slots, one after the other, through charges, orders, gate, prices and readings."""
    exchange, terms = net.exchange, net.exchange.terms()
    first = net.next_slot()
    slots = list(range(first, first + SLOTS))
    for slot in slots:
        net.wait(f"charges of {slot}", lambda slot=slot: exchange.slot_of(slot).charges_complete)
        net.move_to(terms.opens(slot) + 1)
    for second, what, slot in _agenda(terms, slots):
        net.move_to(second)
        if what is Awaited.ORDERS:
            net.wait(f"orders of {slot}", lambda slot=slot: 2 * ordering(net, slot) > len(net.agents))
        elif what is Awaited.PRICES:
            net.wait(f"prices of {slot}", lambda slot=slot: exchange.slot_of(slot).prices_complete)
        quiet(net)
    return slots


def ordering(net: Network, slot: int) -> int:
    """How many agents have told of an order for a slot."""
    return sum(slot in agent.ordered for agent in net.agents.values())


class Awaited(Enum):
    """What a second of the agenda is for: most agents order by the last round, whatever prices are."""

    ORDERS = auto()
    PRICES = auto()
    READINGS = auto()


def _agenda(terms: Terms, slots: list[int]) -> list[tuple[int, Awaited, int]]:
    """Seconds to move to, each with what of which slot is due then: last rounds, gates, ends."""
    last_rounds = [(terms.opens(slot) + LAST_ROUND_SECONDS, Awaited.ORDERS, slot) for slot in slots]
    gates = [(terms.gate(slot) + AFTER_GATE_SECONDS, Awaited.PRICES, slot) for slot in slots]
    end = terms.end(slots[-1])
    ends = [(end + seconds, Awaited.READINGS, slots[-1]) for seconds in (10, READINGS_SECONDS)]
    return sorted([*last_rounds, *gates, *ends], key=lambda entry: entry[0])


def quiet(net: Network) -> None:
    """Until nobody has sent anything for a while."""
    head, since = net.chain.head(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.2)
        if (found := net.chain.head()) != head:
            head, since = found, time.monotonic()


def settle(net: Network, slots: list[int], *, missing: bool) -> None:
    """Until every slot is settled; where meters are silent, after the time for their readings."""
    there = [number for number, agent in net.agents.items() if agent.runs]
    meters = [net.document["accounts"][number]["address"] for number in there]
    for slot in slots:
        net.wait(
            f"readings of {slot}",
            lambda slot=slot: all(net.exchange.reading_of(slot, meter).found for meter in meters),
        )
    if missing:
        net.move_to(net.exchange.terms().readings_due(slots[-1]) + 1)
    for slot in slots:
        net.wait(f"settlement of {slot}", lambda slot=slot: net.exchange.slot_of(slot).settled)


def audited(net: Network, folder: Path) -> tuple[Record, Report]:
    """The market's bundle, with the proofs that its oracles kept, and what an audit finds."""
    write_bundle(
        net.chain,
        net.exchange,
        folder,
        certificates=net.proofs("certificates").values(),
        inputs=net.proofs("inputs").values(),
    )
    record = Record.from_bundle(folder)
    return record, audit(record)


@dataclass(frozen=True)
class Clearing:
    """A slot's clearing of prices as the chain and its proofs have it."""

    slot: int
    posted: tuple[int, ...]
    signers: tuple[int, ...]
    responses: Responses

    def standing(self, stand: Stand) -> set[str]:
        """Accounts that stand so."""
        return {each.agent for each in self.responses.of(stand)}


def clearing(record: Record, slot: int) -> Clearing:
    """The clearing of a slot's prices."""
    found: SlotHistory = history(record).slots[slot]
    assert found.prices_posted is not None and found.prices is not None
    posted = found.prices_posted[1]
    signers = tuple(number for number in range(16) if posted.signers >> number & 1)
    responses = Responses.decode(record.bundle.inputs[posted.input_hash], checksummed)
    return Clearing(slot, found.prices, signers, responses)


def best_prices(found: Clearing, world: World, index: int) -> tuple[int, ...]:
    """What Newton gives that is told every device of those who answered, others as they stand."""
    seen, feeder = world.last, world.feeder
    answered = [each.stand is Stand.ANSWERED for each in found.responses.standings]
    others = [each.powers[0] for each in found.responses.standings if each.stand is not Stand.ANSWERED]
    fixed = seen.passive_p[index] + world.by_bus(np.where(answered, seen.firm_p[index], 0.0))
    buses = [each.bus for each in found.responses.standings if each.stand is not Stand.ANSWERED]
    fixed = fixed - np.bincount(buses, per_unit(others, feeder.base_mw), feeder.buses)
    known = world.conditions(index, seen)
    conditions = replace(known, fixed_p=fixed[None], devices=_of(known.devices, np.flatnonzero(answered)))
    solution = NewtonClearing(feeder)(feeder, conditions)
    return quantise(solution, feeder, hours=world.hours).bus_price


def _of(devices: Devices, columns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Devices:
    """Some of the devices."""
    arrays = {
        name: value if name == "bus" else value[:, columns]
        for name, value in ((name, getattr(devices, name)) for name in Devices.__dataclass_fields__)
    }
    return Devices(**{**arrays, "bus": devices.bus[columns]})


def furthest(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Largest difference of two vectors, µ€/kWh."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
