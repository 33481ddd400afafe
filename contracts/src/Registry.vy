# pragma version 0.4.3
# pragma evm-version prague
"""
@title Registry
@license Apache-2.0
@notice The part of the Exchange that comes before trading, and what is posted by a quorum: accounts, roles, slots,
        charges, prices and forecasts. It runs on the storage of the Exchange that created it, by delegation; called
        directly it has no state, no role holders and no quorum.
"""

import accounts
import levels
import oracle
import positions
import resting
import rules
import slots
import veto

# In the order of Exchange.vy: all three must lay out storage alike.
initializes: accounts
initializes: slots
initializes: levels
initializes: positions
initializes: oracle[slots := slots]
initializes: resting[accounts := accounts, levels := levels, oracle := oracle, positions := positions, slots := slots]
initializes: veto[
    accounts := accounts, levels := levels, oracle := oracle, positions := positions, resting := resting, slots := slots
]


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(token: address, terms: slots.Terms):
    """
    @notice Puts what the market fixed into this code; by the Exchange, when it is created itself.
    @param token ERC-20 that is the market's money.
    @param terms What the market fixes for all slots.
    """
    slots.__init__(terms)
    accounts.__init__(token)


# ---- accounts and roles --------------------------------------------------------------------------


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
    @param importCapacity Wh a slot that it may buy net, and that its meter may show.
    @param exportCapacity Wh a slot that it may sell net, and that its meter may show.
    @param creditLimit n€ that reserves may exceed the balance by.
    @param classes Bit c − 1: it may sell energy class c.
    """
    accounts._only_utility()
    rules._require(bus > 0 and convert(bus, uint256) < slots.BUSES, "accounts: no such bus")
    accounts._register(
        account, convert(bus, uint256), meterKey, importCapacity, exportCapacity, creditLimit, classes
    )


@external
def setAccount(account: address, importCapacity: uint32, exportCapacity: uint32, creditLimit: uint128, classes: uint8):
    """
    @notice Changes what may change of an account; by the utility. Resting orders stay.
    @param account A registered account.
    @param importCapacity Wh a slot that it may buy net, and that its meter may show.
    @param exportCapacity Wh a slot that it may sell net, and that its meter may show.
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


# ---- slots, charges, prices ----------------------------------------------------------------------


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


@external
def postForecasts(
    slot: uint32, index: uint16, words: DynArray[uint256, 32], proofs: DynArray[oracle.OracleSignature, 16]
):
    """
    @notice Posts what a quorum forecasts of 256 accounts, for estimates; after the gate, before T1, once.
    @param slot The slot.
    @param index Accounts from 256 · index on.
    @param words Net energy in Wh, eight accounts a word.
    @param proofs Signatures of Forecasts, in the order of the set.
    """
    oracle._post_forecasts(slot, index, words, proofs)


# ---- views ---------------------------------------------------------------------------------------


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
def priceOf(slot: uint32, bus: uint16) -> int32:
    """
    @notice Price of a bus, µ€/kWh, 0 until the prices are complete.
    """
    number: uint256 = convert(slot, uint256)
    oracle._check_bus(convert(bus, uint256))
    return convert(oracle._price(slots.states[number], number, convert(bus, uint256)), int32)


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
