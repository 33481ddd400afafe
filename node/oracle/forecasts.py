"""What a clearing of prices says of each account, as the contract keeps it for readings that never come.

The powers that accounts answered for the slot, or that stood in for an answer, are the forecast of their net
energy. They are among the responses that oracles verify, so whoever signs the prices can sign them too,
without being asked again: `Forecasts` of 256 accounts each, by number of account.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import eip712
from ledger.address import checksummed
from ledger.exchange import OracleSignature
from ledger.keys import Key, Signature, recover
from ledger.vectors import WORDS_PER_CHUNK, chunk_hash, pack
from market.accounts import UTILITY_ID
from market.atc.responses import Responses
from market.messages import ForecastsHeader, OracleSet
from market.oracle import VALUES_PER_CHUNK

MILLIWATTS_PER_WATT = 1_000

Words = tuple[int, ...]


def forecasts_of(inputs: bytes) -> tuple[Words, ...]:
    """Net energy, Wh, of the first slot of the responses that inputs are; 32 words for 256 accounts."""
    found = Responses.decode(inputs, checksummed)
    hours = found.conditions.hours
    energies_wh = [round(-each.powers[0] * hours / MILLIWATTS_PER_WATT) for each in found.standings]
    energies_wh.insert(UTILITY_ID, 0)  # it answers no clearing; the others are in order of registration
    chunks = range(0, len(energies_wh), VALUES_PER_CHUNK)
    return tuple(_filled(pack(energies_wh[first : first + VALUES_PER_CHUNK])) for first in chunks)


def headers(slot: int, epoch: int, forecasts: Sequence[Words]) -> tuple[ForecastsHeader, ...]:
    """What is signed of them."""
    return tuple(
        ForecastsHeader(slot, epoch, index, chunk_hash(words)) for index, words in enumerate(forecasts)
    )


def signed(
    domain: eip712.Domain, key: Key, index: int, what: Sequence[ForecastsHeader]
) -> tuple[OracleSignature, ...]:
    """One oracle's signatures."""
    return tuple(OracleSignature(index, *key.sign(eip712.digest(domain, each))) for each in what)


def by_oracle(
    domain: eip712.Domain,
    members: OracleSet,
    index: int,
    what: Sequence[ForecastsHeader],
    signatures: Sequence[Signature],
) -> tuple[OracleSignature, ...]:
    """Another oracle's signatures where they are of all this and its own; none where they are not."""
    digests = [eip712.digest(domain, each) for each in what]
    if len(signatures) != len(digests) or any(
        recover(digest, signature) != members.oracles[index]
        for digest, signature in zip(digests, signatures, strict=True)
    ):
        return ()
    return tuple(OracleSignature(index, *signature) for signature in signatures)


def _filled(words: Words) -> Words:
    return words + (0,) * (WORDS_PER_CHUNK - len(words))
