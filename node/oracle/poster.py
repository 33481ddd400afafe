"""An oracle's transactions: headers with their quorums, chunks of vectors, forecasts of accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ledger.chain.protocol import Reverted
from ledger.exchange import Exchange, OracleSignature
from ledger.keys import Key
from ledger.vectors import chunk_hashes, chunked, pack
from market.atc.messages import Purpose
from node.oracle.quorum import Foretold
from node.oracle.signers import Brought


class Poster:
    """Puts on the chain what a quorum signed, and pays for it. All raise ChainError."""

    def __init__(self, exchange: Exchange, key: Key, tell: Callable[[str], None]) -> None:
        self._exchange, self._key, self._tell = exchange, key, tell

    def post(
        self, slot: int, purpose: Purpose, brought: Brought, signatures: tuple[OracleSignature, ...]
    ) -> None:
        """Put the header with its quorum on the chain, then its chunks."""
        exchange, prices = self._exchange, brought.prices
        if purpose is Purpose.CHARGES:
            sent = exchange.post_charges(
                slot,
                chunk_hashes(prices.charges),
                brought.input_hash,
                brought.certificate_hash,
                signatures,
                sender=self._key,
            )
        else:
            sent = exchange.post_prices(
                slot,
                prices.hub_price,
                prices.forecast_import_wh,
                chunk_hashes(prices.bus_price),
                brought.input_hash,
                brought.certificate_hash,
                signatures,
                sender=self._key,
            )
        exchange.confirm(sent)
        for number, words in enumerate(_chunks(purpose, brought)):
            self._chunk(slot, purpose, number, words)

    def post_forecasts(self, slot: int, foretold: Foretold) -> None:
        """Put what is forecast of accounts on the chain, by which missing readings are estimated."""
        for index, (words, signatures) in enumerate(foretold):
            sent = self._exchange.post_forecasts(slot, index, words, signatures, sender=self._key)
            self._exchange.confirm(sent)

    def complete(self, slot: int, purpose: Purpose, kept: Iterable[Brought]) -> None:
        """Post the chunks that whoever posted the header left out, as far as the values are kept."""
        for brought in kept:
            for number, words in enumerate(_chunks(purpose, brought)):
                try:
                    self._chunk(slot, purpose, number, words)
                except Reverted as refusal:  # another's values, or a chunk that is there
                    self._tell(f"slot {slot} {purpose.name.lower()}: chunk {number}: {refusal}")

    def _chunk(self, slot: int, purpose: Purpose, number: int, words: tuple[int, ...]) -> None:
        exchange = self._exchange
        post = exchange.post_charges_chunk if purpose is Purpose.CHARGES else exchange.post_prices_chunk
        exchange.confirm(post(slot, number, words, sender=self._key))


def _chunks(purpose: Purpose, brought: Brought) -> tuple[tuple[int, ...], ...]:
    """The vector's words, chunk by chunk."""
    prices = brought.prices
    return chunked(pack(prices.charges if purpose is Purpose.CHARGES else prices.bus_price))
