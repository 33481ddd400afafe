"""Bidding policies: from what a trader sees of a slot to the orders it signs.

A policy is a pure function of the view and of `rng`. Every limit is all-in at the trader's own bus and
never worse than the trader's alternative, which is the utility: it asks π_imp and bids π_exp at the hub,
so π_imp + ν_b is the most a bid is worth and π_exp + ν_b the least an ask must bring. Policies propose
only what is within the registered capacity and neither contracted nor resting already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from market.agents.curve import DemandCurve
from market.orders import Address, Flag, Order, Side
from market.pricing.conditions import Devices
from market.slots import Tariff
from market.units import TICK_UEUR_PER_KWH, hub_price

LAST_NONCE = 255


@dataclass(frozen=True)
class AgentView:
    """What one trader knows of one slot before a round of trading.

    round: from 0 to rounds − 1; charge: ν of its bus, µ€/kWh; devices: one period, of which `column` is
    its own; firm_p: its firm load, pu; energies Wh, bought positive; best_bid, best_ask: hub ticks, None
    where nothing rests; hub_price: λ_0 of the forecast clearing, µ€/kWh, which the utility's bid for the
    passive load shows to everybody (None: read the book instead); partners: the same of each of those who
    trade together with it.
    """

    trader: Address
    slot: int
    bus: int
    round: int
    rounds: int
    charge: int
    tariff: Tariff
    lot_wh: int
    hours: float
    base_mw: float
    devices: Devices
    column: int
    firm_p: float
    contracted_wh: int
    resting_bid_wh: int
    resting_ask_wh: int
    best_bid: int | None
    best_ask: int | None
    next_nonce: int
    import_capacity_wh: int
    export_capacity_wh: int
    hub_price: int | None = None
    energy_class: int = 0
    partners: tuple[AgentView, ...] = ()

    @cached_property
    def curve(self) -> DemandCurve:
        """Its net demand as a function of the price at its bus."""
        return DemandCurve.of(
            self.devices,
            self.column,
            self.firm_p,
            base_mw=self.base_mw,
            hours=self.hours,
            lot_wh=self.lot_wh,
        )

    @property
    def dearest(self) -> int:
        """π_imp + ν_b: what the utility charges at this bus."""
        return self.tariff.hub_import + self.charge

    @property
    def cheapest(self) -> int:
        """π_exp + ν_b: what the utility pays at this bus."""
        return self.tariff.hub_export + self.charge

    @property
    def anchor(self) -> int:
        """The public price at this bus: forecast λ_0 + ν_b, or the middle of the book.

        A tick within the utility's two prices, so that trading at it beats trading with the utility.
        """
        at_hub = self.hub_price if self.hub_price is not None else self._middle
        low, high = self.cheapest + TICK_UEUR_PER_KWH, self.dearest - TICK_UEUR_PER_KWH
        return min(max(at_hub + self.charge, low), high)

    @property
    def last(self) -> bool:
        """This is the last round."""
        return self.round == self.rounds - 1

    @property
    def scarce(self) -> bool:
        """The public price is the utility's ask: the feeder imports, and buyers are the long side."""
        return self.anchor >= self.dearest - TICK_UEUR_PER_KWH

    @property
    def undercut(self) -> bool:
        """Somebody offers below the utility's ask."""
        return self.best_ask is not None and self.best_ask < self.tariff.hub_import // TICK_UEUR_PER_KWH

    @property
    def position_wh(self) -> int:
        """Contracted net energy if everything that rests were filled."""
        return self.contracted_wh + self.resting_bid_wh - self.resting_ask_wh

    def wanted_wh(self, price: float) -> int:
        """What it would still buy (negative: sell) at a price, in whole lots."""
        return self.curve.net_wh(price, self.position_wh) - self.position_wh

    def limited_to(self, energy_wh: int) -> AgentView:
        """The same view of one who may still trade so much, either way."""
        return replace(
            self,
            import_capacity_wh=min(
                self.import_capacity_wh, self.contracted_wh + self.resting_bid_wh + energy_wh
            ),
            export_capacity_wh=min(
                self.export_capacity_wh, self.resting_ask_wh - self.contracted_wh + energy_wh
            ),
        )

    @property
    def bid_room_wh(self) -> int:
        """What it may still bid for under its import capacity."""
        return self._lots(self.import_capacity_wh - self.contracted_wh - self.resting_bid_wh)

    @property
    def ask_room_wh(self) -> int:
        """What it may still offer under its export capacity."""
        return self._lots(self.export_capacity_wh + self.contracted_wh - self.resting_ask_wh)

    @property
    def _middle(self) -> int:
        bid = self.tariff.hub_export if self.best_bid is None else hub_price(self.best_bid)
        ask = self.tariff.hub_import if self.best_ask is None else hub_price(self.best_ask)
        return (bid + ask) // 2

    def _lots(self, energy_wh: int) -> int:
        return max(energy_wh, 0) // self.lot_wh * self.lot_wh


