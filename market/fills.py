"""What orders took of levels, chained by hashes: how a veto proves which fill of a slot was the last.

With F the hash so far (0 at first), a fill makes it

    F := keccak256(F, level, id·2⁸ + nonce of the taker, Wh)      four words of 32 bytes, big-endian
    level = slot·2¹⁹ + class·2¹⁷ + maker's side·2¹⁶ + rank        rank = 32 768 ± tick, + for bids

The contract keeps F alone; whoever vetoes shows the last fill and the F before it, and F is that again.
"""

from __future__ import annotations

from dataclasses import dataclass

from market.accounts import Account
from market.levels import Level
from market.oracle import Hash
from market.orders import Side, Veto
from market.slots import CLASSES_MAX
from market.units import TICK_MAX

NO_FILLS = bytes(32)
"""F of a slot in which nothing was filled."""


@dataclass(frozen=True, slots=True)
class TakenLevel:
    """What one order took of one level, and F before it."""

    before: bytes
    level: Level
    taker: Account
    nonce: int
    quantity_wh: int

    def hash(self, slot: int, hash_of: Hash) -> bytes:
        """F after this fill; `hash_of` is Keccak-256."""
        words = slot << 19 | self.level.number, self.taker.id << 8 | self.nonce, self.quantity_wh
        return hash_of(self.before + b"".join(word.to_bytes(32, "big") for word in words))

    def is_named_by(self, veto: Veto) -> bool:
        """Whether a veto says of this fill what its hash covers."""
        level = self.level
        return (self.before, self.taker.address, self.nonce, self.quantity_wh) == (
            veto.before,
            veto.taker,
            veto.taker_nonce,
            veto.quantity,
        ) and (level.energy_class, 1 - level.side, level.tick) == (
            veto.energy_class,
            veto.taker_side,
            veto.tick,
        )


def names_a_level(veto: Veto) -> bool:
    """Whether there can be a level of this class, side and tick at all."""
    sided = veto.taker_side in (Side.BID, Side.ASK)
    return sided and veto.energy_class <= CLASSES_MAX and -TICK_MAX <= veto.tick <= TICK_MAX
