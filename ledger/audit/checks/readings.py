"""`readings`: a first reading is final and came in time; where none had come by T1, the estimate is right.

A meter's key may certify any generation, and the contract takes its word. Here it certifies no class that its
account was not registered for, and in all no more than its connection could have given: both by what was
registered at some time from the slot's opening until the reading.
An estimate is that of an account's contract and forecast that costs it more, derived here from fills,
the posted forecast, prices and tariff by `market.settlement.estimate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.audit.timing import block_times, within
from ledger.audit.verdict import PASSED, Verdict, amount_difference, at, compare, text
from ledger.history import History, Registration, SlotHistory, history
from ledger.record import Logged, Record
from market.accounts import UTILITY_ID, Position
from market.events import AccountSettled, ReadingEstimated, ReadingPosted
from market.findings import Finding
from market.oracle import VALUES_PER_CHUNK, value_at
from market.orders import Address
from market.settlement import Basis, estimate

NAME = "readings"


def check(record: Record) -> Iterator[Verdict]:
    """Several verdicts a reading and an estimate: once, in time, in its place, of its source, by the rule."""
    known = history(record)
    times = block_times(record)
    for slot in known:
        yield from _in_order(slot, times)
        yield from _of_their_sources(known, slot, times)
        yield from _by_the_rule(known, slot)


def _in_order(slot: SlotHistory, times: dict[int, int]) -> Iterator[Verdict]:
    """What came when: a reading before any settlement by a reading, an estimate before all of them."""
    terms = slot.terms
    read: set[Address] = set()
    estimated: set[Address] = set()
    settled: dict[Address, int] = {}
    for logged in slot.logged:
        event, time = logged.event, times[logged.log.block_number]
        if isinstance(event, AccountSettled):
            settled.setdefault(event.account, event.basis)
        elif isinstance(event, ReadingPosted):
            what = f"{at(logged, terms)} reading of {event.account}"
            yield compare(NAME, f"{what}, first", False, event.account in read)
            by_reading = settled.get(event.account) == Basis.READING
            yield compare(NAME, f"{what}, after settlement by a reading", False, by_reading)
            classes = len(terms.penalties_ueur_per_kwh)
            yield compare(NAME, f"{what}, classes", classes, len(event.certified))
            yield within(NAME, what, time, terms.end(slot.slot), terms.final(slot.slot))
            read.add(event.account)
        elif isinstance(event, ReadingEstimated):
            what = f"{at(logged, terms)} estimate of {event.account}"
            needless = event.account in read | estimated | settled.keys()
            yield compare(NAME, f"{what}, needless", False, needless)
            yield within(NAME, what, time, terms.readings_due(slot.slot), None)
            estimated.add(event.account)


def _of_their_sources(known: History, slot: SlotHistory, times: dict[int, int]) -> Iterator[Verdict]:
    """Certified generation against what its account was registered for."""
    opened = slot.terms.opens(slot.slot)
    for logged, reading in slot.of(ReadingPosted):
        earlier = [
            (times[place.log.block_number], registered)
            for place, registered in known.registrations.get(reading.account, ())
            if place.place < logged.place
        ]
        before = [registered for time, registered in earlier if time <= opened]
        in_force = before[-1:] + [registered for time, registered in earlier if time > opened]
        yield from _certified(f"{at(logged, slot.terms)} reading of {reading.account}", reading, in_force)


def _certified(where: str, reading: ReadingPosted, in_force: Sequence[Registration]) -> Iterator[Verdict]:
    for energy_class, certified_wh in enumerate(reading.certified, 1):
        registered = any(each.classes >> (energy_class - 1) & 1 for each in in_force)
        if certified_wh and not registered:
            what = f"{where}, certified of class {energy_class}, Wh"
            yield Finding(NAME, what, "nothing", text(certified_wh), "a source that is not registered")
        else:
            yield PASSED
    total_wh, most_wh = sum(reading.certified), max((each.export_capacity for each in in_force), default=0)
    if total_wh > most_wh:
        difference = amount_difference(most_wh, total_wh)
        yield Finding(NAME, f"{where}, certified, Wh", f"at most {most_wh:,}", text(total_wh), difference)
    else:
        yield PASSED


def _by_the_rule(known: History, slot: SlotHistory) -> Iterator[Verdict]:
    """Net energy and basis of each estimate."""
    estimates = slot.of(ReadingEstimated)
    if not estimates:
        return
    positions, valuation = known.positions(slot), known.valuation(slot)
    for logged, found in estimates:
        where = f"{at(logged, slot.terms)} estimate of {found.account}"
        number = known.ids.get(found.account, UTILITY_ID)
        if number == UTILITY_ID or valuation is None or not _after_closing(slot, logged):
            wanted = "a prosumer's, of a scheduled slot whose gate is closed"
            yield Finding(NAME, where, wanted, "not so", "nothing to estimate")
            continue
        expected = estimate(
            positions.get(number, Position()), _forecast_wh(slot, number), known.bus(number), valuation
        )
        yield compare(NAME, f"{where}, Wh", expected.net_energy, found.net_energy)
        yield compare(NAME, f"{where}, basis", int(expected.basis), found.basis)


def _after_closing(slot: SlotHistory, logged: Logged) -> bool:
    return slot.gate_closed is not None and slot.gate_closed[0].place < logged.place


def _forecast_wh(slot: SlotHistory, number: int) -> int:
    """What oracles forecast of an account; 0 where they posted nothing."""
    index, place = divmod(number, VALUES_PER_CHUNK)
    posted = slot.forecasts.get(index)
    return 0 if posted is None else value_at(posted.words, place)
