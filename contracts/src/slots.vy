# pragma version 0.4.3
"""
@title Slots
@license Apache-2.0
@notice The terms of the market, the times of a delivery slot, its tariff and how far it has come.
        What order entry needs of a slot is in one word: the tariff, marks, and the best ranks of its books. What
        only comes later, arrivals of vectors, closing and settlement, is in its progress word.
"""

import packing
import rules


# ---- events ----------------------------------------------------------------------------------------

event SlotsScheduled:
    first: uint32
    count: uint32
    retail: int32
    networkFee: int32
    fit: int32


# ---- structs ---------------------------------------------------------------------------------------

struct Terms:
    slotSeconds: uint32
    openLead: uint32
    gateLead: uint32
    priceGrace: uint32
    meterGrace: uint32
    resettleGrace: uint32
    vetoGrace: uint32
    rule: uint8
    lot: uint32
    buses: uint16
    penalties: DynArray[int32, 3]

struct SlotState:
    scheduled: bool
    retail: int32
    networkFee: int32
    fit: int32
    chargesPosted: bool
    chargesComplete: bool
    pricesPosted: bool
    pricesComplete: bool
    gateClosed: bool
    substationPosted: bool
    settled: bool
    ordered: bool
    closing: bool
    accounts: uint32
    settledAccounts: uint32
    clearing: uint128

struct Tariff:
    retail: int256
    hub_import: int256
    hub_export: int256


# ---- constants -------------------------------------------------------------------------------------

# Ticks are 100 µ€/kWh.
TICK: constant(int256) = 100
DLMP: constant(uint256) = 0
TARIFF: constant(uint256) = 1
CLASSES_MAX: constant(uint256) = 3
BUSES_MAX: constant(uint256) = 1024
SLOTS_PER_CALL: constant(uint256) = 1024
EXPIRY_LIMIT: constant(uint32) = 2097152

# The state word: retail, network fee and feed-in tariff take the low 96 bits, 32 each.
SCHEDULED: constant(uint256) = 1 << 96
CHARGES_POSTED: constant(uint256) = 1 << 97
CHARGES_COMPLETE: constant(uint256) = 1 << 98
PRICES_POSTED: constant(uint256) = 1 << 99
PRICES_COMPLETE: constant(uint256) = 1 << 100
GATE_CLOSED: constant(uint256) = 1 << 101
SUBSTATION_POSTED: constant(uint256) = 1 << 102
SETTLED: constant(uint256) = 1 << 103
# Closing has begun: nothing is matched any more.
CLOSING: constant(uint256) = 1 << 104
# Link to the level opened last, 19 bits: the part of its key below the slot.
OPENED_AT: constant(uint256) = 105
# Best rank of each book, 16 bits by class << 1 | side; 0 for none.
BEST_AT: constant(uint256) = 124

# The progress word: one bit a chunk that is in, charges from 0 and prices from 8; then 32-bit counters, and
# where closing goes on: 19 bits of the level's key, 16 of the place in its queue. The upper half is the slot's
# clearing: what buyers have paid for their trades, less what sellers got; 0 when all are settled.
CHUNKS_AT: constant(uint256) = 0
ACCOUNTS_AT: constant(uint256) = 16
SETTLED_AT: constant(uint256) = 48
LEVEL_AT: constant(uint256) = 80
PLACE_AT: constant(uint256) = 99
CLEARING_AT: constant(uint256) = 128


# ---- immutables ------------------------------------------------------------------------------------

SLOT_SECONDS: immutable(uint256)
OPEN_LEAD: immutable(uint256)
GATE_LEAD: immutable(uint256)
PRICE_GRACE: immutable(uint256)
METER_GRACE: immutable(uint256)
RESETTLE_GRACE: immutable(uint256)
VETO_GRACE: immutable(uint256)
RULE: immutable(uint256)
LOT: immutable(uint256)
BUSES: immutable(uint256)
PENALTIES: immutable(DynArray[int32, 3])


