# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
"""
@title Exchange
@license Apache-2.0
@notice A peer-to-peer electricity market for one distribution feeder: the whole life of a delivery slot.
        Energy is in Wh, prices in µ€/kWh, money in n€, so that price × energy is money exactly. Net
        consumption is positive, and so is what an account pays. The specification is contracts/README.md.
"""

import accounts
import book
import oracle
import orders
import settlement
import signatures
import slots

initializes: signatures
initializes: accounts
initializes: slots
initializes: orders[signatures := signatures]
initializes: oracle[signatures := signatures, slots := slots]
initializes: book[accounts := accounts, oracle := oracle, orders := orders, slots := slots]
initializes: settlement[
    accounts := accounts, book := book, oracle := oracle, signatures := signatures, slots := slots
]


# ---- constants -------------------------------------------------------------------------------------

ORDERS_PER_CALL: constant(uint256) = 200
READINGS_PER_CALL: constant(uint256) = 100
ACCOUNTS_PER_CALL: constant(uint256) = 100


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(
    token: address,
    utility: address,
    guardian: address,
    oracles: DynArray[address, 16],
    quorum: uint8,
    terms: slots.Terms,
):
    """
    @notice Opens a market; nothing of this can be changed but who holds the roles and the oracle set.
    @param token ERC-20 that is the market's money, of at most 36 decimals.
    @param utility Registers accounts, schedules slots, is the counterparty of charges and imbalances.
    @param guardian May pause order entry.
    @param oracles The first oracle set.
    @param quorum How many of them must sign.
    @param terms What the market fixes for all slots.
    """
    signatures.__init__()
    slots.__init__(terms)
    accounts.__init__(token, utility, guardian)
    oracle.__init__(oracles, quorum)


# ---- accounts and roles ----------------------------------------------------------------------------


@external
def registerAccount(
    account: address,
    bus: uint16,
    meterKey: address,
    importCapacity: uint32,
    exportCapacity: uint32,
    creditLimit: uint128,
    classes: uint8,
):
    """
    @notice Registers an account under the next id; by the utility.
    @param account Who trades.
    @param bus Where, from 1.
    @param meterKey Signs its readings.
    @param importCapacity Wh a slot that it may buy net.
    @param exportCapacity Wh a slot that it may sell net.
    @param creditLimit n€ that reserves may exceed the balance by.
    @param classes Bit c − 1: it may sell energy class c.
    """
    accounts._only_utility()
    assert bus > 0 and convert(bus, uint256) < slots.BUSES, "accounts: no such bus"
    accounts._register(
        account, convert(bus, uint256), meterKey, importCapacity, exportCapacity, creditLimit, classes
    )


@external
def setAccount(account: address, importCapacity: uint32, exportCapacity: uint32, creditLimit: uint128, classes: uint8):
    """
    @notice Changes what may change of an account; by the utility. Resting orders stay.
    @param account A registered account.
    @param importCapacity Wh a slot that it may buy net.
    @param exportCapacity Wh a slot that it may sell net.
    @param creditLimit n€ that reserves may exceed the balance by.
    @param classes Bit c − 1: it may sell energy class c.
    """
    accounts._only_utility()
    accounts._change(account, importCapacity, exportCapacity, creditLimit, classes)


@external
def setMeter(account: address, meterKey: address):
    """
    @notice Puts a new meter key in force, in the next epoch; by the utility.
    @param account A registered account.
    @param meterKey Signs its readings from now on.
    """
    accounts._only_utility()
    accounts._change_meter(account, meterKey)


@external
def proposeRole(role: uint8, successor: address):
    """
    @notice First step of handing over a role; by its holder.
    @param role 0 utility, 1 guardian.
    @param successor Who may accept.
    """
    accounts._propose_role(role, successor)


@external
def acceptRole(role: uint8):
    """
    @notice Second step; by the successor.
    @param role 0 utility, 1 guardian.
    """
    accounts._accept_role(role)


@external
def pause():
    """
    @notice Stops order entry, and nothing else; by the guardian.
    """
    accounts._set_paused(True)


@external
def unpause():
    """
    @notice Resumes order entry; by the guardian.
    """
    accounts._set_paused(False)


