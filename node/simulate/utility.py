"""The utility's result of a slot and where it comes from: the slot's identity on real postings.

The left side adds up what the chain posted; the right side (`market.settlement.slot_identity`) is
computed from energies and prices alone. They are equal to the nano-euro unless a posting is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from market.accounts import Position
from market.comparison import tariff_bill
from market.messages import Reading
from market.settlement import (
    Member,
    Sources,
    Substation,
    Valuation,
    amount_neur,
    settle_utility,
    slot_identity,
)
from market.slots import Rule
from node.simulate.bills import trades_by_account
from node.simulate.result import DayResult, Participant, SlotResult


@dataclass(frozen=True, slots=True)
class UtilityResult:
    """The utility's money over a slot or a day, n€, positive when it earns.

    Taken: `market` (charges, close-outs, imbalances and penalties less its hub trades) and `retail` from
    passive load, less `wholesale` for the import. Explained by `sources`; of their surplus, `losses` is
    what losses cost at the hub price. `without_market` is the result if every prosumer had been on
    FiT/retail with the same readings; `fee_without_market` is the network fee in it, of which `fee_on_load`,
    from passive load, stays; prosumers pay `charges` on what they delivered in the place of the rest.
    `payments` sums every account: the prosumers' postings, and the utility's computed on its own from
    energies, prices and its trades.
    """

    market: int
    retail: int
    wholesale: int
    sources: Sources
    losses: int
    without_market: int
    fee_without_market: int
    fee_on_load: int
    charges: int
    payments: int

    @property
    def result(self) -> int:
        """market + retail − wholesale."""
        return self.market + self.retail - self.wholesale

    @property
    def network(self) -> int:
        """Σν_b(M_b + D_b): network surplus before the cost of losses."""
        return self.sources.surplus - self.losses

    @property
    def unexplained(self) -> int:
        """Result less its sources; 0 unless a posting is wrong."""
        return self.result - self.sources.total


def utility_result(slot: SlotResult, participants: Sequence[Participant]) -> UtilityResult:
    """The utility's result of one slot with its identity."""
    utility = _positions(slot).get(slot.utility.account, Position())
    members = _members(slot, participants)
    passive = [int(energy) for energy in slot.passive_wh]
    substation = Substation(slot.import_wh, slot.wholesale, passive)
    valuation = Valuation(
        rule=Rule(slot.settled[0].rule),
        tariff=slot.tariff,
        charges=slot.charges.charges,
        prices=slot.prices.bus_price,
    )
    penalties = sum(settled.penalty for settled in slot.settled)
    loss_wh = slot.import_wh - sum(settled.metered for settled in slot.settled) - sum(passive)
    retail, wholesale = slot.tariff.retail * sum(passive), slot.wholesale * slot.import_wh
    fee_on_load = slot.tariff.network_fee * sum(passive)
    bought_wh = sum(max(settled.metered, 0) for settled in slot.settled)
    on_tariff = sum(tariff_bill(slot.tariff, settled.metered) for settled in slot.settled)
    return UtilityResult(
        market=sum(settled.beside_trades_neur for settled in slot.settled) - slot.utility.trades,
        retail=retail,
        wholesale=wholesale,
        sources=_with_penalties(slot_identity(utility, members, substation, valuation).sources, penalties),
        losses=-slot.prices.hub_price * loss_wh,
        without_market=on_tariff + retail - wholesale,
        fee_without_market=fee_on_load + slot.tariff.network_fee * bought_wh,
        fee_on_load=fee_on_load,
        charges=sum(settled.charge for settled in slot.settled),
        payments=sum(settled.total_neur for settled in slot.settled)
        + amount_neur(settle_utility(utility, members, valuation))
        - penalties,
    )


def day_utility_result(day: DayResult) -> UtilityResult:
    """Sum over the day's slots."""
    results = [utility_result(slot, day.participants) for slot in day.slots]
    sources = [one.sources for one in results]
    return UtilityResult(
        market=sum(one.market for one in results),
        retail=sum(one.retail for one in results),
        wholesale=sum(one.wholesale for one in results),
        sources=Sources(**{f.name: sum(getattr(one, f.name) for one in sources) for f in fields(Sources)}),
        losses=sum(one.losses for one in results),
        without_market=sum(one.without_market for one in results),
        fee_without_market=sum(one.fee_without_market for one in results),
        fee_on_load=sum(one.fee_on_load for one in results),
        charges=sum(one.charges for one in results),
        payments=sum(one.payments for one in results),
    )


def _positions(slot: SlotResult) -> dict[str, Position]:
    """What each address holds of the slot, from its fills."""
    return {
        address: Position(net_wh=trades.net_wh, trades_neur=trades.net_neur)
        for address, trades in trades_by_account(slot.fills).items()
    }


def _members(slot: SlotResult, participants: Sequence[Participant]) -> list[Member]:
    """Every prosumer's place, fills and reading."""
    positions = _positions(slot)
    return [
        Member(
            who.bus,
            positions.get(who.address, Position()),
            Reading(account=who.address, slot=slot.slot, net_energy=settled.metered, certified=(), epoch=1),
        )
        for who, settled in zip(participants, slot.settled, strict=True)
    ]


def _with_penalties(sources: Sources, penalties: int) -> Sources:
    """Penalties as posted: the identity is given no classes, since results keep none."""
    return replace(sources, penalties=penalties)
