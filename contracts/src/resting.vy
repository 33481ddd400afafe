# pragma version 0.4.3
"""
@title Resting
@license Apache-2.0
@notice What rests, as its trader's account and position know it: where an order stands, what it reserves, and
        how it is voided.
"""

import accounts
import levels
import oracle
import packing
import positions
import rules
import slots

uses: accounts
uses: levels
uses: oracle
uses: positions
uses: slots


# ---- events ----------------------------------------------------------------------------------------

event OrderVoided:
    slot: indexed(uint32)
    trader: indexed(address)
    nonce: uint8
    quantity: uint32
    reason: uint8


# ---- structs ---------------------------------------------------------------------------------------

# Where an order rests: its level, and its place in the queue.
struct Berth:
    energyClass: uint8
    side: uint8
    tick: int16
    place: uint16


# ---- constants -------------------------------------------------------------------------------------

# Why an order, or what is left of it, will not trade.
CANCELLED: constant(uint8) = 1
VOID_EXPIRED: constant(uint8) = 2
OWN_ORDER: constant(uint8) = 3
VOID_IMMEDIATE: constant(uint8) = 4
VISITS: constant(uint8) = 5
CLOSED: constant(uint8) = 6
LEVEL_FULL: constant(uint8) = 7

WALK_MAX: constant(uint256) = 1048576


# ---- internal functions: reserves ------------------------------------------------------------------


@internal
@view
def _unit_reserve(
    state: uint256, id: uint256, energy_class: uint256, side: uint256, tick: int256, charge: int256
) -> uint256:
    """
    @notice The most that one Wh at a tick can cost an account under any reading, µ€/kWh: delivered or not, and
            sold in a class with nothing certified. A charge that it would be paid does not lower it: what goes
            into the slot's clearing is covered whatever the utility owes. The utility's trades cost their price.
    """
    price: int256 = unsafe_mul(tick, slots.TICK)
    if id == 0:
        if side == 1:
            price = unsafe_sub(0, price)
        return convert(max(0, price), uint256)
    fit: int256 = packing._signed(state, 64, 32)
    delivered: int256 = 0
    undelivered: int256 = 0
    if side == 0:
        delivered = unsafe_add(price, max(charge, 0))
        undelivered = unsafe_sub(price, fit)
        if slots.RULE == slots.TARIFF:
            undelivered = unsafe_sub(unsafe_sub(delivered, fit), min(charge, 0))
    else:
        delivered = unsafe_sub(max(unsafe_sub(0, charge), 0), price)
        undelivered = unsafe_sub(slots._hub_import(state), price)
        if slots.RULE == slots.TARIFF:
            retail: int256 = packing._signed(state, 0, 32)
            undelivered = unsafe_add(delivered, max(retail, unsafe_add(slots._hub_import(state), charge)))
    most: int256 = max(delivered, undelivered)
    if side == 1 and energy_class != 0:
        most = unsafe_add(most, convert(slots.PENALTIES[energy_class - 1], int256))
    return convert(max(0, most), uint256)


@internal
@view
def _level_reserve(state: uint256, id: uint256, level: uint256, charge: int256) -> uint256:
    """
    @notice The same of what rests on a level.
    """
    return self._unit_reserve(state, id, (level >> 17) & 3, (level >> 16) & 1, levels._tick(level), charge)


# ---- internal functions: voiding -------------------------------------------------------------------


@internal
def _void(trader: address, state: uint256, level: uint256, entry: uint256, quantity: uint256, reason: uint8):
    """
    @notice Voids what rests of somebody's order: takes it out of the position and releases its reserve.
    """
    slot: uint256 = level >> 19
    side: uint256 = (level >> 16) & 1
    id: uint256 = entry >> levels.TRADER_AT
    key: uint256 = (slot << 24) | id
    # Closing counts no order down: of one that was voided before, a veto may have given back what was filled.
    counted: uint256 = 1
    if reason == CLOSED:
        counted = 0
    position: uint256 = positions._without_rest(positions.words[key], side, quantity, counted)
    account: uint256 = accounts.words[trader]
    charge: int256 = oracle._charge(state, slot, accounts._bus(account))
    released: uint256 = quantity * self._level_reserve(state, id, level, charge)
    positions.words[key] = position - (released << positions.RESERVE_AT)
    accounts._store(trader, account, account - (released << accounts.RESERVED_AT))
    self._log_voided(slot, trader, (entry >> levels.NONCE_AT) & packing.UINT8, quantity, reason)


@internal
def _log_voided(slot: uint256, trader: address, nonce: uint256, quantity: uint256, reason: uint8):
    """
    @notice Says what will never trade.
    """
    log OrderVoided(
        slot=convert(slot, uint32),
        trader=trader,
        nonce=convert(nonce, uint8),
        quantity=convert(quantity, uint32),
        reason=reason,
    )


# ---- internal functions: what rests where ----------------------------------------------------------


@internal
@view
def _find(slot: uint256, id: uint256, nonce: uint256) -> (Berth, uint256):
    """
    @notice Where an order rests, and its Wh; zeros for one that does not rest.
    """
    state: uint256 = slots.states[slot]
    if state & slots.CLOSING != 0:
        return empty(Berth), 0
    link: uint256 = (state >> slots.OPENED_AT) & packing.UINT19
    place: uint256 = 0
    for _: uint256 in range(WALK_MAX):
        if link == 0:
            break
        level: uint256 = (slot << 19) | link
        word: uint256 = levels.heads[level]
        entry: uint256 = levels._entry(level, word, place)
        open: uint256 = levels._open(word, place, entry)
        if entry >> levels.NONCE_AT == (id << 8) | nonce and open != 0:
            side: uint256 = (level >> 16) & 1
            berth: Berth = Berth(
                energyClass=convert((level >> 17) & 3, uint8),
                side=convert(side, uint8),
                tick=convert(levels._tick(level), int16),
                place=convert(place, uint16),
            )
            return berth, open
        place += 1
        if place == levels._tail(word):
            link = (word >> levels.OLDER_AT) & packing.UINT19
            place = 0
    return empty(Berth), 0


@internal
@view
def _level_quantity(slot: uint256, level: uint256) -> uint256:
    """
    @notice Wh resting on a level while the book is in force.
    """
    total: uint256 = 0
    if slots.states[slot] & slots.CLOSING != 0:
        return 0
    word: uint256 = levels.heads[level]
    first: uint256 = levels._head(word)
    count: uint256 = levels._tail(word) - first
    for offset: uint256 in range(count, bound=65536):
        total += levels._open(word, first + offset, levels._entry(level, word, first + offset))
    return total


@internal
@view
def _best(slot: uint256, energy_class: uint256, side: uint256) -> (bool, int16, uint256):
    """
    @notice Best tick of one side and the Wh resting there (0 where more than 128 gaps were left behind).
    """
    rules._require(slots._has_class(energy_class), "book: no such class")
    state: uint256 = slots.states[slot]
    shelf: uint256 = levels._shelf(slot, energy_class, side)
    rank: uint256 = levels._best(state, shelf)
    if rank == 0 or state & slots.CLOSING != 0:
        return False, 0, 0
    level: uint256 = (shelf << 16) | rank
    return True, convert(levels._tick(level), int16), self._level_quantity(slot, level)
