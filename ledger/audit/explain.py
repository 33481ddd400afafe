"""A payment taken apart: one line for each fill and each rule, with its source on the chain.

The lines are derived from the slot's facts, and add up to what was posted; where they do not, the
explanation says so. Above them the same is said to the account's owner (`ledger.audit.plain`), below stands
what the same meter would have paid on FiT and retail alone.
A resettlement is what the late reading gives, less what the estimate gave.

ExplainError   there is no such payment; the message says what was looked for
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

from ledger.audit import plain
from ledger.audit.clearings import feeder_of
from ledger.audit.plain import euros
from ledger.audit.verdict import clock, runs
from ledger.history import History, Measured, SlotHistory, history
from ledger.record import Logged, Record
from ledger.trades import limit_named
from ledger.vectors import VALUES_PER_WORD, WORDS_PER_CHUNK
from market.accounts import UTILITY_ID, Position
from market.comparison import Prices, Term, Trades, tariff_bill, terms
from market.events import AccountResettled, AccountSettled, Event, TradesCleared
from market.orders import Address, Fill, FillVetoed, Side
from market.settlement import Basis, Cause, Posting, Valuation, delivered_wh, settle
from market.slots import Rule
from market.units import hub_price

VALUES_PER_CHUNK = VALUES_PER_WORD * WORDS_PER_CHUNK

_PLACE = re.compile(r"(\d+):(\d+)\Z")

_BY: dict[int, str] = {
    Basis.CONTRACT: ", estimated by its contract",
    Basis.FORECAST: ", estimated by its forecast",
}
"""What a settlement stands on, in the words of a heading."""

Posted = AccountSettled | AccountResettled | TradesCleared


class ExplainError(ValueError):
    """There is no such payment in the record."""


@dataclass(frozen=True, slots=True)
class Line:
    """A part of a payment, positive when the account pays; `source` has `block:log` of what it rests on."""

    what: str
    amount_neur: int
    source: str

    @property
    def places(self) -> str:
        """The source as people read it, runs of logs of one block by their ends: `55:0, 306:1 to 306:60`."""
        found = runs(self.source.split(", "), _next_to) if self.source else []
        return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in found)


def _next_to(place: str) -> str:
    """The place of the next log of the same block."""
    block, log = place.split(":")
    return f"{block}:{int(log) + 1}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One account's payment in one slot.

    `flat_neur` is what its metered energy costs at retail, or earns at the feed-in tariff, without the
    market; None for the utility. A resettlement has what the reading changes of it, its sentence compares
    the slot's payments in all. `flat_sentence` says so, and of a worse bill why; of the utility it says where
    its result is told. `terms` are the parts of the slot's payments in all less the flat bill.
    """

    account: Address
    slot: int
    place: str
    heading: str
    sentences: tuple[str, ...]
    """What happened, in its owner's words."""
    lines: tuple[Line, ...]
    posted_neur: int
    flat_neur: int | None
    flat_sentence: str
    terms: tuple[Term, ...] = ()

    @property
    def total_neur(self) -> int:
        """Sum of the lines."""
        return sum(line.amount_neur for line in self.lines)

    @property
    def sentence(self) -> str:
        """The sentences in one text."""
        return " ".join(self.sentences)

    def to_json(self) -> dict[str, Any]:
        """`lines: [{what, amount_neur, source}]`, what they add up to, and the same in sentences."""
        return {
            "account": self.account,
            "slot": self.slot,
            "place": self.place,
            "heading": self.heading,
            "sentence": self.sentence,
            "lines": [asdict(line) for line in self.lines],
            "total_neur": self.total_neur,
            "posted_neur": self.posted_neur,
            "flat_neur": self.flat_neur,
            "flat_sentence": self.flat_sentence,
        }

    def __str__(self) -> str:
        rows = [(euros(line.amount_neur), line.what, line.places) for line in self.lines]
        rows.append((euros(self.total_neur), "in all", self.place))
        width = max(len(amount) for amount, _, _ in rows)
        text = [self.heading, *self.sentences]
        text += [f"  {amount:>{width}}  {what}  [{source}]" for amount, what, source in rows]
        if self.total_neur != self.posted_neur:
            gap = euros(self.posted_neur - self.total_neur)
            text.append(f"  but {euros(self.posted_neur)} was posted: {gap} is not explained")
        return "\n".join([*text, self.flat_sentence] if self.flat_sentence else text)


