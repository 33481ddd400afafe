"""The utility's result of a slot, or of a day: what was posted, and by the identity where it comes from.

The left side adds up postings and the substation's reading, the right side is computed from energies and
prices alone (`market.settlement.slot_identity`); they are equal to the unit unless a posting is wrong.
Amounts are positive where the utility earns, so the opposite of what accounts' payments are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import chain
from typing import Any

from ledger.audit.checks.conservation import identity, substation_of
from ledger.audit.explain import ExplainError, Line
from ledger.audit.plain import euros
from ledger.audit.statement import day_of
from ledger.audit.verdict import clock
from ledger.history import SlotHistory, history
from ledger.record import Logged, Record
from market.events import AccountResettled, AccountSettled
from market.settlement import Cause, Sources
from market.slots import Tariff

TERMS = {
    "surplus": "network surplus: λ_b − λ_0 on all energy by bus, less λ_0 on the losses",
    "basis": "basis: firm charges less final ones on what was delivered of contracts",
    "hub_margin": "hub margin: its energy at λ_0, less what it traded it for",
    "passive_margin": "passive margin: passive load at retail less λ_b",
    "wholesale_margin": "wholesale margin: the import at λ_0 less the wholesale price",
    "penalties": "penalties: energy sold in a class and not certified",
    "charge_margin": "charge margin: firm charges on contracts that were not delivered",
    "imbalance_margin": "imbalance margin: retail and feed-in tariff in the place of λ_b",
    "closeout_forgone": "close-outs forgone: the tariff rule makes none",
}
"""Members of `Sources` in words; what stands before the colon is the term's name."""
RESTS_ON = {
    "surplus": ("prices", "meters", "substation"),
    "basis": ("charges", "prices", "fills", "meters"),
    "hub_margin": ("prices", "own fills"),
    "passive_margin": ("prices", "substation"),
    "wholesale_margin": ("prices", "substation"),
    "penalties": ("penalties",),
    "charge_margin": ("charges", "fills", "meters"),
    "imbalance_margin": ("charges", "prices", "fills", "meters"),
    "closeout_forgone": ("prices", "fills", "meters"),
}
"""What each term is computed from, by the kinds of events of `_places`; meters tell in the settlements."""
TAKEN = {
    Cause.CHARGE: "network charges",
    Cause.CLOSEOUT: "close-outs",
    Cause.IMBALANCE: "imbalances",
    Cause.PENALTY: "penalties",
}
"""What accounts pay to the utility, beside what they traded with it."""


@dataclass(frozen=True, slots=True)
class Result:
    """A slot's result: lines of what was posted and of where it comes from, n€ that the utility earns."""

    slot: int
    heading: str
    posted: tuple[Line, ...]
    sources: tuple[Line, ...]

    @property
    def result_neur(self) -> int:
        """Sum of what was posted."""
        return sum(line.amount_neur for line in self.posted)

    @property
    def name(self) -> str:
        """What `audit explain` calls it, and what of it is not explained, if anything."""
        gap = self.result_neur - self.explained_neur
        return f"utility@{self.slot}" + (f", of which {euros(gap)} is not explained" if gap else "")

    @property
    def explained_neur(self) -> int:
        """Sum of the sources."""
        return sum(line.amount_neur for line in self.sources)

    def to_json(self) -> dict[str, Any]:
        """`slot, posted, sources, result_neur, explained_neur`; lines as those of payments."""
        return {
            "slot": self.slot,
            "posted": [asdict(line) for line in self.posted],
            "sources": [asdict(line) for line in self.sources],
            "result_neur": self.result_neur,
            "explained_neur": self.explained_neur,
        }

    def __str__(self) -> str:
        return "\n".join([self.heading, *_sides(self.posted, self.sources)])


@dataclass(frozen=True, slots=True)
class DayResult:
    """The results of a day's slots, and their terms added up."""

    heading: str
    slots: tuple[Result, ...]

    @property
    def posted(self) -> tuple[Line, ...]:
        """What was posted, by kind; the places are those of the slots."""
        return _added(line for each in self.slots for line in each.posted)

    @property
    def sources(self) -> tuple[Line, ...]:
        """Where it comes from, by term."""
        return _added(line for each in self.slots for line in each.sources)

    def to_json(self) -> dict[str, Any]:
        """`heading, slots, posted, sources, result_neur, explained_neur`; slots as `Result.to_json`."""
        return {
            "heading": self.heading,
            "slots": [each.to_json() for each in self.slots],
            "posted": [asdict(line) for line in self.posted],
            "sources": [asdict(line) for line in self.sources],
            "result_neur": sum(each.result_neur for each in self.slots),
            "explained_neur": sum(each.explained_neur for each in self.slots),
        }

    def __str__(self) -> str:
        summary = "\n".join([self.heading, "In all:", *_sides(self.posted, self.sources)])
        amounts = [euros(each.result_neur) for each in self.slots]
        width = max(map(len, amounts))
        slots = "\n".join(
            f"  {amount:>{width}}  {each.name}" for amount, each in zip(amounts, self.slots, strict=True)
        )
        return f"{summary}\n\nSlot by slot, each with its terms and places by its name:\n{slots}"


