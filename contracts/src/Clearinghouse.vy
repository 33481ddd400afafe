# pragma version 0.4.3
# pragma evm-version prague
"""
@title Clearinghouse
@license Apache-2.0
@notice The part of the Exchange that comes after trading: veto, readings, settlement. It runs on the storage of
        the Exchange that created it, which calls it by delegation, and leaves to the Registry what it does not
        know; called directly it has no state, no role holders and no quorum.
"""

import accounts
import levels
import oracle
import positions
import readings
import resting
import rules
import settlement
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
initializes: readings[accounts := accounts, oracle := oracle, slots := slots]
initializes: settlement[
    accounts := accounts, oracle := oracle, positions := positions, readings := readings, slots := slots
]


# ---- constants -------------------------------------------------------------------------------------

READINGS_PER_CALL: constant(uint256) = 100
ACCOUNTS_PER_CALL: constant(uint256) = 100
VETOES_PER_CALL: constant(uint256) = 64
GAPS_PER_CALL: constant(uint256) = 1024
# The longest answer of a view that runs in the Registry, bytes.
ANSWER_MAX: constant(uint256) = 1024


# ---- immutables ------------------------------------------------------------------------------------

REGISTRY: immutable(address)


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(token: address, terms: slots.Terms, registry: address):
    """
    @notice Puts what the market fixed into this code; by the Exchange, when it is created itself.
    @param token ERC-20 that is the market's money.
    @param terms What the market fixes for all slots.
    @param registry Where the rest of the code is.
    """
    slots.__init__(terms)
    accounts.__init__(token)
    REGISTRY = registry


# ---- after the gate ------------------------------------------------------------------------------


@external
def vetoFills(slot: uint32, vetoes: DynArray[veto.Veto, VETOES_PER_CALL]):
    """
    @notice Takes back fills, the last of all first; by the utility, from the gate on and for as long as the
            market's veto lasts.
    @param slot The slot.
    @param vetoes At most 64, each naming the fill that is last when its turn comes. They end early, which an
            event tells, where 1 024 gaps have been gone back over and more are in the way: call again.
    """
    accounts._only_utility()
    state: uint256 = veto._check_time(convert(slot, uint256))
    room: uint256 = GAPS_PER_CALL
    for named: veto.Veto in vetoes:
        done: bool = False
        done, room = veto._take_back(slot, state, named, room)
        if not done:
            break


# ---- readings ------------------------------------------------------------------------------------


@external
def postReading(reading: readings.Reading, r: bytes32, vs: bytes32):
    """
    @notice Posts one signed reading; reverts by the name of the first rule it breaks.
    @param reading What the meter signed.
    @param r Signature, first half.
    @param vs Signature, second half with the parity on top (EIP-2098).
    """
    code: uint256 = readings._post(reading, r, vs)
    if code != 0:
        raise readings._rule(code)


@external
def postReadings(batch: DynArray[readings.SignedReading, READINGS_PER_CALL]):
    """
    @notice Posts signed readings; one that breaks a rule is skipped with its code.
    @param batch At most 100.
    """
    for signed: readings.SignedReading in batch:
        code: uint256 = readings._post(signed.reading, signed.r, signed.vs)
        if code != 0:
            log readings.ReadingRejected(
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
    readings._post_substation(slot, netImport, wholesale, passive)


@external
@view
def readingOf(slot: uint32, account: address) -> (bool, int64, DynArray[uint32, 3], uint32, uint8):
    """
    @notice By what an account is settled as things stand: whether there is a reading, which is final; net Wh,
            certified Wh by class, the meter's epoch, and the basis. Without a reading these are the estimate's,
            whose epoch is 0; without an estimate too, all is 0.
    """
    return readings._read(convert(slot, uint256), accounts._id(account))


# ---- settlement ----------------------------------------------------------------------------------


@external
@nonreentrant
def clearTrades(slot: uint32, batch: DynArray[address, ACCOUNTS_PER_CALL]):
    """
    @notice Moves money for trades ahead of settlement: what accounts pay, before readings and prices are known;
            and, out of that, what those get for whom it is certain that they owe nothing else.
    @param slot A slot whose gate is closed.
    @param batch At most 100 accounts in turn; those for whom there is nothing to do yet are skipped.
    """
    number: uint256 = convert(slot, uint256)
    rules._require(slots._scheduled(number) & slots.GATE_CLOSED != 0, "settlement: gate is open")
    for account: address in batch:
        settlement._clear_trades(number, account)


@external
@nonreentrant
def settle(slot: uint32, batch: DynArray[address, ACCOUNTS_PER_CALL]):
    """
    @notice Settles accounts in a slot, skipping those that are settled; reverts if more would be paid for trades
            than was paid in, or if the utility cannot cover the result.
    @param slot A slot whose gate is closed, with prices or past T_p.
    @param batch At most 100 accounts of the snapshot, each with a reading or an estimate.
    """
    number: uint256 = convert(slot, uint256)
    rule: uint256 = settlement._rule_of(number)
    for account: address in batch:
        settlement._settle(number, rule, account)
    settlement._check_clearing(number)
    rules._require(accounts._backing() >= 0, "settlement: utility unfunded")


@external
def estimate(slot: uint32, index: uint16, words: DynArray[uint256, 32], batch: DynArray[address, ACCOUNTS_PER_CALL]):
    """
    @notice Estimates accounts of the snapshot whose reading did not come by T1.
    @param slot A slot whose gate is closed, with prices or past T_p.
    @param index Which forecast the accounts are in: their ids are from 256 · index on.
    @param words That forecast; none where none was posted, and then it is 0 for everybody.
    @param batch At most 100 accounts; those with a reading or an estimate are skipped.
    """
    settlement._check_forecast(convert(slot, uint256), convert(index, uint256), words)
    for account: address in batch:
        settlement._estimate(convert(slot, uint256), account, convert(index, uint256), words)


@external
@nonreentrant
def resettle(slot: uint32, batch: DynArray[address, ACCOUNTS_PER_CALL]):
    """
    @notice Posts what late readings change of settlements by estimate; reverts if the utility cannot cover it.
    @param slot The slot.
    @param batch At most 100 accounts; those without such a change are skipped.
    """
    rule: uint256 = settlement._rule_of(convert(slot, uint256))
    for account: address in batch:
        settlement._resettle(convert(slot, uint256), rule, account)
    rules._require(accounts._backing() >= 0, "settlement: utility unfunded")


# ---- everything else --------------------------------------------------------------------------------


@external
@raw_return
def __default__() -> Bytes[ANSWER_MAX]:
    """
    @notice Runs in the Registry what is not here, on the storage that this runs on.
    """
    return raw_call(REGISTRY, msg.data, max_outsize=ANSWER_MAX, is_delegate_call=True)
