"""Random charges, prices and forecasts of oracles, good and bad."""

from __future__ import annotations

from hypothesis import strategies as st

from ledger import calls, vectors
from ledger.keys import Key
from market.events import Event
from market.messages import ChargesHeader, ForecastsHeader, OracleSet, PricesHeader
from tests.twins.life import STRANGER, TRADERS, Life, often, seldom, sometimes
from tests.twins.pair import Signer, key_of

ORACLES = tuple(key_of("oracle", i) for i in range(4))
QUORUM = 2
INPUT_HASH, CERTIFICATE_HASH = b"\x11" * 32, b"\x22" * 32


class Posting(Life):
    """What oracles do. `oracles` is the set in force."""

    oracles: list[Key]

    def good_quorum(self) -> list[tuple[int, Signer]]:
        return [(index, Signer(key)) for index, key in enumerate(self.oracles)][-QUORUM:]

    def draw_quorum(self, data: st.DataObject, good: bool) -> list[tuple[int, Signer]]:
        if good or not data.draw(sometimes):
            return self.good_quorum()
        order = [(index, Signer(key)) for index, key in enumerate(self.oracles)]
        return data.draw(
            st.sampled_from(
                [
                    order[:1],
                    order,
                    [order[2], order[0]],
                    [order[0], order[0]],
                    [order[0], (9, order[1][1])],
                    [order[0], (1, Signer(STRANGER))],
                    [order[0], (1, Signer(self.oracles[1], malleated=True))],
                ]
            )
        )

    def draw_vector(self, data: st.DataObject, substation: int, good: bool) -> list[int]:
        """Values near the substation's, at few buses apart from each other."""
        shifts = st.sampled_from([0, 0, 100, -100, 1_234, -30_000, 40_001])
        pattern = [substation + data.draw(shifts) for _ in range(TRADERS)]
        values = [substation, *(pattern[i % TRADERS] for i in range(self.terms.buses - 1))]
        if not good and data.draw(sometimes):
            values[0] += 1
        return values

    def draw_words(self, data: st.DataObject, values: list[int], good: bool) -> list[tuple[int, ...]]:
        """The chunks as posted; seldom with a value beyond the last bus, which the hashes commit to."""
        words = list(vectors.pack(values))
        if not good and data.draw(sometimes):
            words[-1] |= 1 << 255
        return list(vectors.chunked(words))

    def draw_charges(self, data: st.DataObject, slot: int, good: bool) -> None:
        """Charges of a slot, signed and posted, or spoilt in some way."""
        chunks = self.draw_words(data, self.draw_vector(data, 0, good), good)
        hashes = tuple(vectors.chunk_hash(words) for words in chunks)
        if not good and data.draw(sometimes):
            hashes = hashes[1:]
        self.post_charges_header(slot, hashes, self.draw_quorum(data, good))
        for index, words in self.draw_chunks(data, chunks, good):
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

    def draw_chunks(
        self, data: st.DataObject, chunks: list[tuple[int, ...]], good: bool
    ) -> list[tuple[int, tuple[int, ...]]]:
        """All chunks, in any order; or some, again, one that is none, one that is wrong."""
        numbered = list(enumerate(chunks))
        if good:
            return numbered
        numbered += [numbered[0], (len(chunks), chunks[0]), (0, (1, *chunks[0][1:])), (0, chunks[0][1:])]
        return data.draw(st.lists(st.sampled_from(numbered), max_size=4))

    def post_other_charges(self, data: st.DataObject) -> None:
        """Too late, or for a slot nobody scheduled."""
        slot = self.draw_slot(data)
        self.draw_charges(data, slot, good=data.draw(often))
        self.check_touched(slot, ())

    def draw_prices(self, data: st.DataObject) -> None:
        """Prices of a slot, signed and posted, or spoilt in some way."""
        slot, good = self.draw_slot(data), data.draw(often)
        retail, fee, fit = self.tariff
        hub = data.draw(st.sampled_from([fit, retail - fee, (fit + retail - fee) // 2]))
        if not good and data.draw(sometimes):
            hub = data.draw(st.sampled_from([fit - 1, retail - fee + 1]))
        chunks = self.draw_words(data, self.draw_vector(data, hub, good), good)
        hashes = tuple(vectors.chunk_hash(words) for words in chunks)
        self.post_prices_header(slot, hub, hashes, self.draw_quorum(data, good))
        for index, words in self.draw_chunks(data, chunks, good):
            self.pair.same(self.pair.payer, calls.PostPricesChunk(slot, index, words))
        self.check_touched(slot, ())
        self.pair.compare_vectors(slot, (0, 1, 2, self.terms.buses - 1))

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

    def post_forecasts(self, data: st.DataObject) -> None:
        """What accounts are thought to do, near what they contracted; or of accounts there are none of."""
        slot, index = self.draw_slot(data), data.draw(st.sampled_from([0, 0, 0, 0, 1, 2**16 - 1]))
        nets = [self.pair.twin.slot(slot).book.position(who).net_wh for who in self.pair.twin.accounts]
        shifts = st.sampled_from([0, 7, 500, 2_000, -2_000])
        forecast = [net + data.draw(shifts) for net in nets]
        words = self.forecast_words(forecast)
        if data.draw(seldom):
            words = words[:-1]
        quorum = self.draw_quorum(data, good=data.draw(often))
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

    def rotate_oracles(self, data: st.DataObject) -> None:
        keys = data.draw(st.permutations(ORACLES))[: data.draw(st.integers(3, 4))]
        addresses = tuple(key.address for key in keys)
        if data.draw(sometimes):
            addresses = (addresses[0], addresses[0], addresses[1])
        quorum = data.draw(st.sampled_from([QUORUM, QUORUM, QUORUM, 0, 5]))
        present = OracleSet(self.pair.twin.oracles.epoch, quorum, addresses)
        proofs, named = self.pair.prove(present, self.draw_quorum(data, good=data.draw(often)))
        call = calls.RotateOracles(addresses, quorum, proofs)
        if isinstance(self.pair.plain(self.pair.payer, call, addresses, quorum, named), tuple):
            self.oracles = list(keys)
