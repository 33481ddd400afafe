"""`lifecycle`: every event of a slot came in its phase, and a settled slot settled everybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ledger.audit.checks.matching import check_calls
from ledger.audit.timing import block_times, within
from ledger.audit.verdict import Verdict, at, compare, of_slot
from ledger.history import SlotHistory, history
from ledger.record import Logged, Record
from market.events import (
    AccountResettled,
    AccountSettled,
    ChargesChunk,
    ChargesPosted,
    ForecastsPosted,
    PricesChunk,
    PricesPosted,
    SlotSettled,
    SubstationPosted,
    TradesCleared,
)
from market.findings import Finding
from market.orders import (
    Address,
    ClosingPaused,
    FillVetoed,
    GateClosed,
    NonceCancelled,
    OrderPlaced,
    OrdersFilled,
    VetoPaused,
)
from market.slots import Terms

NAME = "lifecycle"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict an event of a slot: each came in its phase, and each slot settled whom it must."""
    known = history(record)
    times = block_times(record)
    for slot in known:
        closed_at = slot.gate_closed[0] if slot.gate_closed else None
        for logged in slot.logged:
            what = f"{at(logged, known.terms)} {type(logged.event).__name__}"
            window = _phase(logged, slot.slot, known.terms)
            if window is not None:
                yield within(NAME, what, times[logged.log.block_number], *window)
            if isinstance(logged.event, AccountSettled | TradesCleared) and (
                closed_at is None or logged.place < closed_at.place
            ):
                yield Finding(NAME, what, "gate closed before", "gate open", "settled too early")
        yield from _each_once(slot, known.ids)
    yield from check_calls(record)


def _phase(logged: Logged, slot: int, terms: Terms) -> tuple[int, int | None] | None:
    """Times from which and before which an event may happen."""
    match logged.event:
        case ChargesPosted() | ChargesChunk():
            return 0, terms.opens(slot)
        case OrderPlaced() | OrdersFilled():
            return terms.opens(slot), terms.gate(slot)
        case NonceCancelled():
            return 0, terms.gate(slot)
        case FillVetoed() | VetoPaused():
            return terms.gate(slot), terms.closing(slot)
        case ClosingPaused() | GateClosed():
            return terms.closing(slot), None
        case PricesPosted() | PricesChunk():
            return terms.closing(slot), terms.prices_due(slot)
        case ForecastsPosted():
            return terms.closing(slot), terms.readings_due(slot)
        case SubstationPosted():
            return terms.end(slot), None
        case AccountSettled() | TradesCleared():
            return terms.closing(slot), None
        case AccountResettled():
            return terms.readings_due(slot), None
        case _:
            return None


def _each_once(slot: SlotHistory, ids: Mapping[Address, int]) -> Iterator[Verdict]:
    """Headers, chunks, gate and accounts once; all accounts of the snapshot where the slot is settled.

    Accounts are told by their ids: the utility's has an address after the other.
    """
    where = of_slot(slot.slot, slot.terms)
    for kind in (ChargesPosted, PricesPosted, GateClosed, SubstationPosted, SlotSettled):
        count = len(slot.of(kind))
        if count > 1:
            yield compare(NAME, f"{where} number of {kind.__name__}", 1, count)
    accounts = [ids.get(event.account, event.account) for _, event in slot.settled]
    cleared = [ids.get(event.account, event.account) for _, event in slot.cleared]
    forecasts = [event.index for _, event in slot.of(ForecastsPosted)]
    changed = [ids.get(event.account, event.account) for _, event in slot.resettled]
    for what, once in (
        ("trades cleared", cleared),
        ("accounts settled", accounts),
        ("accounts resettled", changed),
        ("forecasts posted", forecasts),
    ):
        yield compare(NAME, f"{where} {what} twice", 0, len(once) - len(set(once)))
    if slot.finished is not None and slot.gate_closed is not None:
        snapshot = slot.gate_closed[1].accounts
        yield compare(NAME, f"{where} accounts settled", snapshot, len(set(accounts)))
