# pragma version 0.4.3
# pragma evm-version prague
"""
@title Token
@license Apache-2.0
@notice A plain ERC-20 for testnets. Its deployer may mint; nothing else is special about it.
"""

from ethereum.ercs import IERC20

implements: IERC20


# ---- events ----------------------------------------------------------------------------------------

event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256


# ---- immutables ------------------------------------------------------------------------------------

minter: public(immutable(address))
decimals: public(immutable(uint8))


# ---- storage ---------------------------------------------------------------------------------------

name: public(String[64])
symbol: public(String[16])
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


# ---- constructor -----------------------------------------------------------------------------------


@deploy
def __init__(name_: String[64], symbol_: String[16], decimals_: uint8):
    """
    @notice An empty token whose deployer may mint.
    """
    minter = msg.sender
    decimals = decimals_
    self.name = name_
    self.symbol = symbol_


# ---- external functions ----------------------------------------------------------------------------


@external
def mint(to: address, amount: uint256):
    """
    @notice Creates token units; by the minter.
    """
    assert msg.sender == minter, "token: not the minter"
    assert to != empty(address), "token: nobody"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @notice Moves the caller's units.
    """
    self._transfer(msg.sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Lets a spender move up to so many of the caller's units.
    """
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    """
    @notice Moves another's units within the caller's allowance; the largest allowance is not used up.
    """
    allowed: uint256 = self.allowance[sender][msg.sender]
    assert amount <= allowed, "token: insufficient allowance"
    if allowed != max_value(uint256):
        self.allowance[sender][msg.sender] = allowed - amount
    self._transfer(sender, to, amount)
    return True


# ---- internal functions ----------------------------------------------------------------------------


@internal
def _transfer(sender: address, to: address, amount: uint256):
    """
    @notice Moves units.
    """
    assert to != empty(address), "token: nobody"
    assert amount <= self.balanceOf[sender], "token: insufficient balance"
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=sender, receiver=to, value=amount)