# ---- money -----------------------------------------------------------------------------------------


@external
def deposit(account: address, amount: uint256):
    """
    @notice Pulls tokens from the caller and credits an account.
    @param account Any registered account.
    @param amount n€, whole token units.
    """
    accounts._deposit(account, amount)


@external
def withdraw(amount: uint256):
    """
    @notice Pays out to the caller what is free of reserves; to the utility, what backing does not need.
    @param amount n€, whole token units.
    """
    accounts._withdraw(amount)


# ---- slots, charges, prices ------------------------------------------------------------------------


@external
def scheduleSlots(first: uint32, count: uint32, retail: int32, networkFee: int32, fit: int32):
    """
    @notice Fixes the tariff of slots that have not begun to open; by the utility.
    @param first The first slot.
    @param count How many, at most 1 024.
    @param retail Flat price at the meter, µ€/kWh.
    @param networkFee The part of it that charges replace.
    @param fit Feed-in tariff, at most retail − networkFee.
    """
    accounts._only_utility()
    slots._schedule(first, count, retail, networkFee, fit)


@external
def rotateOracles(oracles: DynArray[address, 16], quorum: uint8, proofs: DynArray[oracle.OracleSignature, 16]):
    """
    @notice Puts another oracle set in force that a quorum of the present one signed.
    @param oracles The set to come.
    @param quorum Its quorum.
    @param proofs Signatures of OracleSet with the present epoch, in the order of the present set.
    """
    oracle._rotate(oracles, quorum, proofs)


@external
def postCharges(
    slot: uint32,
    chunkHashes: DynArray[bytes32, 8],
    inputHash: bytes32,
    certificateHash: bytes32,
    proofs: DynArray[oracle.OracleSignature, 16],
):
    """
    @notice Posts what a quorum signed of a slot's firm charges, before it opens, once.
    @param slot The slot.
    @param chunkHashes Hash of each chunk of the vector by bus.
    @param inputHash What the clearing was given.
    @param certificateHash Its certificate.
    @param proofs Signatures of Charges, in the order of the set.
    """
    oracle._post_charges(slot, chunkHashes, inputHash, certificateHash, proofs)


@external
def postChargesChunk(slot: uint32, index: uint8, words: DynArray[uint256, 32]):
    """
    @notice Posts one chunk of the charges, before the slot opens.
    @param slot The slot.
    @param index Number of the chunk.
    @param words Eight buses a word.
    """
    oracle._post_charges_chunk(slot, index, words)


@external
def postPrices(
    slot: uint32,
    hubPrice: int32,
    forecastImport: int64,
    chunkHashes: DynArray[bytes32, 8],
    inputHash: bytes32,
    certificateHash: bytes32,
    proofs: DynArray[oracle.OracleSignature, 16],
):
    """
    @notice Posts what a quorum signed of a slot's prices, after the gate and before they are due, once.
    @param slot The slot.
    @param hubPrice Price at the substation, µ€/kWh, between feed-in tariff and retail − networkFee.
    @param forecastImport Wh over the substation.
    @param chunkHashes Hash of each chunk of the vector by bus.
    @param inputHash What the clearing was given.
    @param certificateHash Its certificate.
    @param proofs Signatures of Prices, in the order of the set.
    """
    oracle._post_prices(slot, hubPrice, forecastImport, chunkHashes, inputHash, certificateHash, proofs)


@external
def postPricesChunk(slot: uint32, index: uint8, words: DynArray[uint256, 32]):
    """
    @notice Posts one chunk of the prices, before they are due.
    @param slot The slot.
    @param index Number of the chunk.
    @param words Eight buses a word.
    """
    oracle._post_prices_chunk(slot, index, words)


# ---- trading ---------------------------------------------------------------------------------------


@external
def placeOrder(order: orders.Order, r: bytes32, vs: bytes32):
    """
    @notice Places one signed order; reverts by the name of the first rule it breaks.
    @param order What the trader signed.
    @param r Signature, first half.
    @param vs Signature, second half with the parity on top (EIP-2098).
    """
    assert not accounts.paused, "exchange: paused"
    code: uint256 = book._place(order, r, vs)
    if code != orders.ACCEPTED:
        raise orders._rule(code)


