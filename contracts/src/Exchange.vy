# pragma version 0.4.3
# pragma evm-version prague
"""
@title Exchange
@license Apache-2.0
@notice A peer-to-peer electricity market for one distribution feeder: the whole life of a delivery slot.
        Energy is in Wh, prices in µ€/kWh, money in n€, so that price × energy is money exactly. Net
        consumption is positive, and so is what an account pays. The specification is contracts/README.md.

        Money and trading are here. The rest is in Clearinghouse.vy and Registry.vy: code has a size limit, so the
        constructor creates both from blueprints whose hashes it knows, and calls that this code does not know run
        there, on the storage of this contract. The three are fixed for good.
"""

import accounts
import book
import closing
import known_code
import levels
import oracle
import orders
import positions
import resting
import rules
import signatures
import slots
import veto

# In the order of Clearinghouse.vy and Registry.vy: all three must lay out storage alike.
initializes: accounts
initializes: slots
initializes: levels
initializes: positions
initializes: oracle[slots := slots]
initializes: resting[accounts := accounts, levels := levels, oracle := oracle, positions := positions, slots := slots]
initializes: veto[
    accounts := accounts, levels := levels, oracle := oracle, positions := positions, resting := resting, slots := slots
]
initializes: closing[accounts := accounts, levels := levels, positions := positions, resting := resting, slots := slots]
initializes: book[
    accounts := accounts,
    levels := levels,
    oracle := oracle,
    positions := positions,
    resting := resting,
    slots := slots,
    veto := veto
]


# ---- constants -------------------------------------------------------------------------------------

# With so many orders, and all that those before the last but one may visit, a batch fits a block: contracts/README.md.
ORDERS_PER_CALL: constant(uint256) = 64
VISITS_PER_CALL: constant(uint256) = 256
# The longest answer of a view that runs elsewhere, bytes.
ANSWER_MAX: constant(uint256) = 1024


# ---- immutables ------------------------------------------------------------------------------------

CLEARINGHOUSE: immutable(address)
REGISTRY: immutable(address)


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(
    token: address,
    utility: address,
    guardian: address,
    oracles: DynArray[address, 16],
    quorum: uint8,
    terms: slots.Terms,
    clearinghouse: address,
    registry: address,
):
    """
    @notice Opens a market; nothing of this can be changed but who holds the roles and the oracle set.
    @param token ERC-20 that is the market's money, of at most 36 decimals.
    @param utility Registers accounts, schedules slots, is the counterparty of charges and imbalances.
    @param guardian May pause order entry.
    @param oracles The first oracle set.
    @param quorum How many of them must sign.
    @param terms What the market fixes for all slots.
    @param clearinghouse Blueprint of the Clearinghouse (EIP-5202).
    @param registry Blueprint of the Registry.
    """
    known: bool = clearinghouse.codehash == known_code.CLEARINGHOUSE and registry.codehash == known_code.REGISTRY
    rules._require(known, "exchange: wrong blueprint")
    slots.__init__(terms)
    accounts.__init__(token)
    accounts._open(utility, guardian)
    oracle._install(oracles, quorum)
    REGISTRY = create_from_blueprint(registry, token, terms)
    CLEARINGHOUSE = create_from_blueprint(clearinghouse, token, terms, REGISTRY)


# ---- money ------------------------------------------------------------------------------------------


@external
@nonreentrant
def deposit(account: address, amount: uint256):
    """
    @notice Pulls tokens from the caller and credits an account.
    @param account Any registered account.
    @param amount n€, whole token units.
    """
    accounts._deposit(account, amount)


@external
@nonreentrant
def withdraw(amount: uint256):
    """
    @notice Pays out to the caller what is free of reserves; to the utility, what backing does not need.
    @param amount n€, whole token units.
    """
    accounts._withdraw(amount)


# ---- trading ----------------------------------------------------------------------------------------


@external
def placeOrder(order: orders.Order, r: bytes32, vs: bytes32):
    """
    @notice Places one signed order; reverts by the name of the first rule it breaks.
    @param order What the trader signed.
    @param r Signature, first half.
    @param vs Signature, second half with the parity on top (EIP-2098).
    """
    rules._require(not accounts.paused, "exchange: paused")
    code: uint256 = 0
    visits: uint256 = 0
    code, visits = book._place(order, r, vs)
    if code != orders.ACCEPTED:
        raise orders._rule(code)


@external
def placeOrders(batch: DynArray[orders.SignedOrder, ORDERS_PER_CALL]):
    """
    @notice Places signed orders one after the other; one that breaks a rule is skipped with its code, and so
            are all that come after so many visits that one more order might not fit the block.
    @param batch At most 64.
    """
    rules._require(not accounts.paused, "exchange: paused")
    visits: uint256 = 0
    for signed: orders.SignedOrder in batch:
        code: uint256 = orders.TOO_MANY_VISITS
        if visits < VISITS_PER_CALL:
            made: uint256 = 0
            code, made = book._place(signed.order, signed.r, signed.vs)
            visits += made
        if code != orders.ACCEPTED:
            log orders.OrderRejected(
                slot=signed.order.slot,
                trader=signed.order.trader,
                nonce=signed.order.nonce,
                code=convert(code, uint8),
            )


