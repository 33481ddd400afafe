# pragma version 0.4.3
"""
@title Packing
@license Apache-2.0
@notice Fields inside a storage word. A field is named by its offset and width in bits, counted from the
        lowest. Signed fields are two's complement.
"""


# ---- constants -------------------------------------------------------------------------------------

# Masks of unsigned fields.
UINT1: constant(uint256) = (1 << 1) - 1
UINT5: constant(uint256) = (1 << 5) - 1
UINT8: constant(uint256) = (1 << 8) - 1
UINT10: constant(uint256) = (1 << 10) - 1
UINT16: constant(uint256) = (1 << 16) - 1
UINT19: constant(uint256) = (1 << 19) - 1
UINT21: constant(uint256) = (1 << 21) - 1
UINT24: constant(uint256) = (1 << 24) - 1
UINT32: constant(uint256) = (1 << 32) - 1
UINT33: constant(uint256) = (1 << 33) - 1
UINT64: constant(uint256) = (1 << 64) - 1
UINT74: constant(uint256) = (1 << 74) - 1
UINT128: constant(uint256) = (1 << 128) - 1


# ---- internal functions ----------------------------------------------------------------------------


@internal
@pure
def _signed(word: uint256, offset: uint256, width: uint256) -> int256:
    """
    @notice Reads a signed field.
    """
    top: bytes32 = convert(word << unsafe_sub(256, unsafe_add(offset, width)), bytes32)
    return convert(top, int256) >> unsafe_sub(256, width)


@internal
@pure
def _bits(number: int256, width: uint256) -> uint256:
    """
    @notice Two's complement of a number that fits `width` bits.
    """
    return (convert(convert(number, bytes32), uint256) << unsafe_sub(256, width)) >> unsafe_sub(256, width)


@internal
@pure
def _put(word: uint256, offset: uint256, width: uint256, field: uint256) -> uint256:
    """
    @notice Replaces a field by one that fits `width` bits.
    """
    mask: uint256 = (1 << width) - 1
    return word ^ ((((word >> offset) ^ field) & mask) << offset)


@internal
@pure
def _highest_bit(word: uint256) -> uint256:
    """
    @notice Position of the highest bit set, by halving; 0 for an empty word.
    """
    rest: uint256 = word
    position: uint256 = 0
    if rest >> 128 != 0:
        rest = rest >> 128
        position = 128
    if rest >> 64 != 0:
        rest = rest >> 64
        position = position | 64
    if rest >> 32 != 0:
        rest = rest >> 32
        position = position | 32
    if rest >> 16 != 0:
        rest = rest >> 16
        position = position | 16
    if rest >> 8 != 0:
        rest = rest >> 8
        position = position | 8
    if rest >> 4 != 0:
        rest = rest >> 4
        position = position | 4
    if rest >> 2 != 0:
        rest = rest >> 2
        position = position | 2
    if rest >> 1 != 0:
        position = position | 1
    return position
