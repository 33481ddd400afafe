# pragma version 0.4.3
"""
@title Settlement
@license Apache-2.0
@notice Estimates, and the postings of each account in a slot, in n€.
        What an account pays is positive. Trades go through the slot's clearing, everything else to the utility.
"""

import accounts
import oracle
import packing
import positions
import readings
import rules
import slots

uses: accounts
uses: oracle
uses: positions
uses: readings
uses: slots


# ---- events ----------------------------------------------------------------------------------------

event ReadingEstimated:
    slot: indexed(uint32)
    account: indexed(address)
    netEnergy: int64
    basis: uint8

# Before an account is settled: what it pays for its trades into the slot's clearing, or gets out of it (negative).
event TradesCleared:
    slot: indexed(uint32)
    account: indexed(address)
    amount: int256

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

struct Bill:
    contracted: int256
    metered: int256
    delivered: int256
    trades: int256
    charge: int256
    closeout: int256
    imbalance: int256
    penalty: int256


# ---- internal functions: estimates -----------------------------------------------------------------


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
    if readings.words[key] != 0:
        return
    rule: uint256 = self._rule_of(slot)
    state: uint256 = slots.states[slot]
    bus: uint256 = accounts._bus(word)
    position: uint256 = positions.words[key]
    forecast: int256 = 0
    if len(words) != 0:
        place: uint256 = id & packing.UINT8
        forecast = packing._signed(words[place >> 3], (place & 7) << 5, 32)
    basis: uint256 = readings.BY_CONTRACT
    energy: int256 = positions._net(position)
    by_contract: Bill = self._bill(state, slot, bus, rule, position, energy)
    by_forecast: Bill = self._bill(state, slot, bus, rule, position, forecast)
    if self._to_utility(by_forecast) > self._to_utility(by_contract):
        basis = readings.BY_FORECAST
        energy = forecast
    readings.words[key] = readings.ESTIMATED | (basis << readings.BASIS_AT) | (packing._bits(energy, 64) << readings.ESTIMATED_AT)
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


# ---- internal functions: settlement ----------------------------------------------------------------


@internal
@view
def _rule_of(slot: uint256) -> uint256:
    """
    @notice The rule by which a slot settles now: the market's, or the tariff where prices stayed away.
    """
    state: uint256 = slots._scheduled(slot)
    rules._require(state & slots.GATE_CLOSED != 0, "settlement: gate is open")
    rules._require(self._has_rule(slot, state), "settlement: no prices yet")
    return self._rule_by(state)


@internal
@view
def _has_rule(slot: uint256, state: uint256) -> bool:
    """
    @notice Whether nothing can change any more by which rule a slot settles.
    """
    return state & slots.PRICES_COMPLETE != 0 or not oracle._prices_in_time(slot)


@internal
@view
def _rule_by(state: uint256) -> uint256:
    """
    @notice The rule by which a slot settles if it settles now.
    """
    if state & slots.PRICES_COMPLETE != 0:
        return slots.RULE
    return slots.TARIFF


@internal
def _clear_trades(slot: uint256, account: address):
    """
    @notice Moves what an account pays for its trades from its reserve into the slot's clearing, which nothing can
            refuse: reserves cover trades. Who is paid gets it once that is in the clearing, and it is certain that
            it owes nothing else. Skips the others, who is settled or cleared, and who is unknown.
    """
    word: uint256 = accounts.words[account]
    key: uint256 = (slot << 24) | (word & packing.UINT24)
    position: uint256 = positions.words[key]
    trades: int256 = positions._trades(position) * slots.TICK
    if word == 0 or trades == 0 or position & (positions.SETTLED | positions.CLEARED) != 0:
        return
    progress: uint256 = slots.progress[slot]
    clearing: int256 = packing._signed(progress, slots.CLEARING_AT, 128) + trades
    reserve: uint256 = positions._reserve(position)
    released: uint256 = reserve
    if trades > 0:
        released = convert(trades, uint256)
    elif clearing < 0 or not self._owes_nothing(slot, word, position):
        return
    accounts._credit(account, -trades, released)
    positions.words[key] = packing._put(position, positions.RESERVE_AT, 64, reserve - released) | positions.CLEARED
    slots.progress[slot] = packing._put(progress, slots.CLEARING_AT, 128, packing._bits(clearing, 128))
    log TradesCleared(slot=convert(slot, uint32), account=account, amount=trades)


