"""Bills of prosumers: what the market charged, what FiT/retail would have, and where the difference lies.

At one reading m (net consumption positive) the alternative to the market is retail·m⁺ − fit·m⁻. The
difference splits exactly, to the nano-euro, into terms that people can understand: the contract
that was delivered, its network usage charge, the contract that was not, energy beyond it. Nothing here
rounds, except that one contract's money is shared by energy between its delivered and undelivered part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from market.events import AccountSettled
from market.orders import Fill, Side
from market.slots import Rule, Tariff
from market.units import hub_price
from node.simulate.result import DayResult, Participant, SlotResult
from node.simulate.wording import average_price, change, energy


class FillsMismatchError(ValueError):
    """The fills of an account do not sum to the trades it was settled for."""


class Kind(StrEnum):
    """Where a bill differs from FiT/retail."""

    BOUGHT = "bought"
    SOLD = "sold"
    NETWORK_IMPORT = "network_import"
    NETWORK_EXPORT = "network_export"
    UNCONSUMED = "unconsumed"
    UNINJECTED = "uninjected"
    EXTRA_IMPORT = "extra_import"
    EXTRA_EXPORT = "extra_export"
    ROUND_TRIP = "round_trip"
    PENALTY = "penalty"


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


@dataclass(frozen=True, slots=True)
class Term:
    """One part of bill − FiT/retail, n€ (positive: costs more), on `energy_wh` ≥ 0 of energy."""

    kind: Kind
    energy_wh: int
    difference_neur: int

    def __str__(self) -> str:
        if self.difference_neur <= 0:
            return f"{CHEAPER[self.kind]}: {change(self.difference_neur)}"
        price = average_price(self.difference_neur, self.energy_wh) if self.energy_wh else ""
        words = COSTLIER[self.kind].format(energy=energy(self.energy_wh), price=price)
        return f"{words}: {change(self.difference_neur)}"


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


@dataclass(frozen=True, slots=True)
class Prices:
    """What a bill at one bus in one slot depends on, µ€/kWh: tariff, firm charge ν_b, final price λ_b."""

    tariff: Tariff
    charge: int
    price: int

    def beyond_contract(self, rule: Rule, consumed: bool) -> int:
        """Price of energy beyond the contract (contracts/README.md): λ_b, or λ⁺_b and λ⁻_b under `tariff`."""
        if rule is Rule.DLMP:
            return self.price
        tariff = self.tariff
        return tariff.shortfall_price(self.charge) if consumed else tariff.surplus_price(self.charge)


@dataclass(frozen=True, slots=True)
class Trades:
    """One account's fills in a slot: energy (Wh) and money (n€) bought and sold, both positive."""

    bought_wh: int = 0
    bought_neur: int = 0
    sold_wh: int = 0
    sold_neur: int = 0

    def add(self, side: Side, energy_wh: int, money_neur: int) -> Trades:
        """With one more fill."""
        if side is Side.BID:
            return Trades(
                self.bought_wh + energy_wh, self.bought_neur + money_neur, self.sold_wh, self.sold_neur
            )
        return Trades(self.bought_wh, self.bought_neur, self.sold_wh + energy_wh, self.sold_neur + money_neur)

    @property
    def net_neur(self) -> int:
        """Σ ±q·π_hub."""
        return self.bought_neur - self.sold_neur

    @property
    def net_wh(self) -> int:
        """c: contracted net energy."""
        return self.bought_wh - self.sold_wh

    def of_contract(self, energy_wh: int) -> int:
        """Money of `energy_wh` of the net contract, at the average price of its side, rounded down."""
        if energy_wh == 0:
            return 0
        if self.net_wh > 0:
            return self.bought_neur * energy_wh // self.bought_wh
        return -(self.sold_neur * -energy_wh // self.sold_wh)


def trades_by_account(fills: Iterable[Fill]) -> dict[str, Trades]:
    """Sum fills by address; both parties of each fill."""
    found: defaultdict[str, Trades] = defaultdict(Trades)
    for fill in fills:
        money = fill.quantity * hub_price(fill.tick)
        taker, maker = Side(fill.taker_side), Side(1 - fill.taker_side)
        found[fill.taker] = found[fill.taker].add(taker, fill.quantity, money)
        found[fill.maker] = found[fill.maker].add(maker, fill.quantity, money)
    return dict(found)


def tariff_bill(tariff: Tariff, metered_wh: int) -> int:
    """FiT/retail bill of a reading, n€: retail·m⁺ − fit·m⁻."""
    return (tariff.retail if metered_wh > 0 else tariff.fit) * metered_wh


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
        terms=tuple(_terms(settled, trades, prices)),
    )


def _terms(settled: AccountSettled, trades: Trades, prices: Prices) -> Iterable[Term]:
    """Split bill − FiT/retail; the terms' sum is the difference by construction of the parts.

    With contract c, reading m and its delivered part d, FiT/retail of m is its price times d plus its
    price times (m − d). Delivered trades meet the hub's share of that price, the charge the network's.
    Both rules post −x·(c − d) + y·(m − d) as closeout + imbalance, at x for what is not delivered and y
    for what is not contracted; the part at x is what remains after the part at y.
    """
    tariff, delivered = prices.tariff, settled.delivered
    undelivered, beyond = settled.contracted - delivered, settled.metered - delivered
    traded_delivered = trades.of_contract(delivered)
    traded_undelivered = trades.of_contract(settled.contracted) - traded_delivered
    consumed = settled.metered > 0
    at_y = prices.beyond_contract(Rule(settled.rule), consumed) * beyond
    hub = tariff.hub_import if delivered > 0 else tariff.hub_export
    fee = tariff.network_fee if delivered > 0 else 0
    charge = prices.charge * delivered
    meter = tariff.retail if consumed else tariff.fit
    parts = (
        (Kind.BOUGHT if delivered > 0 else Kind.SOLD, delivered, traded_delivered - hub * delivered),
        (
            Kind.NETWORK_IMPORT if delivered > 0 else Kind.NETWORK_EXPORT,
            delivered,
            charge - fee * delivered,
        ),
        (
            Kind.UNCONSUMED if undelivered > 0 else Kind.UNINJECTED,
            undelivered,
            traded_undelivered + (settled.closeout + settled.imbalance - at_y) + (settled.charge - charge),
        ),
        (Kind.EXTRA_IMPORT if consumed else Kind.EXTRA_EXPORT, beyond, at_y - meter * beyond),
        (
            Kind.ROUND_TRIP,
            min(trades.bought_wh, trades.sold_wh),
            trades.net_neur - traded_delivered - traded_undelivered,
        ),
        (Kind.PENALTY, 0, settled.penalty),
    )
    return (Term(kind, abs(energy), money) for kind, energy, money in parts if energy or money)


def total(bills: Sequence[Bill]) -> Bill:
    """Sum of bills; terms summed by kind, in the kinds' order."""
    energy: defaultdict[Kind, int] = defaultdict(int)
    money: defaultdict[Kind, int] = defaultdict(int)
    for one in bills:
        for term in one.terms:
            energy[term.kind] += term.energy_wh
            money[term.kind] += term.difference_neur
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
        terms=tuple(Term(kind, energy[kind], money[kind]) for kind in Kind if kind in energy),
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
