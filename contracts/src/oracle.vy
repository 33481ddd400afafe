# pragma version 0.4.3
"""
@title Oracle
@license Apache-2.0
@notice The set of oracles, and what a quorum of it signs: charges before a slot opens, prices after its gate.
        A vector by bus comes in chunks of words, eight 32-bit values a word; it counts when all chunks are in.
"""

import packing
import rules
import signatures
import slots

uses: slots


# ---- events ----------------------------------------------------------------------------------------

event OraclesRotated:
    epoch: uint32
    quorum: uint8
    oracles: DynArray[address, 16]

event ChargesPosted:
    slot: indexed(uint32)
    epoch: uint32
    chunks: uint8
    valuesHash: bytes32
    inputHash: bytes32
    certificateHash: bytes32
    signers: uint16

event ChargesChunk:
    slot: indexed(uint32)
    index: uint8
    words: DynArray[uint256, 32]

event PricesPosted:
    slot: indexed(uint32)
    epoch: uint32
    hubPrice: int32
    forecastImport: int64
    chunks: uint8
    valuesHash: bytes32
    inputHash: bytes32
    certificateHash: bytes32
    signers: uint16

event PricesChunk:
    slot: indexed(uint32)
    index: uint8
    words: DynArray[uint256, 32]


event ForecastsPosted:
    slot: indexed(uint32)
    epoch: uint32
    index: uint16
    words: DynArray[uint256, 32]
    signers: uint16


# ---- structs ---------------------------------------------------------------------------------------

struct OracleSignature:
    oracle: uint8
    r: bytes32
    vs: bytes32


# ---- constants -------------------------------------------------------------------------------------

CHARGES_TYPE: constant(bytes32) = keccak256(
    "Charges(uint32 slot,uint32 epoch,bytes32 valuesHash,bytes32 inputHash,bytes32 certificateHash)"
)
PRICES_TYPE: constant(bytes32) = keccak256(
    "Prices(uint32 slot,uint32 epoch,int32 hubPrice,int64 forecastImport,bytes32 valuesHash,bytes32 inputHash,bytes32 certificateHash)"
)
ORACLE_SET_TYPE: constant(bytes32) = keccak256("OracleSet(uint32 epoch,uint8 quorum,address[] oracles)")

ORACLES_MAX: constant(uint256) = 16
CHUNKS_MAX: constant(uint256) = 8
WORDS_PER_CHUNK: constant(uint256) = 32
VALUES_PER_WORD: constant(uint256) = 8
VALUE_MASK: constant(uint256) = (1 << 32) - 1

# Kinds of vectors.
CHARGES: constant(uint256) = 0
PRICES: constant(uint256) = 1


FORECASTS_TYPE: constant(bytes32) = keccak256("Forecasts(uint32 slot,uint32 epoch,uint16 index,bytes32 valuesHash)")


# ---- storage ---------------------------------------------------------------------------------------

epoch: uint256
quorum: uint256
oracles: DynArray[address, 16]
# By slot << 16 | kind << 8 | index of the chunk.
chunk_hashes: HashMap[uint256, bytes32]
# Hash of the forecast net energy of 256 accounts, by slot << 16 | id >> 8.
forecasts: HashMap[uint256, bytes32]
# By slot << 16 | kind << 8 | index of the word. Word 0 of the prices holds the hub price from their header on.
vectors: HashMap[uint256, uint256]


# ---- internal functions: the set -------------------------------------------------------------------


@internal
def _install(oracles: DynArray[address, 16], quorum: uint8):
    """
    @notice Puts a set in force: distinct keys, and a quorum that it can reach.
    """
    rules._require(quorum > 0 and convert(quorum, uint256) <= len(oracles), "oracle: bad set")
    for i: uint256 in range(len(oracles), bound=ORACLES_MAX):
        rules._require(oracles[i] != empty(address), "oracle: bad set")
        for j: uint256 in range(i, bound=ORACLES_MAX):
            rules._require(oracles[i] != oracles[j], "oracle: bad set")
    self.epoch += 1
    self.quorum = convert(quorum, uint256)
    self.oracles = oracles
    log OraclesRotated(epoch=convert(self.epoch, uint32), quorum=quorum, oracles=oracles)


