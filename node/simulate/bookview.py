"""What a trader sees of a slot: positions, resting orders and best prices, projected from events."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ledger.trades import take_back
from market.events import Event
from market.orders import (
    Address,
    Fill,
    FillVetoed,
    NonceCancelled,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Side,
)

NONCES = 256
"""An account has so many in a slot."""


@dataclass(slots=True)
class _Resting:
    """What is left of an order, 0 Wh where nothing is."""

    side: int
    energy_class: int
    tick: int
    quantity: int


@dataclass(slots=True)
class SlotView:
    """The public state of one slot, kept up to date by `apply`.

    `address_of` names an account by its id. `known_as` gives the one address that it is kept under here, for
    it may have several, as a utility that was handed over. `contracted` is net Wh by address, bought
    positive; the lists keep the events in chain order, of fills one a maker and without what was vetoed.
    Orders are kept by trader, and sums by level, so that asking gets no slower with the orders of others.
    """

    slot: int
    address_of: Callable[[int], Address]
    known_as: Callable[[Address], Address] = str
    contracted: dict[Address, int] = field(default_factory=dict)
    placed: list[OrderPlaced] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    voided: list[OrderVoided] = field(default_factory=list)
    rejected: list[OrderRejected] = field(default_factory=list)
    _orders: dict[Address, dict[int, _Resting]] = field(default_factory=dict)
    _levels: dict[tuple[int, int], dict[int, int]] = field(default_factory=dict)
    _cancelled: dict[Address, set[int]] = field(default_factory=dict)
    """Nonces that a signed cancel killed before an order had them."""

    def apply(self, events: Iterable[Event]) -> None:
        """Take in the events of this slot; others are passed over."""
        for event in events:
            if getattr(event, "slot", None) != self.slot:
                continue
            match event:
                case OrderPlaced():
                    self.placed.append(event)
                    order = _Resting(event.side, event.energy_class, event.tick, 0)
                    self._orders.setdefault(self.known_as(event.trader), {})[event.nonce] = order
                    self._take(event.trader, event.nonce, -event.quantity)
                case OrdersFilled():
                    for fill in event.fills(self.address_of):
                        self.fills.append(fill)
                        self._fill(fill)
                case FillVetoed():
                    for part in take_back(self.fills, event.quantity):
                        self._give_back(part)
                case OrderVoided():
                    self.voided.append(event)
                    self._take(event.trader, event.nonce, event.quantity)
                case OrderRejected():
                    self.rejected.append(event)
                case NonceCancelled():
                    self._cancelled.setdefault(self.known_as(event.trader), set()).add(event.nonce)
                case _:
                    pass

    def best(self, side: Side, energy_class: int = 0) -> int | None:
        """Best resting tick of a side, None where nothing rests."""
        levels = self._levels.get((side, energy_class))
        if not levels:
            return None
        return max(levels) if side == Side.BID else min(levels)

    def ladder(self, side: Side, energy_class: int = 0) -> tuple[tuple[int, int], ...]:
        """Resting levels of a side as (tick, Wh), best first."""
        levels = self._levels.get((side, energy_class), {})
        return tuple(sorted(levels.items(), reverse=side == Side.BID))

    def contracted_wh(self, trader: Address) -> int | None:
        """Net energy of a trader, bought positive; None where it never traded."""
        return self.contracted.get(self.known_as(trader))

    def resting_wh(self, trader: Address, side: Side) -> int:
        """Energy of a trader that rests on one side, over all classes."""
        return sum(order.quantity for order in self._orders_of(trader).values() if order.side == side)

    def rests_wh(self, trader: Address, nonce: int) -> int:
        """Energy of one order that rests."""
        return self._orders_of(trader)[nonce].quantity

    def resting_nonces(self, trader: Address) -> tuple[int, ...]:
        """Nonces of a trader's resting orders, ascending."""
        return tuple(sorted(nonce for nonce, order in self._orders_of(trader).items() if order.quantity))

    def next_nonce(self, trader: Address) -> int:
        """Lowest nonce above every one that the trader has used."""
        return max(self._used_nonces(trader), default=-1) + 1

    def free_nonce(self, trader: Address) -> int | None:
        """Lowest nonce that the trader has neither placed nor cancelled, None where all are used."""
        used = self._used_nonces(trader)
        return next((nonce for nonce in range(NONCES) if nonce not in used), None)

    def _used_nonces(self, trader: Address) -> set[int]:
        return self._orders_of(trader).keys() | self._cancelled.get(self.known_as(trader), set())

    def _orders_of(self, trader: Address) -> dict[int, _Resting]:
        """Every order that a trader placed, by nonce."""
        return self._orders.get(self.known_as(trader), {})

    def _fill(self, fill: Fill) -> None:
        self._contract(fill, fill.quantity)
        self._take(fill.maker, fill.maker_nonce, fill.quantity)
        self._take(fill.taker, fill.taker_nonce, fill.quantity)

    def _give_back(self, part: Fill) -> None:
        """A veto: the maker's part rests again, the taker's is gone."""
        self._contract(part, -part.quantity)
        self._take(part.maker, part.maker_nonce, -part.quantity)

    def _contract(self, fill: Fill, quantity: int) -> None:
        taker_gets = quantity if fill.taker_side == Side.BID else -quantity
        taker, maker = self.known_as(fill.taker), self.known_as(fill.maker)
        self.contracted[taker] = self.contracted.get(taker, 0) + taker_gets
        self.contracted[maker] = self.contracted.get(maker, 0) - taker_gets

    def _take(self, trader: Address, nonce: int, quantity: int) -> None:
        """Change what rests of an order, and of its level, which is forgotten where nothing does."""
        order = self._orders_of(trader)[nonce]
        order.quantity -= quantity
        levels = self._levels.setdefault((order.side, order.energy_class), {})
        levels[order.tick] = levels.get(order.tick, 0) - quantity
        if not levels[order.tick]:
            del levels[order.tick]