def of_slot(record: Record, number: int) -> Result:
    """The utility's result of a slot. Raises ExplainError, NoHistory."""
    slot = history(record).slots.get(number)
    found = None if slot is None else _result(record, slot)
    if found is None:
        raise ExplainError(f"slot {number}: not settled, so that the utility has no result of it")
    return found


def of_day(record: Record, day: date) -> DayResult:
    """The results of all slots that start on a day (UTC). Raises ExplainError, NoHistory."""
    each = (_result(record, slot) for slot in history(record) if day_of(slot) == day)
    found = tuple(result for result in each if result is not None)
    if not found:
        raise ExplainError(f"{day}: no slot was settled, so that the utility has no result of it")
    traded = sum(day_of(slot) == day and bool(slot.fills) for slot in history(record))
    left = f" of {traded} that were traded" if traded > len(found) else ""
    return DayResult(f"The utility's result on {day}, {len(found)} slots{left}:", found)


# --- lines --------------------------------------------------------------------------------------


def _result(record: Record, slot: SlotHistory) -> Result | None:
    """A slot's result; None where not everybody in it is settled."""
    known = history(record)
    found = identity(known, slot)
    if found is None or slot.finished is None or slot.tariff is None:
        return None
    heading = f"The utility's result of slot {slot.slot} ({clock(slot.terms.start(slot.slot))}):"
    posted = tuple(_posted(slot, slot.tariff, known.utilities))
    return Result(slot.slot, heading, posted, tuple(_sources(slot, found.sources, known.utilities)))


def _posted(slot: SlotHistory, tariff: Tariff, utilities: Sequence[str]) -> Iterator[Line]:
    assert slot.finished is not None
    for cause, what in TAKEN.items():
        parts = [(where, getattr(event, cause.value)) for where, event in chain(slot.settled, slot.resettled)]
        places = ", ".join(logged.where for logged, amount in parts if amount)
        yield Line(what, sum(amount for _, amount in parts), places or slot.finished.where)
    for logged, event in slot.settled:
        if event.account in utilities:
            yield Line("its own trades", -event.trades, logged.where)
    if slot.substation is not None:
        reading, place = substation_of(slot), slot.substation[0].where
        passive_wh = sum(reading.passive_wh)
        what = f"passive load at retail: {passive_wh:,} Wh at {tariff.retail:,} µ€/kWh"
        yield Line(what, tariff.retail * passive_wh, place)
        what = f"import at wholesale: {reading.net_import_wh:,} Wh at {reading.wholesale:,} µ€/kWh"
        yield Line(what, -reading.wholesale * reading.net_import_wh, place)


def _sources(slot: SlotHistory, sources: Sources, utilities: Sequence[str]) -> Iterator[Line]:
    """A line a term that is not 0, with the places of all that it is computed from."""
    places = _places(slot, utilities)
    for name, what in TERMS.items():
        if amount := getattr(sources, name):
            rests_on = {logged.place: logged.where for kind in RESTS_ON[name] for logged in places[kind]}
            yield Line(what, amount, ", ".join(rests_on[place] for place in sorted(rests_on)))


def _places(slot: SlotHistory, utilities: Sequence[str]) -> dict[str, list[Logged]]:
    """A slot's events by what they say; for prices that were not posted the substation's wholesale price."""
    postings: list[tuple[Logged, AccountSettled | AccountResettled]] = [*slot.settled, *slot.resettled]
    fills = [*slot.fills, *slot.vetoed]
    prices = [logged for logged, _ in slot.prices_chunks.values()]
    substation = [logged for logged, _ in filter(None, [slot.substation])]
    return {
        "charges": [logged for logged, _ in slot.charges_chunks.values()],
        "prices": prices or substation,
        "substation": substation,
        "meters": [logged for logged, _ in postings],
        "fills": [logged for logged, _ in fills],
        "own fills": [logged for logged, fill in fills if {fill.maker, fill.taker} & set(utilities)],
        "penalties": [logged for logged, event in postings if event.penalty],
    }


def _added(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Lines added up by their names, which end at the colon."""
    total: Counter[str] = Counter()
    for line in lines:
        total[line.what.partition(":")[0]] += line.amount_neur
    return tuple(Line(name, amount, "") for name, amount in total.items())


def _sides(posted: Sequence[Line], sources: Sequence[Line]) -> Iterator[str]:
    """Both sides with their sums, one under the other, and what is left between them."""
    result, explained = (sum(line.amount_neur for line in side) for side in (posted, sources))
    amounts = [euros(amount) for amount in (*(line.amount_neur for line in (*posted, *sources)), result)]
    width = max(map(len, amounts))
    for side, what, total in ((posted, "in all", result), (sources, "by where it comes from", explained)):
        for line in side:
            place = f"  [{line.places}]" if line.source else ""
            yield f"  {euros(line.amount_neur):>{width}}  {line.what}{place}"
        yield f"  {euros(total):>{width}}  {what}"
    if result != explained:
        yield f"  but {euros(result - explained)} is not explained"