@external
def placeOrders(batch: DynArray[orders.SignedOrder, ORDERS_PER_CALL]):
    """
    @notice Places signed orders one after the other; one that breaks a rule is skipped with its code.
    @param batch At most 200.
    """
    assert not accounts.paused, "exchange: paused"
    for signed: orders.SignedOrder in batch:
        code: uint256 = book._place(signed.order, signed.r, signed.vs)
        if code != orders.ACCEPTED:
            log orders.OrderRejected(
                slot=signed.order.slot,
                trader=signed.order.trader,
                nonce=signed.order.nonce,
                code=convert(code, uint8),
            )


@external
def cancelOrder(cancel: orders.Cancel, r: bytes32, vs: bytes32):
    """
    @notice Voids what rests of an order, or kills a nonce not seen yet; before the gate, paused or not.
    @param cancel What the trader signed.
    @param r Signature, first half.
    @param vs Signature, second half with the parity on top (EIP-2098).
    """
    book._cancel(cancel, r, vs)


@external
def closeGate(slot: uint32, limit: uint32):
    """
    @notice From the gate on, voids what rests, in the order of placing; the call that reaches the end closes the gate.
    @param slot The slot.
    @param limit Entries of the placing list to go through, at most 4 096.
    """
    book._close_gate(slot, limit)


# ---- readings and settlement -----------------------------------------------------------------------


@external
def postReading(reading: settlement.Reading, r: bytes32, vs: bytes32):
    """
    @notice Posts one signed reading; reverts by the name of the first rule it breaks.
    @param reading What the meter signed.
    @param r Signature, first half.
    @param vs Signature, second half with the parity on top (EIP-2098).
    """
    code: uint256 = settlement._post_reading(reading, r, vs)
    if code != 0:
        raise settlement._rule(code)


@external
def postReadings(batch: DynArray[settlement.SignedReading, READINGS_PER_CALL]):
    """
    @notice Posts signed readings; one that breaks a rule is skipped with its code.
    @param batch At most 100.
    """
    for signed: settlement.SignedReading in batch:
        code: uint256 = settlement._post_reading(signed.reading, signed.r, signed.vs)
        if code != 0:
            log settlement.ReadingRejected(
                slot=signed.reading.slot, account=signed.reading.account, code=convert(code, uint8)
            )


@external
def postSubstation(slot: uint32, netImport: int64, wholesale: int32, passive: DynArray[uint256, 128]):
    """
    @notice Posts the substation's reading and the wholesale price, once, after delivery; by the utility.
    @param slot The slot.
    @param netImport Wh.
    @param wholesale µ€/kWh.
    @param passive Passive energy by bus in Wh, eight buses a word.
    """
    accounts._only_utility()
    settlement._post_substation(slot, netImport, wholesale, passive)


@external
def settle(slot: uint32, batch: DynArray[address, ACCOUNTS_PER_CALL]):
    """
    @notice Settles accounts in a slot, skipping those that are; reverts if the utility cannot cover the result.
    @param slot A slot whose gate is closed, with prices or past T_p.
    @param batch At most 100 accounts of the snapshot, each with a reading.
    """
    number: uint256 = convert(slot, uint256)
    rule: uint256 = settlement._rule_of(number)
    for account: address in batch:
        settlement._settle(number, rule, account)
    assert accounts._backing() >= 0, "settlement: utility unfunded"


# ---- views -----------------------------------------------------------------------------------------


@external
@view
def accountOf(account: address) -> accounts.Account:
    """
    @notice A registered account.
    """
    return accounts._account(account)


@external
@view
def accountAt(id: uint32) -> address:
    """
    @notice Address of an id, nobody beyond the last.
    """
    return accounts.holders[convert(id, uint256)]


@external
@view
def accountCount() -> uint32:
    """
    @notice Number of accounts, the utility included.
    """
    return convert(accounts.count, uint32)


@external
@view
def slotOf(slot: uint32) -> slots.SlotState:
    """
    @notice Tariff and progress of a slot.
    """
    return slots._state(convert(slot, uint256))


