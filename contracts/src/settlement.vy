# pragma version 0.4.3
"""
@title Settlement
@license Apache-2.0
@notice Readings of meters and of the substation, and the postings of each account in a slot, in n€.
        What an account pays is positive. Trades go through the slot's clearing, everything else to the utility.
"""

import accounts
import oracle
import packing
import positions
import rules
import signatures
import slots

uses: accounts
uses: oracle
uses: positions
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

event ReadingEstimated:
    slot: indexed(uint32)
    account: indexed(address)
    netEnergy: int64
    basis: uint8

event SubstationPosted:
    slot: indexed(uint32)
    netImport: int64
    wholesale: int32
    passive: DynArray[uint256, 128]

# Before an account is settled: what it pays for its trades, from its reserve into the slot's clearing.
event TradesCollected:
    slot: indexed(uint32)
    account: indexed(address)
    amount: uint256

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

# Differences to what was settled by the estimate.
event AccountResettled:
    slot: indexed(uint32)
    account: indexed(address)
    metered: int64
    delivered: int64
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
    certified: DynArray[uint32, 3]
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
    stored: uint256 = self.readings[key]
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
    self.readings[key] = stored | METERED | (convert(reading.epoch, uint256) << EPOCH_AT) | packing._bits(energy, 64)
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
def _reading(slot: uint256, id: uint256) -> (bool, int64, DynArray[uint32, 3], uint32, uint8):
    """
    @notice Whether there is a reading; net energy, certified generation by class, epoch and basis of it, or of
            the estimate that stands in for it.
    """
    key: uint256 = (slot << 24) | id
    word: uint256 = self.readings[key]
    certified: DynArray[uint32, 3] = []
    if word != 0:
        for index: uint256 in range(len(slots.PENALTIES), bound=slots.CLASSES_MAX):
            certified.append(convert((self.certified[key] >> (32 * index)) & packing.UINT32, uint32))
    metered: bool = word & METERED != 0
    energy: int256 = packing._signed(word, ESTIMATED_AT, 64)
    basis: uint256 = (word >> BASIS_AT) & 3
    if metered:
        energy = packing._signed(word, METERED_AT, 64)
        basis = BY_READING
    epoch: uint256 = (word >> EPOCH_AT) & packing.UINT32
    return metered, convert(energy, int64), certified, convert(epoch, uint32), convert(basis, uint8)


@internal
def _estimate(slot: uint256, account: address, index: uint256, words: DynArray[uint256, 32]):
    """
    @notice Puts an estimate in the place of a reading that did not come by T1: of what the account contracted
            and what was forecast, the one that costs it more, and the contract if both cost the same. Where
            nothing was forecast the forecast is 0: whoever trades and stays silent pays no less than one who
            delivers nothing. Skips accounts that need none.
    """
    word: uint256 = accounts._prosumer(account)
    id: uint256 = word & packing.UINT24
    key: uint256 = (slot << 24) | id
    rules._require(id >> 8 == index, "settlement: not in this forecast")
    progress: uint256 = slots.progress[slot]
    rules._require(id < (progress >> slots.ACCOUNTS_AT) & packing.UINT32, "settlement: not in the snapshot")
    if self.readings[key] != 0:
        return
    rule: uint256 = self._rule_of(slot)
    state: uint256 = slots.states[slot]
    bus: uint256 = accounts._bus(word)
    position: uint256 = positions.words[key]
    forecast: int256 = 0
    if len(words) != 0:
        place: uint256 = id & packing.UINT8
        forecast = packing._signed(words[place >> 3], (place & 7) << 5, 32)
    basis: uint256 = BY_CONTRACT
    energy: int256 = positions._net(position)
    by_contract: Bill = self._bill(state, slot, bus, rule, position, energy)
    by_forecast: Bill = self._bill(state, slot, bus, rule, position, forecast)
    if self._to_utility(by_forecast) > self._to_utility(by_contract):
        basis = BY_FORECAST
        energy = forecast
    self.readings[key] = ESTIMATED | (basis << BASIS_AT) | (packing._bits(energy, 64) << ESTIMATED_AT)
    log ReadingEstimated(
        slot=convert(slot, uint32), account=account, netEnergy=convert(energy, int64), basis=convert(basis, uint8)
    )


