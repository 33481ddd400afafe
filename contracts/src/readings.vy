# pragma version 0.4.3
"""
@title Readings
@license Apache-2.0
@notice What meters and the substation have read in a slot.
"""

import accounts
import oracle
import packing
import rules
import signatures
import slots

uses: accounts
uses: oracle
uses: slots


# ---- events ----------------------------------------------------------------------------------------

event ReadingPosted:
    slot: indexed(uint32)
    account: indexed(address)
    netEnergy: int64
    certified: DynArray[uint32, 3]
    epoch: uint32

event ReadingRejected:
    slot: indexed(uint32)
    account: indexed(address)
    code: uint8

event SubstationPosted:
    slot: indexed(uint32)
    netImport: int64
    wholesale: int32
    passive: DynArray[uint256, 128]


# ---- structs ---------------------------------------------------------------------------------------

struct Reading:
    account: address
    slot: uint32
    netEnergy: int64
    certified: DynArray[uint32, 3]
    epoch: uint32

struct SignedReading:
    reading: Reading
    r: bytes32
    vs: bytes32


# ---- constants -------------------------------------------------------------------------------------

READING_TYPE: constant(bytes32) = keccak256(
    "Reading(address account,uint32 slot,int64 netEnergy,uint32[] certified,uint32 epoch)"
)

UNKNOWN_ACCOUNT: constant(uint256) = 1
BAD_SIGNATURE: constant(uint256) = 2
NOT_DUE: constant(uint256) = 3
WRONG_EPOCH: constant(uint256) = 4
ALREADY_FINAL: constant(uint256) = 5
WRONG_CLASSES: constant(uint256) = 6
OUT_OF_RANGE: constant(uint256) = 7

# What a settlement stands on.
BY_READING: constant(uint256) = 0
BY_CONTRACT: constant(uint256) = 1
BY_FORECAST: constant(uint256) = 2

# The reading word: metered and estimated net energy, the meter's epoch, what there is, and what was settled.
METERED_AT: constant(uint256) = 0  # 64 bits, signed
ESTIMATED_AT: constant(uint256) = 64  # 64 bits, signed
EPOCH_AT: constant(uint256) = 128  # 32 bits
BASIS_AT: constant(uint256) = 160  # 2 bits: basis of the estimate
METERED: constant(uint256) = 1 << 162
ESTIMATED: constant(uint256) = 1 << 163
RESETTLED: constant(uint256) = 1 << 164


# ---- storage ---------------------------------------------------------------------------------------

# By slot << 24 | id; certified generation packs 32 bits a class, class 1 lowest.
words: HashMap[uint256, uint256]
certified: HashMap[uint256, uint256]


# ---- internal functions ----------------------------------------------------------------------------


@internal
def _post(reading: Reading, r: bytes32, vs: bytes32) -> uint256:
    """
    @notice Takes a meter's reading; the first valid one is final.
    @return The code of the first rule broken, or 0.
    """
    slot: uint256 = convert(reading.slot, uint256)
    account: uint256 = accounts.words[reading.account]
    id: uint256 = account & packing.UINT24
    if id == 0:
        return UNKNOWN_ACCOUNT
    if not signatures._signed_by(accounts.meters[id], self._hash(reading), r, vs):
        return BAD_SIGNATURE
    end: uint256 = slots._end(slot)
    if slots.states[slot] == 0 or block.timestamp < end or block.timestamp >= end + slots.RESETTLE_GRACE:
        return NOT_DUE
    if convert(reading.epoch, uint256) != accounts._epoch(id):
        return WRONG_EPOCH
    key: uint256 = (slot << 24) | id
    stored: uint256 = self.words[key]
    if stored & METERED != 0:
        return ALREADY_FINAL
    if len(reading.certified) != len(slots.PENALTIES):
        return WRONG_CLASSES
    energy: int256 = convert(reading.netEnergy, int256)
    # What the connection can carry bounds what its meter's key can claim.
    side: uint256 = 0
    if energy < 0:
        side = 1
    if abs(energy) > convert(accounts._capacity(account, side), int256):
        return OUT_OF_RANGE
    self.words[key] = stored | METERED | (convert(reading.epoch, uint256) << EPOCH_AT) | packing._bits(energy, 64)
    certified: uint256 = 0
    for index: uint256 in range(len(reading.certified), bound=slots.CLASSES_MAX):
        certified = certified | (convert(reading.certified[index], uint256) << (32 * index))
    if certified != 0:
        self.certified[key] = certified
    log ReadingPosted(
        slot=reading.slot,
        account=reading.account,
        netEnergy=reading.netEnergy,
        certified=reading.certified,
        epoch=reading.epoch,
    )
    return 0


