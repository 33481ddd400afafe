# pragma version 0.4.3
"""
@title Veto
@license Apache-2.0
@notice Fills that the utility takes back after the gate, the last of all first: one hash over all of a slot's
        fills tells which is the last.
"""

import accounts
import levels
import oracle
import packing
import positions
import resting
import rules
import slots

uses: accounts
uses: levels
uses: oracle
uses: positions
uses: resting
uses: slots


# ---- events ----------------------------------------------------------------------------------------

event FillVetoed:
    slot: indexed(uint32)
    taker: indexed(address)
    takerNonce: uint8
    takerSide: uint8
    energyClass: uint8
    tick: int16
    quantity: uint32
    reason: uint8
    element: uint16

# Vetoes of a call end here: the level's head went back to `place`, over gaps alone, and the next call goes on.
event VetoPaused:
    slot: indexed(uint32)
    energyClass: uint8
    side: uint8
    tick: int16
    place: uint16


# ---- structs ---------------------------------------------------------------------------------------

# What an order took of a level, and how much of it the utility takes back.
struct Veto:
    taker: address
    takerNonce: uint8
    energyClass: uint8
    takerSide: uint8
    tick: int16
    quantity: uint32
    before: bytes32
    cut: uint32
    reason: uint8
    element: uint16


# ---- storage ---------------------------------------------------------------------------------------

# Hash over the fills of a slot, in markets with a veto: keccak256(hash before, level, taker's id << 8 | nonce, Wh).
fills: HashMap[uint256, bytes32]


# ---- internal functions ----------------------------------------------------------------------------


@internal
def _note(slot: uint256, level: uint256, id: uint256, nonce: uint256, quantity: uint256):
    """
    @notice Notes what an order took of a level.
    """
    self.fills[slot] = self._hash(self.fills[slot], level, id, nonce, quantity)


@internal
@pure
def _hash(before: bytes32, level: uint256, id: uint256, nonce: uint256, quantity: uint256) -> bytes32:
    """
    @notice Hash over the fills of a slot with one more of them.
    """
    return keccak256(abi_encode(before, level, (id << 8) | nonce, quantity))


@internal
@view
def _check_time(slot: uint256) -> uint256:
    """
    @notice Refuses vetoes of a slot that is not scheduled, or out of their time.
    @return The slot's state, which vetoes do not change.
    """
    state: uint256 = slots._scheduled(slot)
    rules._require(not slots._before_gate(slot) and not slots._may_close(slot), "veto: not now")
    return state


@internal
def _take_back(slot: uint32, state: uint256, veto: Veto, room: uint256) -> (bool, uint256):
    """
    @notice Takes back the fill that was last of all, or a part of it: the taker's trade is undone, and what the
            makers traded rests again until closing voids it. Where more gaps than there is room for were passed
            since, the level's head alone goes back, over so many of them.
    @return Whether the fill was reached, and what room is left.
    """
    number: uint256 = convert(slot, uint256)
    side: uint256 = convert(veto.takerSide, uint256)
    quantity: uint256 = convert(veto.quantity, uint256)
    cut: uint256 = convert(veto.cut, uint256)
    sound: bool = side <= 1 and veto.energyClass <= 3 and veto.tick > min_value(int16)
    rules._require(sound, "veto: not the last fill")
    tick: int256 = convert(veto.tick, int256)
    energy_class: uint256 = convert(veto.energyClass, uint256)
    level: uint256 = levels._level(number, energy_class, 1 - side, tick)
    account: uint256 = accounts._word(veto.taker)
    id: uint256 = account & packing.UINT24
    nonce: uint256 = convert(veto.takerNonce, uint256)
    named: bytes32 = self._hash(veto.before, level, id, nonce, quantity)
    rules._require(named == self.fills[number], "veto: not the last fill")
    rules._require(cut != 0 and cut <= quantity, "veto: more than was filled")
    word: uint256 = levels.heads[level]
    gaps: uint256 = 0
    word, gaps = levels._before_gaps(level, word, room)
    place: uint256 = levels._head(word)
    if levels._taken(word) == 0 and levels._behind_gap(level, word, place):
        levels.heads[level] = word
        log VetoPaused(
            slot=slot,
            energyClass=veto.energyClass,
            side=1 - veto.takerSide,
            tick=veto.tick,
            place=convert(place, uint16),
        )
        return False, 0
    levels.heads[level] = levels._returned(level, word, cut)
    self.fills[number] = veto.before
    if cut != quantity:
        self.fills[number] = self._hash(veto.before, level, id, nonce, quantity - cut)
    key: uint256 = (number << 24) | id
    position: uint256 = positions._traded(positions.words[key], 1 - side, cut, convert(cut, int256) * tick)
    charge: int256 = oracle._charge(state, number, accounts._bus(account))
    released: uint256 = cut * resting._unit_reserve(state, id, energy_class, side, tick, charge)
    positions.words[key] = position - (released << positions.RESERVE_AT)
    accounts._store(veto.taker, account, account - (released << accounts.RESERVED_AT))
    if energy_class != 0:
        positions._trade_class(key, energy_class, 1 - side, cut)
    log FillVetoed(
        slot=slot,
        taker=veto.taker,
        takerNonce=veto.takerNonce,
        takerSide=veto.takerSide,
        energyClass=veto.energyClass,
        tick=veto.tick,
        quantity=veto.cut,
        reason=veto.reason,
        element=veto.element,
    )
    return True, room - gaps
