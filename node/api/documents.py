"""The JSON documents of the API, from the market's projection: energies Wh, prices µ€/kWh, money n€."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from market.orders import Address, Side
from market.units import TICK_UEUR_PER_KWH
from node.api.projection import LoggedFill, Projection, SlotFacts, open_slots

Document = dict[str, Any]


class UnknownSlotError(LookupError):
    """The market has no such slot."""


def slots_document(projection: Projection) -> Document:
    """All known slots, with their times, state, best prices and turnover."""
    now = projection.now()
    slots = projection.slots()
    return {"now": now, "slots": [_slot(projection, facts, now) for facts in slots.values()]}


def _slot(projection: Projection, facts: SlotFacts, now: int) -> Document:
    slot, terms, view = facts.view.slot, projection.terms, facts.view
    return {
        "slot": slot,
        "state": facts.state(terms, now),
        "opens": terms.opens(slot),
        "gate": terms.gate(slot),
        "start": terms.start(slot),
        "end": terms.end(slot),
        "best_bid_ueur_per_kwh": _price(view.best(Side.BID)),
        "best_ask_ueur_per_kwh": _price(view.best(Side.ASK)),
        "orders": len(view.placed),
        "fills": len(view.fills),
        "volume_wh": sum(fill.quantity for fill in view.fills),
        "hub_price_ueur_per_kwh": None if facts.prices is None else facts.prices[0],
    }


def book_document(projection: Projection, slot: int | None) -> Document:
    """Ladder of a slot, the first open one without a number. Raises UnknownSlotError."""
    slots, now = projection.slots(), projection.now()
    chosen = next(open_slots(slots, projection.terms, now), None) if slot is None else slot
    facts = None if chosen is None else slots.get(chosen)
    if facts is None:
        raise UnknownSlotError("no slot is open" if slot is None else f"no slot {slot}")
    return {
        "slot": facts.view.slot,
        "state": facts.state(projection.terms, now),
        "bids": _levels(facts, Side.BID),
        "asks": _levels(facts, Side.ASK),
        "charges_ueur_per_kwh": facts.charges,
        "prices_ueur_per_kwh": facts.prices,
    }


def _levels(facts: SlotFacts, side: Side) -> list[Document]:
    return [
        {"tick": tick, "price_ueur_per_kwh": _price(tick), "quantity_wh": quantity}
        for tick, quantity in facts.view.ladder(side)
    ]


def fills_document(projection: Projection, slot: int | None, limit: int) -> Document:
    """The newest fills, newest first, of one slot or of all."""
    fills = [logged for logged in projection.fills() if slot in (None, logged.fill.slot)]
    return {"fills": [_fill(logged) for logged in fills[:limit]]}


def _fill(logged: LoggedFill) -> Document:
    return {
        "block": logged.block,
        "log": logged.log,
        "timestamp": logged.timestamp,
        "price_ueur_per_kwh": _price(logged.fill.tick),
        **asdict(logged.fill),
    }


def account_document(projection: Projection, address: Address) -> Document:
    """An account's record, its wallet, and its positions and postings by slot. Raises UnknownAccountError."""
    account = projection.source.standing(address)
    slots, now = projection.slots(), projection.now()
    return {
        "address": address,
        **asdict(account),
        "slots": [
            _position(projection, facts, address, account.bus, now)
            for facts in slots.values()
            if facts.view.contracted_wh(address) is not None or address in facts.postings
        ],
    }


def _position(projection: Projection, facts: SlotFacts, address: Address, bus: int, now: int) -> Document:
    posting, resettlement = facts.postings.get(address), facts.resettlements.get(address)
    return {
        "slot": facts.view.slot,
        "state": facts.state(projection.terms, now),
        "contracted_wh": facts.view.contracted_wh(address) or 0,
        "charge_ueur_per_kwh": None if facts.charges is None else facts.charges[bus],
        "price_ueur_per_kwh": None if facts.prices is None else facts.prices[bus],
        "posting": None if posting is None else asdict(posting),
        "resettlement": None if resettlement is None else asdict(resettlement),
    }


def _price(tick: int | None) -> int | None:
    return None if tick is None else tick * TICK_UEUR_PER_KWH
