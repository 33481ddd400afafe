# pragma version 0.4.3
"""
@title Levels
@license Apache-2.0
@notice Where resting orders are kept: a queue for each price level, first in first out.

        A shelf is one side of one class's book in one slot. Prices on it are ranks, the higher the better
        for whoever meets it: 32 768 + tick for bids, 32 768 − tick for asks. Which levels hold orders is marked
        by one bit a rank in 256 words, and which words are not empty by one bit each in the shelf's summary.

        A level's entries are never moved. `head` is the place of the entry that is met next, `taken` how much of
        it is gone; what stands before it is filled, each entry to its whole quantity. An entry that is voided
        keeps as quantity what was filled of it, so one that nobody met is left with 0, a gap in the queue.
        Levels of a slot are linked in the order of opening, the newest first: closing goes along them.
"""

import packing
import slots


# ---- constants -------------------------------------------------------------------------------------

ZERO_RANK: constant(int256) = 32768

# The word of a level: head and tail of its queue, Wh taken of the entry at the head, the level opened before it,
# and the first two entries.
HEAD_AT: constant(uint256) = 0  # 16 bits
TAIL_AT: constant(uint256) = 16  # 16 bits
TAKEN_AT: constant(uint256) = 32  # 32 bits
OLDER_AT: constant(uint256) = 64  # 19 bits
ENTRIES_AT: constant(uint256) = 86
HEAD: constant(uint256) = (((1 << 32) - 1) << 32) | ((1 << 16) - 1)
ENTRIES_INSIDE: constant(uint256) = 2
# Every further word has three entries from bit 0.
ENTRIES_PER_WORD: constant(uint256) = 3
PLACES_MAX: constant(uint256) = 65535
# How many gaps a cancel passes at most; an order passes the others.
GAPS_MAX: constant(uint256) = 128

# An entry, 85 bits: Wh, seconds of its expiry before the gate (0 for none), nonce, trader's id.
ENTRY_WIDTH: constant(uint256) = 85
ENTRY: constant(uint256) = (1 << 85) - 1
EXPIRY_AT: constant(uint256) = 32  # 21 bits
NONCE_AT: constant(uint256) = 53  # 8 bits
TRADER_AT: constant(uint256) = 61  # 24 bits


# ---- storage ---------------------------------------------------------------------------------------

# By level: shelf << 16 | rank; a shelf is slot << 3 | class << 1 | side.
heads: HashMap[uint256, uint256]
# Further words of a queue: by level << 16 | number of the word.
queues: HashMap[uint256, uint256]
# By shelf << 8 | high byte of the rank, and by shelf.
marks: HashMap[uint256, uint256]
summaries: HashMap[uint256, uint256]


# ---- internal functions: names ---------------------------------------------------------------------


@internal
@pure
def _rank(tick: int256, side: uint256) -> uint256:
    """
    @notice Where a tick stands on a shelf of one side.
    """
    if side == 0:
        return convert(unsafe_add(ZERO_RANK, tick), uint256)
    return convert(unsafe_sub(ZERO_RANK, tick), uint256)


@internal
@pure
def _tick(level: uint256) -> int256:
    """
    @notice The tick of a level.
    """
    above: int256 = unsafe_sub(convert(level & packing.UINT16, int256), ZERO_RANK)
    if (level >> 16) & 1 == 0:
        return above
    return unsafe_sub(0, above)


@internal
@pure
def _shelf(slot: uint256, energy_class: uint256, side: uint256) -> uint256:
    """
    @notice One side of one class's book in one slot.
    """
    return (slot << 3) | (energy_class << 1) | side


@internal
@pure
def _level(slot: uint256, energy_class: uint256, side: uint256, tick: int256) -> uint256:
    """
    @notice The level of a tick on one side of one class's book.
    """
    return (self._shelf(slot, energy_class, side) << 16) | self._rank(tick, side)


@internal
@pure
def _best_at(shelf: uint256) -> uint256:
    """
    @notice Offset of a shelf's best rank in the slot's state.
    """
    return unsafe_add(slots.BEST_AT, (shelf & 7) << 4)


@internal
@pure
def _best(state: uint256, shelf: uint256) -> uint256:
    """
    @notice The best rank of a shelf, 0 where nothing rests.
    """
    return (state >> self._best_at(shelf)) & packing.UINT16


# ---- internal functions: entries -------------------------------------------------------------------


@internal
@pure
def _head(word: uint256) -> uint256:
    """
    @notice Place of the entry that is met next.
    """
    return word & packing.UINT16


@internal
@pure
def _tail(word: uint256) -> uint256:
    """
    @notice Place of the entry to come.
    """
    return (word >> TAIL_AT) & packing.UINT16


@internal
@pure
def _taken(word: uint256) -> uint256:
    """
    @notice Wh filled of the entry at the head.
    """
    return (word >> TAKEN_AT) & packing.UINT32


@internal
@pure
def _advanced(word: uint256, head: uint256, taken: uint256) -> uint256:
    """
    @notice The level's word with another head.
    """
    return (word & ~HEAD) | (taken << TAKEN_AT) | head


@internal
@pure
def _word_of(place: uint256) -> uint256:
    """
    @notice Number of the further word that a place from 2 is in.
    """
    return unsafe_sub(place, ENTRIES_INSIDE) // ENTRIES_PER_WORD


@internal
@pure
def _shift(place: uint256) -> uint256:
    """
    @notice Where an entry begins in its word.
    """
    if place < ENTRIES_INSIDE:
        return unsafe_add(ENTRIES_AT, unsafe_mul(ENTRY_WIDTH, place))
    return unsafe_mul(ENTRY_WIDTH, unsafe_sub(place, ENTRIES_INSIDE) % ENTRIES_PER_WORD)


