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
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Side,
)


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

    `address_of` names an account by its id. `contracted` is net Wh by address, bought positive; the lists
    keep the events in chain order, of fills one a maker and without what was vetoed.
    """

    slot: int
    address_of: Callable[[int], Address]
    contracted: dict[Address, int] = field(default_factory=dict)
    placed: list[OrderPlaced] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    voided: list[OrderVoided] = field(default_factory=list)
    rejected: list[OrderRejected] = field(default_factory=list)
    _orders: dict[tuple[Address, int], _Resting] = field(default_factory=dict)

    def apply(self, events: Iterable[Event]) -> None:
        """Take in the events of this slot; others are passed over."""
        for event in events:
            if getattr(event, "slot", None) != self.slot:
                continue
            match event:
                case OrderPlaced():
                    self.placed.append(event)
                    self._orders[event.trader, event.nonce] = _Resting(
                        event.side, event.energy_class, event.tick, event.quantity
                    )
                case OrdersFilled():
                    for fill in event.fills(self.address_of):
                        self.fills.append(fill)
                        self._fill(fill)
                case FillVetoed():
                    for part in take_back(self.fills, event):
                        self._give_back(part)
                case OrderVoided():
                    self.voided.append(event)
                    self._take(event.trader, event.nonce, event.quantity)
                case OrderRejected():
                    self.rejected.append(event)
                case _:
                    pass

    def best(self, side: Side, energy_class: int = 0) -> int | None:
        """Best resting tick of a side, None where nothing rests."""
        ticks = [order.tick for order in self._resting(side, energy_class)]
        if not ticks:
            return None
        return max(ticks) if side == Side.BID else min(ticks)

    def ladder(self, side: Side, energy_class: int = 0) -> tuple[tuple[int, int], ...]:
        """Resting levels of a side as (tick, Wh), best first."""
        levels: dict[int, int] = {}
        for order in self._resting(side, energy_class):
            levels[order.tick] = levels.get(order.tick, 0) + order.quantity
        return tuple(sorted(levels.items(), reverse=side == Side.BID))

    def resting_wh(self, trader: Address, side: Side) -> int:
        """Energy of a trader that rests on one side, over all classes."""
        return sum(o.quantity for (who, _), o in self._orders.items() if who == trader and o.side == side)

    def resting_nonces(self, trader: Address) -> tuple[int, ...]:
        """Nonces of a trader's resting orders, ascending."""
        return tuple(
            sorted(nonce for (who, nonce), o in self._orders.items() if who == trader and o.quantity)
        )

    def next_nonce(self, trader: Address) -> int:
        """Lowest nonce above every one the trader has placed."""
        used = [event.nonce for event in self.placed if event.trader == trader]
        return max(used, default=-1) + 1

    def _resting(self, side: Side, energy_class: int) -> list[_Resting]:
        orders = self._orders.values()
        return [o for o in orders if o.quantity and o.side == side and o.energy_class == energy_class]

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
        self.contracted[fill.taker] = self.contracted.get(fill.taker, 0) + taker_gets
        self.contracted[fill.maker] = self.contracted.get(fill.maker, 0) - taker_gets

    def _take(self, trader: Address, nonce: int, quantity: int) -> None:
        self._orders[trader, nonce].quantity -= quantity
