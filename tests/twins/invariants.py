"""What holds after every call whatever was called, told from the market's state without knowing its rules.

The state is the twin's, which the contract's was just found equal to wherever the call touched it. Whole
slots (their postings' sum, their identity, price-time priority by replay) are told by the audit, from the
chain's record alone, at the end of every life.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.audit import audit
from ledger.bundle import collect
from ledger.exchange import Exchange
from ledger.record import Record
from market.accounts import Account
from market.delivery import Slot
from market.events import Event
from market.exchange import Exchange as Twin
from market.orders import OrderPlaced, Side
from market.slots import Rule, Tariff

BY_THE_AUDIT = (
    *("headers", "signatures", "nonces", "matching", "reserves"),
    *("readings", "settlement", "conservation", "backing", "lifecycle"),
)
"""All checks but those of certificates, which random prices have none of."""


def check(twin: Twin, slots: Iterable[int], events: Iterable[Event]) -> None:
    """Raises AssertionError where money, reserves, books or limits are not as they must be."""
    states = [twin.slot(slot) for slot in slots]
    for account in list(twin.accounts)[1:]:
        held = [state.book.position(account).reserve_neur for state in states]
        assert account.reserved_neur == sum(held), account
        for state in states:
            check_reserve(state, account, twin.terms.rule)
    for state in states:
        check_books(state, 1 + len(twin.terms.penalties_ueur_per_kwh))
    for event in events:
        if isinstance(event, OrderPlaced):
            check_limits(twin, event)


def check_reserve(state: Slot, account: Account, rule: Rule) -> None:
    """What the fills of a closed book can cost under the rule, delivered or not, is reserved."""
    if not state.book.gate_closed or state.tariff is None:
        return
    position = state.book.position(account)
    if not position.settled:
        charge = state.book.charge(account)
        assert (
            position.reserve_neur >= worst(position.net_wh, charge, state.tariff, rule) + position.trades_neur
        )


def worst(net_wh: int, charge: int, tariff: Tariff, rule: Rule) -> int:
    """Most that delivering all or nothing of a contract costs beside its trades, n€ (DESIGN, settlement)."""
    delivered = charge * net_wh
    if rule == Rule.DLMP:
        hub_price = tariff.hub_export if net_wh > 0 else tariff.hub_import
        return max(delivered, -hub_price * net_wh)
    surplus, shortfall = tariff.fit + min(0, charge), max(tariff.retail, tariff.hub_import + charge)
    price = surplus if net_wh > 0 else shortfall
    return max(delivered, max(delivered, 0) - price * net_wh)


def check_books(state: Slot, classes: int) -> None:
    """No bid reaches an ask."""
    for energy_class in range(classes):
        bid, ask = (state.book.best(energy_class, side) for side in (Side.BID, Side.ASK))
        assert bid is None or ask is None or bid[0] < ask[0], (state.number, energy_class)


def check_limits(twin: Twin, placed: OrderPlaced) -> None:
    """Who just placed an order is within capacity and credit."""
    account = twin.accounts.find(placed.trader)
    assert account is not None
    if account.is_utility:
        return
    assert account.balance_neur + account.credit_limit_neur >= account.reserved_neur, placed
    position = twin.slot(placed.slot).book.position(account)
    for side, capacity_wh in ((Side.BID, account.import_capacity_wh), (Side.ASK, account.export_capacity_wh)):
        if side == placed.side:
            assert position.in_side_wh(side) + position.resting_wh[side] <= capacity_wh, placed
            assert position.resting_count[side] <= 16, placed


def check_record(exchange: Exchange) -> None:
    """The audit of everything since the market was deployed finds nothing."""
    record = Record.of(collect(exchange), proves_itself=False)
    report = audit(record, BY_THE_AUDIT)
    assert report.findings == ()