@external
@view
def orderOf(slot: uint32, trader: address, nonce: uint8) -> (uint8, uint8, int16, uint32):
    """
    @notice Side, class, tick and Wh of a resting order; zeros for one that does not rest.
    """
    seat: uint256 = ((accounts._id(trader) << 8) | convert(nonce, uint256)) + 1
    order: book.Resting = book._resting(convert(slot, uint256), seat)
    return (
        convert(order.side, uint8),
        convert(order.energy_class, uint8),
        convert(order.tick, int16),
        convert(order.quantity, uint32),
    )


@external
@view
def nonceUsed(slot: uint32, trader: address, nonce: uint8) -> bool:
    """
    @notice Whether a nonce was placed or cancelled.
    """
    return orders._is_used(convert(slot, uint256), accounts._id(trader), convert(nonce, uint256))


@external
@view
def positionOf(slot: uint32, account: address) -> book.Position:
    """
    @notice What an account has in a slot.
    """
    return book._position(convert(slot, uint256), accounts._id(account))


@external
@view
def classNetOf(slot: uint32, account: address, energyClass: uint8) -> int64:
    """
    @notice Wh that an account has net in an energy class from 1, bought positive.
    """
    key: uint256 = (convert(slot, uint256) << 32) | accounts._id(account)
    return convert(book.class_nets[(key << 8) | convert(energyClass, uint256)], int64)


@external
@view
def bestBid(slot: uint32, energyClass: uint8) -> (bool, int16, uint256):
    """
    @notice Highest bid tick and the Wh resting there.
    """
    return book._best(convert(slot, uint256), convert(energyClass, uint256), 0)


@external
@view
def bestAsk(slot: uint32, energyClass: uint8) -> (bool, int16, uint256):
    """
    @notice Lowest ask tick and the Wh resting there.
    """
    return book._best(convert(slot, uint256), convert(energyClass, uint256), 1)


@external
@view
def levelOf(slot: uint32, energyClass: uint8, side: uint8, tick: int16) -> uint256:
    """
    @notice Wh resting at a tick.
    """
    number: uint256 = convert(slot, uint256)
    shelf: uint256 = book._shelf(number, convert(energyClass, uint256), convert(side, uint256))
    rank: uint256 = book._rank(convert(tick, int256), convert(side, uint256))
    return book._level_quantity(number, shelf, rank)


@external
@view
def chargeOf(slot: uint32, bus: uint16) -> int32:
    """
    @notice Firm charge of a bus, µ€/kWh, 0 until the charges are complete.
    """
    number: uint256 = convert(slot, uint256)
    return convert(oracle._charge(slots.states[number], number, convert(bus, uint256)), int32)


@external
@view
def priceOf(slot: uint32, bus: uint16) -> int32:
    """
    @notice Price of a bus, µ€/kWh, 0 until the prices are complete.
    """
    number: uint256 = convert(slot, uint256)
    return convert(oracle._price(slots.states[number], number, convert(bus, uint256)), int32)


@external
@view
def readingOf(slot: uint32, account: address) -> (bool, int64, DynArray[uint32, 7], uint32):
    """
    @notice Whether a reading is final, its net Wh, certified Wh by class, and the meter's epoch.
    """
    return settlement._reading(convert(slot, uint256), accounts._id(account))


@external
@view
def terms() -> slots.Terms:
    """
    @notice What the market fixed at deployment.
    """
    return slots._terms()


@external
@view
def oracleSet() -> (uint32, uint8, DynArray[address, 16]):
    """
    @notice Epoch, quorum and members of the oracle set.
    """
    return convert(oracle.epoch, uint32), convert(oracle.quorum, uint8), oracle.oracles


@external
@view
def arrears() -> uint256:
    """
    @notice n€ that accounts other than the utility owe together.
    """
    return accounts._arrears()


@external
@view
def clearing() -> int256:
    """
    @notice n€ of trades posted in slots not settled by all.
    """
    return accounts._clearing()


@external
@view
def backing() -> int256:
    """
    @notice Utility's balance + clearing − arrears, n€, never negative.
    """
    return accounts._backing()


@external
@view
def utility() -> address:
    """
    @notice Holder of role 0.
    """
    return accounts.holders[0]


@external
@view
def guardian() -> address:
    """
    @notice Holder of role 1.
    """
    return accounts.guardian


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
