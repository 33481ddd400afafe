"""A bill beside FiT/retail: what the same meter would pay without the market, and where the difference lies.

At one reading m (net consumption positive) the alternative to the market is retail·m⁺ − fit·m⁻. The
difference splits exactly, to the nano-euro, into terms that people can understand: the contract
that was delivered, its network usage charge, the contract that was not, energy beyond it. Nothing here
rounds, except that one contract's money is shared by energy between its delivered and undelivered part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from market.events import AccountSettled
from market.orders import Side
from market.slots import Rule, Tariff


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


@dataclass(frozen=True, slots=True)
class Term:
    """One part of bill − FiT/retail, n€ (positive: costs more), on `energy_wh` ≥ 0 of energy."""

    kind: Kind
    energy_wh: int
    difference_neur: int


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


def tariff_bill(tariff: Tariff, metered_wh: int) -> int:
    """FiT/retail bill of a reading, n€: retail·m⁺ − fit·m⁻."""
    return (tariff.retail if metered_wh > 0 else tariff.fit) * metered_wh


def terms(settled: AccountSettled, trades: Trades, prices: Prices) -> tuple[Term, ...]:
    """Split bill − FiT/retail of one account and slot; by construction the terms sum to the difference.

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
    return tuple(Term(kind, abs(energy), money) for kind, energy, money in parts if energy or money)


def added(several: Iterable[Term]) -> tuple[Term, ...]:
    """Terms of several bills summed by kind, in the kinds' order."""
    energy_wh: Counter[Kind] = Counter()
    money_neur: Counter[Kind] = Counter()
    for term in several:
        energy_wh[term.kind] += term.energy_wh
        money_neur[term.kind] += term.difference_neur
    return tuple(Term(kind, energy_wh[kind], money_neur[kind]) for kind in Kind if kind in energy_wh)
