"""One half-hour of a microgrid on the chain: gate closure an hour ahead, the utility's veto, a shortfall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ledger import eip712
from ledger.audit import audit
from ledger.audit.checks import vetoes
from ledger.audit.explain import Explanation, explain
from ledger.audit.report import CheckResult
from ledger.keccak import keccak
from ledger.keys import Key
from ledger.trades import Standing
from market.events import AccountSettled, Event
from market.feeder.contracted import Carrier, reason_of
from market.feeder.model import Feeder, Limits
from market.feeder.powerflow import Violation
from market.fills import chain as chained
from market.mechanisms.microgrid import last_on_first_off
from market.messages import CancelRequest
from market.orders import FillVetoed, Order, OrdersFilled, Side
from market.pricing.conditions import Conditions, Hub
from market.slots import Rule, Terms
from market.units import NEUR_PER_EUR, quantise_energy
from node.simulate.session import Cast, Member, Session
from node.studies.microgrid_heating import PEERS, TARIFF
from node.studies.own_market import embedded, opened, record_of, refusal

WHOLESALE_UEUR_PER_KWH = 90_000
SLOT_SECONDS, SLOT = 1_800, 975_000
HOURS = SLOT_SECONDS / 3_600
GATE_LEAD_SECONDS, OPEN_LEAD_SECONDS, VETO_SECONDS = 3_600, 14_400, 600
BASE_MW, RATING_PU = 0.05, 0.5
CAPACITY_WH = 30_000
SELLS_WH, BUYS_WH = 1_000, 900
"""Of each of the first five peers, and of each of the others but the last."""
LARGE_WH = 14_000
"""What the last peer orders last: more than the line into the microgrid carries."""
MISSING_WH = 400
"""What the first seller does not deliver."""
SELLERS, LAST = range(5), PEERS - 1


@dataclass(frozen=True, eq=False)
class Platform:
    """What happened to the slot's orders, and what settlement made of the shortfall."""

    late_order: str
    late_cancel: str
    filled: tuple[OrdersFilled, ...]
    vetoed: tuple[FillVetoed, ...]
    broken: tuple[Violation, ...]
    left: tuple[Violation, ...]
    settled: tuple[AccountSettled, ...]
    bill: Explanation
    vetoed_bill: Explanation
    shortfall_price: int
    audit_ok: bool
    checks: int
    vetoes: CheckResult


def microgrid() -> Feeder:
    """Ten houses along a low-voltage cable of 50 m from house to house; the first piece has a rating."""
    pieces = (np.arange(PEERS + 1) > 0).astype(np.float64)
    rating = np.full(PEERS + 1, np.inf)
    rating[1] = RATING_PU
    return Feeder(
        name="microgrid",
        bus_names=("substation", *(f"house {k + 1}" for k in range(PEERS))),
        parent=np.arange(-1, PEERS),
        r_pu=0.00325 * pieces,
        x_pu=0.00125 * pieces,
        limits=Limits(np.full(PEERS + 1, 0.9), np.full(PEERS + 1, 1.1), rating),
        base_mw=BASE_MW,
        v0=1.0,
        nominal_p_mw=0.0005 * pieces,
        nominal_q_mvar=0.0001 * pieces,
    )