# ---- storage ---------------------------------------------------------------------------------------

states: HashMap[uint256, uint256]
progress: HashMap[uint256, uint256]


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(terms: Terms):
    """
    @notice Fixes the terms for good.
    @param terms Lengths in seconds, the lot in Wh, penalties in µ€/kWh by class from 1.
    """
    sound: bool = terms.slotSeconds > 0 and terms.lot > 0 and terms.rule <= 1
    sound = sound and terms.openLead > terms.gateLead
    # Else no reading would ever be in time.
    sound = sound and terms.resettleGrace >= terms.meterGrace and terms.resettleGrace > 0
    # What was filled is certain before delivery begins: nobody vetoes on what was delivered.
    sound = sound and terms.vetoGrace <= terms.gateLead
    # An order's expiry is kept as 21 bits of seconds before the gate.
    sound = sound and terms.openLead - terms.gateLead < EXPIRY_LIMIT
    sound = sound and terms.buses >= 2 and convert(terms.buses, uint256) <= BUSES_MAX
    for penalty: int32 in terms.penalties:
        sound = sound and penalty >= 0
    rules._require(sound, "slots: bad terms")
    SLOT_SECONDS = convert(terms.slotSeconds, uint256)
    OPEN_LEAD = convert(terms.openLead, uint256)
    GATE_LEAD = convert(terms.gateLead, uint256)
    PRICE_GRACE = convert(terms.priceGrace, uint256)
    METER_GRACE = convert(terms.meterGrace, uint256)
    RESETTLE_GRACE = convert(terms.resettleGrace, uint256)
    VETO_GRACE = convert(terms.vetoGrace, uint256)
    RULE = convert(terms.rule, uint256)
    LOT = convert(terms.lot, uint256)
    BUSES = convert(terms.buses, uint256)
    PENALTIES = terms.penalties


# ---- internal functions ----------------------------------------------------------------------------


@internal
@view
def _terms() -> Terms:
    """
    @notice The terms as they were given.
    """
    return Terms(
        slotSeconds=convert(SLOT_SECONDS, uint32),
        openLead=convert(OPEN_LEAD, uint32),
        gateLead=convert(GATE_LEAD, uint32),
        priceGrace=convert(PRICE_GRACE, uint32),
        meterGrace=convert(METER_GRACE, uint32),
        resettleGrace=convert(RESETTLE_GRACE, uint32),
        vetoGrace=convert(VETO_GRACE, uint32),
        rule=convert(RULE, uint8),
        lot=convert(LOT, uint32),
        buses=convert(BUSES, uint16),
        penalties=PENALTIES,
    )


@internal
def _schedule(first: uint32, count: uint32, retail: int32, network_fee: int32, fit: int32):
    """
    @notice Fixes the tariff of `count` slots from `first`, before any of them opens, once.
    """
    rules._require(convert(count, uint256) <= SLOTS_PER_CALL, "slots: too many")
    hub_import: int256 = convert(retail, int256) - convert(network_fee, int256)
    rules._require(hub_import >= convert(fit, int256), "slots: import below export")
    word: uint256 = SCHEDULED
    word = word | packing._bits(convert(retail, int256), 32)
    word = word | (packing._bits(convert(network_fee, int256), 32) << 32)
    word = word | (packing._bits(convert(fit, int256), 32) << 64)
    for offset: uint256 in range(convert(count, uint256), bound=SLOTS_PER_CALL):
        slot: uint256 = convert(first, uint256) + offset
        rules._require(slot < 1 << 32, "slots: no such slot")
        rules._require(self._before_opening(slot), "slots: opening passed")
        rules._require(self.states[slot] == 0, "slots: already scheduled")
        self.states[slot] = word
    log SlotsScheduled(first=first, count=count, retail=retail, networkFee=network_fee, fit=fit)


@internal
@view
def _scheduled(slot: uint256) -> uint256:
    """
    @notice State word of a slot that is scheduled.
    """
    word: uint256 = self.states[slot]
    rules._require(word != 0, "slots: not scheduled")
    return word


