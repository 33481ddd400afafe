"""`conservation`: no money appears or disappears, in a slot, in the market, or in the token.

In each settled slot the trades of all accounts sum to exactly 0, and the utility's result is what the
slot's identity says it comes from (`market.settlement.slot_identity` derives it for both
rules). Each deposit moved exactly that many tokens from its payer, each withdrawal to its account, by
the token's decimals (`ledger.history.token_decimals`), and the exchange holds the tokens that its balances
promise (it may hold more: anyone can send it some).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, at, compare, of_slot
from ledger.history import History, Measured, SlotHistory, history, token_decimals
from ledger.record import Logged, Record
from ledger.vectors import unpack
from market.accounts import UTILITY_ID
from market.events import AccountSettled, Deposited, Withdrawn
from market.findings import Finding
from market.orders import Address
from market.settlement import Identity, Member, Substation, slot_identity
from market.units import NEUR_PER_EUR

NAME = "conservation"
_SEE_SETTLEMENT = "wattbook audit BUNDLE --check settlement"


def check(record: Record) -> Iterator[Verdict]:
    """Two verdicts a settled slot, one a deposit or withdrawal, one for the whole of the token."""
    known = history(record)
    for slot in known:
        if slot.finished is not None:
            yield _trades(slot)
            yield from _identity(known, slot)
    yield from _token(record)


def _trades(slot: SlotHistory) -> Verdict:
    total = sum(event.trades for _, event in slot.settled)
    return compare(NAME, f"{of_slot(slot.slot, slot.terms)} trades of all accounts, neur", 0, total)


# --- the slot's identity ------------------------------------------------------------------------


def _identity(known: History, slot: SlotHistory) -> Iterator[Verdict]:
    """The utility's result as it was posted, against where it must come from."""
    where = of_slot(slot.slot, slot.terms)
    found = identity(known, slot)
    if found is None:
        wanted = "a scheduled slot in which every account, the utility too, is settled"
        yield Finding(NAME, f"{where} identity", wanted, "not so", "the result cannot be taken apart")
        return
    total = found.sources.total
    yield compare(NAME, f"{where} utility's result, neur", total, found.result, hint=_SEE_SETTLEMENT)


def identity(known: History, slot: SlotHistory) -> Identity | None:
    """The utility's result of a slot as it was posted, and where it must come from.

    None where the slot was never scheduled, or the utility or a stranger makes it impossible to tell.
    """
    valuation = known.valuation(slot)
    posted = {known.ids.get(event.account): (logged, event) for logged, event in slot.settled}
    if valuation is None or UTILITY_ID not in posted or None in posted:
        return None
    positions = known.positions(slot)
    members = [
        Member(known.bus(number), positions[number], _measured(slot, logged, event))
        for number, (logged, event) in posted.items()
        if number is not None and number != UTILITY_ID
    ]
    substation = substation_of(slot)
    sources = slot_identity(positions[UTILITY_ID], members, substation, valuation).sources
    result = (
        sum(event.beside_trades_neur for _, event in slot.settled)
        + sum(event.beside_trades_neur for _, event in slot.resettled)
        - posted[UTILITY_ID][1].trades
        + valuation.tariff.retail * sum(substation.passive_wh)
        - substation.wholesale * substation.net_import_wh
    )
    return Identity(result, sources)


def _measured(slot: SlotHistory, logged: Logged, event: AccountSettled) -> Measured:
    """What an account is settled by in the end: the reading that came late, if it was resettled."""
    resettled = next((later for later, change in slot.resettled if change.account == event.account), logged)
    nothing_certified = (0,) * len(slot.terms.penalties_ueur_per_kwh)
    found = slot.measured(event.account, before=resettled)
    return found or Measured(logged, event.basis, event.metered, nothing_certified)


def substation_of(slot: SlotHistory) -> Substation:
    """The utility's reading. The identity holds for any: without one, nothing passive and no import."""
    if slot.substation is not None:
        posted = slot.substation[1]
        try:
            passive = unpack(posted.passive, slot.terms.buses, signed=False)
        except ValueError:
            pass  # whether the vector is readable is for `lifecycle`
        else:
            return Substation(posted.net_import, posted.wholesale, passive)
    return Substation(0, 0, (0,) * slot.terms.buses)


# --- the token ----------------------------------------------------------------------------------

Moved = tuple[Address, int]
"""Token units, with who paid them to the exchange or got them from it."""


def _token(record: Record) -> Iterator[Verdict]:
    """Deposits and withdrawals against the ERC-20's own transfers, then the sum of all."""
    promised = 0
    units_per_euro: int = 10 ** token_decimals(record)
    incoming, outgoing = _moved(record)
    held = sum(units for moved in incoming.values() for _, units in moved)
    held -= sum(units for moved in outgoing.values() for _, units in moved)
    booked = [
        (logged, event)
        for logged in record.logged
        if isinstance(event := logged.event, Deposited | Withdrawn)
    ]
    for logged, event in booked:
        comes_in = isinstance(event, Deposited)
        promised += event.amount if comes_in else -event.amount
        other = event.payer if isinstance(event, Deposited) else event.account
        moved = (incoming if comes_in else outgoing)[logged.log.transaction_hash]
        asked = event.amount * units_per_euro
        match = next((each for each in moved if each[0] == other and each[1] * NEUR_PER_EUR == asked), None)
        if match is None:
            yield _no_transfer(logged, event.amount, f"{'from' if comes_in else 'to'} {other}", moved)
        else:
            moved.remove(match)
            yield PASSED
    if booked:
        yield _covered(-(-promised * units_per_euro // NEUR_PER_EUR), held)


def _no_transfer(logged: Logged, amount: int, whom: str, moved: list[Moved]) -> Finding:
    """A deposit or withdrawal for which the token tells no transfer of this amount with this party."""
    what = f"{at(logged)} {type(logged.event).__name__}"
    found = ", ".join(f"{units:,} token units, {other}" for other, units in moved) or "none"
    return Finding(NAME, what, f"a transfer of {amount:,} neur {whom}", found, "not this transfer")


def _moved(record: Record) -> tuple[dict[bytes, list[Moved]], dict[bytes, list[Moved]]]:
    """What came into and went out of the exchange, by transaction."""
    incoming: defaultdict[bytes, list[Moved]] = defaultdict(list)
    outgoing: defaultdict[bytes, list[Moved]] = defaultdict(list)
    for log, transfer in record.transfers:
        if transfer.receiver == record.exchange != transfer.sender:
            incoming[log.transaction_hash].append((transfer.sender, transfer.amount))
        elif transfer.sender == record.exchange != transfer.receiver:
            outgoing[log.transaction_hash].append((transfer.receiver, transfer.amount))
    return incoming, outgoing


def _covered(needed: int, held: int) -> Verdict:
    """Balances and clearing together are deposits less withdrawals, since settlement moves nothing out."""
    if held >= needed:
        return PASSED
    return Finding(
        NAME, "token balance of the exchange", f"{needed:,}", f"{held:,}", f"{needed - held:,} missing"
    )
