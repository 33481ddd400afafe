# pragma version 0.4.3
"""
@title Orders
@license Apache-2.0
@notice What traders sign, and the codes of refusal.
"""

import signatures


# ---- events ----------------------------------------------------------------------------------------

event OrderRejected:
    slot: indexed(uint32)
    trader: indexed(address)
    nonce: uint8
    code: uint8

event NonceCancelled:
    slot: indexed(uint32)
    trader: indexed(address)
    nonce: uint8


# ---- structs ---------------------------------------------------------------------------------------

struct Order:
    trader: address
    slot: uint32
    nonce: uint8
    side: uint8
    energyClass: uint8
    limitPrice: int32
    quantity: uint32
    flags: uint8
    expiry: uint32
    relayer: address

struct SignedOrder:
    order: Order
    r: bytes32
    vs: bytes32

struct Cancel:
    trader: address
    slot: uint32
    nonce: uint8


# ---- constants -------------------------------------------------------------------------------------

ORDER_TYPE: constant(bytes32) = keccak256(
    "Order(address trader,uint32 slot,uint8 nonce,uint8 side,uint8 energyClass,int32 limitPrice,uint32 quantity,uint8 flags,uint32 expiry,address relayer)"
)
CANCEL_TYPE: constant(bytes32) = keccak256("Cancel(address trader,uint32 slot,uint8 nonce)")

BID: constant(uint8) = 0
ASK: constant(uint8) = 1
IMMEDIATE_OR_CANCEL: constant(uint8) = 1

ACCEPTED: constant(uint256) = 0
UNKNOWN_TRADER: constant(uint256) = 1
BAD_SIGNATURE: constant(uint256) = 2
WRONG_RELAYER: constant(uint256) = 3
SLOT_NOT_OPEN: constant(uint256) = 4
EXPIRED: constant(uint256) = 5
NONCE_USED: constant(uint256) = 6
MALFORMED: constant(uint256) = 7
UNKNOWN_CLASS: constant(uint256) = 8
NOT_REGISTERED_SELLER: constant(uint256) = 9
NOT_WHOLE_LOTS: constant(uint256) = 10
PRICE_OFF_RANGE: constant(uint256) = 11
TOO_MANY_RESTING: constant(uint256) = 12
OVER_CAPACITY: constant(uint256) = 13
INSUFFICIENT_FUNDS: constant(uint256) = 14
# In batches alone: of orders that were not looked at and may be sent again.
TOO_MANY_VISITS: constant(uint256) = 15


# ---- internal functions ----------------------------------------------------------------------------


@internal
@view
def _order_signed(order: Order, r: bytes32, vs: bytes32) -> bool:
    """
    @notice Whether the trader signed the order.
    """
    # Every member is static and one word, so the struct's ABI encoding is EIP-712's encodeData.
    return signatures._signed_by(order.trader, keccak256(abi_encode(ORDER_TYPE, order)), r, vs)


@internal
@view
def _cancel_signed(cancel: Cancel, r: bytes32, vs: bytes32) -> bool:
    """
    @notice Whether the trader signed the cancel.
    """
    return signatures._signed_by(cancel.trader, keccak256(abi_encode(CANCEL_TYPE, cancel)), r, vs)


@internal
@pure
def _rule(code: uint256) -> String[28]:
    """
    @notice Name of the rule that a reject code stands for.
    """
    if code == UNKNOWN_TRADER:
        return "order: unknown trader"
    if code == BAD_SIGNATURE:
        return "order: bad signature"
    if code == WRONG_RELAYER:
        return "order: wrong relayer"
    if code == SLOT_NOT_OPEN:
        return "order: slot not open"
    if code == EXPIRED:
        return "order: expired"
    if code == NONCE_USED:
        return "order: nonce used"
    if code == MALFORMED:
        return "order: malformed"
    if code == UNKNOWN_CLASS:
        return "order: unknown class"
    if code == NOT_REGISTERED_SELLER:
        return "order: not registered seller"
    if code == NOT_WHOLE_LOTS:
        return "order: not whole lots"
    if code == PRICE_OFF_RANGE:
        return "order: price off range"
    if code == TOO_MANY_RESTING:
        return "order: too many resting"
    if code == OVER_CAPACITY:
        return "order: over capacity"
    if code == INSUFFICIENT_FUNDS:
        return "order: insufficient funds"
    return "batch: too many visits"
