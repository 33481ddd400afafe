# pragma version 0.4.3
"""
@title Accounts
@license Apache-2.0
@notice Who takes part, and their money in n€. Ids count up in order of registration; id 0 is the utility.
        One word by address holds what order entry needs: id, bus, capacities, reserve and balance.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

import packing
import rules


# ---- events ----------------------------------------------------------------------------------------

event AccountRegistered:
    account: indexed(address)
    id: uint32
    bus: uint16
    meterKey: address
    importCapacity: uint32
    exportCapacity: uint32
    creditLimit: uint128
    classes: uint8

event AccountChanged:
    account: indexed(address)
    importCapacity: uint32
    exportCapacity: uint32
    creditLimit: uint128
    classes: uint8

event MeterChanged:
    account: indexed(address)
    meterKey: address
    epoch: uint32

event RoleProposed:
    role: uint8
    successor: address

event RoleAccepted:
    role: uint8
    holder: address

event Paused:
    pass

event Unpaused:
    pass

event Deposited:
    account: indexed(address)
    payer: address
    amount: uint256

event Withdrawn:
    account: indexed(address)
    amount: uint256


# ---- structs ---------------------------------------------------------------------------------------

struct Account:
    id: uint32
    bus: uint16
    meterKey: address
    meterEpoch: uint32
    importCapacity: uint32
    exportCapacity: uint32
    creditLimit: uint128
    classes: uint8
    balance: int128
    reserved: uint128


# ---- constants -------------------------------------------------------------------------------------

UTILITY: constant(uint8) = 0
GUARDIAN: constant(uint8) = 1

# The word of an account.
ID_AT: constant(uint256) = 0  # 24 bits
BUS_AT: constant(uint256) = 24  # 10 bits
IMPORT_AT: constant(uint256) = 34  # 32 bits
EXPORT_AT: constant(uint256) = 66  # 32 bits
RESERVED_AT: constant(uint256) = 98  # 74 bits
BALANCE_AT: constant(uint256) = 172  # 84 bits, signed
CAPACITIES: constant(uint256) = ((1 << 64) - 1) << 34
# The utility's capacities are the largest there are, so its word is never 0.
UTILITY_WORD: constant(uint256) = ((1 << 64) - 1) << 34

# The profile word of an id: what order entry rarely needs.
CLASSES_AT: constant(uint256) = 0  # 8 bits
EPOCH_AT: constant(uint256) = 8  # 32 bits
CREDIT_AT: constant(uint256) = 128  # 128 bits

IDS: constant(uint256) = 1 << 24
BALANCE_MAX: constant(int256) = (1 << 83) - 1
NEUR_DIGITS: constant(uint256) = 9
AMOUNT_MAX: constant(uint256) = (1 << 80) - 1


# ---- immutables ------------------------------------------------------------------------------------

TOKEN: immutable(IERC20)
NEUR_PER_UNIT: immutable(uint256)
UNITS_PER_NEUR: immutable(uint256)


# ---- storage ---------------------------------------------------------------------------------------

words: HashMap[address, uint256]
profiles: HashMap[uint256, uint256]
holders: HashMap[uint256, address]
meters: HashMap[uint256, address]
# What accounts other than the utility have reserved, or owe, beyond their balances, n€: the utility backs it.
uncovered: uint256
count: uint256
guardian: address
successors: HashMap[uint8, address]
# Who handed the utility's role over. What it signed was for id 0, whose nonces tell what was used of it: under
# an id of its own it could be placed again.
former_utilities: HashMap[address, bool]
paused: bool


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(token: address):
    """
    @notice Fixes the token and its scale.
    """
    decimals: uint256 = convert(staticcall IERC20Detailed(token).decimals(), uint256)
    rules._require(decimals <= 36, "accounts: too many decimals")
    TOKEN = IERC20(token)
    NEUR_PER_UNIT = 10 ** (NEUR_DIGITS - min(decimals, NEUR_DIGITS))
    UNITS_PER_NEUR = 10 ** (max(decimals, NEUR_DIGITS) - NEUR_DIGITS)


# ---- internal functions: registration --------------------------------------------------------------


@internal
def _open(utility: address, guardian: address):
    """
    @notice Says who holds the roles first.
    """
    rules._require(utility != empty(address) and guardian != empty(address), "accounts: nobody")
    self.words[utility] = UTILITY_WORD
    self.holders[0] = utility
    self.count = 1
    self.guardian = guardian
    log RoleAccepted(role=UTILITY, holder=utility)
    log RoleAccepted(role=GUARDIAN, holder=guardian)


@internal
@view
def _only_utility():
    """
    @notice Refuses anybody but the utility.
    """
    rules._require(msg.sender == self.holders[0], "accounts: not the utility")


@internal
@view
def _only_guardian():
    """
    @notice Refuses anybody but the guardian.
    """
    rules._require(msg.sender == self.guardian, "accounts: not the guardian")


@internal
@view
def _word(account: address) -> uint256:
    """
    @notice Word of a registered account.
    """
    word: uint256 = self.words[account]
    rules._require(word != 0, "accounts: unknown account")
    return word


@internal
@view
def _prosumer(account: address) -> uint256:
    """
    @notice Word of a registered account other than the utility.
    """
    word: uint256 = self._word(account)
    rules._require(word & packing.UINT24 != 0, "accounts: is the utility")
    return word


@internal
@view
def _id(account: address) -> uint256:
    """
    @notice Id of a registered account.
    """
    return self._word(account) & packing.UINT24


@internal
@pure
def _bus(word: uint256) -> uint256:
    """
    @notice Where an account is on the feeder.
    """
    return (word >> BUS_AT) & packing.UINT10


@internal
@pure
def _capacities(import_capacity: uint32, export_capacity: uint32) -> uint256:
    """
    @notice Both capacities in their place in the word.
    """
    return (convert(import_capacity, uint256) << IMPORT_AT) | (convert(export_capacity, uint256) << EXPORT_AT)


@internal
@pure
def _capacity(word: uint256, side: uint256) -> uint256:
    """
    @notice Wh a slot that an account may take from the feeder (side 0), or give (side 1).
    """
    return (word >> unsafe_add(IMPORT_AT, unsafe_mul(EXPORT_AT - IMPORT_AT, side))) & packing.UINT32


@internal
@pure
def _profile(credit_limit: uint128, epoch: uint256, classes: uint8) -> uint256:
    """
    @notice The profile word.
    """
    return (convert(credit_limit, uint256) << CREDIT_AT) | (epoch << EPOCH_AT) | convert(classes, uint256)


@internal
@view
def _epoch(id: uint256) -> uint256:
    """
    @notice Epoch of an account's meter key.
    """
    return (self.profiles[id] >> EPOCH_AT) & packing.UINT32


@internal
def _register(
    account: address,
    bus: uint256,
    meter_key: address,
    import_capacity: uint32,
    export_capacity: uint32,
    credit_limit: uint128,
    classes: uint8,
):
    """
    @notice Gives an account the next id, at a bus that the caller has checked.
    """
    rules._require(account != empty(address) and meter_key != empty(address), "accounts: nobody")
    rules._require(self.words[account] == 0, "accounts: already registered")
    rules._require(not self.former_utilities[account], "accounts: was the utility")
    id: uint256 = self.count
    rules._require(id < IDS, "accounts: too many")
    self.count = id + 1
    self.words[account] = self._capacities(import_capacity, export_capacity) | (bus << BUS_AT) | id
    self.profiles[id] = self._profile(credit_limit, 1, classes)
    self.holders[id] = account
    self.meters[id] = meter_key
    log AccountRegistered(
        account=account,
        id=convert(id, uint32),
        bus=convert(bus, uint16),
        meterKey=meter_key,
        importCapacity=import_capacity,
        exportCapacity=export_capacity,
        creditLimit=credit_limit,
        classes=classes,
    )


@internal
def _change(account: address, import_capacity: uint32, export_capacity: uint32, credit_limit: uint128, classes: uint8):
    """
    @notice Changes capacities, credit limit and classes of an account.
    """
    word: uint256 = self._prosumer(account)
    id: uint256 = word & packing.UINT24
    self.words[account] = (word & ~CAPACITIES) | self._capacities(import_capacity, export_capacity)
    self.profiles[id] = self._profile(credit_limit, self._epoch(id), classes)
    log AccountChanged(
        account=account,
        importCapacity=import_capacity,
        exportCapacity=export_capacity,
        creditLimit=credit_limit,
        classes=classes,
    )


@internal
def _change_meter(account: address, meter_key: address):
    """
    @notice Puts a new meter key in force; readings of the old epoch are refused from now on.
    """
    rules._require(meter_key != empty(address), "accounts: nobody")
    id: uint256 = self._prosumer(account) & packing.UINT24
    epoch: uint256 = self._epoch(id) + 1
    self.profiles[id] = packing._put(self.profiles[id], EPOCH_AT, 32, epoch)
    self.meters[id] = meter_key
    log MeterChanged(account=account, meterKey=meter_key, epoch=convert(epoch, uint32))


@internal
@view
def _account(account: address) -> Account:
    """
    @notice Everything about a registered account; the utility has no capacity, credit, class or meter.
    """
    word: uint256 = self._word(account)
    id: uint256 = word & packing.UINT24
    capacities: uint256 = word
    if id == 0:
        capacities = 0
    profile: uint256 = self.profiles[id]
    return Account(
        id=convert(id, uint32),
        bus=convert(self._bus(word), uint16),
        meterKey=self.meters[id],
        meterEpoch=convert((profile >> EPOCH_AT) & packing.UINT32, uint32),
        importCapacity=convert(self._capacity(capacities, 0), uint32),
        exportCapacity=convert(self._capacity(capacities, 1), uint32),
        creditLimit=convert(profile >> CREDIT_AT, uint128),
        classes=convert(profile & packing.UINT8, uint8),
        balance=convert(self._balance(word), int128),
        reserved=convert(self._reserved(word), uint128),
    )


# ---- internal functions: roles ---------------------------------------------------------------------


@internal
def _propose_role(role: uint8, successor: address):
    """
    @notice First step of handing over a role; nobody as successor takes the proposal back.
    """
    if role == UTILITY:
        self._only_utility()
    else:
        rules._require(role == GUARDIAN, "accounts: no such role")
        self._only_guardian()
    self.successors[role] = successor
    log RoleProposed(role=role, successor=successor)


@internal
def _accept_role(role: uint8):
    """
    @notice Second step. The utility's id, with its balance and its open positions, goes with the role.
    """
    rules._require(msg.sender == self.successors[role], "accounts: not the successor")
    self.successors[role] = empty(address)
    if role == UTILITY:
        rules._require(self.words[msg.sender] == 0, "accounts: already registered")
        former: address = self.holders[0]
        self.words[msg.sender] = self.words[former]
        self.words[former] = 0
        self.former_utilities[former] = True
        self.holders[0] = msg.sender
    else:
        self.guardian = msg.sender
    log RoleAccepted(role=role, holder=msg.sender)


@internal
def _set_paused(paused: bool):
    """
    @notice Stops or resumes order entry.
    """
    self._only_guardian()
    rules._require(self.paused != paused, "accounts: nothing to change")
    self.paused = paused
    if paused:
        log Paused()
    else:
        log Unpaused()


# ---- internal functions: money ---------------------------------------------------------------------


@internal
@pure
def _balance(word: uint256) -> int256:
    """
    @notice Balance in n€.
    """
    return convert(convert(word, bytes32), int256) >> BALANCE_AT


@internal
@pure
def _reserved(word: uint256) -> uint256:
    """
    @notice Sum of an account's reserves over slots, n€.
    """
    return (word >> RESERVED_AT) & packing.UINT74


@internal
@view
def _backing() -> int256:
    """
    @notice Utility's balance − reserved − uncovered; never negative after a call. What was paid into a slot and
            not credited yet is not in it: that is its sellers'.
    """
    return self._free(self.words[self.holders[0]]) - convert(self.uncovered, int256)


@internal
@pure
def _free(word: uint256) -> int256:
    """
    @notice Balance − reserved of an account.
    """
    balance: int256 = convert(convert(word, bytes32), int256) >> BALANCE_AT
    return unsafe_sub(balance, convert((word >> RESERVED_AT) & packing.UINT74, int256))


@internal
@view
def _affords(word: uint256, amount: uint256) -> bool:
    """
    @notice Whether an account can have a further reserve: its word can hold it, balance + credit limit − reserved
            covers it, and the utility's backing covers what is taken on credit. The utility's own is covered by
            its backing.
    """
    if unsafe_add((word >> RESERVED_AT) & packing.UINT74, amount) > packing.UINT74:
        return False
    if word & packing.UINT24 == 0:
        return self._backing() >= convert(amount, int256)
    free: int256 = self._free(word)
    after: int256 = unsafe_sub(free, convert(amount, int256))
    # Most orders are covered by deposits: credit and backing are read only if they matter.
    if after >= 0:
        return True
    if after + convert(self.profiles[word & packing.UINT24] >> CREDIT_AT, int256) < 0:
        return False
    return self._backing() >= min(free, 0) - after


@internal
def _store(account: address, before: uint256, after: uint256):
    """
    @notice Writes an account's word, and keeps what is uncovered.
    """
    self.words[account] = after
    if after & packing.UINT24 == 0:
        return
    was: int256 = self._free(before)
    now: int256 = self._free(after)
    if was < 0 or now < 0:
        self.uncovered = convert(convert(self.uncovered, int256) + min(was, 0) - min(now, 0), uint256)


@internal
def _credit(account: address, amount: int256, released: uint256):
    """
    @notice Adds to a balance (or takes from it, if negative), and releases reserve.
    """
    word: uint256 = self.words[account]
    balance: int256 = self._balance(word) + amount
    rules._require(abs(balance) <= BALANCE_MAX, "accounts: balance out of range")
    after: uint256 = packing._put(word - (released << RESERVED_AT), BALANCE_AT, 84, packing._bits(balance, 84))
    self._store(account, word, after)


@internal
@view
def _units(amount: uint256) -> uint256:
    """
    @notice Token units of an amount in n€ that they express exactly.
    """
    rules._require(amount <= AMOUNT_MAX, "accounts: amount too large")
    rules._require(amount % NEUR_PER_UNIT == 0, "accounts: not whole token units")
    return amount // NEUR_PER_UNIT * UNITS_PER_NEUR


@internal
def _deposit(account: address, amount: uint256):
    """
    @notice Pulls tokens from the caller for an account; the token must deliver all of them.
    """
    units: uint256 = self._units(amount)
    rules._require(self.words[account] != 0, "accounts: unknown account")
    self._credit(account, convert(amount, int256), 0)
    log Deposited(account=account, payer=msg.sender, amount=amount)
    held: uint256 = staticcall TOKEN.balanceOf(self)
    moved: bool = extcall TOKEN.transferFrom(msg.sender, self, units, default_return_value=True)
    moved = moved and staticcall TOKEN.balanceOf(self) == held + units
    rules._require(moved, "accounts: transfer failed")


@internal
def _withdraw(amount: uint256):
    """
    @notice Pays out to the caller: no more than is free of reserves; for the utility, no more than backing allows.
    """
    units: uint256 = self._units(amount)
    word: uint256 = self._word(msg.sender)
    free: int256 = self._free(word)
    if word & packing.UINT24 == 0:
        free = self._backing()
    rules._require(convert(amount, int256) <= free, "accounts: insufficient funds")
    self._credit(msg.sender, -convert(amount, int256), 0)
    log Withdrawn(account=msg.sender, amount=amount)
    moved: bool = extcall TOKEN.transfer(msg.sender, units, default_return_value=True)
    rules._require(moved, "accounts: transfer failed")
