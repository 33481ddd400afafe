"""Orders, the commands that reach a book, and the events that answer them.

The events are the contract's own, field for field: the twin returns the records that
`ledger.events` decodes from the chain, so the two compare with `==`.
Addresses are EIP-55 checksummed strings and opaque here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

Address = str
UINT8, UINT32 = 2**8 - 1, 2**32 - 1
NOBODY: Address = "0x0000000000000000000000000000000000000000"


class Side(IntEnum):
    """Side of the book."""

    BID = 0
    ASK = 1


class Flag(IntFlag):
    """Flags of an order."""

    NONE = 0
    IMMEDIATE_OR_CANCEL = 1


class Reject(IntEnum):
    """Why an order was refused. Alone it reverts by `rule`; in a batch it is skipped with the code.

    The contract tests the rules in this order and answers with the first one broken; the last one is of
    batches alone, and of orders that were not looked at: they may be sent again.
    """

    UNKNOWN_TRADER = 1
    BAD_SIGNATURE = 2
    WRONG_RELAYER = 3
    SLOT_NOT_OPEN = 4
    EXPIRED = 5
    NONCE_USED = 6
    MALFORMED = 7
    UNKNOWN_CLASS = 8
    NOT_REGISTERED_SELLER = 9
    NOT_WHOLE_LOTS = 10
    PRICE_OFF_RANGE = 11
    TOO_MANY_RESTING = 12
    OVER_CAPACITY = 13
    INSUFFICIENT_FUNDS = 14
    TOO_MANY_VISITS = 15

    @property
    def rule(self) -> str:
        """The contract's revert string."""
        of = "batch: " if self is Reject.TOO_MANY_VISITS else "order: "
        return of + self.name.lower().replace("_", " ")


class VoidReason(IntEnum):
    """Why a resting or incoming quantity was voided."""

    CANCELLED = 1
    EXPIRED = 2
    OWN_ORDER = 3
    IMMEDIATE_OR_CANCEL = 4
    VISITS = 5
    GATE_CLOSED = 6
    LEVEL_FULL = 7


@dataclass(frozen=True, slots=True)
class Order:
    """A bid or ask as signed (EIP-712 type `Order`); no cryptography here.

    `limit_ueur_per_kwh` is all-in at the trader's own bus. `expiry` is a Unix second, 0 for
    none. `relayer` is who may submit it, NOBODY for anyone.
    """

    trader: Address
    slot: int
    nonce: int
    side: Side
    energy_class: int
    limit_ueur_per_kwh: int
    quantity_wh: int
    flags: int = 0
    expiry: int = 0
    relayer: Address = NOBODY


# --- commands of a book -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Berth:
    """Where an order rests: its level, and its place in the level's queue."""

    energy_class: int = 0
    side: int = 0
    tick: int = 0
    place: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Place `order` at Unix second `time`; `signer` is whom the signature names (None if invalid)."""

    order: Order
    time: int
    sender: Address
    signer: Address | None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel by signature what rests at `berth`; also kills a nonce never seen, whatever `berth` says."""

    trader: Address
    nonce: int
    berth: Berth
    time: int
    signer: Address | None


class VetoReason(IntEnum):
    """Which limit a vetoed fill would break."""

    VOLTAGE_TOO_LOW = 0
    VOLTAGE_TOO_HIGH = 1
    LOADING = 2


@dataclass(frozen=True, slots=True)
class Veto:
    """The utility takes back `cut` Wh of the slot's last fill.

    The fill is what `taker`'s order took of a level, `quantity` Wh; `before` is the hash of the fills that
    came before it. `reason` is a VetoReason, `element` the bus or line.
    """

    taker: Address
    taker_nonce: int
    energy_class: int
    taker_side: int
    tick: int
    quantity: int
    before: bytes
    cut: int
    reason: int
    element: int


@dataclass(frozen=True, slots=True)
class VetoFills:
    """The utility takes back fills one after the other, the last first."""

    vetoes: tuple[Veto, ...]
    time: int


@dataclass(frozen=True, slots=True)
class CloseGate:
    """Go through at most `limit` entries of the levels: credit what was filled, void what rests."""

    time: int
    limit: int


Command = Place | Cancel | VetoFills | CloseGate


# --- events of a book ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """An order was accepted at hub tick `tick`; fills and a void may follow, the rest rests."""

    slot: int
    trader: Address
    nonce: int
    side: int
    energy_class: int
    tick: int
    limit_price: int
    quantity: int
    flags: int
    expiry: int


@dataclass(frozen=True, slots=True)
class Fill:
    """`quantity` Wh changed hands between two orders, at the maker's tick."""

    slot: int
    energy_class: int
    tick: int
    quantity: int
    maker: Address
    maker_nonce: int
    taker: Address
    taker_nonce: int
    taker_side: int


@dataclass(frozen=True, slots=True)
class OrdersFilled:
    """What one order took at one tick, at most 16 makers an event, oldest first.

    A maker is its account's id << 40 | its nonce << 32 | Wh, as the contract logs it; `fills` reads them.
    """

    slot: int
    taker: Address
    taker_nonce: int
    taker_side: int
    energy_class: int
    tick: int
    makers: tuple[int, ...]

    @property
    def quantity(self) -> int:
        """Wh over all makers."""
        return sum(maker & UINT32 for maker in self.makers)

    def fills(self, address_of: Callable[[int], Address]) -> tuple[Fill, ...]:
        """One fill a maker; `address_of` gives the address of an account's id."""
        return tuple(
            Fill(
                self.slot,
                self.energy_class,
                self.tick,
                maker & UINT32,
                address_of(maker >> 40),
                maker >> 32 & UINT8,
                self.taker,
                self.taker_nonce,
                self.taker_side,
            )
            for maker in self.makers
        )


@dataclass(frozen=True, slots=True)
class OrderVoided:
    """`quantity` Wh of an order will never trade; its reserve is released."""

    slot: int
    trader: Address
    nonce: int
    quantity: int
    reason: int


@dataclass(frozen=True, slots=True)
class FillVetoed:
    """`quantity` Wh that an order took at a tick are taken back; the makers' part rests again."""

    slot: int
    taker: Address
    taker_nonce: int
    taker_side: int
    energy_class: int
    tick: int
    quantity: int
    reason: int
    element: int


@dataclass(frozen=True, slots=True)
class VetoPaused:
    """Vetoes of a call ended early: a level's head went back to `place`, over gaps alone.

    The fill that was to be taken back is still behind more of them; the next call goes on from there.
    """

    slot: int
    energy_class: int
    side: int
    tick: int
    place: int


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """An order of a batch was skipped; its nonce stays usable."""

    slot: int
    trader: Address
    nonce: int
    code: int


@dataclass(frozen=True, slots=True)
class NonceCancelled:
    """A signed cancel consumed a nonce (of a resting order or of one never seen)."""

    slot: int
    trader: Address
    nonce: int


@dataclass(frozen=True, slots=True)
class ClosingPaused:
    """A call of gate closure ended before the last entry; the next goes on with the one at `place`."""

    slot: int
    energy_class: int
    side: int
    tick: int
    place: int


@dataclass(frozen=True, slots=True)
class GateClosed:
    """Everything that rested is voided; accounts 0..accounts-1 must settle."""

    slot: int
    accounts: int


BookEvent = (
    OrderPlaced
    | OrdersFilled
    | FillVetoed
    | VetoPaused
    | OrderVoided
    | OrderRejected
    | NonceCancelled
    | ClosingPaused
    | GateClosed
)