def traded(seed: int) -> Platform:
    """The slot from its listing to its audit."""
    feeder = microgrid()
    conditions = Conditions.firm(feeder, 1.0, Hub.of(TARIFF), HOURS)
    terms = Terms(
        slot_seconds=SLOT_SECONDS,
        open_lead=OPEN_LEAD_SECONDS,
        gate_lead=GATE_LEAD_SECONDS,
        veto_grace=VETO_SECONDS,
        rule=Rule.TARIFF,
        buses=feeder.buses,
    )
    session = opened(seed, feeder, terms, SLOT, PEERS)
    chain, cast = embedded(session), session.cast
    session.register([Member(k + 1, CAPACITY_WH, CAPACITY_WH, 0, 100 * NEUR_PER_EUR) for k in range(PEERS)])
    session.schedule(SLOT, 1, TARIFF)
    charges = session.post_charges(SLOT, conditions).prices.charges
    chain.advance_to(terms.opens(SLOT))
    events = session.place(_orders(cast, charges))
    chain.advance_to(terms.gate(SLOT))
    late_order, late_cancel = _after_the_gate(session)
    filled = tuple(event for event in events if isinstance(event, OrdersFilled))
    carrier = Carrier(feeder, conditions.fixed_p[0], conditions.fixed_q[0], HOURS)
    bus_of = {key.address: k + 1 for k, key in enumerate(cast.prosumers)}
    fills = tuple(fill for event in filled for fill in event.fills(session.address_of))
    standing = Standing(fills, lambda who: bus_of.get(who, 0), carrier)
    vetoed = _vetoed(session, events, standing)
    chain.advance_to(terms.closing(SLOT))
    session.close_gate(SLOT)
    imported = session.post_prices(SLOT, conditions).prices.forecast_import_wh
    chain.advance_to(terms.end(SLOT))
    net = [session.exchange.position_of(SLOT, key.address).net for key in cast.prosumers]
    left = carrier.broken((0, k + 1, net_wh) for k, net_wh in enumerate(net))
    net[0] += MISSING_WH
    session.post_readings(SLOT, net)
    passive = quantise_energy(conditions.fixed_p[0], BASE_MW, HOURS).tolist()
    session.post_substation(SLOT, imported + sum(net), WHOLESALE_UEUR_PER_KWH, passive)
    by_account = {each.account: each for each in session.settle(SLOT)}
    record = record_of(session, "microgrid", seed)
    report = audit(record)
    return Platform(
        late_order=late_order,
        late_cancel=late_cancel,
        filled=filled,
        vetoed=vetoed,
        broken=standing.broken(),
        left=left,
        settled=tuple(by_account[key.address] for key in cast.prosumers),
        bill=explain(record, account=cast.prosumers[0].address, slot=SLOT),
        vetoed_bill=explain(record, account=cast.prosumers[LAST].address, slot=SLOT),
        shortfall_price=TARIFF.shortfall_price(charges[1]),
        audit_ok=report.ok,
        checks=len(report.checks),
        vetoes=next(check for check in report.checks if check.name == vetoes.NAME),
    )


def _orders(cast: Cast, charges: Sequence[int]) -> list[tuple[Key, Order]]:
    """Listings at the middle price, bids for them, the utility's energy, and the large order last."""
    middle = (TARIFF.hub_import + TARIFF.hub_export) // 2
    orders = [(cast.utility, Order(cast.utility.address, SLOT, 0, Side.ASK, 0, TARIFF.hub_import, 40_000))]
    for k, key in enumerate(cast.prosumers[:LAST]):
        side, energy = (Side.ASK, SELLS_WH) if k in SELLERS else (Side.BID, BUYS_WH)
        orders.append((key, Order(key.address, SLOT, 0, side, 0, middle + charges[k + 1], energy)))
    large = cast.prosumers[LAST]
    limit = TARIFF.hub_import + charges[LAST + 1]
    return [*orders, (large, Order(large.address, SLOT, 0, Side.BID, 0, limit, LARGE_WH))]


def _after_the_gate(session: Session) -> tuple[str, str]:
    """What the contract says to a new order and to a cancel once the gate is closed."""
    key, sender, exchange = session.cast.prosumers[0], session.cast.relayer, session.exchange
    order = Order(key.address, SLOT, 1, Side.ASK, 0, TARIFF.retail, 100)
    cancel = CancelRequest(key.address, SLOT, 0)
    signed, signed_cancel = (key.sign(eip712.digest(session.domain, each)) for each in (order, cancel))
    return (
        refusal(session, exchange.place_order(order, signed, sender=sender)),
        refusal(session, exchange.cancel_order(cancel, signed_cancel, sender=sender)),
    )


def _vetoed(session: Session, events: Sequence[Event], standing: Standing) -> tuple[FillVetoed, ...]:
    """Take back of the chain's last fills the least that is enough, each for a limit that breaks."""
    exchange, utility = session.exchange, session.cast.utility
    levels = chained(SLOT, events, lambda address: exchange.account_of(address).id, keccak)
    cuts = last_on_first_off(
        [level.quantity_wh for level in levels],
        standing.least(session.terms.lot_wh),
        lambda vetoed_wh: standing.without(vetoed_wh).broken()[0],
    )
    vetoes = [
        level.veto(session.address_of(level.taker_id), cut.energy_wh, reason_of(cut.broken), cut.broken.bus)
        for level, cut in zip(levels[: -len(cuts) - 1 : -1], cuts, strict=True)
    ]
    told = map(exchange.confirm, exchange.veto_all(SLOT, vetoes, sender=utility))
    return tuple(event for events in told for event in events if isinstance(event, FillVetoed))