@internal
def _rotate(oracles: DynArray[address, 16], quorum: uint8, proofs: DynArray[OracleSignature, 16]):
    """
    @notice Puts another set in force that a quorum of the present one signed.
    """
    # An array is hashed as its elements side by side: its ABI encoding without offset and length.
    members: bytes32 = keccak256(slice(abi_encode(oracles), 64, 32 * len(oracles)))
    self._quorum_of(keccak256(abi_encode(ORACLE_SET_TYPE, self.epoch, quorum, members)), proofs)
    self._install(oracles, quorum)


@internal
@view
def _quorum_of(struct_hash: bytes32, proofs: DynArray[OracleSignature, 16]) -> uint16:
    """
    @notice Checks that a quorum signed a struct, each oracle once, in the order of the set.
    @return One bit a signer.
    """
    # Where there is no set, as in the parts of the exchange called by themselves, nobody is a quorum.
    rules._require(self.quorum != 0 and len(proofs) >= self.quorum, "oracle: quorum not reached")
    signers: uint256 = 0
    for proof: OracleSignature in proofs:
        index: uint256 = convert(proof.oracle, uint256)
        rules._require(index < len(self.oracles), "oracle: no such oracle")
        rules._require(signers >> index == 0, "oracle: signers not ascending")
        signed: bool = signatures._signed_by(self.oracles[index], struct_hash, proof.r, proof.vs)
        rules._require(signed, "oracle: bad signature")
        signers = signers | (1 << index)
    return convert(signers, uint16)


# ---- internal functions: headers -------------------------------------------------------------------


@internal
@view
def _word_count() -> uint256:
    """
    @notice Words of a vector by bus.
    """
    return (slots.BUSES + VALUES_PER_WORD - 1) // VALUES_PER_WORD


@internal
@view
def _chunk_count() -> uint256:
    """
    @notice Chunks of a vector by bus.
    """
    return (self._word_count() + WORDS_PER_CHUNK - 1) // WORDS_PER_CHUNK


@internal
def _expect_chunks(kind: uint256, slot: uint256, hashes: DynArray[bytes32, 8]) -> bytes32:
    """
    @notice Notes the hashes of the chunks to come.
    @return Hash of the whole vector.
    """
    rules._require(len(hashes) == self._chunk_count(), "oracle: wrong number of chunks")
    for index: uint256 in range(len(hashes), bound=CHUNKS_MAX):
        self.chunk_hashes[(slot << 16) | (kind << 8) | index] = hashes[index]
    return keccak256(slice(abi_encode(hashes), 64, 32 * len(hashes)))


@internal
def _post_charges(
    slot: uint32,
    hashes: DynArray[bytes32, 8],
    input_hash: bytes32,
    certificate_hash: bytes32,
    proofs: DynArray[OracleSignature, 16],
):
    """
    @notice Takes the header of a slot's firm charges, before it opens, once.
    """
    number: uint256 = convert(slot, uint256)
    word: uint256 = slots._scheduled(number)
    rules._require(slots._before_opening(number), "charges: opening passed")
    rules._require(word & slots.CHARGES_POSTED == 0, "charges: already posted")
    slots.states[number] = word | slots.CHARGES_POSTED
    values_hash: bytes32 = self._expect_chunks(CHARGES, number, hashes)
    signers: uint16 = self._quorum_of(
        keccak256(abi_encode(CHARGES_TYPE, slot, self.epoch, values_hash, input_hash, certificate_hash)), proofs
    )
    log ChargesPosted(
        slot=slot,
        epoch=convert(self.epoch, uint32),
        chunks=convert(len(hashes), uint8),
        valuesHash=values_hash,
        inputHash=input_hash,
        certificateHash=certificate_hash,
        signers=signers,
    )


