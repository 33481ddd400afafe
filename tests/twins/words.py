"""What the contract has in its storage, decoded by the tables of contracts/README.md.

Reading a word takes microseconds where a view takes milliseconds, so that all of a market can be looked at
after every call. Neither the contract's views nor its twin are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.chain.embedded import EmbeddedChain
from ledger.keccak import keccak
from market.orders import Address, Side

WORDS, PROFILES, HOLDERS, UNCOVERED, STATES, PROGRESS, HEADS, QUEUES = 0, 1, 2, 4, 10, 11, 12, 13
POSITIONS, CLASS_NETS, VECTORS = 16, 18, 40
"""Variables of the exchange by their slot."""
TOKEN_BALANCES = 6
"""`balanceOf` of the token, behind its name (3 words), symbol (2) and total supply."""
ZERO_RANK = 32_768


def bits(word: int, first: int, last: int, *, signed: bool = False) -> int:
    """The field of a word from bit `first` to bit `last`."""
    width = last - first + 1
    field = word >> first & (1 << width) - 1
    return field - (1 << width) if signed and field >> width - 1 else field


@dataclass(frozen=True, slots=True)
class AccountWords:
    """An account's two words."""

    id: int
    bus: int
    import_capacity: int
    export_capacity: int
    reserved: int
    balance: int
    classes: int
    meter_epoch: int
    credit_limit: int


@dataclass(frozen=True, slots=True)
class PositionWord:
    """What an account has in a slot; resting energy and counts are by side, trades in n€."""

    used_nonces: int
    resting: tuple[int, int]
    counts: tuple[int, int]
    reserve: int
    net: int
    trades: int
    settled: bool
    cleared: bool


@dataclass(frozen=True, slots=True)
class EntryField:
    """An order that came to rest: who placed it, what it has been good for, and what was filled of it, Wh."""

    trader: int
    nonce: int
    quantity: int
    filled: int
    is_passed: bool

    @property
    def open(self) -> int:
        """Wh that still rest."""
        return 0 if self.is_passed else self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class LevelWords:
    """A level with all that came to rest on it, in order."""

    energy_class: int
    side: Side
    tick: int
    entries: tuple[EntryField, ...]


class Words:
    """The storage of one exchange and of its token."""

    def __init__(self, chain: EmbeddedChain, exchange: Address, token: Address) -> None:
        self._chain, self._exchange, self._token = chain, exchange, token
        self._places: dict[tuple[int, int], int] = {}
        self._token_place = mapping_place(TOKEN_BALANCES, int(exchange, 16))

    def at(self, variable: int, key: int) -> int:
        """Word of a mapping."""
        place = self._places.get((variable, key))
        if place is None:
            place = self._places[variable, key] = mapping_place(variable, key)
        return self._chain.storage(self._exchange, place)

    def token_balance(self) -> int:
        """Tokens that the exchange has."""
        return self._chain.storage(self._token, self._token_place)

    # --- accounts -------------------------------------------------------------------------------

    def account(self, address: Address) -> AccountWords | None:
        """An account, None where the address has none."""
        word = self.at(WORDS, int(address, 16))
        if word == 0:
            return None
        number = bits(word, 0, 23)
        profile = self.at(PROFILES, number)
        return AccountWords(
            number,
            bits(word, 24, 33),
            bits(word, 34, 65),
            bits(word, 66, 97),
            bits(word, 98, 171),
            bits(word, 172, 255, signed=True),
            bits(profile, 0, 7),
            bits(profile, 8, 39),
            bits(profile, 128, 255),
        )

    def holder(self, number: int) -> Address:
        """Who has an id, in lower case."""
        return f"0x{self.at(HOLDERS, number):040x}"

    def uncovered(self) -> int:
        """What others have reserved, or owe, beyond their balances."""
        return self._chain.storage(self._exchange, UNCOVERED)

    def clearing(self, slot: int) -> int:
        """What a slot's buyers have paid for their trades, less what sellers got."""
        return bits(self.at(PROGRESS, slot), 128, 255)

    # --- slots ----------------------------------------------------------------------------------

    def position(self, slot: int, number: int) -> PositionWord:
        """What an account has in a slot."""
        word = self.at(POSITIONS, slot << 24 | number)
        return PositionWord(
            bits(word, 0, 23),
            (bits(word, 24, 56), bits(word, 57, 89)),
            (bits(word, 90, 94), bits(word, 95, 99)),
            bits(word, 100, 163),
            bits(word, 164, 197, signed=True),
            100 * bits(word, 198, 249, signed=True),
            bool(bits(word, 250, 250)),
            bool(bits(word, 251, 251)),
        )

    def class_net(self, slot: int, number: int, energy_class: int) -> int:
        """Net Wh of an account in a class from 1."""
        word = self.at(CLASS_NETS, (slot << 24 | number) << 2 | energy_class)
        return word - (1 << 256) if word >> 255 else word

    def state(self, slot: int) -> int:
        """State word of a slot."""
        return self.at(STATES, slot)

    def vector(self, slot: int, kind: int, buses: int) -> tuple[int, ...]:
        """Charges (kind 0) or prices (1) by bus."""
        words = [self.at(VECTORS, slot << 16 | kind << 8 | n) for n in range(-(-buses // 8))]
        return tuple(bits(words[b // 8], 32 * (b % 8), 32 * (b % 8) + 31, signed=True) for b in range(buses))

    # --- the book -------------------------------------------------------------------------------

    def levels(self, slot: int) -> Iterator[LevelWords]:
        """Every level of a slot, the one opened last first."""
        key = bits(self.state(slot), 105, 123)
        while key:
            number = slot << 19 | key
            word = self.at(HEADS, number)
            side, rank = Side(bits(key, 16, 16)), bits(key, 0, 15)
            tick = rank - ZERO_RANK if side == Side.BID else ZERO_RANK - rank
            yield LevelWords(bits(key, 17, 18), side, tick, tuple(self._entries(number, word)))
            key = bits(word, 64, 82)

    def _entries(self, level: int, word: int) -> Iterator[EntryField]:
        head, tail, taken = bits(word, 0, 15), bits(word, 16, 31), bits(word, 32, 63)
        for place in range(tail):
            if place < 2:
                field = word >> 86 + 85 * place
            else:
                block, within = divmod(place - 2, 3)
                field = self.at(QUEUES, level << 16 | block) >> 85 * within
            quantity = bits(field, 0, 31)
            filled = quantity if place < head else taken if place == head else 0
            yield EntryField(bits(field, 61, 84), bits(field, 53, 60), quantity, filled, place < head)


def mapping_place(variable: int, key: int) -> int:
    """Slot of a mapping's word, as Vyper hashes it: keccak256(slot ‖ key)."""
    return int.from_bytes(keccak(variable.to_bytes(32, "big") + key.to_bytes(32, "big")), "big")