@internal
@view
def _owes_nothing(slot: uint256, word: uint256, position: uint256) -> bool:
    """
    @notice Whether all that an account still settles besides its trades is in its favour, for good.
    """
    id: uint256 = word & packing.UINT24
    if id == 0:
        return True
    reading: uint256 = readings.words[(slot << 24) | id]
    state: uint256 = slots.states[slot]
    if not (self._has_rule(slot, state) and readings._final(slot, reading)):
        return False
    return self._to_utility(self._settled_by(slot, word, self._rule_by(state), position, reading)) <= 0


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
    bill: Bill = empty(Bill)
    basis: uint256 = readings.BY_READING
    if id == 0:
        bill.contracted = positions._net(position)
    else:
        reading: uint256 = readings.words[key]
        rules._require(reading != 0, "settlement: no reading")
        both: uint256 = readings.METERED | readings.ESTIMATED
        if reading & both == both:
            # The estimate was replaced before anything was settled by it.
            readings.words[key] = reading | readings.RESETTLED
        bill = self._settled_by(slot, word, rule, position, reading)
        basis = readings._energy(reading)[1]
    bill.trades = positions._trades(position) * slots.TICK
    to_utility: int256 = self._to_utility(bill)
    cleared: int256 = bill.trades
    if position & positions.CLEARED != 0:
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
        slots.states[slot] = slots.states[slot] | slots.SETTLED
        log SlotSettled(slot=convert(slot, uint32))


@internal
@view
def _check_clearing(slot: uint256):
    """
    @notice Refuses to pay sellers more than their slot's buyers have paid.
    """
    clearing: int256 = packing._signed(slots.progress[slot], slots.CLEARING_AT, 128)
    rules._require(clearing >= 0, "settlement: clear first")


@internal
def _resettle(slot: uint256, rule: uint256, account: address):
    """
    @notice Posts what a reading changes of a settlement by estimate, at unchanged prices, once; skips accounts
            where there is nothing of the kind.
    """
    word: uint256 = accounts._prosumer(account)
    key: uint256 = (slot << 24) | (word & packing.UINT24)
    position: uint256 = positions.words[key]
    reading: uint256 = readings.words[key]
    both: uint256 = readings.METERED | readings.ESTIMATED
    if position & positions.SETTLED == 0 or reading & (both | readings.RESETTLED) != both:
        return
    readings.words[key] = reading | readings.RESETTLED
    state: uint256 = slots.states[slot]
    bus: uint256 = accounts._bus(word)
    metered: int256 = packing._signed(reading, readings.METERED_AT, 64)
    now: Bill = self._bill(state, slot, bus, rule, position, metered)
    was: Bill = self._bill(state, slot, bus, rule, position, packing._signed(reading, readings.ESTIMATED_AT, 64))
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
def _settled_by(slot: uint256, word: uint256, rule: uint256, position: uint256, reading: uint256) -> Bill:
    """
    @notice What a prosumer pays the utility by its reading, or else its estimate, penalties included.
    """
    energy: int256 = 0
    basis: uint256 = 0
    energy, basis = readings._energy(reading)
    bill: Bill = self._bill(slots.states[slot], slot, accounts._bus(word), rule, position, energy)
    bill.penalty = self._penalty((slot << 24) | (word & packing.UINT24), basis == readings.BY_READING)
    return bill


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
        certified = readings.certified[key]
    for index: uint256 in range(len(slots.PENALTIES), bound=slots.CLASSES_MAX):
        sold: int256 = -positions.class_nets[(key << 2) | (index + 1)]
        if sold > 0:
            generated: int256 = convert((certified >> (32 * index)) & packing.UINT32, int256)
            penalty += max(0, sold - generated) * convert(slots.PENALTIES[index], int256)
    return penalty