@internal
def _post_prices(
    slot: uint32,
    hub_price: int32,
    forecast_import: int64,
    hashes: DynArray[bytes32, 8],
    input_hash: bytes32,
    certificate_hash: bytes32,
    proofs: DynArray[OracleSignature, 16],
):
    """
    @notice Takes the header of a slot's prices, once nothing can be vetoed any more and before they are due, once.
    """
    number: uint256 = convert(slot, uint256)
    word: uint256 = slots._scheduled(number)
    rules._require(slots._may_close(number), "prices: before closing")
    rules._require(self._prices_in_time(number), "prices: too late")
    rules._require(word & slots.PRICES_POSTED == 0, "prices: already posted")
    tariff: slots.Tariff = slots._tariff(word)
    price: int256 = convert(hub_price, int256)
    rules._require(price >= tariff.hub_export and price <= tariff.hub_import, "prices: hub price off range")
    slots.states[number] = word | slots.PRICES_POSTED
    self.vectors[(number << 16) | (PRICES << 8)] = packing._bits(price, 32)
    values_hash: bytes32 = self._expect_chunks(PRICES, number, hashes)
    signers: uint16 = self._quorum_of(
        keccak256(
            abi_encode(
                PRICES_TYPE, slot, self.epoch, hub_price, forecast_import, values_hash, input_hash, certificate_hash
            )
        ),
        proofs,
    )
    log PricesPosted(
        slot=slot,
        epoch=convert(self.epoch, uint32),
        hubPrice=hub_price,
        forecastImport=forecast_import,
        chunks=convert(len(hashes), uint8),
        valuesHash=values_hash,
        inputHash=input_hash,
        certificateHash=certificate_hash,
        signers=signers,
    )


@internal
@view
def _prices_in_time(slot: uint256) -> bool:
    """
    @notice time < T_p.
    """
    return block.timestamp < slots._end(slot) + slots.PRICE_GRACE


@internal
def _post_forecasts(slot: uint32, index: uint16, words: DynArray[uint256, 32], proofs: DynArray[OracleSignature, 16]):
    """
    @notice Takes what a quorum forecasts of 256 accounts' net energy, once nothing can be vetoed any more and
            before readings are due, once; it is kept as its hash, and estimates show it again.
    """
    number: uint256 = convert(slot, uint256)
    slots._scheduled(number)
    rules._require(slots._may_close(number), "forecasts: before closing")
    rules._require(block.timestamp < slots._end(number) + slots.METER_GRACE, "forecasts: too late")
    key: uint256 = (number << 16) | convert(index, uint256)
    rules._require(self.forecasts[key] == empty(bytes32), "forecasts: already posted")
    rules._require(len(words) == WORDS_PER_CHUNK, "forecasts: wrong length")
    values_hash: bytes32 = self._forecasts_hash(words)
    signers: uint16 = self._quorum_of(
        keccak256(abi_encode(FORECASTS_TYPE, slot, self.epoch, index, values_hash)), proofs
    )
    self.forecasts[key] = values_hash
    log ForecastsPosted(slot=slot, epoch=convert(self.epoch, uint32), index=index, words=words, signers=signers)


@internal
@pure
def _forecasts_hash(words: DynArray[uint256, 32]) -> bytes32:
    """
    @notice Hash of the packed words.
    """
    return keccak256(slice(abi_encode(words), 64, 32 * len(words)))


# ---- internal functions: vectors -------------------------------------------------------------------


@internal
def _post_charges_chunk(slot: uint32, index: uint8, words: DynArray[uint256, 32]):
    """
    @notice Takes one chunk of the charges, before the slot opens.
    """
    rules._require(slots._before_opening(convert(slot, uint256)), "charges: opening passed")
    self._post_chunk(CHARGES, convert(slot, uint256), convert(index, uint256), words)
    log ChargesChunk(slot=slot, index=index, words=words)


