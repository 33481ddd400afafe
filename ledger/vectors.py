"""Vectors by bus as the contract stores them: eight 32-bit values to a 256-bit word, words in chunks.

Bus b is bits 32·(b mod 8) of word ⌊b/8⌋. Charges and prices are two's complement (µ€/kWh), passive
energy is unsigned (Wh). A chunk has at most 32 words, and every chunk but the last has 32.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.keccak import keccak

VALUES_PER_WORD = 8
WORDS_PER_CHUNK = 32
BUSES_MAX = 1_024

_BITS = 32
_MASK = (1 << _BITS) - 1


def pack(values: Sequence[int], *, signed: bool = True) -> tuple[int, ...]:
    """Pack one value a bus into words; those beyond the last bus are 0.

    Raises ValueError on a value outside 32 bits or more than 1 024 buses.
    """
    if len(values) > BUSES_MAX:
        raise ValueError(f"{len(values)} buses are more than the {BUSES_MAX} a market may have")
    lowest, highest = (-(1 << _BITS - 1), (1 << _BITS - 1) - 1) if signed else (0, _MASK)
    for bus, value in enumerate(values):
        if not lowest <= value <= highest:
            raise ValueError(f"bus {bus}: {value} does not fit {'int32' if signed else 'uint32'}")
    return tuple(
        sum(
            (int(value) & _MASK) << _BITS * place
            for place, value in enumerate(values[first : first + VALUES_PER_WORD])
        )
        for first in range(0, len(values), VALUES_PER_WORD)
    )


def unpack(words: Sequence[int], buses: int, *, signed: bool = True) -> tuple[int, ...]:
    """Values of buses 0..buses-1. Raises ValueError if the words are not exactly those of so many buses."""
    if len(words) != -(-buses // VALUES_PER_WORD):
        raise ValueError(f"{len(words)} words do not hold the values of {buses} buses")
    values = [word >> _BITS * place & _MASK for word in words for place in range(VALUES_PER_WORD)]
    if any(values[buses:]):
        raise ValueError(f"values beyond bus {buses - 1} are not 0")
    sign = 1 << _BITS - 1 if signed else 0
    return tuple((value ^ sign) - sign for value in values[:buses])


def chunked(words: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Cut words into the chunks that are posted one at a time."""
    return tuple(
        tuple(words[first : first + WORDS_PER_CHUNK]) for first in range(0, len(words), WORDS_PER_CHUNK)
    )


def chunk_hash(words: Sequence[int]) -> bytes:
    """Keccak-256 of a chunk's words, 32 bytes each, big-endian."""
    return keccak(b"".join(word.to_bytes(32, "big") for word in words))


def chunk_hashes(values: Sequence[int], *, signed: bool = True) -> tuple[bytes, ...]:
    """Hash of each chunk of a vector by bus: `chunkHashes` of postCharges and postPrices."""
    return tuple(chunk_hash(chunk) for chunk in chunked(pack(values, signed=signed)))


def values_hash(values: Sequence[int], *, signed: bool = True) -> bytes:
    """What oracles sign of a vector by bus: Keccak-256 of the concatenated chunk hashes."""
    return keccak(b"".join(chunk_hashes(values, signed=signed)))
