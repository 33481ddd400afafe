"""Random charges, prices and forecasts of oracles, good and bad."""

from __future__ import annotations

from ledger import calls, vectors
from ledger.keys import Key
from market.events import Event
from market.messages import ChargesHeader, ForecastsHeader, OracleSet, PricesHeader
from tests.twins.life import STRANGER, TRADERS, Life
from tests.twins.pair import Signer, key_of

ORACLES = tuple(key_of("oracle", i) for i in range(4))
QUORUM = 2
INPUT_HASH, CERTIFICATE_HASH = b"\x11" * 32, b"\x22" * 32


class Posting(Life):
    """What oracles do. `oracles` is the set in force."""

    oracles: list[Key]

    def good_quorum(self) -> list[tuple[int, Signer]]:
        return [(index, Signer(key)) for index, key in enumerate(self.oracles)][-QUORUM:]

    def draw_quorum(self, good: bool) -> list[tuple[int, Signer]]:
        if good or not self.sometimes():
            return self.good_quorum()
        order = [(index, Signer(key)) for index, key in enumerate(self.oracles)]
        spoilt = [
            order[:1],
            order,
            [order[2], order[0]],
            [order[0], order[0]],
            [order[0], (9, order[1][1])],
            [order[0], (1, Signer(STRANGER))],
            [order[0], (1, Signer(self.oracles[1], malleated=True))],
        ]
        return self.choose(spoilt)

    def draw_vector(self, substation: int, good: bool) -> list[int]:
        """Values near the substation's, at few buses apart from each other."""
        shifts = [0, 0, 100, -100, 1_234, -30_000, 40_001]
        pattern = [substation + self.choose(shifts) for _ in range(TRADERS)]
        values = [substation, *(pattern[i % TRADERS] for i in range(self.terms.buses - 1))]
        if not good and self.sometimes():
            values[0] += 1
        return values

    def draw_words(self, values: list[int], good: bool) -> list[tuple[int, ...]]:
        """The chunks as posted; seldom with a value beyond the last bus, which the hashes commit to."""
        words = list(vectors.pack(values))
        if not good and self.sometimes():
            words[-1] |= 1 << 255
        return list(vectors.chunked(words))

    def draw_charges(self, slot: int, good: bool) -> None:
        """Charges of a slot, signed and posted, or spoilt in some way."""
        chunks = self.draw_words(self.draw_vector(0, good), good)
        hashes = tuple(vectors.chunk_hash(words) for words in chunks)
        if not good and self.sometimes():
            hashes = hashes[1:]
        self.post_charges_header(slot, hashes, self.draw_quorum(good))
        for index, words in self.draw_chunks(chunks, good):
            self.pair.same(self.pair.payer, calls.PostChargesChunk(slot, index, words))

    def post_charges_of(self, slot: int, values: list[int]) -> None:
        """A good header and all its chunks; what is posted already is refused."""
        self.post_charges_header(slot, vectors.chunk_hashes(values), self.good_quorum())
        for index, words in enumerate(vectors.chunked(vectors.pack(values))):
            self.pair.same(self.pair.payer, calls.PostChargesChunk(slot, index, words))

    def post_charges_header(
        self, slot: int, hashes: tuple[bytes, ...], quorum: list[tuple[int, Signer]]
    ) -> None:
        epoch, values_hash = self.pair.twin.oracles.epoch, vectors.keccak(b"".join(hashes))
        header = ChargesHeader(slot, epoch, values_hash, INPUT_HASH, CERTIFICATE_HASH)
        proofs, named = self.pair.prove(header, quorum)
        arguments = (slot, hashes, INPUT_HASH, CERTIFICATE_HASH)
        self.pair.plain(self.pair.payer, calls.PostCharges(*arguments, proofs), *arguments, named)

    def draw_chunks(self, chunks: list[tuple[int, ...]], good: bool) -> list[tuple[int, tuple[int, ...]]]:
        """All chunks, in any order; or some, again, one that is none, one that is wrong."""
        numbered = list(enumerate(chunks))
        if good:
            return numbered
        numbered += [numbered[0], (len(chunks), chunks[0]), (0, (1, *chunks[0][1:])), (0, chunks[0][1:])]
        return [self.choose(numbered) for _ in range(self.rng.randint(0, 4))]

    def post_other_charges(self) -> None:
        """Too late, or for a slot nobody scheduled."""
        slot = self.draw_slot()
        self.draw_charges(slot, good=self.often())
        self.check_touched(slot, ())

    def draw_prices(self) -> None:
        """Prices of a slot, signed and posted, or spoilt in some way."""
        slot, good = self.draw_slot(), self.often()
        retail, fee, fit = self.tariff
        hub = self.choose([fit, retail - fee, (fit + retail - fee) // 2])
        if not good and self.sometimes():
            hub = self.choose([fit - 1, retail - fee + 1])
        chunks = self.draw_words(self.draw_vector(hub, good), good)
        hashes = tuple(vectors.chunk_hash(words) for words in chunks)
        self.post_prices_header(slot, hub, hashes, self.draw_quorum(good))
        for index, words in self.draw_chunks(chunks, good):
            self.pair.same(self.pair.payer, calls.PostPricesChunk(slot, index, words))
        if self.check_touched(slot, ()):
            self.pair.compare_vectors(slot, (0, 1, self.terms.buses - 1))

    def post_prices_of(self, slot: int, values: list[int]) -> None:
        """A good header and all its chunks; what is posted already is refused."""
        self.post_prices_header(slot, values[0], vectors.chunk_hashes(values), self.good_quorum())
        for index, words in enumerate(vectors.chunked(vectors.pack(values))):
            self.pair.same(self.pair.payer, calls.PostPricesChunk(slot, index, words))

    def post_prices_header(
        self, slot: int, hub: int, hashes: tuple[bytes, ...], quorum: list[tuple[int, Signer]]
    ) -> None:
        epoch, values_hash = self.pair.twin.oracles.epoch, vectors.keccak(b"".join(hashes))
        header = PricesHeader(slot, epoch, hub, -55, values_hash, INPUT_HASH, CERTIFICATE_HASH)
        proofs, named = self.pair.prove(header, quorum)
        arguments = (slot, hub, -55, hashes, INPUT_HASH, CERTIFICATE_HASH)
        self.pair.plain(self.pair.payer, calls.PostPrices(*arguments, proofs), *arguments, named)

    def post_forecasts(self) -> None:
        """What accounts are thought to do, near what they contracted; or of accounts there are none of."""
        slot, index = self.draw_slot(), self.choose([0, 0, 0, 0, 1, 2**16 - 1])
        nets = [self.pair.twin.slot(slot).book.position(who).net_wh for who in self.pair.twin.accounts]
        shifts = [0, 7, 500, 2_000, -2_000]
        forecast = [net + self.choose(shifts) for net in nets]
        words = self.forecast_words(forecast)
        if self.seldom():
            words = words[:-1]
        quorum = self.draw_quorum(good=self.often())
        self.check_touched(slot, self.post_forecast_words(slot, index, words, quorum))

    def forecast_words(self, forecast: list[int]) -> tuple[int, ...]:
        """Net energy by account id, in the words of 256 accounts."""
        return vectors.pack([*forecast, *[0] * (256 - len(forecast))])

    def post_forecasts_of(self, slot: int, forecast: list[int]) -> None:
        """A good forecast of the first accounts; refused if one is posted already or it is too late."""
        self.post_forecast_words(slot, 0, self.forecast_words(forecast), self.good_quorum())

    def post_forecast_words(
        self, slot: int, index: int, words: tuple[int, ...], quorum: list[tuple[int, Signer]]
    ) -> tuple[Event, ...] | str:
        header = ForecastsHeader(slot, self.pair.twin.oracles.epoch, index, vectors.chunk_hash(words))
        proofs, named = self.pair.prove(header, quorum)
        call = calls.PostForecasts(slot, index, words, proofs)
        return self.pair.plain(self.pair.payer, call, slot, index, words, named)

    def rotate_oracles(self) -> None:
        keys = self.some(ORACLES)[: self.rng.randint(3, 4)]
        addresses = tuple(key.address for key in keys)
        if self.sometimes():
            addresses = (addresses[0], addresses[0], addresses[1])
        quorum = self.choose([QUORUM, QUORUM, QUORUM, 0, 5])
        present = OracleSet(self.pair.twin.oracles.epoch, quorum, addresses)
        proofs, named = self.pair.prove(present, self.draw_quorum(good=False))
        call = calls.RotateOracles(addresses, quorum, proofs)
        if isinstance(self.pair.plain(self.pair.payer, call, addresses, quorum, named), tuple):
            self.oracles = list(keys)
