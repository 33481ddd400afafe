"""Oracles and what they post: the set with its quorum, vectors by bus that arrive in chunks, forecasts.

Twin of `oracle.vy`. Eight 32-bit values to a word (bus b is bits 32·(b mod 8) of word ⌊b/8⌋), at most 32
words to a chunk; forecasts are chunks of 256 accounts, by id. The hash function is passed in; signatures
arrive as the signers they name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from market.accounts import require
from market.orders import NOBODY, Address

VALUES_PER_WORD = 8
WORDS_PER_CHUNK = 32
VALUES_PER_CHUNK = VALUES_PER_WORD * WORDS_PER_CHUNK

_BITS = 32
_SIGN = 1 << _BITS - 1
_MASK = (1 << _BITS) - 1

Hash = Callable[[bytes], bytes]
"""Keccak-256: bytes to 32 bytes."""
Signed = tuple[int, Address | None]
"""One part of a quorum: the oracle's index in the set, and whom the signature names (None if invalid)."""


def word_count(buses: int) -> int:
    """Words of a vector by bus."""
    return -(-buses // VALUES_PER_WORD)


def require_tail_empty(last_word: int, buses: int) -> None:
    """Refuse a last word that has values beyond the last bus."""
    used = (buses - 1) % VALUES_PER_WORD + 1
    require(last_word >> _BITS * used == 0, "oracle: value beyond the last bus", hex(last_word))


def words_hash(words: Sequence[int], hash_of: Hash) -> bytes:
    """Hash of packed words: what commits to a chunk, or to a forecast."""
    return hash_of(b"".join(word.to_bytes(32, "big") for word in words))


def value_at(words: Sequence[int], number: int) -> int:
    """Two's complement value of a bus in a vector, or of an account in a forecast."""
    word, place = divmod(number, VALUES_PER_WORD)
    return ((words[word] >> _BITS * place & _MASK) ^ _SIGN) - _SIGN


@dataclass(frozen=True, slots=True)
class Oracles:
    """The set in force: distinct keys, and how many must sign. Raises Refused where it cannot work."""

    epoch: int
    quorum: int
    members: tuple[Address, ...]

    def __post_init__(self) -> None:
        possible = 0 < self.quorum <= len(self.members)
        distinct = len(set(self.members)) == len(self.members)
        require(possible and distinct and NOBODY not in self.members, "oracle: bad set", self)

    def require_quorum(self, signed: Sequence[Signed]) -> int:
        """One bit for each signer, if a quorum signed, each once, in the set's order. Raises Refused."""
        require(len(signed) >= self.quorum, "oracle: quorum not reached", len(signed))
        signers = 0
        for index, signer in signed:
            require(index < len(self.members), "oracle: no such oracle", index)
            require(signers >> index == 0, "oracle: signers not ascending", index)
            require(signer == self.members[index], "oracle: bad signature", index)
            signers |= 1 << index
        return signers


class PostedVector:
    """Prices by bus in the making: what was signed of it, the chunks so far, the values once all are in.

    `substation` is what bus 0 must have, and `substation_rule` names the refusal where it has not.
    """

    def __init__(
        self,
        buses: int,
        chunk_hashes: Sequence[bytes],
        hash_of: Hash,
        substation: int,
        substation_rule: str,
    ) -> None:
        """Expect chunks with these hashes. Raises Refused where they are too many or too few."""
        chunks = -(-word_count(buses) // WORDS_PER_CHUNK)
        require(len(chunk_hashes) == chunks, "oracle: wrong number of chunks", len(chunk_hashes))
        self._buses = buses
        self._chunk_hashes = tuple(chunk_hashes)
        self._hash_of = hash_of
        self._substation = substation
        self._substation_rule = substation_rule
        self._chunks: dict[int, tuple[int, ...]] = {}
        self.values: tuple[int, ...] | None = None

    @property
    def values_hash(self) -> bytes:
        """What the oracles signed: the hash of the concatenated chunk hashes."""
        return self._hash_of(b"".join(self._chunk_hashes))

    def add(self, index: int, words: Sequence[int]) -> None:
        """Take one chunk; the last one to come makes `values`. Raises Refused."""
        require(index < len(self._chunk_hashes), "oracle: no such chunk", index)
        require(index not in self._chunks, "oracle: chunk already posted", index)
        length = min(WORDS_PER_CHUNK, word_count(self._buses) - WORDS_PER_CHUNK * index)
        require(len(words) == length, "oracle: wrong chunk", f"{len(words)} words")
        found = words_hash(words, self._hash_of)
        require(found == self._chunk_hashes[index], "oracle: wrong chunk", found.hex())
        if index == 0:
            require(value_at(words, 0) == self._substation, self._substation_rule, value_at(words, 0))
        if index == len(self._chunk_hashes) - 1:
            require_tail_empty(words[-1], self._buses)
        self._chunks[index] = tuple(words)
        if len(self._chunks) == len(self._chunk_hashes):
            packed = [word for _, chunk in sorted(self._chunks.items()) for word in chunk]
            self.values = tuple(value_at(packed, bus) for bus in range(self._buses))