@internal
def _post_prices_chunk(slot: uint32, index: uint8, words: DynArray[uint256, 32]):
    """
    @notice Takes one chunk of the prices, before they are due.
    """
    rules._require(self._prices_in_time(convert(slot, uint256)), "prices: too late")
    self._post_chunk(PRICES, convert(slot, uint256), convert(index, uint256), words)
    log PricesChunk(slot=slot, index=index, words=words)


@internal
def _post_chunk(kind: uint256, slot: uint256, index: uint256, words: DynArray[uint256, 32]):
    """
    @notice Stores a chunk that hashes to what was signed; the last one to come completes the vector.
    """
    state: uint256 = slots.states[slot]
    # The marks of prices lie two bits above those of charges.
    rules._require(state & (slots.CHARGES_POSTED << (2 * kind)) != 0, "oracle: header not posted")
    count: uint256 = self._chunk_count()
    rules._require(index < count, "oracle: no such chunk")
    arrived_at: uint256 = slots.CHUNKS_AT + 8 * kind
    progress: uint256 = slots.progress[slot]
    arrived: uint256 = (progress >> arrived_at) & packing.UINT8
    rules._require((arrived >> index) & 1 == 0, "oracle: chunk already posted")
    length: uint256 = min(WORDS_PER_CHUNK, self._word_count() - WORDS_PER_CHUNK * index)
    rules._require(len(words) == length, "oracle: wrong chunk")
    packed: bytes32 = keccak256(slice(abi_encode(words), 64, 32 * length))
    key: uint256 = (slot << 16) | (kind << 8)
    rules._require(packed == self.chunk_hashes[key | index], "oracle: wrong chunk")
    if index == 0:
        at_substation: bool = (words[0] ^ self.vectors[key]) & VALUE_MASK == 0
        if kind == CHARGES:
            rules._require(at_substation, "charges: substation is not zero")
        else:
            rules._require(at_substation, "prices: substation is not the hub price")
    if index + 1 == count:
        self._check_tail(words[length - 1])
    first: uint256 = WORDS_PER_CHUNK * index
    for offset: uint256 in range(length, bound=WORDS_PER_CHUNK):
        self.vectors[key | (first + offset)] = words[offset]
    arrived = arrived | (1 << index)
    slots.progress[slot] = packing._put(progress, arrived_at, 8, arrived)
    if arrived == (1 << count) - 1:
        slots.states[slot] = state | (slots.CHARGES_COMPLETE << (2 * kind))


@internal
@view
def _check_tail(last: uint256):
    """
    @notice Refuses values beyond the last bus.
    """
    used: uint256 = (slots.BUSES - 1) % VALUES_PER_WORD + 1
    rules._require(used == VALUES_PER_WORD or last >> (32 * used) == 0, "oracle: value beyond the last bus")


@internal
@view
def _value(kind: uint256, slot: uint256, bus: uint256) -> int256:
    """
    @notice The value of a bus, µ€/kWh; meaningful once the vector is complete.
    """
    word: uint256 = self.vectors[(slot << 16) | (kind << 8) | (bus // VALUES_PER_WORD)]
    return packing._signed(word, 32 * (bus % VALUES_PER_WORD), 32)


@internal
@view
def _check_bus(bus: uint256):
    """
    @notice Refuses buses that the market does not have: beyond the last one lie other vectors.
    """
    rules._require(bus < slots.BUSES, "oracle: no such bus")


@internal
@view
def _charge(state: uint256, slot: uint256, bus: uint256) -> int256:
    """
    @notice ν of a bus, 0 while the charges are not complete.
    """
    if state & slots.CHARGES_COMPLETE == 0 or bus == 0:
        return 0
    return self._value(CHARGES, slot, bus)


@internal
@view
def _price(state: uint256, slot: uint256, bus: uint256) -> int256:
    """
    @notice λ of a bus, 0 while the prices are not complete.
    """
    if state & slots.PRICES_COMPLETE == 0:
        return 0
    return self._value(PRICES, slot, bus)
