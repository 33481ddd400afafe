"""What orders took of levels, chained by hashes: how a veto proves which fill of a slot was the last.

With F the hash so far (0 at first), a fill makes it

    F := keccak256(F, level, id·2⁸ + nonce of the taker, Wh)      four words of 32 bytes, big-endian
    level = slot·2¹⁹ + class·2¹⁷ + maker's side·2¹⁶ + rank        rank = 32 768 ± tick, + for bids

The contract keeps F alone; whoever vetoes shows the last fill and the F before it, and F is that again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from market.levels import level_number
from market.oracle import Hash
from market.orders import Address, FillVetoed, OrdersFilled, Side, Veto
from market.slots import CLASSES_MAX
from market.units import TICK_MAX

NO_FILLS = bytes(32)
"""F of a slot in which nothing was filled."""


@dataclass(frozen=True, slots=True)
class TakenLevel:
    """What one order took of one level, and F before it."""

    before: bytes
    taker_id: int
    taker_nonce: int
    taker_side: int
    energy_class: int
    tick: int
    quantity_wh: int

    def hash(self, slot: int, hash_of: Hash) -> bytes:
        """F after this fill; `hash_of` is Keccak-256."""
        level = level_number(self.energy_class, Side(1 - self.taker_side), self.tick)
        words = slot << 19 | level, self.taker_id << 8 | self.taker_nonce, self.quantity_wh
        return hash_of(self.before + b"".join(word.to_bytes(32, "big") for word in words))

    def veto(self, taker: Address, cut: int, reason: int, element: int) -> Veto:
        """The veto of `cut` Wh of this fill; `taker` is whose the id is now."""
        return Veto(
            taker,
            self.taker_nonce,
            self.energy_class,
            self.taker_side,
            self.tick,
            self.quantity_wh,
            self.before,
            cut,
            reason,
            element,
        )

    @classmethod
    def named_by(cls, veto: Veto, taker_id: int) -> TakenLevel:
        """The fill that a veto names."""
        return cls(
            veto.before,
            taker_id,
            veto.taker_nonce,
            veto.taker_side,
            veto.energy_class,
            veto.tick,
            veto.quantity,
        )


def names_a_level(veto: Veto) -> bool:
    """Whether there can be a level of this class, side and tick at all."""
    sided = veto.taker_side in (Side.BID, Side.ASK)
    return sided and veto.energy_class <= CLASSES_MAX and -TICK_MAX <= veto.tick <= TICK_MAX


def vetoed(slot: int, veto: Veto) -> FillVetoed:
    """The event that tells of a veto."""
    return FillVetoed(
        slot,
        veto.taker,
        veto.taker_nonce,
        veto.taker_side,
        veto.energy_class,
        veto.tick,
        veto.cut,
        veto.reason,
        veto.element,
    )


def shortened(fills: Iterable[TakenLevel], cut_wh: int) -> list[TakenLevel]:
    """The fills without so many Wh of the last one."""
    *others, last = fills
    left_wh = last.quantity_wh - cut_wh
    return [*others, replace(last, quantity_wh=left_wh)] if left_wh > 0 else others


def chain(
    slot: int, events: Iterable[object], id_of: Callable[[Address], int], hash_of: Hash
) -> list[TakenLevel]:
    """The fills of a slot that are not taken back, from its events in their order.

    An order that took of more than 16 makers of a level did so in one fill, told in several events.
    """
    fills: list[TakenLevel] = []
    for event in events:
        if isinstance(event, FillVetoed):
            fills = shortened(fills, event.quantity)
        elif isinstance(event, OrdersFilled):
            last = fills[-1] if fills else None
            before = NO_FILLS if last is None else last.hash(slot, hash_of)
            fill = TakenLevel(
                before,
                id_of(event.taker),
                event.taker_nonce,
                event.taker_side,
                event.energy_class,
                event.tick,
                event.quantity,
            )
            if last is not None and _same_level(last, fill):
                fills[-1] = replace(last, quantity_wh=last.quantity_wh + event.quantity)
            else:
                fills.append(fill)
    return fills


def _same_level(one: TakenLevel, other: TakenLevel) -> bool:
    """Whether two fills are by one order at one level."""
    return replace(other, before=one.before, quantity_wh=one.quantity_wh) == one
