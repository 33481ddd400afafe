# pragma version 0.4.3
"""
@title Slots
@license Apache-2.0
@notice The terms of the market, the times of a delivery slot, its tariff and how far it has come.
        A slot's state is one word: the tariff, marks, and the counters of the placing list and of settlement.
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
    rule: uint8
    lot: uint32
    buses: uint16
    penalties: DynArray[int32, 7]

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
    placed: uint32
    voided: uint32
    accounts: uint32
    settledAccounts: uint32

struct Tariff:
    retail: int256
    hub_import: int256
    hub_export: int256


# ---- constants -------------------------------------------------------------------------------------

DLMP: constant(uint256) = 0
TARIFF: constant(uint256) = 1
CLASSES_MAX: constant(uint256) = 7
BUSES_MAX: constant(uint256) = 1024
SLOTS_PER_CALL: constant(uint256) = 1024

# The state word: retail, network fee and feed-in tariff take the low 96 bits, 32 each.
SCHEDULED: constant(uint256) = 1 << 96
CHARGES_POSTED: constant(uint256) = 1 << 97
CHARGES_COMPLETE: constant(uint256) = 1 << 98
PRICES_POSTED: constant(uint256) = 1 << 99
PRICES_COMPLETE: constant(uint256) = 1 << 100
GATE_CLOSED: constant(uint256) = 1 << 101
SUBSTATION_POSTED: constant(uint256) = 1 << 102
SETTLED: constant(uint256) = 1 << 103
# One bit a chunk that is in: charges from 104, prices from 112.
CHUNKS_AT: constant(uint256) = 104
# 32-bit counters.
PLACED_AT: constant(uint256) = 120
VOIDED_AT: constant(uint256) = 152
ACCOUNTS_AT: constant(uint256) = 184
SETTLED_AT: constant(uint256) = 216


# ---- immutables ------------------------------------------------------------------------------------

SLOT_SECONDS: immutable(uint256)
OPEN_LEAD: immutable(uint256)
GATE_LEAD: immutable(uint256)
PRICE_GRACE: immutable(uint256)
METER_GRACE: immutable(uint256)
RESETTLE_GRACE: immutable(uint256)
RULE: immutable(uint256)
LOT: immutable(uint256)
BUSES: immutable(uint256)
PENALTIES: immutable(DynArray[int32, 7])


# ---- storage ---------------------------------------------------------------------------------------

states: HashMap[uint256, uint256]


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(terms: Terms):
    """
    @notice Fixes the terms for good.
    @param terms Lengths in seconds, the lot in Wh, penalties in µ€/kWh by class from 1.
    """
    sound: bool = terms.slotSeconds > 0 and terms.lot > 0 and terms.rule <= 1
    sound = sound and terms.openLead > terms.gateLead and terms.resettleGrace >= terms.meterGrace
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
def _end(slot: uint256) -> uint256:
    """
    @notice First second after delivery.
    """
    return unsafe_mul(unsafe_add(slot, 1), SLOT_SECONDS)


@internal
@view
def _state(slot: uint256) -> SlotState:
    """
    @notice The state word unpacked.
    """
    word: uint256 = self.states[slot]
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
        placed=convert((word >> PLACED_AT) & packing.UINT32, uint32),
        voided=convert((word >> VOIDED_AT) & packing.UINT32, uint32),
        accounts=convert((word >> ACCOUNTS_AT) & packing.UINT32, uint32),
        settledAccounts=convert((word >> SETTLED_AT) & packing.UINT32, uint32),
    )