@internal
@pure
def _hash(reading: Reading) -> bytes32:
    """
    @notice EIP-712 hash of a reading.
    """
    # An array is hashed as its elements side by side: its ABI encoding without offset and length.
    certified: bytes32 = keccak256(slice(abi_encode(reading.certified), 64, 32 * len(reading.certified)))
    return keccak256(
        abi_encode(READING_TYPE, reading.account, reading.slot, reading.netEnergy, certified, reading.epoch)
    )


@internal
@pure
def _rule(code: uint256) -> String[27]:
    """
    @notice Name of the rule that a reject code stands for.
    """
    if code == UNKNOWN_ACCOUNT:
        return "reading: unknown account"
    if code == BAD_SIGNATURE:
        return "reading: bad signature"
    if code == NOT_DUE:
        return "reading: not due"
    if code == WRONG_EPOCH:
        return "reading: wrong epoch"
    if code == ALREADY_FINAL:
        return "reading: already final"
    if code == WRONG_CLASSES:
        return "reading: wrong classes"
    return "reading: out of range"


@internal
@view
def _read(slot: uint256, id: uint256) -> (bool, int64, DynArray[uint32, 3], uint32, uint8):
    """
    @notice Whether there is a reading; net energy, certified generation by class, epoch and basis of it, or of
            the estimate that stands in for it.
    """
    key: uint256 = (slot << 24) | id
    word: uint256 = self.words[key]
    certified: DynArray[uint32, 3] = []
    if word != 0:
        for index: uint256 in range(len(slots.PENALTIES), bound=slots.CLASSES_MAX):
            certified.append(convert((self.certified[key] >> (32 * index)) & packing.UINT32, uint32))
    energy: int256 = 0
    basis: uint256 = 0
    energy, basis = self._energy(word)
    epoch: uint256 = (word >> EPOCH_AT) & packing.UINT32
    return word & METERED != 0, convert(energy, int64), certified, convert(epoch, uint32), convert(basis, uint8)


@internal
@pure
def _energy(word: uint256) -> (int256, uint256):
    """
    @notice Net energy that an account is settled by, and what it stands on: its reading, or else its estimate.
    """
    if word & METERED != 0:
        return packing._signed(word, METERED_AT, 64), BY_READING
    return packing._signed(word, ESTIMATED_AT, 64), (word >> BASIS_AT) & 3


@internal
@view
def _final(slot: uint256, word: uint256) -> bool:
    """
    @notice Whether nothing can change any more what an account is settled by.
    """
    return word & METERED != 0 or (word != 0 and block.timestamp >= slots._end(slot) + slots.RESETTLE_GRACE)


@internal
def _post_substation(slot: uint32, net_import: int64, wholesale: int32, passive: DynArray[uint256, 128]):
    """
    @notice Notes the substation's reading, the wholesale price and passive energy by bus, once; the event holds them.
    """
    number: uint256 = convert(slot, uint256)
    state: uint256 = slots._scheduled(number)
    rules._require(block.timestamp >= slots._end(number), "substation: not due")
    rules._require(state & slots.SUBSTATION_POSTED == 0, "substation: already posted")
    rules._require(len(passive) == oracle._word_count(), "substation: wrong length")
    oracle._check_tail(passive[len(passive) - 1])
    slots.states[number] = state | slots.SUBSTATION_POSTED
    log SubstationPosted(slot=slot, netImport=net_import, wholesale=wholesale, passive=passive)