def explain(
    record: Record, payment: str | None = None, *, account: Address | None = None, slot: int | None = None
) -> Explanation:
    """Take a payment apart, named by its place (`184:7`) or by account and slot.

    Raises ExplainError where there is none, NoHistory where the record does not show its deployment.
    """
    known = history(record)
    logged, posted = _find(known, payment, account, slot)
    of_slot = known.slots[posted.slot]
    number = known.ids.get(posted.account)
    if number is None:
        raise ExplainError(f"{posted.account} is not registered")
    total = _posted_neur(posted)
    lines = tuple(_lines(known, of_slot, number, logged, posted))
    flat = _without_market(known, of_slot, number, posted)
    if sum(line.amount_neur for line in lines) != total:  # no rule says why a wrong amount is what it is
        flat = replace(flat, terms=())
    return Explanation(
        account=posted.account,
        slot=posted.slot,
        place=logged.where,
        heading=_heading(_who(record, known, number, of_slot), known, posted, total, of_slot),
        sentences=tuple(_sentences(known, of_slot, number, logged, posted)),
        lines=lines,
        posted_neur=total,
        flat_neur=flat.neur,
        flat_sentence=" ".join(filter(None, [flat.sentence, *plain.of_causes(flat.terms)])),
        terms=flat.terms,
    )


def _posted_neur(posted: Posted) -> int:
    """What a posting says in all; of a settlement, with the trades that were cleared before."""
    match posted:
        case TradesCleared():
            return posted.amount
        case AccountSettled():
            return posted.total_neur
        case AccountResettled():
            return posted.beside_trades_neur


def require_place(text: str) -> None:
    """Refuse what names no place. Raises ExplainError."""
    if not _PLACE.match(text):
        raise ExplainError(f"payment {text!r}: a place is BLOCK:LOG, as 184:7")


def _find(
    known: History, payment: str | None, account: Address | None, slot: int | None
) -> tuple[Logged, Posted]:
    if payment is not None:
        require_place(payment)
    for each in known:
        postings: Iterator[tuple[Logged, Posted]] = chain(each.settled, each.resettled, each.cleared)
        for logged, posted in postings:
            by_account = payment is None and (posted.account, posted.slot) == (account, slot)
            if by_account or logged.where == payment:
                return logged, posted
    what = f"payment {payment}" if payment is not None else f"payment of {account} in slot {slot}"
    raise ExplainError(f"{what}: no account was settled there")


def _who(record: Record, known: History, number: int, slot: SlotHistory) -> str:
    if number == UTILITY_ID:
        return "The utility"
    inputs = [found[1].input_hash for found in (slot.charges_posted, slot.prices_posted) if found is not None]
    return f"Account {number} at {_named_bus(record, known.bus(number), inputs)}"


def _named_bus(record: Record, bus: int, inputs: Iterable[bytes]) -> str:
    """A bus by its name in clearings' inputs, the first of these hashes that the record has, and its index.

    By its index alone where the record has none of them: the contract knows no names.
    """
    for each in inputs:
        feeder = feeder_of(record.bundle.inputs.get(each))
        if feeder is not None and bus < feeder.buses:
            return f"bus {feeder.bus_names[bus]} (index {bus})"
    return f"the bus of index {bus}"


def _heading(who: str, known: History, posted: Posted, total: int, slot: SlotHistory) -> str:
    direction = "pays" if total >= 0 else "receives"
    when = f"slot {slot.slot} ({clock(slot.terms.start(slot.slot))})"
    match posted:
        case AccountResettled():
            basis = ", since a reading took the place of its estimate"
        case TradesCleared():
            basis = ", for its trades, before it is settled"
        case _:
            basis = _BY.get(posted.basis, "") + _cleared_before(known, slot, posted.account)
    return f"{who}, {posted.account}, {direction} {euros(abs(total))} for {when}{basis}:"


def _cleared_before(known: History, slot: SlotHistory, account: Address) -> str:
    for logged, paid in slot.cleared:
        if known.ids.get(paid.account) == known.ids.get(account):
            return f", {euros(paid.amount)} of it cleared before, at {logged.where}"
    return ""


# --- lines --------------------------------------------------------------------------------------


def _lines(known: History, slot: SlotHistory, number: int, logged: Logged, posted: Posted) -> Iterator[Line]:
    if isinstance(posted, AccountResettled):
        yield from _resettlement_lines(known, slot, number, logged, posted)
        return
    yield from _trade_lines(known, slot, number)
    if isinstance(posted, TradesCleared):
        return
    measured = slot.measured(posted.account, before=logged)
    if number != UTILITY_ID and measured is not None:
        yield from _posting_lines(known, slot, number, measured)


def _trade_lines(known: History, slot: SlotHistory, number: int) -> Iterator[Line]:
    """One line a fill, and one for each part of a fill that was vetoed."""
    for place, fill, buys, partner in _own(known, number, slot.fills):
        yield _fill_line(known, place, fill, buys, partner)
    for place, part, buys, partner in _own(known, number, slot.vetoed):
        line = _fill_line(known, place, part, buys, partner)
        yield Line(f"vetoed{_cause(place)}: {line.what}", -line.amount_neur, line.source)


