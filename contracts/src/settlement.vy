# pragma version 0.4.3
"""
@title Settlement
@license Apache-2.0
@notice Readings of meters and of the substation, and the postings of each account in a slot, in n€.
        What an account pays is positive. Trades go through clearing, everything else to the utility.
"""

import accounts
import book
import oracle
import packing
import rules
import signatures
import slots

uses: accounts
uses: book
uses: oracle
uses: slots


# ---- events ----------------------------------------------------------------------------------------

event ReadingPosted:
    slot: indexed(uint32)
    account: indexed(address)
    netEnergy: int64
    certified: DynArray[uint32, 7]
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

event AccountSettled:
    slot: indexed(uint32)
    account: indexed(address)
    rule: uint8
    basis: uint8
    contracted: int64
    metered: int64
    delivered: int64
    trades: int256
    charge: int256
    closeout: int256
    imbalance: int256
    penalty: int256

event SlotSettled:
    slot: indexed(uint32)


# ---- structs ---------------------------------------------------------------------------------------

struct Reading:
    account: address
    slot: uint32
    netEnergy: int64
    certified: DynArray[uint32, 7]
    epoch: uint32

struct SignedReading:
    reading: Reading
    r: bytes32
    vs: bytes32

struct Bill:
    contracted: int256
    metered: int256
    delivered: int256
    trades: int256
    charge: int256
    closeout: int256
    imbalance: int256
    penalty: int256


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

BY_READING: constant(uint8) = 0
# The reading word: net energy in the low 64 bits, the meter's epoch in 32 above, then this mark.
METERED: constant(uint256) = 1 << 96


# ---- storage ---------------------------------------------------------------------------------------

# By slot << 32 | id; certified generation packs 32 bits a class, class 1 lowest.
readings: HashMap[uint256, uint256]
certified: HashMap[uint256, uint256]


# ---- internal functions: readings ------------------------------------------------------------------


@internal
def _post_reading(reading: Reading, r: bytes32, vs: bytes32) -> uint256:
    """
    @notice Takes a meter's reading; the first valid one is final.
    @return The code of the first rule broken, or 0.
    """
    slot: uint256 = convert(reading.slot, uint256)
    profile: uint256 = accounts.profiles[reading.account]
    id: uint256 = profile & packing.UINT32
    if id == 0:
        return UNKNOWN_ACCOUNT
    if not signatures._signed_by(accounts.meters[id], self._hash(reading), r, vs):
        return BAD_SIGNATURE
    end: uint256 = slots._end(slot)
    if slots.states[slot] == 0 or block.timestamp < end or block.timestamp >= end + slots.RESETTLE_GRACE:
        return NOT_DUE
    if convert(reading.epoch, uint256) != (profile >> accounts.EPOCH_AT) & packing.UINT32:
        return WRONG_EPOCH
    key: uint256 = (slot << 32) | id
    if self.readings[key] != 0:
        return ALREADY_FINAL
    if len(reading.certified) != len(slots.PENALTIES):
        return WRONG_CLASSES
    word: uint256 = METERED | (convert(reading.epoch, uint256) << 64)
    self.readings[key] = word | packing._bits(convert(reading.netEnergy, int256), 64)
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
    return "reading: wrong classes"


@internal
@view
def _reading(slot: uint256, id: uint256) -> (bool, int64, DynArray[uint32, 7], uint32):
    """
    @notice Whether there is a reading, its net energy, certified generation by class, and epoch.
    """
    key: uint256 = (slot << 32) | id
    word: uint256 = self.readings[key]
    certified: DynArray[uint32, 7] = []
    if word != 0:
        for index: uint256 in range(len(slots.PENALTIES), bound=slots.CLASSES_MAX):
            certified.append(convert((self.certified[key] >> (32 * index)) & packing.UINT32, uint32))
    return (
        word != 0,
        convert(packing._signed(word, 0, 64), int64),
        certified,
        convert((word >> 64) & packing.UINT32, uint32),
    )


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


# ---- internal functions: settlement ----------------------------------------------------------------


