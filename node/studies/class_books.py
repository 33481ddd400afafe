"""Two classes of energy on a chain: class books, registered sources, certified readings, an audit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ledger import eip712
from ledger.audit import audit
from ledger.audit.explain import Explanation, explain
from ledger.keys import Key
from market.events import AccountSettled, Event
from market.feeder import load
from market.mechanisms.energy_classes import Market
from market.orders import Order, OrderRejected, OrdersFilled, Side
from market.pricing.conditions import Conditions, Hub
from market.slots import Tariff, Terms
from market.units import NEUR_PER_EUR, TICK_UEUR_PER_KWH, hub_price, quantise_energy
from node.oracle.signers import Proposal
from node.simulate.session import Member, Session
from node.studies.own_market import embedded, opened, record_of, refusal

BUYERS, SUNNY, PLAIN_SELLERS = 6, 3, 2
PROSUMERS = BUYERS + SUNNY + PLAIN_SELLERS
PLAIN, SOLAR = 0, 1
LAUNDERER, UNREGISTERED = BUYERS, PROSUMERS - 1
"""A solar seller of which half is certified, and a plain one that asks for solar energy's price."""
PENALTY_UEUR_PER_KWH = 60_000
TARIFF = Tariff(retail=240_000, network_fee=80_000, fit=70_000)
WHOLESALE_UEUR_PER_KWH = 90_000
SLOT_SECONDS, FIRST_SLOT = 3_600, 487_500
GREEN = FIRST_SLOT + 1
"""In the first slot nobody cares about classes; in this one and the next buyers do.

In this one the launderer's meter certifies half of what it sells as solar, in the next all, generated or not.
"""
LOT_WH = 10
CAPACITY_WH = 50_000
UTILITY_SPARE_WH = 5_000
"""The utility asks for this much more than it sells: rounded orders find their energy."""
LOAD_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Traded:
    """What one slot's books did: fills as (class, hub price µ€/kWh, Wh), rejections, bills by prosumer."""

    fills: tuple[tuple[int, int, int], ...]
    rejected: tuple[OrderRejected, ...]
    settled: tuple[AccountSettled, ...]

    def prices(self, energy_class: int) -> set[int]:
        """Hub prices of a class's fills."""
        return {price for kind, price, _ in self.fills if kind == energy_class}

    def energy_wh(self, energy_class: int) -> int:
        """What was filled in a class."""
        return sum(energy for kind, _, energy in self.fills if kind == energy_class)


@dataclass(frozen=True, eq=False)
class OnChain:
    """All slots on one chain, what it said alone to who is not registered, and its audit."""

    slots: tuple[Traded, ...]
    refusal: str
    bill: Explanation
    buyers_bill: Explanation
    audit_ok: bool
    checks: int
    uncertified_wh: int


def on_chain(seed: int, markets: Sequence[Market]) -> OnChain:
    """Trade, deliver, settle and audit a slot each; sources are registered, their generation certified."""
    feeder = load("ieee33")
    terms = Terms(
        slot_seconds=SLOT_SECONDS,
        lot_wh=LOT_WH,
        buses=feeder.buses,
        penalties_ueur_per_kwh=(PENALTY_UEUR_PER_KWH,),
    )
    session = opened(seed, feeder, terms, FIRST_SLOT, PROSUMERS)
    session.register([_member(k) for k in range(PROSUMERS)])
    session.schedule(FIRST_SLOT, len(markets), TARIFF)
    conditions = _conditions()
    charges = [session.post_charges(FIRST_SLOT + i, conditions) for i in range(len(markets))]
    refusals: list[str] = []
    slots = []
    for i, market in enumerate(markets):
        embedded(session).advance_to(terms.opens(FIRST_SLOT + i))
        events = session.place(_orders(session, FIRST_SLOT + i, market, charges[i]))
        refusals.append(_refused_alone(session, FIRST_SLOT + i, charges[i]))
        slots.append((FIRST_SLOT + i, events))
    done = [_delivered(session, slot, events, conditions) for slot, events in slots]
    record = record_of(session, "energy-classes", seed)
    report = audit(record)
    own, buyers = (session.cast.prosumers[k].address for k in (LAUNDERER, BUYERS - 1))
    return OnChain(
        slots=tuple(done),
        refusal=refusals[-1],
        bill=explain(record, account=own, slot=GREEN),
        buyers_bill=explain(record, account=buyers, slot=GREEN),
        audit_ok=report.ok,
        checks=len(report.checks),
        uncertified_wh=_uncertified(session, GREEN),
    )


def ticked(price: float) -> int:
    """A price of €/MWh as the book can say it, µ€/kWh."""
    return round(price * 1_000 / TICK_UEUR_PER_KWH) * TICK_UEUR_PER_KWH