@internal
@view
def _check_forecast(slot: uint256, index: uint256, words: DynArray[uint256, 32]):
    """
    @notice Refuses estimates before T1, and a forecast that is not the one posted; none is given where none was.
    """
    slots._scheduled(slot)
    posted: bytes32 = oracle.forecasts[(slot << 16) | index]
    if posted == empty(bytes32):
        rules._require(len(words) == 0, "settlement: not the forecast")
    else:
        rules._require(oracle._forecasts_hash(words) == posted, "settlement: not the forecast")
    due: uint256 = slots._end(slot) + slots.METER_GRACE
    rules._require(block.timestamp >= due, "settlement: readings may still come")


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
def _collect(slot: uint256, account: address):
    """
    @notice Takes what an account pays for its trades from its reserve into the slot's clearing; skips who is paid
            for them, or has paid. Nothing can refuse it: reserves cover trades, and what they do not need is free.
    """
    key: uint256 = (slot << 24) | accounts._id(account)
    position: uint256 = positions.words[key]
    trades: int256 = positions._trades(position) * slots.TICK
    if trades <= 0 or position & (positions.SETTLED | positions.COLLECTED) != 0:
        return
    amount: uint256 = convert(trades, uint256)
    accounts._credit(account, -trades, amount)
    positions.words[key] = (position - (amount << positions.RESERVE_AT)) | positions.COLLECTED
    slots.progress[slot] += amount << slots.CLEARING_AT
    log TradesCollected(slot=convert(slot, uint32), account=account, amount=amount)


@internal
def _settle(slot: uint256, rule: uint256, account: address):
    """
    @notice Settles one account by a rule, unless it is settled. The slot's clearing may be negative after it.
    """
    word: uint256 = accounts._word(account)
    id: uint256 = word & packing.UINT24
    key: uint256 = (slot << 24) | id
    progress: uint256 = slots.progress[slot]
    snapshot: uint256 = (progress >> slots.ACCOUNTS_AT) & packing.UINT32
    rules._require(id < snapshot, "settlement: not in the snapshot")
    position: uint256 = positions.words[key]
    if position & positions.SETTLED != 0:
        return
    state: uint256 = slots.states[slot]
    basis: uint256 = BY_READING
    bill: Bill = empty(Bill)
    if id == 0:
        bill.contracted = positions._net(position)
    else:
        reading: uint256 = self.readings[key]
        rules._require(reading != 0, "settlement: no reading")
        energy: int256 = packing._signed(reading, METERED_AT, 64)
        if reading & METERED == 0:
            basis = (reading >> BASIS_AT) & 3
            energy = packing._signed(reading, ESTIMATED_AT, 64)
        elif reading & ESTIMATED != 0:
            # The estimate was replaced before anything was settled by it.
            self.readings[key] = reading | RESETTLED
        bill = self._bill(state, slot, accounts._bus(word), rule, position, energy)
        if basis == BY_READING:
            bill.penalty = self._penalty(key, True)
        else:
            bill.penalty = self._penalty(key, False)
    bill.trades = positions._trades(position) * slots.TICK
    to_utility: int256 = self._to_utility(bill)
    cleared: int256 = bill.trades
    if position & positions.COLLECTED != 0:
        cleared = 0
    accounts._credit(account, -cleared - to_utility, positions._reserve(position))
    if to_utility != 0:
        accounts._credit(accounts.holders[0], to_utility, 0)
    positions.words[key] = packing._put(position, positions.RESERVE_AT, 64, 0) | positions.SETTLED
    log AccountSettled(
        slot=convert(slot, uint32),
        account=account,
        rule=convert(rule, uint8),
        basis=convert(basis, uint8),
        contracted=convert(bill.contracted, int64),
        metered=convert(bill.metered, int64),
        delivered=convert(bill.delivered, int64),
        trades=bill.trades,
        charge=bill.charge,
        closeout=bill.closeout,
        imbalance=bill.imbalance,
        penalty=bill.penalty,
    )
    settled: uint256 = ((progress >> slots.SETTLED_AT) & packing.UINT32) + 1
    clearing: int256 = packing._signed(progress, slots.CLEARING_AT, 128) + cleared
    progress = packing._put(progress, slots.SETTLED_AT, 32, settled)
    slots.progress[slot] = packing._put(progress, slots.CLEARING_AT, 128, packing._bits(clearing, 128))
    if settled == snapshot:
        slots.states[slot] = state | slots.SETTLED
        log SlotSettled(slot=convert(slot, uint32))