@internal
@view
def _rule_of(slot: uint256) -> uint256:
    """
    @notice The rule by which a slot settles now: the market's, or the tariff where prices stayed away.
    """
    state: uint256 = slots._scheduled(slot)
    rules._require(state & slots.GATE_CLOSED != 0, "settlement: gate is open")
    if state & slots.PRICES_COMPLETE != 0:
        return slots.RULE
    rules._require(not oracle._prices_in_time(slot), "settlement: no prices yet")
    return slots.TARIFF


@internal
def _settle(slot: uint256, rule: uint256, account: address):
    """
    @notice Settles one account by a rule, unless it is settled.
    """
    profile: uint256 = accounts._profile(account)
    id: uint256 = profile & packing.UINT32
    state: uint256 = slots.states[slot]
    snapshot: uint256 = (state >> slots.ACCOUNTS_AT) & packing.UINT32
    rules._require(id < snapshot, "settlement: not in the snapshot")
    standing: book.Standing = book._standing(slot, id)
    if standing.settled != 0:
        return
    bill: Bill = self._bill(state, slot, id, (profile >> accounts.BUS_AT) & packing.UINT16, rule, standing)
    to_utility: int256 = bill.charge + bill.closeout + bill.imbalance + bill.penalty
    accounts._credit(id, -bill.trades - to_utility, standing.reserve)
    accounts._clear(bill.trades)
    if to_utility != 0:
        accounts._credit(0, to_utility, 0)
    standing.reserve = 0
    standing.settled = 1
    book._store_standing(slot, id, standing)
    log AccountSettled(
        slot=convert(slot, uint32),
        account=account,
        rule=convert(rule, uint8),
        basis=BY_READING,
        contracted=convert(bill.contracted, int64),
        metered=convert(bill.metered, int64),
        delivered=convert(bill.delivered, int64),
        trades=bill.trades,
        charge=bill.charge,
        closeout=bill.closeout,
        imbalance=bill.imbalance,
        penalty=bill.penalty,
    )
    settled: uint256 = ((state >> slots.SETTLED_AT) & packing.UINT32) + 1
    state = packing._put(state, slots.SETTLED_AT, 32, settled)
    if settled == snapshot:
        state = state | slots.SETTLED
        log SlotSettled(slot=convert(slot, uint32))
    slots.states[slot] = state


@internal
@view
def _bill(
    state: uint256, slot: uint256, id: uint256, bus: uint256, rule: uint256, standing: book.Standing
) -> Bill:
    """
    @notice The postings of an account: c is what it contracted, m what it metered, d what it delivered of c.
    """
    bill: Bill = empty(Bill)
    c: int256 = standing.net
    bill.contracted = c
    bill.trades = standing.trades * book.TICK
    if id == 0:
        return bill
    reading: uint256 = self.readings[(slot << 32) | id]
    rules._require(reading != 0, "settlement: no reading")
    m: int256 = packing._signed(reading, 0, 64)
    d: int256 = 0
    if c > 0:
        d = max(0, min(c, m))
    else:
        d = min(0, max(c, m))
    bill.metered = m
    bill.delivered = d
    charge: int256 = oracle._charge(state, slot, bus)
    if rule == slots.DLMP:
        price: int256 = oracle._price(state, slot, bus)
        bill.charge = charge * d
        bill.closeout = (price - oracle._price(state, slot, 0)) * (c - d)
        bill.imbalance = price * (m - c)
    else:
        tariff: slots.Tariff = slots._tariff(state)
        bill.charge = charge * c
        if bill.charge < 0:
            bill.charge = charge * d
        if m > c:
            bill.imbalance = max(tariff.retail, tariff.hub_import + charge) * (m - c)
        else:
            bill.imbalance = (tariff.hub_export + min(0, charge)) * (m - c)
    bill.penalty = self._penalty(slot, id)
    return bill


@internal
@view
def _penalty(slot: uint256, id: uint256) -> int256:
    """
    @notice What an account pays for energy sold in a class beyond its certified generation.
    """
    key: uint256 = (slot << 32) | id
    penalty: int256 = 0
    for index: uint256 in range(len(slots.PENALTIES), bound=slots.CLASSES_MAX):
        sold: int256 = -book.class_nets[(key << 8) | (index + 1)]
        if sold > 0:
            certified: int256 = convert((self.certified[key] >> (32 * index)) & packing.UINT32, int256)
            penalty += max(0, sold - certified) * convert(slots.PENALTIES[index], int256)
    return penalty