class Policy(Protocol):
    """Decides what a trader submits in a round."""

    def orders(self, view: AgentView, rng: np.random.Generator) -> Sequence[Order]:
        """Orders for this round, in the order they are to be submitted; nonces unique."""
        ...


@dataclass(frozen=True, slots=True)
class Truthful:
    """Trades towards its own optimum at the public price, with a mark-up that decays to 0.

    Until the last round the limit is the true value worsened by the mark-up, though never beyond the
    public price. Who is on the short side of the market lets its orders rest, for they will be met: buyers
    while the public price is below the utility's ask, else sellers. The long side only takes, so that
    nothing of it is tied up when the last round comes. Then everybody takes what is still open at its
    true limit, at worst from the utility.
    """

    markup: float = 0.10

    def orders(self, view: AgentView, rng: np.random.Generator) -> Sequence[Order]:
        """At most two orders: for what is traded at any price, and for what depends on the price."""
        ticket = _Ticket(view)
        missing = view.wanted_wh(view.anchor)
        if missing > 0:
            self._bid(view, ticket, missing)
        else:
            self._ask(view, ticket, -missing)
        return tuple(ticket.orders)

    def _bid(self, view: AgentView, ticket: _Ticket, missing: int) -> None:
        """Before the last round the utility's price is not paid yet, so who only takes needs a better ask."""
        if not view.last and view.scarce and not view.undercut:
            return
        rests = not view.last and not view.scarce
        highest = view.dearest - (0 if view.last else TICK_UEUR_PER_KWH)
        part = self._share(view, missing) if rests else missing
        firm = min(part, max(view.wanted_wh(view.dearest), 0))
        for quantity, value in (
            (firm, float(view.dearest)),
            (part - firm, view.curve.last_bought(view.position_wh + part)),
        ):
            shaded = max(value - self._shade(view) * abs(value), min(value, view.anchor))
            ticket.bid(quantity, min(shaded, highest), rests=rests)

    def _ask(self, view: AgentView, ticket: _Ticket, spare: int) -> None:
        """The mirror image; the utility's bid is not accepted before the last round."""
        rests = not view.last and view.scarce
        lowest = view.cheapest + (0 if view.last else TICK_UEUR_PER_KWH)
        part = self._share(view, spare) if rests else spare
        firm = min(part, max(-view.wanted_wh(view.cheapest), 0))
        for quantity, value in (
            (firm, float(view.cheapest)),
            (part - firm, view.curve.last_sold(view.position_wh - part)),
        ):
            shaded = min(value + self._shade(view) * abs(value), max(value, view.anchor))
            ticket.ask(quantity, max(shaded, lowest), rests=rests)

    def _shade(self, view: AgentView) -> float:
        return 0.0 if view.last else self.markup * (1.0 - view.round / (view.rounds - 1))

    @staticmethod
    def _share(view: AgentView, quantity: int) -> int:
        """An equal share for each round before the last."""
        parts = (view.rounds - 1 - view.round) * view.lot_wh
        return -(-quantity // parts) * view.lot_wh


@dataclass(frozen=True, slots=True)
class Coalition:
    """Trades its part of what a coalition wants together, and leaves inside what its members have.

    W. Tushar et al., IEEE Transactions on Smart Grid 11(2):1407–1418, 2020: prosumers who form a coalition
    trade inside it, and with others only what is left. Here nobody signs an order for what one member wants
    and another has: each takes it at the meter, and settlement pays and charges it at the DLMP of the
    member's bus (rule dlmp). Of the rest each member on the coalition's side trades a part in proportion.
    """

    rest: Policy = Truthful()

    def orders(self, view: AgentView, rng: np.random.Generator) -> Sequence[Order]:
        """Those of `rest`, for no more than the part."""
        wanted = view.wanted_wh(view.anchor)
        everybody = [wanted, *(each.wanted_wh(each.anchor) for each in view.partners)]
        together = sum(everybody)
        if wanted * together <= 0:
            return ()
        same_side = sum(each for each in everybody if each * together > 0)
        part = abs(wanted * together) // abs(same_side * view.lot_wh) * view.lot_wh
        return self.rest.orders(view.limited_to(part), rng)


@dataclass(frozen=True, slots=True)
class ZeroIntelligenceConstrained:
    """Quotes at random, but never at a loss (Gode & Sunder, Journal of Political Economy 101(1), 1993).

    One order a round for a random part of what it would trade at the public price: a bid anywhere between
    the utility's bid and its own worth, an ask anywhere between its own worth and the utility's ask.
    """

    def orders(self, view: AgentView, rng: np.random.Generator) -> Sequence[Order]:
        """At most one order."""
        ticket = _Ticket(view)
        missing = view.wanted_wh(view.anchor)
        size, place = rng.random(2)
        part = -(-round(abs(missing) * size) // view.lot_wh) * view.lot_wh
        wanted = view.position_wh + (part if missing > 0 else -part)
        worth = view.curve.last_bought(wanted) if missing > 0 else view.curve.last_sold(wanted)
        worth = min(max(worth, view.cheapest), view.dearest)
        if missing > 0:
            ticket.bid(part, view.cheapest + place * (worth - view.cheapest), rests=True)
        else:
            ticket.ask(part, worth + place * (view.dearest - worth), rests=True)
        return tuple(ticket.orders)


class _Ticket:
    """Collects a trader's orders of a round: consecutive nonces, whole lots, capacity kept."""

    def __init__(self, view: AgentView) -> None:
        self.orders: list[Order] = []
        self._view = view
        self._room = {Side.BID: view.bid_room_wh, Side.ASK: view.ask_room_wh}

    def bid(self, quantity_wh: int, limit: float, *, rests: bool) -> None:
        """Bid, rounding the limit down; `rests` or immediate-or-cancel."""
        self._add(Side.BID, quantity_wh, int(np.floor(limit)), rests)

    def ask(self, quantity_wh: int, limit: float, *, rests: bool) -> None:
        """Offer, rounding the limit up."""
        self._add(Side.ASK, quantity_wh, int(np.ceil(limit)), rests)

    def _add(self, side: Side, quantity_wh: int, limit: int, rests: bool) -> None:
        view = self._view
        quantity = min(quantity_wh, self._room[side])
        nonce = view.next_nonce + len(self.orders)
        if quantity <= 0 or nonce > LAST_NONCE:
            return
        self._room[side] -= quantity
        self.orders.append(
            Order(
                trader=view.trader,
                slot=view.slot,
                nonce=nonce,
                side=side,
                energy_class=view.energy_class,
                limit_ueur_per_kwh=limit,
                quantity_wh=quantity,
                flags=int(Flag.NONE if rests else Flag.IMMEDIATE_OR_CANCEL),
            )
        )
