"""What a trader sees of a slot: positions, resting orders and best prices, projected from events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from market.events import Event
from market.orders import Address, OrderFilled, OrderPlaced, OrderRejected, OrderVoided, Side


@dataclass(slots=True)
class _Resting:
    """What is left of an order."""

    side: int
    energy_class: int
    tick: int
    quantity: int


@dataclass(slots=True)
class SlotView:
    """The public state of one slot, kept up to date by `apply`.

    `contracted` is net Wh by address, bought positive; the lists keep the events in chain order.
    """

    slot: int
    contracted: dict[Address, int] = field(default_factory=dict)
    placed: list[OrderPlaced] = field(default_factory=list)
    fills: list[OrderFilled] = field(default_factory=list)
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
                case OrderFilled():
                    self.fills.append(event)
                    self._fill(event)
                case OrderVoided():
                    self.voided.append(event)
                    self._take(event.trader, event.nonce, event.quantity)
                case OrderRejected():
                    self.rejected.append(event)
                case _:
                    pass

    def best(self, side: Side, energy_class: int = 0) -> int | None:
        """Best resting tick of a side, None where nothing rests."""
        ticks = [o.tick for o in self._orders.values() if o.side == side and o.energy_class == energy_class]
        if not ticks:
            return None
        return max(ticks) if side == Side.BID else min(ticks)

    def ladder(self, side: Side, energy_class: int = 0) -> tuple[tuple[int, int], ...]:
        """Resting levels of a side as (tick, Wh), best first."""
        levels: dict[int, int] = {}
        for order in self._orders.values():
            if order.side == side and order.energy_class == energy_class:
                levels[order.tick] = levels.get(order.tick, 0) + order.quantity
        return tuple(sorted(levels.items(), reverse=side == Side.BID))

    def resting_wh(self, trader: Address, side: Side) -> int:
        """Energy of a trader that rests on one side, over all classes."""
        return sum(o.quantity for (who, _), o in self._orders.items() if who == trader and o.side == side)

    def resting_nonces(self, trader: Address) -> tuple[int, ...]:
        """Nonces of a trader's resting orders, ascending."""
        return tuple(sorted(nonce for who, nonce in self._orders if who == trader))

    def next_nonce(self, trader: Address) -> int:
        """Lowest nonce above every one the trader has placed."""
        used = [event.nonce for event in self.placed if event.trader == trader]
        return max(used, default=-1) + 1

    def _fill(self, event: OrderFilled) -> None:
        taker_gets = event.quantity if event.taker_side == Side.BID else -event.quantity
        self.contracted[event.taker] = self.contracted.get(event.taker, 0) + taker_gets
        self.contracted[event.maker] = self.contracted.get(event.maker, 0) - taker_gets
        self._take(event.maker, event.maker_nonce, event.quantity)
        self._take(event.taker, event.taker_nonce, event.quantity)

    def _take(self, trader: Address, nonce: int, quantity: int) -> None:
        order = self._orders[trader, nonce]
        order.quantity -= quantity
        if order.quantity == 0:
            del self._orders[trader, nonce]
