"""The resources of the API, version 1, from the market's projection: what each route answers with.

Lists are filtered here and cut into pieces by `node.api.paging`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from market.events import AccountResettled, AccountSettled, TradesCleared
from market.orders import Address, Flag, OrderPlaced, Side, VoidReason
from market.settlement import Basis
from market.units import TICK_UEUR_PER_KWH
from node.api.models import (
    AccountResource,
    BasisName,
    BookResource,
    BusPriceResource,
    FillResource,
    LevelResource,
    MarketResource,
    OrderResource,
    PaymentKind,
    PositionResource,
    PricesResource,
    SettlementResource,
    SideName,
    SlotResource,
    TestAccountResource,
)
from node.api.paging import Place
from node.api.projection import LoggedFill, LoggedPayment, Projection, SlotFacts, State

CLASSES_MAX = 3
SIDES: dict[int, SideName] = {Side.BID: "bid", Side.ASK: "ask"}
BASES: dict[int, BasisName] = {
    Basis.READING: "reading",
    Basis.CONTRACT: "contract",
    Basis.FORECAST: "forecast",
}


class UnknownSlotError(LookupError):
    """The market has no such slot."""


def market(projection: Projection, *, live: bool) -> MarketResource:
    """Where the market is, its time and its terms."""
    source, terms = projection.source, projection.terms
    head = source.head()
    return MarketResource(
        chain_id=source.chain_id,
        exchange=source.exchange,
        now_unix_seconds=projection.now(),
        head_block=head,
        head_hash="0x" + source.block_hash(head).hex(),
        live=live,
        rule="dlmp" if terms.rule.name == "DLMP" else "tariff",
        slot_seconds=terms.slot_seconds,
        open_lead_seconds=terms.open_lead,
        gate_lead_seconds=terms.gate_lead,
        price_grace_seconds=terms.price_grace,
        meter_grace_seconds=terms.meter_grace,
        resettle_grace_seconds=terms.resettle_grace,
        veto_grace_seconds=terms.veto_grace,
        lot_wh=terms.lot_wh,
        buses=terms.buses,
        penalties_ueur_per_kwh=list(terms.penalties_ueur_per_kwh),
    )


# --- slots, books, prices -----------------------------------------------------------------------


def slot_facts(projection: Projection, slot: int) -> SlotFacts:
    """What is known of a slot. Raises UnknownSlotError."""
    known = projection.slots()
    if slot not in known:
        there = f"there are {len(known)}, from {min(known)} to {max(known)}" if known else "there is none yet"
        raise UnknownSlotError(f"no slot {slot}; {there}")
    return known[slot]


def slots(projection: Projection, state: State | None) -> Iterator[tuple[Place, SlotResource]]:
    """Slots in a state, or all."""
    now = projection.now()
    for number, facts in projection.slots().items():
        if state in (None, facts.state(projection.terms, now)):
            yield (number,), slot_resource(projection, facts)


def slot_resource(projection: Projection, facts: SlotFacts) -> SlotResource:
    """A slot with its times, state, best prices and turnover."""
    terms, view = projection.terms, facts.view
    return SlotResource(
        slot=view.slot,
        state=_state(projection, facts),
        opens_unix_seconds=terms.opens(view.slot),
        gate_unix_seconds=terms.gate(view.slot),
        start_unix_seconds=terms.start(view.slot),
        end_unix_seconds=terms.end(view.slot),
        best_bid_ueur_per_kwh=_price(view.best(Side.BID)),
        best_ask_ueur_per_kwh=_price(view.best(Side.ASK)),
        orders=len(view.placed),
        fills=len(view.fills),
        volume_wh=sum(fill.quantity for fill in view.fills),
        hub_price_ueur_per_kwh=None if facts.prices is None else facts.prices[0],
    )


def book(projection: Projection, slot: int, energy_class: int) -> BookResource:
    """Ladder of a slot and class. Raises UnknownSlotError."""
    facts = slot_facts(projection, slot)
    bids, asks = (
        [
            LevelResource(price_ueur_per_kwh=tick * TICK_UEUR_PER_KWH, quantity_wh=quantity)
            for tick, quantity in facts.view.ladder(side, energy_class)
        ]
        for side in (Side.BID, Side.ASK)
    )
    return BookResource(
        slot=slot, state=_state(projection, facts), energy_class=energy_class, bids=bids, asks=asks
    )


def prices(projection: Projection, slot: int) -> PricesResource:
    """Charges and prices by bus, each null until it is posted. Raises UnknownSlotError."""
    facts = slot_facts(projection, slot)
    buses = [
        BusPriceResource(
            bus=bus,
            charge_ueur_per_kwh=_at(facts.charges, bus),
            price_ueur_per_kwh=_at(facts.prices, bus),
        )
        for bus in range(projection.terms.buses)
    ]
    return PricesResource(slot=slot, state=_state(projection, facts), buses=buses)


def _state(projection: Projection, facts: SlotFacts) -> State:
    return facts.state(projection.terms, projection.now())


def _at(vector: tuple[int, ...] | None, bus: int) -> int | None:
    return None if vector is None else vector[bus]


def _price(tick: int | None) -> int | None:
    return None if tick is None else tick * TICK_UEUR_PER_KWH


# --- orders and fills ---------------------------------------------------------------------------


def orders(
    projection: Projection, slot: int | None, trader: Address | None, side: SideName | None, resting: bool
) -> Iterator[tuple[Place, OrderResource]]:
    """Orders by slot, and within it as the contract took them. Raises UnknownSlotError."""
    chosen = projection.slots().values() if slot is None else [slot_facts(projection, slot)]
    is_theirs = _theirs(projection, trader)
    for facts in chosen:
        wanted = [
            (number, placed)
            for number, placed in enumerate(tuple(facts.view.placed))
            if is_theirs(placed.trader)
            and side in (None, SIDES[placed.side])
            and (not resting or facts.view.rests_wh(placed.trader, placed.nonce))
        ]
        if wanted:
            fates = _Fates(facts)
            for number, placed in wanted:
                yield (facts.view.slot, number), fates.of(placed)


def order(projection: Projection, slot: int, trader: Address, nonce: int) -> OrderResource:
    """One order that the contract took. Raises UnknownSlotError, KeyError."""
    found = orders(projection, slot, trader, None, False)
    return {resource.nonce: resource for _, resource in found}[nonce]


class _Fates:
    """What became of the orders of a slot, summed once over its events."""

    def __init__(self, facts: SlotFacts) -> None:
        self._view = facts.view
        self._filled: defaultdict[tuple[Address, int], int] = defaultdict(int)
        self._voided: defaultdict[tuple[Address, int], int] = defaultdict(int)
        self._reasons: defaultdict[tuple[Address, int], list[str]] = defaultdict(list)
        for fill in tuple(facts.view.fills):
            self._filled[fill.maker, fill.maker_nonce] += fill.quantity
            self._filled[fill.taker, fill.taker_nonce] += fill.quantity
        for void in tuple(facts.view.voided):
            self._voided[void.trader, void.nonce] += void.quantity
            self._reasons[void.trader, void.nonce].append(VoidReason(void.reason).name.lower())

    def of(self, placed: OrderPlaced) -> OrderResource:
        """An order with what became of its energy."""
        key = placed.trader, placed.nonce
        filled_wh, voided_wh = self._filled[key], self._voided[key]
        resting_wh = self._view.rests_wh(*key)
        return OrderResource(
            slot=placed.slot,
            trader=placed.trader,
            nonce=placed.nonce,
            side=SIDES[placed.side],
            energy_class=placed.energy_class,
            limit_ueur_per_kwh=placed.limit_price,
            price_ueur_per_kwh=placed.tick * TICK_UEUR_PER_KWH,
            quantity_wh=placed.quantity,
            filled_wh=filled_wh,
            resting_wh=resting_wh,
            voided_wh=voided_wh,
            vetoed_wh=placed.quantity - filled_wh - resting_wh - voided_wh,
            void_reasons=self._reasons[key],
            expiry_unix_seconds=placed.expiry or None,
            immediate_or_cancel=bool(placed.flags & Flag.IMMEDIATE_OR_CANCEL),
        )


def fills(
    projection: Projection, slot: int | None, account: Address | None
) -> Iterator[tuple[Place, LoggedFill]]:
    """Fills of a slot or of an account on either side, or all that are kept."""
    is_theirs = _theirs(projection, account)
    for logged in projection.fills():
        fill = logged.fill
        if slot in (None, fill.slot) and (is_theirs(fill.maker) or is_theirs(fill.taker)):
            yield (logged.block, logged.log, logged.item), logged


def fill_resource(logged: LoggedFill) -> FillResource:
    """A fill with its place."""
    fill = logged.fill
    return FillResource(
        block=logged.block,
        log=logged.log,
        item=logged.item,
        timestamp_unix_seconds=logged.timestamp,
        slot=fill.slot,
        energy_class=fill.energy_class,
        price_ueur_per_kwh=fill.tick * TICK_UEUR_PER_KWH,
        quantity_wh=fill.quantity,
        maker=fill.maker,
        maker_nonce=fill.maker_nonce,
        taker=fill.taker,
        taker_nonce=fill.taker_nonce,
        taker_side=SIDES[fill.taker_side],
    )


# --- accounts and what they pay -----------------------------------------------------------------


def _theirs(projection: Projection, account: Address | None) -> Callable[[Address], bool]:
    """Whether an address is the account's, at any time; of everybody's without one."""
    if account is None:
        return lambda address: True
    return projection.addresses(account).__contains__


def account(projection: Projection, address: Address) -> AccountResource:
    """An account as it stands. Raises UnknownAccountError."""
    holder = projection.holder(address)
    standing = projection.source.standing(holder)
    return AccountResource(
        address=holder,
        id=standing.id,
        bus=standing.bus,
        meter_key=standing.meter_key,
        meter_epoch=standing.meter_epoch,
        import_capacity_wh=standing.import_capacity,
        export_capacity_wh=standing.export_capacity,
        credit_limit_neur=standing.credit_limit,
        energy_classes=[each for each in range(1, CLASSES_MAX + 1) if standing.classes >> (each - 1) & 1],
        balance_neur=standing.balance,
        reserved_neur=standing.reserved,
        wallet_token_units=standing.wallet_units,
    )


def test_accounts(projection: Projection, addresses: Sequence[Address]) -> list[TestAccountResource]:
    """Accounts that the server signs for, with their buses."""
    buses = projection.buses() if addresses else {}
    return [TestAccountResource(address=each, bus=buses[each]) for each in addresses]


def positions(projection: Projection, address: Address) -> Iterator[tuple[Place, PositionResource]]:
    """Slots in which an account has traded. Raises UnknownAccountError."""
    bus = projection.source.standing(projection.holder(address)).bus
    for number, facts in projection.slots().items():
        contracted_wh = facts.view.contracted_wh(address)
        if contracted_wh is not None:
            yield (
                (number,),
                PositionResource(
                    slot=number,
                    state=_state(projection, facts),
                    contracted_wh=contracted_wh,
                    charge_ueur_per_kwh=_at(facts.charges, bus),
                    price_ueur_per_kwh=_at(facts.prices, bus),
                ),
            )


def settlements(
    projection: Projection, slot: int | None, address: Address | None, kind: PaymentKind | None
) -> Iterator[tuple[Place, LoggedPayment]]:
    """Payments of a slot, of an account, of a kind, or all that are kept."""
    is_theirs = _theirs(projection, address)
    for logged in projection.payments():
        paid = logged.payment
        if slot in (None, paid.slot) and is_theirs(paid.account) and kind in (None, _kind(logged)):
            yield (logged.block, logged.log), logged


def _kind(logged: LoggedPayment) -> PaymentKind:
    match logged.payment:
        case TradesCleared():
            return "clearing"
        case AccountSettled():
            return "settlement"
        case AccountResettled():
            return "resettlement"


def settlement_resource(logged: LoggedPayment) -> SettlementResource:
    """A payment with its place and what it adds up to."""
    paid = logged.payment
    settled = paid if isinstance(paid, AccountSettled) else None
    measured = None if isinstance(paid, TradesCleared) else paid
    amounts = {
        "trades_neur": paid.amount if isinstance(paid, TradesCleared) else getattr(paid, "trades", 0),
        "charge_neur": measured.charge if measured else 0,
        "closeout_neur": measured.closeout if measured else 0,
        "imbalance_neur": measured.imbalance if measured else 0,
        "penalty_neur": measured.penalty if measured else 0,
    }
    return SettlementResource(
        block=logged.block,
        log=logged.log,
        timestamp_unix_seconds=logged.timestamp,
        kind=_kind(logged),
        slot=paid.slot,
        account=paid.account,
        basis=BASES[settled.basis] if settled else None,
        contracted_wh=settled.contracted if settled else None,
        metered_wh=measured.metered if measured else None,
        delivered_wh=measured.delivered if measured else None,
        **amounts,
        total_neur=sum(amounts.values()),
    )
