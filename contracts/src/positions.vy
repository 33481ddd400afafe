# pragma version 0.4.3
"""
@title Positions
@license Apache-2.0
@notice What an account has in a slot, in one word: energy and worth of its trades, what its resting orders may
        still add, its reserve, and the nonces it used.

        A resting order that is filled stays in the counts of what rests until the gate is closed: whoever takes
        it writes to the level alone, however many makers there are, and closing credits each maker.
"""

import packing


# ---- structs ---------------------------------------------------------------------------------------

struct Position:
    net: int64
    restingBids: uint64
    restingAsks: uint64
    bids: uint8
    asks: uint8
    reserve: uint128
    trades: int256
    settled: bool
    cleared: bool


# ---- constants -------------------------------------------------------------------------------------

# The word of a position. Nonces below 24 are in it, one bit each from the lowest.
NONCES: constant(uint256) = 24
RESTING_AT: constant(uint256) = 24  # Wh, 33 bits for bids, then 33 for asks
COUNT_AT: constant(uint256) = 90  # orders, 5 bits for bids, then 5 for asks
RESERVE_AT: constant(uint256) = 100  # n€, 64 bits
NET_AT: constant(uint256) = 164  # Wh, 34 bits, signed
TRADES_AT: constant(uint256) = 198  # ticks × Wh, 52 bits, signed
SETTLED: constant(uint256) = 1 << 250
# Its trades are paid, into the slot's clearing or out of it, before it is settled.
CLEARED: constant(uint256) = 1 << 251

# With what an account can have at rest, 2^34 Wh at 2^15 ticks, trades stay within their 52 bits.
TRADES_MAX: constant(int256) = 1 << 50


# ---- storage ---------------------------------------------------------------------------------------

# By slot << 24 | id.
words: HashMap[uint256, uint256]
# Nonces from 24, at the bit of their number; by slot << 24 | id.
late_nonces: HashMap[uint256, uint256]
# Net Wh in a class from 1, bought positive: by (slot << 24 | id) << 2 | class.
class_nets: HashMap[uint256, int256]


# ---- internal functions ----------------------------------------------------------------------------


@internal
@pure
def _net(word: uint256) -> int256:
    """
    @notice Wh bought, less Wh sold.
    """
    return convert(convert(word << (256 - 34 - NET_AT), bytes32), int256) >> (256 - 34)


@internal
@pure
def _trades(word: uint256) -> int256:
    """
    @notice Ticks × Wh of what was bought, less those of what was sold.
    """
    return convert(convert(word << (256 - 52 - TRADES_AT), bytes32), int256) >> (256 - 52)


@internal
@pure
def _reserve(word: uint256) -> uint256:
    """
    @notice n€ kept for what may come of resting orders and trades.
    """
    return (word >> RESERVE_AT) & packing.UINT64


@internal
@pure
def _resting(word: uint256, side: uint256) -> uint256:
    """
    @notice Wh of the orders of a side that came to rest and were not voided.
    """
    return (word >> unsafe_add(RESTING_AT, unsafe_mul(33, side))) & packing.UINT33


@internal
@pure
def _count(word: uint256, side: uint256) -> uint256:
    """
    @notice How many orders of a side came to rest and were not voided.
    """
    return (word >> unsafe_add(COUNT_AT, unsafe_mul(5, side))) & packing.UINT5


@internal
@pure
def _with_rest(word: uint256, side: uint256, quantity: uint256) -> uint256:
    """
    @notice A position after an order came to rest.
    """
    more: uint256 = word + (quantity << unsafe_add(RESTING_AT, unsafe_mul(33, side)))
    return more + (1 << unsafe_add(COUNT_AT, unsafe_mul(5, side)))


@internal
@pure
def _without_rest(word: uint256, side: uint256, quantity: uint256, orders: uint256) -> uint256:
    """
    @notice A position after a part of an order, or the whole of it, rests no more.
    """
    less: uint256 = word - (quantity << unsafe_add(RESTING_AT, unsafe_mul(33, side)))
    return less - (orders << unsafe_add(COUNT_AT, unsafe_mul(5, side)))


@internal
@pure
def _traded(word: uint256, side: uint256, quantity: uint256, worth: int256) -> uint256:
    """
    @notice A position after fills of `quantity` Wh that are worth ticks × Wh.
    """
    net: int256 = self._net(word)
    trades: int256 = self._trades(word)
    if side == 0:
        net = unsafe_add(net, convert(quantity, int256))
        trades = unsafe_add(trades, worth)
    else:
        net = unsafe_sub(net, convert(quantity, int256))
        trades = unsafe_sub(trades, worth)
    with_net: uint256 = packing._put(word, NET_AT, 34, packing._bits(net, 34))
    return packing._put(with_net, TRADES_AT, 52, packing._bits(trades, 52))


@internal
def _trade_class(key: uint256, energy_class: uint256, side: uint256, quantity: uint256):
    """
    @notice Keeps what an account has net in a class from 1.
    """
    bought: int256 = convert(quantity, int256)
    if side == 1:
        bought = -bought
    self.class_nets[(key << 2) | energy_class] += bought


@internal
@view
def _is_used(key: uint256, word: uint256, nonce: uint256) -> bool:
    """
    @notice Whether a nonce was placed or cancelled.
    """
    if nonce < NONCES:
        return (word >> nonce) & 1 != 0
    return (self.late_nonces[key] >> nonce) & 1 != 0


@internal
def _use(key: uint256, word: uint256, nonce: uint256) -> uint256:
    """
    @notice Consumes a nonce; the position's word after it, which the caller stores.
    """
    if nonce < NONCES:
        return word | (1 << nonce)
    self.late_nonces[key] |= 1 << nonce
    return word


@internal
@view
def _position(key: uint256, tick_size: int256) -> Position:
    """
    @notice The word unpacked, in Wh and n€.
    """
    word: uint256 = self.words[key]
    return Position(
        net=convert(self._net(word), int64),
        restingBids=convert(self._resting(word, 0), uint64),
        restingAsks=convert(self._resting(word, 1), uint64),
        bids=convert(self._count(word, 0), uint8),
        asks=convert(self._count(word, 1), uint8),
        reserve=convert(self._reserve(word), uint128),
        trades=self._trades(word) * tick_size,
        settled=word & SETTLED != 0,
        cleared=word & CLEARED != 0,
    )
