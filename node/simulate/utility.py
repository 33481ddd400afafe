"""The utility's result of a slot, and the identity that explains it (DESIGN §4).

What the utility took in, less what it paid for its energy, equals network surplus, basis, hub,
passive and wholesale margin, to the nano-euro:

    result = Σν_b(M_b + D_b) − λ_0·loss + Σ_k(ν^firm − ν^final)·d_k + (λ_0·c_u − h_u)
             + Σ(retail − λ_b)·D_b + (λ_0 − ω)·import  [+ penalties + the margin of rule `tariff`]

The left side adds up postings; the right side is computed from energies and prices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from market.events import AccountSettled
from market.slots import Rule
from node.simulate.bills import Prices, prices_at, tariff_bill, trades_by_account
from node.simulate.result import DayResult, Participant, SlotResult


@dataclass(frozen=True, slots=True)
class UtilityResult:
    """The utility's money over a slot or a day, n€, positive when it earns.

    Taken: `market` (charges, close-outs, imbalances and penalties less its hub trades), `retail` from
    passive load, less `wholesale` for the import. Explained by the terms from `network` on.
    `without_market` is its result if every prosumer had been on FiT/retail with the same readings.
    `payments` sums every account: the prosumers' postings, and the utility's computed on its own from
    energies, prices and its trades. It is 0 unless a posting is wrong.
    """

    market: int
    retail: int
    wholesale: int
    network: int
    losses: int
    basis: int
    hub: int
    passive: int
    procurement: int
    penalties: int
    rule: int
    without_market: int
    payments: int

    @property
    def result(self) -> int:
        """market + retail − wholesale."""
        return self.market + self.retail - self.wholesale

    @property
    def surplus(self) -> int:
        """MS = Σν_b(M_b + D_b) − λ_0·loss."""
        return self.network + self.losses

    @property
    def explained(self) -> int:
        """Right side of the identity."""
        return (
            self.surplus
            + self.basis
            + self.hub
            + self.passive
            + self.procurement
            + self.penalties
            + self.rule
        )

    @property
    def unexplained(self) -> int:
        """Left less right side; 0 unless a posting is wrong."""
        return self.result - self.explained


def delivered_wh(contracted: int, metered: int) -> int:
    """d: the part of the contract that the meter saw, Wh; 0 where the two have different signs."""
    if (contracted > 0) != (metered > 0):
        return 0
    return min(contracted, metered) if contracted > 0 else max(contracted, metered)


def dues(rule: Rule, contracted: int, metered: int, prices: Prices, hub: int) -> int:
    """Charge, close-out and imbalance of an account under a rule, n€ (DESIGN §4.6); `hub` is λ_0."""
    delivered = delivered_wh(contracted, metered)
    if rule is Rule.DLMP:
        return (
            prices.charge * delivered
            + (prices.price - hub) * (contracted - delivered)
            + prices.price * (metered - contracted)
        )
    charge = prices.charge * contracted
    more, less = max(metered - contracted, 0), max(contracted - metered, 0)
    return (
        (charge if charge >= 0 else prices.charge * delivered)
        + prices.beyond_contract(rule, consumed=True) * more
        - prices.beyond_contract(rule, consumed=False) * less
    )


def utility_result(slot: SlotResult, participants: Sequence[Participant]) -> UtilityResult:
    """The utility's result of one slot with its identity."""
    own = trades_by_account(slot.fills).get(slot.utility.account)
    bought_wh, bought_neur = (own.net_wh, own.net_neur) if own else (0, 0)
    metered, passive = _by_bus(slot, participants), [int(energy) for energy in slot.passive_wh]
    price, hub = slot.prices.bus_price, slot.prices.hub_price
    charge = slot.prices.charges
    loss = slot.import_wh - sum(metered) - sum(passive)
    due = expected_dues(slot, participants)
    at_dlmp = expected_dues(slot, participants, Rule.DLMP)
    penalties = sum(settled.penalty for settled in slot.settled)
    retail, wholesale = slot.tariff.retail * sum(passive), slot.wholesale * slot.import_wh
    on_tariff = sum(tariff_bill(slot.tariff, settled.metered) for settled in slot.settled)
    return UtilityResult(
        market=sum(_beside_trades(settled) for settled in slot.settled) - slot.utility.trades,
        retail=retail,
        wholesale=wholesale,
        network=sum(nu * (m + d) for nu, m, d in zip(charge, metered, passive, strict=True)),
        losses=-hub * loss,
        basis=sum(
            (slot.charges.charges[who.bus] - charge[who.bus])
            * delivered_wh(settled.contracted, settled.metered)
            for who, settled in zip(participants, slot.settled, strict=True)
        ),
        hub=hub * bought_wh - bought_neur,
        passive=sum((slot.tariff.retail - p) * d for p, d in zip(price, passive, strict=True)),
        procurement=(hub - slot.wholesale) * slot.import_wh,
        penalties=penalties,
        rule=sum(due) - sum(at_dlmp),
        without_market=on_tariff + retail - wholesale,
        payments=sum(_beside_trades(settled) + settled.trades for settled in slot.settled)
        + slot.utility.trades
        - sum(due)
        - penalties,
    )


def expected_dues(
    slot: SlotResult, participants: Sequence[Participant], rule: Rule | None = None
) -> tuple[int, ...]:
    """What each prosumer owes beside its trades, from readings and prices alone, n€.

    By the rule each account was settled by, unless one is given.
    """
    return tuple(
        dues(
            Rule(settled.rule) if rule is None else rule,
            settled.contracted,
            settled.metered,
            prices_at(slot, who.bus),
            slot.prices.hub_price,
        )
        for who, settled in zip(participants, slot.settled, strict=True)
    )


def day_utility_result(day: DayResult) -> UtilityResult:
    """Sum over the day's slots."""
    results = [utility_result(slot, day.participants) for slot in day.slots]
    return UtilityResult(
        **{f.name: sum(getattr(one, f.name) for one in results) for f in fields(UtilityResult)}
    )


def _beside_trades(settled: AccountSettled) -> int:
    return settled.charge + settled.closeout + settled.imbalance + settled.penalty


def _by_bus(slot: SlotResult, participants: Sequence[Participant]) -> list[int]:
    """M_b: metered energy of prosumers by bus."""
    energy = [0] * len(slot.prices.bus_price)
    for who, settled in zip(participants, slot.settled, strict=True):
        energy[who.bus] += settled.metered
    return energy
