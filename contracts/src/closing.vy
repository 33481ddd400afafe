# pragma version 0.4.3
"""
@title Closing
@license Apache-2.0
@notice Gate closure: makers are credited with what was filled of their orders, what rests is voided, and the
        accounts that must settle are fixed.
"""

import accounts
import levels
import packing
import positions
import resting
import rules
import slots

uses: accounts
uses: levels
uses: positions
uses: resting
uses: slots


# ---- events ----------------------------------------------------------------------------------------

# A call ends here and the gate is not closed yet: the next one goes on with the entry at `place` of a level.
event ClosingPaused:
    slot: indexed(uint32)
    energyClass: uint8
    side: uint8
    tick: int16
    place: uint16

event GateClosed:
    slot: indexed(uint32)
    accounts: uint32


# ---- constants -------------------------------------------------------------------------------------

# Closing an entry takes 43 000 gas at most.
ENTRIES_PER_CALL: constant(uint256) = 512


# ---- internal functions ----------------------------------------------------------------------------


@internal
def _advance(slot: uint32, limit: uint32):
    """
    @notice Goes along the levels' entries: credits makers with what was filled, voids what rests. Past the last
            entry the gate is closed and the accounts that must settle are fixed.
    """
    number: uint256 = convert(slot, uint256)
    state: uint256 = slots._scheduled(number)
    rules._require(slots._may_close(number), "book: before closing")
    rules._require(state & slots.GATE_CLOSED == 0, "book: gate is closed")
    progress: uint256 = slots.progress[number]
    link: uint256 = (progress >> slots.LEVEL_AT) & packing.UINT19
    place: uint256 = (progress >> slots.PLACE_AT) & packing.UINT16
    if state & slots.CLOSING == 0:
        link = (state >> slots.OPENED_AT) & packing.UINT19
    for _: uint256 in range(min(convert(limit, uint256), ENTRIES_PER_CALL), bound=ENTRIES_PER_CALL):
        if link == 0:
            break
        level: uint256 = (number << 19) | link
        word: uint256 = levels.heads[level]
        self._close_entry(state, level, word, place)
        place += 1
        if place == levels._tail(word):
            link = (word >> levels.OLDER_AT) & packing.UINT19
            place = 0
    state = state | slots.CLOSING
    progress = packing._put(progress, slots.LEVEL_AT, 19, link)
    progress = packing._put(progress, slots.PLACE_AT, 16, place)
    if link == 0:
        state = state | slots.GATE_CLOSED
        progress = packing._put(progress, slots.ACCOUNTS_AT, 32, accounts.count)
        log GateClosed(slot=slot, accounts=convert(accounts.count, uint32))
    else:
        log ClosingPaused(
            slot=slot,
            energyClass=convert((link >> 17) & 3, uint8),
            side=convert((link >> 16) & 1, uint8),
            tick=convert(levels._tick(link), int16),
            place=convert(place, uint16),
        )
    slots.states[number] = state
    slots.progress[number] = progress


@internal
def _close_entry(state: uint256, level: uint256, word: uint256, place: uint256):
    """
    @notice Credits a maker with what was filled of one entry, and voids the rest of it.
    """
    entry: uint256 = levels._entry(level, word, place)
    rest: uint256 = levels._open(word, place, entry)
    filled: uint256 = (entry & packing.UINT32) - rest
    if filled != 0:
        side: uint256 = (level >> 16) & 1
        key: uint256 = ((level >> 19) << 24) | (entry >> levels.TRADER_AT)
        worth: int256 = convert(filled, int256) * levels._tick(level)
        position: uint256 = positions._traded(positions.words[key], side, filled, worth)
        positions.words[key] = positions._without_rest(position, side, filled, 0)
        energy_class: uint256 = (level >> 17) & 3
        if energy_class != 0:
            positions._trade_class(key, energy_class, side, filled)
    if rest != 0:
        resting._void(accounts.holders[entry >> levels.TRADER_AT], state, level, entry, rest, resting.CLOSED)