def _member(k: int) -> Member:
    """Prosumer k: solar energy may be sold by those with sun alone."""
    sunny = BUYERS <= k < BUYERS + SUNNY
    return Member(
        bus=2 * k + 1,
        import_capacity_wh=CAPACITY_WH,
        export_capacity_wh=CAPACITY_WH,
        credit_limit_neur=0,
        deposit_neur=100 * NEUR_PER_EUR,
        classes=1 << (SOLAR - 1) if sunny else 0,
    )


def _conditions() -> Conditions:
    """The feeder's own load, which prices it: what is traded here is too little to."""
    return Conditions.firm(load("ieee33"), LOAD_SHARE, Hub.of(TARIFF), SLOT_SECONDS / 3_600)


def _orders(session: Session, slot: int, market: Market, charges: Proposal) -> list[tuple[Key, Order]]:
    """Everybody's energies at the cleared prices, asks first, and solar energy of who has no sun."""
    cast, asks, bids = session.cast, list[tuple[Key, Order]](), list[tuple[Key, Order]]()
    for k, kind in np.ndindex(PROSUMERS, 2):
        wh = round(float(market.energy[k, kind]) * 1_000 / LOT_WH) * LOT_WH
        limit = ticked(float(market.price[kind])) + _charge(charges, k)
        side = Side.BID if wh > 0 else Side.ASK
        order = Order(cast.prosumers[k].address, slot, kind, side, kind, limit, abs(wh))
        if wh:
            (bids if wh > 0 else asks).append((cast.prosumers[k], order))
    sold = round(-float(market.energy[-1, PLAIN]) * 1_000 / LOT_WH) * LOT_WH + UTILITY_SPARE_WH
    utility = Order(cast.utility.address, slot, 0, Side.ASK, PLAIN, TARIFF.hub_import, sold)
    return [*asks, (cast.utility, utility), _without_source(session, slot, charges), *bids]


def _without_source(session: Session, slot: int, charges: Proposal) -> tuple[Key, Order]:
    """An ask for solar energy by a seller who is not registered for it."""
    key = session.cast.prosumers[UNREGISTERED]
    limit = TARIFF.hub_export + _charge(charges, UNREGISTERED)
    return key, Order(key.address, slot, 9, Side.ASK, SOLAR, limit, 10 * LOT_WH)


def _charge(charges: Proposal, k: int) -> int:
    return charges.prices.charges[_member(k).bus]


def _refused_alone(session: Session, slot: int, charges: Proposal) -> str:
    """What the contract says to the same ask outside a batch."""
    key, order = _without_source(session, slot, charges)
    signature = key.sign(eip712.digest(session.domain, order))
    return refusal(session, session.exchange.place_order(order, signature, sender=session.cast.relayer))


def _delivered(session: Session, slot: int, events: Sequence[Event], conditions: Conditions) -> Traded:
    """Gate, prices, delivery of what was contracted, settlement."""
    chain, terms, exchange = embedded(session), session.terms, session.exchange
    chain.advance_to(max(terms.closing(slot), chain.now()))
    session.close_gate(slot)
    prices = session.post_prices(slot, conditions).prices
    chain.advance_to(terms.end(slot))
    net = [exchange.position_of(slot, key.address).net for key in session.cast.prosumers]
    session.post_readings(slot, net, [(each,) for each in _certified(session, slot, net)])
    passive = quantise_energy(conditions.fixed_p[0], load("ieee33").base_mw, conditions.hours)
    imported = prices.forecast_import_wh + sum(net)
    session.post_substation(slot, imported, WHOLESALE_UEUR_PER_KWH, [int(wh) for wh in passive])
    settled = {each.account: each for each in session.settle(slot)}
    return Traded(
        fills=tuple(
            (event.energy_class, hub_price(event.tick), event.quantity)
            for event in events
            if isinstance(event, OrdersFilled)
        ),
        rejected=tuple(event for event in events if isinstance(event, OrderRejected)),
        settled=tuple(settled[key.address] for key in session.cast.prosumers),
    )


def _certified(session: Session, slot: int, net: Sequence[int]) -> list[int]:
    """Solar generation that meters certify: all that is sold, in GREEN but half of the launderer's sales."""
    found = [max(-wh, 0) if _member(k).classes else 0 for k, wh in enumerate(net)]
    if slot == GREEN:
        found[LAUNDERER] = _sold_as_solar(session, slot) // 2
    return found


def _sold_as_solar(session: Session, slot: int) -> int:
    return -session.exchange.class_net_of(slot, session.cast.prosumers[LAUNDERER].address, SOLAR)


def _uncertified(session: Session, slot: int) -> int:
    """What the launderer sold as solar beyond its certificates, Wh."""
    sold = _sold_as_solar(session, slot)
    return sold - sold // 2