def _cause(vetoed: Logged) -> str:
    """For which limit, as the utility says."""
    veto = vetoed.event
    return f" for {limit_named(veto.reason, veto.element)}" if isinstance(veto, FillVetoed) else ""


def _posting_lines(
    known: History, slot: SlotHistory, number: int, measured: Measured, *, less: bool = False
) -> Iterator[Line]:
    """Lines of all postings but trades, by what was measured; with `less` they are taken off."""
    valuation, bus = known.valuation(slot), known.bus(number)
    if valuation is None:
        return
    position = known.positions(slot).get(number, Position())
    for posting in settle(position, measured, bus, valuation):
        if posting.cause != Cause.TRADES and posting.energy_wh:
            yield Line(
                f"{'less ' if less else ''}{_sentence(posting, valuation)}",
                -posting.amount_neur if less else posting.amount_neur,
                ", ".join(_rests_on(known, slot, number, posting, measured.logged)),
            )


def _resettlement_lines(
    known: History, slot: SlotHistory, number: int, logged: Logged, posted: AccountResettled
) -> Iterator[Line]:
    reading, estimate = slot.measured(posted.account, before=logged), slot.estimates.get(posted.account)
    if reading is not None and estimate is not None:
        yield from _posting_lines(known, slot, number, reading)
        yield from _posting_lines(known, slot, number, estimate, less=True)


def _own(
    known: History, number: int, fills: Iterable[tuple[Logged, Fill]]
) -> Iterator[tuple[Logged, Fill, bool, Address]]:
    """An account's fills: place, fill, whether it buys, and its partner."""
    for place, fill in fills:
        for trader, buys, partner in sides_of_fill(fill):
            if known.ids.get(trader) == number:
                yield place, fill, buys, partner


def sides_of_fill(fill: Fill) -> tuple[tuple[Address, bool, Address], ...]:
    """Trader, whether it buys, and its partner: for the taker and for the maker."""
    taker_buys = fill.taker_side == Side.BID
    return (fill.taker, taker_buys, fill.maker), (fill.maker, not taker_buys, fill.taker)


def _fill_line(known: History, logged: Logged, fill: Fill, buys: bool, partner: Address) -> Line:
    price, energy_wh = hub_price(fill.tick), fill.quantity if buys else -fill.quantity
    whom = plain.account(known.ids.get(partner))
    traded = f"bought {fill.quantity:,} Wh from" if buys else f"sold {fill.quantity:,} Wh to"
    kind = f" of class {fill.energy_class}" if fill.energy_class else ""
    return Line(f"{traded} {whom}{kind} at {price:,} µ€/kWh", energy_wh * price, logged.where)


def _sentence(posting: Posting, valuation: Valuation) -> str:
    """A posting in words; energy and price have the signs by which they multiply to the amount."""
    energy, price = f"{posting.energy_wh:,} Wh", f"{posting.price:,} µ€/kWh"
    dlmp = valuation.rule == Rule.DLMP
    match posting.cause:
        case Cause.CHARGE:
            return f"network charge on {energy} {'delivered' if dlmp else 'charged'} at ν = {price}"
        case Cause.CLOSEOUT:
            return f"close-out of {energy} contracted and not delivered at λ_b − λ_0 = {price}"
        case Cause.IMBALANCE:
            by = "λ_b" if dlmp else ("λ⁺" if posting.energy_wh > 0 else "λ⁻")
            return f"imbalance: {energy} of net consumption beyond the contract at {by} = {price}"
        case _:
            return f"penalty on {energy} sold in class {posting.energy_class} and not certified at {price}"


def _rests_on(
    known: History, slot: SlotHistory, number: int, posting: Posting, reading: Logged
) -> Iterator[str]:
    """Places of the price and of the energy that a posting multiplies; a penalty's price has none."""
    bus = known.bus(number)
    match posting.cause:
        case Cause.CHARGE:
            yield from _chunk(slot.charges_chunks, bus)
        case Cause.IMBALANCE if slot.prices is None or slot.terms.rule != Rule.DLMP:
            yield from [slot.scheduled.where] if slot.scheduled else []
        case Cause.CLOSEOUT | Cause.IMBALANCE:
            yield from _chunk(slot.prices_chunks, bus)
        case Cause.PENALTY:
            for place, fill, buys, _ in _own(known, number, slot.fills):
                if not buys and fill.energy_class == posting.energy_class:
                    yield place.where
    yield reading.where