@internal
@view
def _check_clearing(slot: uint256):
    """
    @notice Refuses to pay sellers more than their slot's buyers have paid.
    """
    clearing: int256 = packing._signed(slots.progress[slot], slots.CLEARING_AT, 128)
    rules._require(clearing >= 0, "settlement: collect first")


@internal
def _resettle(slot: uint256, rule: uint256, account: address):
    """
    @notice Posts what a reading changes of a settlement by estimate, at unchanged prices, once; skips accounts
            where there is nothing of the kind.
    """
    word: uint256 = accounts._prosumer(account)
    key: uint256 = (slot << 24) | (word & packing.UINT24)
    position: uint256 = positions.words[key]
    reading: uint256 = self.readings[key]
    both: uint256 = METERED | ESTIMATED
    if position & positions.SETTLED == 0 or reading & (both | RESETTLED) != both:
        return
    self.readings[key] = reading | RESETTLED
    state: uint256 = slots.states[slot]
    bus: uint256 = accounts._bus(word)
    metered: int256 = packing._signed(reading, METERED_AT, 64)
    now: Bill = self._bill(state, slot, bus, rule, position, metered)
    was: Bill = self._bill(state, slot, bus, rule, position, packing._signed(reading, ESTIMATED_AT, 64))
    now.charge -= was.charge
    now.closeout -= was.closeout
    now.imbalance -= was.imbalance
    now.penalty = self._penalty(key, True) - self._penalty(key, False)
    change: int256 = self._to_utility(now)
    if change != 0:
        accounts._credit(account, -change, 0)
        accounts._credit(accounts.holders[0], change, 0)
    log AccountResettled(
        slot=convert(slot, uint32),
        account=account,
        metered=convert(now.metered, int64),
        delivered=convert(now.delivered, int64),
        charge=now.charge,
        closeout=now.closeout,
        imbalance=now.imbalance,
        penalty=now.penalty,
    )


@internal
@view
def _bill(
    state: uint256, slot: uint256, bus: uint256, rule: uint256, position: uint256, metered: int256
) -> Bill:
    """
    @notice What an account pays the utility, penalties apart: c is what it contracted, m what it metered, d what
            it delivered of c.
    """
    bill: Bill = empty(Bill)
    c: int256 = positions._net(position)
    m: int256 = metered
    d: int256 = 0
    if c > 0:
        d = max(0, min(c, m))
    else:
        d = min(0, max(c, m))
    bill.contracted = c
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
    return bill


@internal
@pure
def _to_utility(bill: Bill) -> int256:
    """
    @notice All that goes to the utility: everything but trades.
    """
    return bill.charge + bill.closeout + bill.imbalance + bill.penalty


@internal
@view
def _penalty(key: uint256, metered: bool) -> int256:
    """
    @notice What an account pays for energy sold in a class beyond its certified generation; an estimate
            certifies nothing.
    """
    penalty: int256 = 0
    certified: uint256 = 0
    if metered:
        certified = self.certified[key]
    for index: uint256 in range(len(slots.PENALTIES), bound=slots.CLASSES_MAX):
        sold: int256 = -positions.class_nets[(key << 2) | (index + 1)]
        if sold > 0:
            generated: int256 = convert((certified >> (32 * index)) & packing.UINT32, int256)
            penalty += max(0, sold - generated) * convert(slots.PENALTIES[index], int256)
    return penalty