@internal
@view
def _entry(level: uint256, word: uint256, place: uint256) -> uint256:
    """
    @notice The entry at a place of a level whose word is `word`.
    """
    if place < ENTRIES_INSIDE:
        return (word >> self._shift(place)) & ENTRY
    return (self.queues[(level << 16) | self._word_of(place)] >> self._shift(place)) & ENTRY


@internal
@pure
def _open(word: uint256, place: uint256, entry: uint256) -> uint256:
    """
    @notice Wh of an entry that still rest.
    """
    head: uint256 = self._head(word)
    if place < head or place >= self._tail(word):
        return 0
    quantity: uint256 = entry & packing.UINT32
    if place == head:
        return quantity - self._taken(word)
    return quantity


@internal
def _lessen(level: uint256, word: uint256, place: uint256, quantity: uint256) -> uint256:
    """
    @notice Takes Wh out of an entry; the level's word after it, which the caller stores.
    """
    less: uint256 = quantity << self._shift(place)
    if place < ENTRIES_INSIDE:
        return word - less
    self.queues[(level << 16) | self._word_of(place)] -= less
    return word


@internal
@view
def _passed(level: uint256, word: uint256) -> uint256:
    """
    @notice The level's word with its head past the entry there, and past the gaps behind it.
    """
    place: uint256 = self._head(word)
    tail: uint256 = self._tail(word)
    for _: uint256 in range(GAPS_MAX):
        place += 1
        if place == tail or self._entry(level, word, place) & packing.UINT32 != 0:
            break
    return self._advanced(word, place, 0)


@internal
@view
def _before_gaps(level: uint256, word: uint256, limit: uint256) -> (uint256, uint256):
    """
    @notice The level's word with its head back over gaps that were passed since something was filled, as many as
            `limit`.
    @return The word, and over how many gaps it went. There are more where these are `limit` and a gap is next.
    """
    place: uint256 = self._head(word)
    gaps: uint256 = 0
    if self._taken(word) != 0:
        return word, 0
    for _: uint256 in range(limit, bound=PLACES_MAX):
        if not self._behind_gap(level, word, place):
            break
        place -= 1
        gaps += 1
    return self._advanced(word, place, 0), gaps


@internal
@view
def _behind_gap(level: uint256, word: uint256, place: uint256) -> bool:
    """
    @notice Whether the entry before a place is a gap.
    """
    return place != 0 and self._entry(level, word, place - 1) & packing.UINT32 == 0


@internal
@view
def _returned(level: uint256, word: uint256, quantity: uint256) -> uint256:
    """
    @notice The level's word with its head back by so many Wh that were filled, all by one order: over no more
            entries than it visited.
    """
    place: uint256 = self._head(word)
    taken: uint256 = self._taken(word)
    left: uint256 = quantity
    for _: uint256 in range(PLACES_MAX):
        part: uint256 = min(left, taken)
        left -= part
        taken -= part
        if left == 0:
            break
        place -= 1
        taken = self._entry(level, word, place) & packing.UINT32
    return self._advanced(word, place, taken)


# ---- internal functions: levels --------------------------------------------------------------------


@internal
def _append(state: uint256, level: uint256, entry: uint256) -> uint256:
    """
    @notice Puts an entry at the end of a level's queue, and opens the level if it has to.
    @return The slot's state after it, which the caller stores; 0 if the queue has no place left.
    """
    word: uint256 = self.heads[level]
    place: uint256 = self._tail(word)
    if place == PLACES_MAX:
        return 0
    after: uint256 = state
    if place == 0:
        # The first order of all at this price: the level is linked to the one opened before.
        word = ((state >> slots.OPENED_AT) & packing.UINT19) << OLDER_AT
        after = packing._put(state, slots.OPENED_AT, 19, level & packing.UINT19)
    if self._head(word) == place:
        after = self._mark(after, level)
    if place < ENTRIES_INSIDE:
        word |= entry << self._shift(place)
    else:
        self.queues[(level << 16) | self._word_of(place)] |= entry << self._shift(place)
    self.heads[level] = word + (1 << TAIL_AT)
    return after


@internal
def _mark(state: uint256, level: uint256) -> uint256:
    """
    @notice Notes that a level holds orders; the slot's state after it.
    """
    shelf: uint256 = level >> 16
    rank: uint256 = level & packing.UINT16
    marks: uint256 = self.marks[level >> 8]
    self.marks[level >> 8] = marks | (1 << (rank & packing.UINT8))
    if marks == 0:
        self.summaries[shelf] |= 1 << (rank >> 8)
    if rank > self._best(state, shelf):
        return packing._put(state, self._best_at(shelf), 16, rank)
    return state


@internal
def _unmark(state: uint256, level: uint256) -> uint256:
    """
    @notice Notes that a level holds no orders, and finds the best one left if it was it; the slot's state after it.
    """
    shelf: uint256 = level >> 16
    rank: uint256 = level & packing.UINT16
    high: uint256 = rank >> 8
    marks: uint256 = self.marks[level >> 8] ^ (1 << (rank & packing.UINT8))
    self.marks[level >> 8] = marks
    summary: uint256 = 0
    if marks == 0:
        summary = self.summaries[shelf] ^ (1 << high)
        self.summaries[shelf] = summary
    if rank != self._best(state, shelf):
        return state
    best: uint256 = 0
    if marks != 0:
        best = (high << 8) | packing._highest_bit(marks)
    elif summary != 0:
        high = packing._highest_bit(summary)
        best = (high << 8) | packing._highest_bit(self.marks[(shelf << 8) | high])
    return packing._put(state, self._best_at(shelf), 16, best)
