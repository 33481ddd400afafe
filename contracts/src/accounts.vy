# pragma version 0.4.3
"""
@title Accounts
@license Apache-2.0
@notice Who takes part, and their money in n€. Ids count up in order of registration; id 0 is the utility.
        An account's balance and reserve share one word, and so do clearing and arrears.
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

# The profile word of an address.
ID_AT: constant(uint256) = 0
BUS_AT: constant(uint256) = 32
IMPORT_AT: constant(uint256) = 48
EXPORT_AT: constant(uint256) = 80
CLASSES_AT: constant(uint256) = 112
EPOCH_AT: constant(uint256) = 120
REGISTERED: constant(uint256) = 1 << 152
# The part of it that setAccount changes.
CHANGEABLE: constant(uint256) = ((1 << 72) - 1) << 48

NEUR_DIGITS: constant(uint256) = 9
AMOUNT_MAX: constant(uint256) = (1 << 126) - 1


# ---- immutables ------------------------------------------------------------------------------------

TOKEN: immutable(IERC20)
NEUR_PER_UNIT: immutable(uint256)
UNITS_PER_NEUR: immutable(uint256)


# ---- storage ---------------------------------------------------------------------------------------

profiles: HashMap[address, uint256]
holders: HashMap[uint256, address]
meters: HashMap[uint256, address]
credits: HashMap[uint256, uint256]
# Balance in the upper half, signed; reserve in the lower.
money: HashMap[uint256, uint256]
# Clearing in the upper half, signed; arrears in the lower.
common: uint256
count: uint256
guardian: address
successors: HashMap[uint8, address]
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
    self.profiles[utility] = REGISTERED
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
def _profile(account: address) -> uint256:
    """
    @notice Profile word of a registered account.
    """
    word: uint256 = self.profiles[account]
    rules._require(word != 0, "accounts: unknown account")
    return word


@internal
@view
def _id(account: address) -> uint256:
    """
    @notice Id of a registered account.
    """
    return self._profile(account) & packing.UINT32


@internal
@pure
def _changeable(import_capacity: uint32, export_capacity: uint32, classes: uint8) -> uint256:
    """
    @notice The changeable part of a profile word.
    """
    word: uint256 = convert(import_capacity, uint256) << IMPORT_AT
    word = word | (convert(export_capacity, uint256) << EXPORT_AT)
    return word | (convert(classes, uint256) << CLASSES_AT)


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
    rules._require(self.profiles[account] == 0, "accounts: already registered")
    id: uint256 = self.count
    self.count = id + 1
    word: uint256 = REGISTERED | (1 << EPOCH_AT) | (bus << BUS_AT) | (id << ID_AT)
    self.profiles[account] = word | self._changeable(import_capacity, export_capacity, classes)
    self.holders[id] = account
    self.meters[id] = meter_key
    self.credits[id] = convert(credit_limit, uint256)
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
@view
def _prosumer(account: address) -> uint256:
    """
    @notice Profile word of a registered account other than the utility.
    """
    word: uint256 = self._profile(account)
    rules._require(word & packing.UINT32 != 0, "accounts: is the utility")
    return word


@internal
def _change(account: address, import_capacity: uint32, export_capacity: uint32, credit_limit: uint128, classes: uint8):
    """
    @notice Changes capacities, credit limit and classes of an account.
    """
    word: uint256 = self._prosumer(account)
    self.profiles[account] = (word & ~CHANGEABLE) | self._changeable(import_capacity, export_capacity, classes)
    self.credits[word & packing.UINT32] = convert(credit_limit, uint256)
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
    word: uint256 = self._prosumer(account)
    epoch: uint256 = ((word >> EPOCH_AT) & packing.UINT32) + 1
    self.profiles[account] = packing._put(word, EPOCH_AT, 32, epoch)
    self.meters[word & packing.UINT32] = meter_key
    log MeterChanged(account=account, meterKey=meter_key, epoch=convert(epoch, uint32))


@internal
@view
def _account(account: address) -> Account:
    """
    @notice Everything about a registered account.
    """
    word: uint256 = self._profile(account)
    id: uint256 = word & packing.UINT32
    money: uint256 = self.money[id]
    return Account(
        id=convert(id, uint32),
        bus=convert((word >> BUS_AT) & packing.UINT16, uint16),
        meterKey=self.meters[id],
        meterEpoch=convert((word >> EPOCH_AT) & packing.UINT32, uint32),
        importCapacity=convert((word >> IMPORT_AT) & packing.UINT32, uint32),
        exportCapacity=convert((word >> EXPORT_AT) & packing.UINT32, uint32),
        creditLimit=convert(self.credits[id], uint128),
        classes=convert((word >> CLASSES_AT) & packing.UINT8, uint8),
        balance=convert(packing._signed(money, 128, 128), int128),
        reserved=convert(money & packing.UINT128, uint128),
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
        rules._require(self.profiles[msg.sender] == 0, "accounts: already registered")
        self.profiles[self.holders[0]] = 0
        self.profiles[msg.sender] = REGISTERED
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
@view
def _balance(id: uint256) -> int256:
    """
    @notice Balance in n€.
    """
    return packing._signed(self.money[id], 128, 128)


@internal
@view
def _reserved(id: uint256) -> uint256:
    """
    @notice Sum of an account's reserves over slots, n€.
    """
    return self.money[id] & packing.UINT128


@internal
@view
def _clearing() -> int256:
    """
    @notice Sum of trades posted in slots that are not settled by all: 0 when they are.
    """
    return packing._signed(self.common, 128, 128)


@internal
@view
def _arrears() -> uint256:
    """
    @notice What accounts other than the utility owe together, n€.
    """
    return self.common & packing.UINT128


@internal
@view
def _backing() -> int256:
    """
    @notice Utility's balance + clearing − arrears; never negative after a call.
    """
    return self._balance(0) + self._clearing() - convert(self._arrears(), int256)


@internal
@view
def _affords(id: uint256, amount: uint256) -> bool:
    """
    @notice Whether balance + credit limit − reserved covers a further reserve.
    """
    word: uint256 = self.money[id]
    free: int256 = packing._signed(word, 128, 128) - convert(word & packing.UINT128, int256)
    need: int256 = convert(amount, int256)
    # Most orders are covered by deposits: the credit limit is read only if it matters.
    return free >= need or free + convert(self.credits[id], int256) >= need


@internal
def _reserve(id: uint256, change: int256):
    """
    @notice Raises or lowers what is reserved.
    """
    if change != 0:
        word: uint256 = self.money[id]
        reserved: uint256 = convert(convert(word & packing.UINT128, int256) + change, uint256)
        self.money[id] = packing._put(word, 0, 128, reserved)


@internal
def _credit(id: uint256, amount: int256, released: uint256):
    """
    @notice Adds to a balance (or takes from it, if negative), releases reserve, and keeps arrears.
    """
    word: uint256 = self.money[id]
    before: int256 = packing._signed(word, 128, 128)
    # Out of 128 bits is beyond any money there is, and reverts.
    after: int256 = convert(convert(before + amount, int128), int256)
    reserved: uint256 = (word & packing.UINT128) - released
    self.money[id] = (packing._bits(after, 128) << 128) | reserved
    if id != 0 and (before < 0 or after < 0):
        owed: int256 = max(-after, 0) - max(-before, 0)
        arrears: int256 = convert(self._arrears(), int256) + owed
        self.common = packing._put(self.common, 0, 128, convert(arrears, uint256))


@internal
def _clear(amount: int256):
    """
    @notice Adds to clearing.
    """
    if amount != 0:
        self.common = packing._put(self.common, 128, 128, packing._bits(self._clearing() + amount, 128))


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
    self._credit(self._id(account), convert(amount, int256), 0)
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
    id: uint256 = self._id(msg.sender)
    free: int256 = self._balance(id)
    if id == 0:
        free += min(self._clearing(), 0) - convert(self._arrears(), int256)
    else:
        free -= convert(self._reserved(id), int256)
    rules._require(convert(amount, int256) <= free, "accounts: insufficient funds")
    self._credit(id, -convert(amount, int256), 0)
    log Withdrawn(account=msg.sender, amount=amount)
    moved: bool = extcall TOKEN.transfer(msg.sender, units, default_return_value=True)
    rules._require(moved, "accounts: transfer failed")
