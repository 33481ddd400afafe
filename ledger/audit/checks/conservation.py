"""`conservation`: no money appears or disappears, in a slot, in the market, or in the token.

In each settled slot the trades of all accounts sum to exactly 0. Under rule `dlmp` the slot's identity
holds to the unit (DESIGN §4): with M, D metered and passive energy by bus, ω the wholesale price, c_u
and h_u energy and money of the utility's hub trades, loss := import − ΣM − ΣD,

    utility's result + retail·ΣD − ω·import = Σν_b(M_b + D_b) − λ_0·loss
        + Σ_k(ν^firm − ν)·d_k + (λ_0·c_u − h_u) + Σ(retail − λ_b)·D_b + (λ_0 − ω)·import + penalties

Each deposit and withdrawal moved exactly that many tokens, at one scale, and the exchange holds the
tokens that its balances promise (it may hold more: anyone can send it some).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ledger.audit.verdict import PASSED, Verdict, at, compare, of_slot
from ledger.history import UTILITY_ID, History, SlotHistory, history
from ledger.record import Record
from ledger.vectors import unpack
from market.events import AccountSettled, Deposited, Withdrawn
from market.findings import Finding
from market.slots import Rule, Tariff

NAME = "conservation"


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
    """Both sides of the slot's identity, where it settled by prices."""
    prices, tariff = slot.prices, slot.tariff
    by_rule = all(event.rule == Rule.DLMP for _, event in slot.settled)
    if prices is None or tariff is None or not by_rule:
        return
    own = {known.ids.get(event.account): event for _, event in slot.settled}
    utility = own.pop(UTILITY_ID, None)
    if utility is None or None in own:
        yield Finding(
            NAME, of_slot(slot.slot, slot.terms), "every account, the utility too", "not all", "not settled"
        )
        return
    members = [(known.bus(number), event) for number, event in own.items() if number is not None]
    result = sum(e.charge + e.closeout + e.imbalance + e.penalty for _, e in members) - utility.trades
    passive, imported, wholesale = _substation(slot, members)
    left = result + tariff.retail * sum(passive) - wholesale * imported
    right = _surplus_and_margins(slot, tariff, prices, members, utility, passive, imported, wholesale)
    where = f"{of_slot(slot.slot, slot.terms)} identity of the utility's result, neur"
    yield compare(NAME, where, right, left, hint="wattbook audit BUNDLE --check settlement")


def _substation(
    slot: SlotHistory, members: list[tuple[int, AccountSettled]]
) -> tuple[tuple[int, ...], int, int]:
    """Passive energy by bus, import, wholesale price; without the utility's reading no passive energy."""
    buses = slot.terms.buses
    if slot.substation is not None:
        posted = slot.substation[1]
        try:
            return unpack(posted.passive, buses, signed=False), posted.net_import, posted.wholesale
        except ValueError:
            pass  # the identity holds for any D and import, so that these need not stop it
    return (0,) * buses, sum(event.metered for _, event in members), 0


def _surplus_and_margins(  # noqa: PLR0917 - the symbols of the identity
    slot: SlotHistory,
    tariff: Tariff,
    prices: tuple[int, ...],
    members: list[tuple[int, AccountSettled]],
    utility: AccountSettled,
    passive: tuple[int, ...],
    imported: int,
    wholesale: int,
) -> int:
    hub = prices[0]
    metered = [0] * len(prices)
    for bus, event in members:
        metered[bus] += event.metered
    loss = imported - sum(metered) - sum(passive)
    by_bus = list(zip(prices, metered, passive, strict=True))
    surplus = sum((price - hub) * (own + served) for price, own, served in by_bus) - hub * loss
    basis = sum((slot.charge(bus) - (prices[bus] - hub)) * event.delivered for bus, event in members)
    hub_margin = hub * utility.contracted - utility.trades
    passive_margin = sum((tariff.retail - price) * served for price, _, served in by_bus)
    wholesale_margin = (hub - wholesale) * imported
    penalties = sum(event.penalty for _, event in members)
    return surplus + basis + hub_margin + passive_margin + wholesale_margin + penalties


# --- the token ----------------------------------------------------------------------------------


def _token(record: Record) -> Iterator[Verdict]:
    """Deposits and withdrawals against the ERC-20's own transfers, then the sum of all."""
    promised = 0
    scale: tuple[int, int] | None = None  # neur, token units
    incoming, outgoing = _moved(record)
    held = sum(map(sum, incoming.values())) - sum(map(sum, outgoing.values()))
    for logged in record.logged:
        if not isinstance(logged.event, Deposited | Withdrawn):
            continue
        amount, comes_in = logged.event.amount, isinstance(logged.event, Deposited)
        promised += amount if comes_in else -amount
        moved = (incoming if comes_in else outgoing)[logged.log.transaction_hash]
        match = next((units for units in moved if _same_scale(scale, amount, units)), None)
        if match is None:
            what = f"{at(logged)} {type(logged.event).__name__}"
            wanted, found = f"a transfer of {amount:_} neur", f"token units {moved}"
            yield Finding(NAME, what, wanted, found, "not this amount")
        else:
            moved.remove(match)
            scale = scale or ((amount, match) if amount else None)
            yield PASSED
    if scale is not None:
        yield _covered(promised, held, scale)


def _moved(record: Record) -> tuple[dict[bytes, list[int]], dict[bytes, list[int]]]:
    """Token units that came into and went out of the exchange, by transaction."""
    incoming: defaultdict[bytes, list[int]] = defaultdict(list)
    outgoing: defaultdict[bytes, list[int]] = defaultdict(list)
    for log, transfer in record.transfers:
        if transfer.receiver == record.exchange != transfer.sender:
            incoming[log.transaction_hash].append(transfer.amount)
        elif transfer.sender == record.exchange != transfer.receiver:
            outgoing[log.transaction_hash].append(transfer.amount)
    return incoming, outgoing


def _same_scale(scale: tuple[int, int] | None, amount: int, units: int) -> bool:
    """Whether neur and units are in the market's ratio, which is a power of ten."""
    if scale is not None:
        return amount * scale[1] == units * scale[0]
    larger, smaller = max(amount, units), min(amount, units)
    return larger == smaller or (smaller > 0 and larger % smaller == 0 and _power_of_ten(larger // smaller))


def _power_of_ten(ratio: int) -> bool:
    return str(ratio).strip("0") == "1"


def _covered(promised: int, held: int, scale: tuple[int, int]) -> Verdict:
    """Balances and clearing together are deposits less withdrawals, since settlement moves nothing out."""
    needed = -(-promised * scale[1] // scale[0])
    if held >= needed:
        return PASSED
    return Finding(
        NAME, "token balance of the exchange", f"{needed:_}", f"{held:_}", f"{needed - held:_} missing"
    )