@internal
@pure
def _tariff(word: uint256) -> Tariff:
    """
    @notice The tariff with the hub prices it implies: what the utility asks for, and bids, at the substation.
    """
    retail: int256 = packing._signed(word, 0, 32)
    return Tariff(
        retail=retail,
        hub_import=unsafe_sub(retail, packing._signed(word, 32, 32)),
        hub_export=packing._signed(word, 64, 32),
    )


@internal
@pure
def _hub_import(word: uint256) -> int256:
    """
    @notice What the utility asks for at the substation.
    """
    return unsafe_sub(packing._signed(word, 0, 32), packing._signed(word, 32, 32))


@internal
@view
def _has_class(energy_class: uint256) -> bool:
    """
    @notice Whether the market has an energy class; 0 is plain.
    """
    return energy_class <= len(PENALTIES)


@internal
@view
def _before_opening(slot: uint256) -> bool:
    """
    @notice time < start − openLead.
    """
    return unsafe_add(block.timestamp, OPEN_LEAD) < unsafe_mul(slot, SLOT_SECONDS)


@internal
@view
def _before_gate(slot: uint256) -> bool:
    """
    @notice time < start − gateLead.
    """
    return unsafe_add(block.timestamp, GATE_LEAD) < unsafe_mul(slot, SLOT_SECONDS)


@internal
@view
def _may_close(slot: uint256) -> bool:
    """
    @notice time ≥ start − gateLead + vetoGrace.
    """
    start: uint256 = unsafe_mul(slot, SLOT_SECONDS)
    return unsafe_add(block.timestamp, GATE_LEAD) >= unsafe_add(start, VETO_GRACE)


@internal
@view
def _before_gate_by(slot: uint256, expiry: uint32) -> uint256:
    """
    @notice Seconds by which an expiry is before the gate; 0 for one that is not, and for none.
    """
    gate: uint256 = unsafe_sub(unsafe_mul(slot, SLOT_SECONDS), GATE_LEAD)
    if expiry == 0 or convert(expiry, uint256) >= gate:
        return 0
    return unsafe_sub(gate, convert(expiry, uint256))


@internal
@view
def _expired(slot: uint256, before_gate: uint256) -> bool:
    """
    @notice Whether an expiry, given in seconds before the gate, has come.
    """
    if before_gate == 0:
        return False
    now: uint256 = unsafe_add(unsafe_add(block.timestamp, GATE_LEAD), before_gate)
    return now >= unsafe_mul(slot, SLOT_SECONDS)


@internal
@view
def _end(slot: uint256) -> uint256:
    """
    @notice First second after delivery.
    """
    return unsafe_mul(unsafe_add(slot, 1), SLOT_SECONDS)


@internal
@view
def _state(slot: uint256) -> SlotState:
    """
    @notice State and progress unpacked.
    """
    word: uint256 = self.states[slot]
    progress: uint256 = self.progress[slot]
    return SlotState(
        scheduled=word != 0,
        retail=convert(packing._signed(word, 0, 32), int32),
        networkFee=convert(packing._signed(word, 32, 32), int32),
        fit=convert(packing._signed(word, 64, 32), int32),
        chargesPosted=word & CHARGES_POSTED != 0,
        chargesComplete=word & CHARGES_COMPLETE != 0,
        pricesPosted=word & PRICES_POSTED != 0,
        pricesComplete=word & PRICES_COMPLETE != 0,
        gateClosed=word & GATE_CLOSED != 0,
        substationPosted=word & SUBSTATION_POSTED != 0,
        settled=word & SETTLED != 0,
        ordered=(word >> OPENED_AT) & packing.UINT19 != 0,
        closing=word & CLOSING != 0,
        accounts=convert((progress >> ACCOUNTS_AT) & packing.UINT32, uint32),
        settledAccounts=convert((progress >> SETTLED_AT) & packing.UINT32, uint32),
        clearing=convert(progress >> CLEARING_AT, uint128),
    )
