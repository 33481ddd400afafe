"""Bills of prosumers: what the market charged, what FiT/retail would have, and where the difference lies.

How a difference splits is in `market.comparison`; here are the bills of a day, in the report's words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from market.comparison import Kind, Prices, Term, Trades, added, tariff_bill, terms
from market.events import AccountSettled
from market.orders import Fill, Side
from market.units import hub_price
from node.simulate.result import DayResult, Participant, SlotResult
from node.simulate.wording import average_price, change, energy


class FillsMismatchError(ValueError):
    """The fills of an account do not sum to the trades it was settled for."""


COSTLIER = {
    Kind.BOUGHT: "bought {energy} in the book {price} above the utility's hub price",
    Kind.SOLD: "sold {energy} in the book {price} below the feed-in tariff",
    Kind.NETWORK_IMPORT: "network usage charge on {energy} bought {price} above the network fee"
    " that the retail price contains",
    Kind.NETWORK_EXPORT: "network usage charge of {price} on {energy} sold; the feed-in tariff has none",
    Kind.UNCONSUMED: "{energy} bought and not consumed, closed out {price} below what they cost",
    Kind.UNINJECTED: "{energy} sold and not injected, closed out {price} above what they earned",
    Kind.EXTRA_IMPORT: "consumed {energy} more than contracted, at a price {price} above retail",
    Kind.EXTRA_EXPORT: "injected {energy} more than contracted, at a price {price} below the feed-in tariff",
    Kind.ROUND_TRIP: "bought and sold again {energy} at a loss of {price}",
    Kind.PENALTY: "penalty for energy sold as certified and not generated",
}
"""A positive term in words."""
CHEAPER = {
    Kind.BOUGHT: "bought in the book below the utility's hub price",
    Kind.SOLD: "sold in the book above the feed-in tariff",
    Kind.NETWORK_IMPORT: "network usage charge below the network fee",
    Kind.NETWORK_EXPORT: "paid by the network for injecting where it helps",
    Kind.UNCONSUMED: "closed out purchases above their cost",
    Kind.UNINJECTED: "closed out sales below their income",
    Kind.EXTRA_IMPORT: "consumed beyond the contract below retail",
    Kind.EXTRA_EXPORT: "injected beyond the contract above the feed-in tariff",
    Kind.ROUND_TRIP: "gained by buying and selling again",
    Kind.PENALTY: "no penalty",
}
"""A negative term in words."""


def in_words(term: Term) -> str:
    """A term for the report: what it cost more, with energy and average price, or what was cheaper."""
    if term.difference_neur <= 0:
        return f"{CHEAPER[term.kind]}: {change(term.difference_neur)}"
    price = average_price(term.difference_neur, term.energy_wh) if term.energy_wh else ""
    words = COSTLIER[term.kind].format(energy=energy(term.energy_wh), price=price)
    return f"{words}: {change(term.difference_neur)}"


@dataclass(frozen=True, slots=True)
class Bill:
    """Money and energy of one prosumer over a slot or a day, with the terms of its difference.

    Money n€, positive when the prosumer pays; energy Wh. `tariff_neur` is the FiT/retail bill of the
    same readings, `consumed_wh` and `injected_wh` the two signs of net readings.
    """

    contracted_wh: int
    consumed_wh: int
    injected_wh: int
    trades_neur: int
    charge_neur: int
    closeout_neur: int
    imbalance_neur: int
    penalty_neur: int
    tariff_neur: int
    terms: tuple[Term, ...]

    @property
    def total_neur(self) -> int:
        """What the market charges."""
        return (
            self.trades_neur + self.charge_neur + self.closeout_neur + self.imbalance_neur + self.penalty_neur
        )

    @property
    def difference_neur(self) -> int:
        """Market less FiT/retail; the sum of the terms."""
        return self.total_neur - self.tariff_neur

    @property
    def saving_neur(self) -> int:
        """What the market saved; negative where it cost more."""
        return -self.difference_neur

    @property
    def worse_off(self) -> bool:
        """FiT/retail would have been cheaper."""
        return self.difference_neur > 0

    @property
    def causes(self) -> tuple[Term, ...]:
        """Terms that cost more than FiT/retail, largest first; empty where the bill is not worse."""
        if not self.worse_off:
            return ()
        worse = (term for term in self.terms if term.difference_neur > 0)
        return tuple(sorted(worse, key=lambda term: -term.difference_neur))

    def term(self, kind: Kind) -> int:
        """Difference of one kind, n€."""
        return sum(term.difference_neur for term in self.terms if term.kind is kind)


def trades_by_account(fills: Iterable[Fill]) -> dict[str, Trades]:
    """Sum fills by address; both parties of each fill."""
    found: defaultdict[str, Trades] = defaultdict(Trades)
    for fill in fills:
        money = fill.quantity * hub_price(fill.tick)
        taker, maker = Side(fill.taker_side), Side(1 - fill.taker_side)
        found[fill.taker] = found[fill.taker].add(taker, fill.quantity, money)
        found[fill.maker] = found[fill.maker].add(maker, fill.quantity, money)
    return dict(found)


def bill(settled: AccountSettled, trades: Trades, prices: Prices) -> Bill:
    """Bill of one prosumer in one slot. Raises FillsMismatchError."""
    if (trades.net_wh, trades.net_neur) != (settled.contracted, settled.trades):
        raise FillsMismatchError(
            f"slot {settled.slot}: fills of {settled.account} sum to {trades.net_wh} Wh for"
            f" {trades.net_neur} neur, settled for {settled.contracted} Wh and {settled.trades} neur"
        )
    return Bill(
        contracted_wh=settled.contracted,
        consumed_wh=max(settled.metered, 0),
        injected_wh=max(-settled.metered, 0),
        trades_neur=settled.trades,
        charge_neur=settled.charge,
        closeout_neur=settled.closeout,
        imbalance_neur=settled.imbalance,
        penalty_neur=settled.penalty,
        tariff_neur=tariff_bill(prices.tariff, settled.metered),
        terms=terms(settled, trades, prices),
    )


def total(bills: Sequence[Bill]) -> Bill:
    """Sum of bills; terms summed by kind, in the kinds' order."""
    return Bill(
        contracted_wh=sum(one.contracted_wh for one in bills),
        consumed_wh=sum(one.consumed_wh for one in bills),
        injected_wh=sum(one.injected_wh for one in bills),
        trades_neur=sum(one.trades_neur for one in bills),
        charge_neur=sum(one.charge_neur for one in bills),
        closeout_neur=sum(one.closeout_neur for one in bills),
        imbalance_neur=sum(one.imbalance_neur for one in bills),
        penalty_neur=sum(one.penalty_neur for one in bills),
        tariff_neur=sum(one.tariff_neur for one in bills),
        terms=added(term for one in bills for term in one.terms),
    )


@dataclass(frozen=True, slots=True)
class Account:
    """A prosumer's bills: one a slot, and their sum over the day."""

    participant: Participant
    slots: tuple[Bill, ...]
    day: Bill


def prices_at(slot: SlotResult, bus: int) -> Prices:
    """Prices that a bill at a bus depends on."""
    return Prices(slot.tariff, slot.charges.charges[bus], slot.prices.bus_price[bus])


def slot_bills(slot: SlotResult, participants: Sequence[Participant]) -> tuple[Bill, ...]:
    """Bills of one slot in the participants' order. Raises FillsMismatchError."""
    trades = trades_by_account(slot.fills)
    return tuple(
        bill(
            settled,
            trades.get(who.address, Trades()),
            prices_at(slot, who.bus),
        )
        for who, settled in zip(participants, slot.settled, strict=True)
    )


def accounts(day: DayResult) -> tuple[Account, ...]:
    """Every prosumer's bills in the scenario's order. Raises FillsMismatchError."""
    by_slot = [slot_bills(slot, day.participants) for slot in day.slots]
    return tuple(
        Account(who, tuple(bills), total(bills))
        for who, bills in zip(day.participants, zip(*by_slot, strict=True), strict=True)
    )
