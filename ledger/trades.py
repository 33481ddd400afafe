"""What vetoes take back of trades that the book's events tell of, maker by maker, and for which limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


def without_last(fills: Iterable[Fill], vetoed_wh: int) -> list[Fill]:
    """The fills that stand after so much of the last of them is taken back."""
    standing = list(fills)
    take_back(standing, vetoed_wh)
    return standing


def between_buses(fills: Iterable[Fill], bus_of: Callable[[Address], int]) -> list[Trade]:
    """From which bus to which bus fills carry how much energy."""
    return [
        (*((maker, taker) if fill.taker_side == Side.BID else (taker, maker)), fill.quantity)
        for fill in fills
        for maker, taker in [(bus_of(fill.maker), bus_of(fill.taker))]
    ]


@dataclass(frozen=True, eq=False)
class Standing:
    """Fills that stand at some time in the order in which they happened, and what carries them."""

    fills: tuple[Fill, ...]
    bus_of: Callable[[Address], int]
    carrier: Carrier

    def broken(self, vetoed_wh: int) -> tuple[Violation, ...]:
        """Limits that break with so many Wh of the last fills taken back. Raises PowerFlowError."""
        return self.carrier.broken(self._left(vetoed_wh))

    def least(self, lot_wh: int) -> int:
        """The least of the last fills to take back for no limit to break, Wh; all where nothing is enough."""
        return least_taken_back(
            [fill.quantity for fill in self.fills],
            lot_wh,
            lambda vetoed_wh: self.carrier.excess(self._left(vetoed_wh)),
        )

    def _left(self, vetoed_wh: int) -> list[Trade]:
        return between_buses(without_last(self.fills, vetoed_wh), self.bus_of)


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