@external
def cancelOrder(cancel: orders.Cancel, r: bytes32, vs: bytes32, berth: resting.Berth):
    """
    @notice Voids what rests of an order, or kills a nonce not seen yet; before the gate, paused or not.
    @param cancel What the trader signed.
    @param r Signature, first half.
    @param vs Signature, second half with the parity on top (EIP-2098).
    @param berth Where the order rests, as `orderOf` says; of no account for a nonce not seen yet.
    """
    book._cancel(cancel, r, vs, berth)


@external
def closeGate(slot: uint32, limit: uint32):
    """
    @notice Once nothing can be vetoed any more, credits makers with what was filled and voids what rests, level by
            level; the call that reaches the end closes the gate.
    @param slot The slot.
    @param limit Entries of the slot's levels to go through, at most 512.
    """
    closing._advance(slot, limit)


# ---- views ------------------------------------------------------------------------------------------


@external
@view
def orderOf(slot: uint32, trader: address, nonce: uint8) -> (resting.Berth, uint256):
    """
    @notice Where an order rests and its Wh; zeros for one that does not rest. To be called, not to be used on
            chain: it looks through the slot's whole book.
    """
    return resting._find(convert(slot, uint256), accounts._id(trader), convert(nonce, uint256))


@external
@view
def nonceUsed(slot: uint32, trader: address, nonce: uint8) -> bool:
    """
    @notice Whether a nonce was placed or cancelled.
    """
    key: uint256 = (convert(slot, uint256) << 24) | accounts._id(trader)
    return positions._is_used(key, positions.words[key], convert(nonce, uint256))


@external
@view
def positionOf(slot: uint32, account: address) -> positions.Position:
    """
    @notice What an account has in a slot. Until the gate is closed, fills of its resting orders count as resting.
    """
    return positions._position((convert(slot, uint256) << 24) | accounts._id(account), slots.TICK)


@external
@view
def classNetOf(slot: uint32, account: address, energyClass: uint8) -> int64:
    """
    @notice Wh that an account has net in an energy class from 1, bought positive.
    """
    rules._require(energyClass > 0 and slots._has_class(convert(energyClass, uint256)), "book: no such class")
    key: uint256 = (convert(slot, uint256) << 24) | accounts._id(account)
    return convert(positions.class_nets[(key << 2) | convert(energyClass, uint256)], int64)


@external
@view
def bestBid(slot: uint32, energyClass: uint8) -> (bool, int16, uint256):
    """
    @notice Highest bid tick and the Wh resting there.
    """
    return resting._best(convert(slot, uint256), convert(energyClass, uint256), 0)


@external
@view
def bestAsk(slot: uint32, energyClass: uint8) -> (bool, int16, uint256):
    """
    @notice Lowest ask tick and the Wh resting there.
    """
    return resting._best(convert(slot, uint256), convert(energyClass, uint256), 1)


@external
@view
def levelOf(slot: uint32, energyClass: uint8, side: uint8, tick: int16) -> uint256:
    """
    @notice Wh resting at a tick.
    """
    number: uint256 = convert(slot, uint256)
    energy_class: uint256 = convert(energyClass, uint256)
    sound: bool = slots._has_class(energy_class) and side <= 1 and tick > min_value(int16)
    rules._require(sound, "book: no such level")
    level: uint256 = levels._level(number, energy_class, convert(side, uint256), convert(tick, int256))
    return resting._level_quantity(number, level)


@external
@view
def chargeOf(slot: uint32, bus: uint16) -> int32:
    """
    @notice Firm charge of a bus, µ€/kWh, 0 until the charges are complete.
    """
    number: uint256 = convert(slot, uint256)
    oracle._check_bus(convert(bus, uint256))
    return convert(oracle._charge(slots.states[number], number, convert(bus, uint256)), int32)


@external
@view
def uncovered() -> uint256:
    """
    @notice n€ that accounts other than the utility have reserved, or owe, beyond their balances.
    """
    return accounts.uncovered


@external
@view
def backing() -> int256:
    """
    @notice Utility's balance − reserved − uncovered, n€, never negative.
    """
    return accounts._backing()


@external
@view
def token() -> address:
    """
    @notice The ERC-20 that is the market's money.
    """
    return accounts.TOKEN.address


@external
@view
def paused() -> bool:
    """
    @notice Whether order entry is paused.
    """
    return accounts.paused


@external
@view
def domainSeparator() -> bytes32:
    """
    @notice EIP-712 domain separator.
    """
    return signatures._separator()


@external
@view
def parts() -> (address, address):
    """
    @notice Where the rest of this contract's code is: Clearinghouse and Registry.
    """
    return CLEARINGHOUSE, REGISTRY


# ---- everything else --------------------------------------------------------------------------------


@external
@raw_return
def __default__() -> Bytes[ANSWER_MAX]:
    """
    @notice Runs in the Clearinghouse what is not here, on this contract's storage.
    """
    return raw_call(CLEARINGHOUSE, msg.data, max_outsize=ANSWER_MAX, is_delegate_call=True)
