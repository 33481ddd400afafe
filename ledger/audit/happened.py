"""What stands at a place of the chain: an event of the market with its fields, in words where there are some.

Lines of bills name places (`ledger.audit.explain`); here one follows them to what the exchange logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from ledger.audit.explain import ExplainError, require_place, sides_of_fill
from ledger.audit.plain import account, eur_per_kwh, kwh, metered
from ledger.audit.verdict import of_slot, text
from ledger.history import History, history
from ledger.record import Logged, Record
from ledger.trades import limit_named
from market.events import ChargesChunk, Event, PricesChunk, ReadingEstimated, ReadingPosted
from market.oracle import VALUES_PER_CHUNK, VALUES_PER_WORD, value_at
from market.orders import Fill, FillVetoed, OrdersFilled
from market.units import hub_price


@dataclass(frozen=True, slots=True)
class Happening:
    """An event at its place: a heading, what it says in words, its fields as the contract logs them."""

    place: str
    name: str
    heading: str
    sentences: tuple[str, ...]
    fields: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """`place, event, heading, sentences, fields`; fields as texts by their names."""
        return {
            "place": self.place,
            "event": self.name,
            "heading": self.heading,
            "sentences": list(self.sentences),
            "fields": dict(self.fields),
        }

    def __str__(self) -> str:
        width = max((len(name) for name, _ in self.fields), default=0)
        return "\n".join(
            [
                self.heading,
                *self.sentences,
                *(f"  {name:<{width}}  {value}" for name, value in self.fields),
            ]
        )


def event_at(record: Record, place: str) -> Happening:
    """The event at `BLOCK:LOG`. Raises ExplainError where there is none of the market, NoHistory."""
    known = history(record)
    require_place(place)
    logged = next((each for each in record.logged if each.where == place), None)
    if logged is None:
        raise ExplainError(f"payment {place}: no account was settled there, and the market logged no event")
    if logged.event is None:
        raise ExplainError(
            f"payment {place}: the event there is none that the contract has: {logged.problem}"
        )
    event, block = logged.event, logged.log.block_number
    when = datetime.fromtimestamp(_second(record, block), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    slot = getattr(event, "slot", None)
    about = "" if slot is None else f" of {of_slot(slot, known.terms)}"
    name = type(event).__name__
    return Happening(
        place,
        name,
        f"The event {name}{about}, at {place}, {when}:",
        tuple(_sentences(known, logged, event)),
        tuple((each.name, _told(known, each.name, getattr(event, each.name))) for each in fields(event)),
    )


def _second(record: Record, block: int) -> int:
    return next(each.header.timestamp for each in record.blocks if each.number == block)


def _told(known: History, name: str, value: object) -> str:
    """A field's value; of an address, whose it is."""
    if isinstance(value, tuple):
        return ", ".join(_told(known, name, each) for each in value) or "none"
    if name == "slot":
        return str(value)
    if isinstance(value, str) and value in known.ids:
        return f"{value} ({account(known.ids[value])})"
    return text(value)


def _sentences(known: History, logged: Logged, event: Event) -> Iterator[str]:
    match event:
        case OrdersFilled():
            slot = known.slots[event.slot]
            yield from (_trade(known, fill) for place, fill in slot.fills if place is logged)
        case FillVetoed():
            slot = known.slots[event.slot]
            for place, part in slot.vetoed:
                if place is logged:
                    yield f"Taken back for {limit_named(event.reason, event.element)}: {_trade(known, part)}"
        case ChargesChunk():
            yield from _vector("charge ν", event, known.terms.buses)
        case PricesChunk():
            yield from _vector("price λ", event, known.terms.buses)
        case ReadingPosted() | ReadingEstimated():
            how = "Its meter shows" if isinstance(event, ReadingPosted) else "It is estimated at"
            yield f"{how} {metered(event.net_energy)}."
        case _:
            return


def _trade(known: History, fill: Fill) -> str:
    """A fill from its buyer's side, with the price at the substation."""
    buyer, seller = next((one, other) for one, buys, other in sides_of_fill(fill) if buys)
    at = eur_per_kwh(hub_price(fill.tick))
    whose, whom = account(known.ids.get(buyer)).capitalize(), account(known.ids.get(seller))
    return f"{whose} bought {kwh(fill.quantity)} from {whom} at {at}, at the substation."


def _vector(what: str, chunk: ChargesChunk | PricesChunk, buses: int) -> Iterator[str]:
    """A chunk's values by bus, a sentence each; bus 0 is the substation."""
    first = chunk.index * VALUES_PER_CHUNK
    last = min(buses, first + len(chunk.words) * VALUES_PER_WORD)
    for bus in range(first, last):
        yield f"The {what} of bus {bus} is {value_at(chunk.words, bus - first):,} µ€/kWh."
