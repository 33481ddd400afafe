"""Vetoes that a utility should not make: the contract takes any reason, element and part of the last fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from ledger import calls
from ledger.bundle import Bundle
from ledger.exchange import SignedOrder
from ledger.keccak import keccak
from market.feeder.model import Feeder
from market.fills import chain as chained
from market.orders import FillVetoed, Side, VetoReason
from market.pricing.conditions import Conditions, Hub
from market.slots import Rule
from tests.audit.forge import change_call, change_event, found, insert_event
from tests.audit.small_market import (
    BUYER,
    NEIGHBOUR,
    NEUR,
    SELLER,
    SLOT,
    TARIFF,
    UTILITY,
    SmallMarket,
    small_feeder,
)
from tests.audit.tamper_calls import call_of
from tests.audit.tampering import Ground, Kind, consistent

LINE_RATING_PU = 0.6
"""Of the line into the village: 2.5 kWh in a quarter of an hour beyond the load outside the market."""
CUT_WH, LOT_WH = 540, 10
"""What has to go of the last fill for that rating, in whole lots; 530 Wh are not enough."""
BOTH_WAYS_PU, BOTH_WAYS_CUT_WH = 0.05, 760
"""A rating of 1.25 kWh in a quarter of an hour either way; what has to go where 2 kWh and losses go in."""


def rated_feeder(rating_pu: float = LINE_RATING_PU) -> Feeder:
    """The small market's feeder, its first line with a rating."""
    feeder = small_feeder()
    rating = np.array([np.inf, rating_pu, np.inf])
    return replace(feeder, limits=replace(feeder.limits, i_max=rating))


@dataclass
class VetoedMarket(SmallMarket):
    """Up to the vetoes of one slot: utility's energy for two buyers, more than the first line carries."""

    feeder: Feeder = field(default_factory=rated_feeder)
    load: float = 0.8
    due_wh: int = CUT_WH

    def given(self, load: float) -> Conditions:
        """Load outside the market alone, so that it is known apart from the fills."""
        return Conditions.firm(self.feeder, load, Hub.of(TARIFF), 0.25)

    def trade(self) -> None:
        """Charges, orders, a veto of as much as has to go, and the end of vetoes."""
        self.post_charges(SLOT, self.load)
        self.chain.advance_to(self.terms.opens(SLOT))
        self.place(*self.orders())
        self.chain.advance_to(self.terms.gate(SLOT))
        events = [event for event in self.exchange.history() if getattr(event, "slot", 0) == SLOT]
        last = chained(SLOT, events, lambda address: self.exchange.account_of(address).id, keccak)[-1]
        veto = last.veto(NEIGHBOUR.address, self.due_wh, VetoReason.LOADING, 1)
        self.confirm(self.exchange.veto_fills(SLOT, [veto], sender=UTILITY))
        self.chain.advance_to(self.terms.closing(SLOT))
        self.confirm(self.exchange.deposit(UTILITY.address, NEUR, sender=UTILITY))

    def orders(self) -> tuple[SignedOrder, ...]:
        """The last of them wants more than the line carries."""
        return (
            self.sign(UTILITY, SLOT, 1, Side.ASK, TARIFF.hub_import, 4_000),
            self.sign(BUYER, SLOT, 1, Side.BID, 400_000, 1_000),
            self.sign(NEIGHBOUR, SLOT, 1, Side.BID, 400_000, 2_000),
        )


@dataclass
class RelievedMarket(VetoedMarket):
    """Energy is sold to the utility first, then more of it bought: all of the last fill is too much to go."""

    feeder: Feeder = field(default_factory=lambda: rated_feeder(BOTH_WAYS_PU))
    load: float = 0.0
    due_wh: int = BOTH_WAYS_CUT_WH

    def orders(self) -> tuple[SignedOrder, ...]:
        """More is sold than the line carries back, and still more bought."""
        return (
            self.sign(UTILITY, SLOT, 1, Side.ASK, TARIFF.hub_import, 5_000),
            self.sign(UTILITY, SLOT, 2, Side.BID, TARIFF.hub_export, 2_000),
            self.sign(SELLER, SLOT, 1, Side.ASK, 0, 2_000),
            self.sign(NEIGHBOUR, SLOT, 1, Side.BID, 400_000, 4_000),
        )


@cache
def vetoed(market_class: type[VetoedMarket] = VetoedMarket) -> Ground:
    """A market with a veto as it should be."""
    market = market_class(Rule.DLMP)
    market.trade()
    return Ground.of(market.bundle())


def _other(**fields: int) -> Callable[[Ground], Bundle]:
    """The utility's veto says something else, and the chain tells of it."""

    def forge(ground: Ground) -> Bundle:
        sent, call = call_of(ground.record, calls.VetoFills)
        logged, event = found(ground.record, FillVetoed)
        (veto,) = call.vetoes
        data = calls.encode(replace(call, vetoes=(replace(veto, **fields),)))
        told = {"quantity" if name == "cut" else name: value for name, value in fields.items()}
        bundle = change_call(ground.bundle, sent, UTILITY, data=data)
        return change_event(bundle, ground.record, logged, replace(event, **told))  # type: ignore[type-var]

    return forge


def _one_more(ground: Ground) -> Bundle:
    """After the veto that was due the utility takes back one lot more, for the same limit."""
    sent, call = call_of(ground.record, calls.VetoFills)
    logged, event = found(ground.record, FillVetoed)
    (veto,) = call.vetoes
    more = replace(veto, quantity=veto.quantity - veto.cut, cut=LOT_WH)
    data = calls.encode(replace(call, vetoes=(veto, more)))
    bundle = change_call(ground.bundle, sent, UTILITY, data=data)
    return insert_event(bundle, ground.record, logged, replace(event, quantity=LOT_WH))  # type: ignore[type-var]


def _planted(
    name: str,
    forge: Callable[[Ground], Bundle],
    where: str = "log 0 veto of",
    market_class: type[VetoedMarket] = VetoedMarket,
) -> Kind:
    """A kind that is done to a market with a veto, whatever market the others are done to."""
    return Kind(name, "vetoes", lambda _: consistent(forge(vetoed(market_class)), f"block 9 {where}"))


KINDS: tuple[Kind, ...] = (
    _planted("veto-for-nothing", _one_more, "log 1 veto of"),
    _planted("veto-of-too-much", _other(cut=CUT_WH + LOT_WH)),
    _planted("veto-of-too-little", _other(cut=CUT_WH - LOT_WH), "log 0 the last veto"),
    _planted("veto-of-all-where-a-part-is-enough", _other(cut=4_000), market_class=RelievedMarket),
    _planted("veto-for-another-reason", _other(reason=VetoReason.VOLTAGE_TOO_LOW)),
    _planted("veto-for-another-line", _other(element=2)),
    _planted("veto-for-no-reason", _other(reason=9)),
)