def _chunk(chunks: Mapping[int, tuple[Logged, Event]], bus: int) -> list[str]:
    """Place of the chunk that holds a bus, if it is there."""
    found = chunks.get(bus // VALUES_PER_CHUNK)
    return [found[0].where] if found else []


# --- in its owner's words -----------------------------------------------------------------------


def _sentences(
    known: History, slot: SlotHistory, number: int, logged: Logged, posted: Posted
) -> Iterator[str]:
    if isinstance(posted, AccountResettled):
        yield from _correction_sentence(known, slot, number, logged, posted)
        return
    yield from _trade_sentences(known, slot, number)
    measured, valuation = slot.measured(posted.account, before=logged), known.valuation(slot)
    if isinstance(posted, TradesCleared) or number == UTILITY_ID or measured is None or valuation is None:
        return
    position = known.positions(slot).get(number, Position())
    yield plain.of_meter(measured.net_energy, measured.basis)
    if known.by_fallback(slot):
        yield plain.NO_PRICES
    postings = settle(position, measured, known.bus(number), valuation)
    yield from plain.of_postings(position, measured, postings)
    closed_out = any(each.cause == Cause.CLOSEOUT and each.energy_wh for each in postings)
    if closed_out and slot.prices_posted is not None:
        _, prices = slot.prices_posted
        yield plain.of_hub_price(prices.hub_price, prices.forecast_import)


def _trade_sentences(known: History, slot: SlotHistory, number: int) -> Iterator[str]:
    """What was bought and what was sold in all, and what was vetoed of each."""
    for fills, cancelled in ((slot.fills, False), (slot.vetoed, True)):
        for bought in (True, False):
            own = [fill for _, fill, buys, _ in _own(known, number, fills) if buys == bought]
            energy_wh = sum(fill.quantity for fill in own)
            worth_neur = sum(fill.quantity * hub_price(fill.tick) for fill in own)
            if own:
                tell = plain.of_veto if cancelled else plain.of_trades
                yield tell(bought, energy_wh, worth_neur if bought != cancelled else -worth_neur)


def _correction_sentence(
    known: History, slot: SlotHistory, number: int, logged: Logged, posted: AccountResettled
) -> Iterator[str]:
    reading, estimate = slot.measured(posted.account, before=logged), slot.estimates.get(posted.account)
    if reading is not None and estimate is not None:
        change_neur = sum(line.amount_neur for line in _lines(known, slot, number, logged, posted))
        yield plain.of_correction(reading.net_energy, estimate.net_energy, change_neur)


# --- without the market -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Flat:
    """The bill at retail or the feed-in tariff, n€, the comparison in words, the parts of the difference."""

    neur: int | None = None
    sentence: str = ""
    terms: tuple[Term, ...] = ()


def _without_market(known: History, slot: SlotHistory, number: int, posted: Posted) -> _Flat:
    """A payment beside retail and feed-in tariff; of a resettlement, what it changes of these."""
    match posted:
        case AccountSettled() if number == UTILITY_ID:
            return _Flat(None, f"Its result of the slot, term by term: utility@{posted.slot}")
        case AccountSettled():
            return _flat(known, slot, number, posted)
        case AccountResettled():
            for _, settled in slot.settled:
                if settled.account == posted.account:
                    before = _flat(known, slot, number, settled)
                    final = _flat(known, slot, number, settled.corrected(posted))
                    return replace(final, neur=(final.neur or 0) - (before.neur or 0))
    return _Flat()


def _flat(known: History, slot: SlotHistory, number: int, settled: AccountSettled) -> _Flat:
    """What a settlement's meter would have cost without the market."""
    if slot.tariff is None:
        return _Flat()
    metered, total = settled.metered, settled.total_neur
    price, used = (slot.tariff.retail, "retail") if metered >= 0 else (slot.tariff.fit, "the feed-in tariff")
    flat = tariff_bill(slot.tariff, metered)
    how = f"for {plain.kwh(metered)} at {used} ({plain.eur_per_kwh(price)})"
    return _Flat(flat, plain.comparison(total, flat, how), _terms(known, slot, number, settled))


def _terms(known: History, slot: SlotHistory, number: int, settled: AccountSettled) -> tuple[Term, ...]:
    """Where a settlement differs from the flat bill; nothing where its trades are not those of its fills."""
    valuation, trades, bus = known.valuation(slot), _trades(known, slot, number), known.bus(number)
    if valuation is None or (trades.net_wh, trades.net_neur) != (settled.contracted, settled.trades):
        return ()
    by_rule = replace(
        settled, rule=int(valuation.rule), delivered=delivered_wh(settled.contracted, settled.metered)
    )
    price = 0 if valuation.prices is None else valuation.prices[bus]
    return terms(by_rule, trades, Prices(valuation.tariff, valuation.charge(bus), price))


def _trades(known: History, slot: SlotHistory, number: int) -> Trades:
    """What an account bought and sold, less what was vetoed of it."""
    trades = Trades()
    for fills, sign in ((slot.fills, 1), (slot.vetoed, -1)):
        for _, fill, buys, _ in _own(known, number, fills):
            energy_wh = sign * fill.quantity
            trades = trades.add(Side.BID if buys else Side.ASK, energy_wh, energy_wh * hub_price(fill.tick))
    return trades
