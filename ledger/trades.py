"""What vetoes take back of trades that the book's events tell of, maker by maker, and for which limits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from market.feeder.contracted import Carrier, Trade, least_taken_back
from market.feeder.powerflow import Violation
from market.orders import Address, Fill, Side, VetoReason


def take_back(standing: list[Fill], vetoed_wh: int) -> list[Fill]:
    """Take the vetoed energy out of a slot's last fills, in place; returns the parts, the last first.

    A veto goes back over the fills in the order in which they happened. Whether they were the vetoed
    order's is not looked at: a contract takes back nothing else, and the audit replays what it did.
    """
    parts: list[Fill] = []
    left_wh = vetoed_wh
    while left_wh > 0 and standing:
        last = standing.pop()
        part_wh = min(left_wh, last.quantity)
        parts.append(replace(last, quantity=part_wh))
        if part_wh < last.quantity:
            standing.append(replace(last, quantity=last.quantity - part_wh))
        left_wh -= part_wh
    return parts


@dataclass(frozen=True, eq=False)
class Standing:
    """Fills that stand at some time in the order in which they happened, and what carries them."""

    fills: tuple[Fill, ...]
    bus_of: Callable[[Address], int]
    carrier: Carrier

    def without(self, vetoed_wh: int) -> Standing:
        """What stands after so much of the last fills is taken back."""
        left = list(self.fills)
        take_back(left, vetoed_wh)
        return replace(self, fills=tuple(left))

    def broken(self) -> tuple[Violation, ...]:
        """Limits that the fills break. Raises PowerFlowError."""
        return self.carrier.broken(self._trades())

    def least(self, lot_wh: int) -> int:
        """The least of the last fills to take back for no limit to break, Wh; all where nothing is enough."""
        return least_taken_back(
            [fill.quantity for fill in self.fills],
            lot_wh,
            lambda vetoed_wh: self.carrier.excess(self.without(vetoed_wh)._trades()),
        )

    def _trades(self) -> list[Trade]:
        """From which bus to which bus the fills carry how much energy."""
        placed = ((fill, self.bus_of(fill.maker), self.bus_of(fill.taker)) for fill in self.fills)
        return [
            (maker, taker, fill.quantity) if fill.taker_side == Side.BID else (taker, maker, fill.quantity)
            for fill, maker, taker in placed
        ]


_LIMITS = {
    VetoReason.VOLTAGE_TOO_LOW: "voltage too low at bus",
    VetoReason.VOLTAGE_TOO_HIGH: "voltage too high at bus",
    VetoReason.LOADING: "loading of the line to bus",
}


def limit_named(reason: int, element: int) -> str:
    """The limit that a veto names; the contract stores any reason and any element."""
    with suppress(ValueError):
        return f"{_LIMITS[VetoReason(reason)]} {element}"
    return f"reason {reason}, element {element}"
