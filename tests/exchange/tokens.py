"""Tokens that misbehave, as Vyper text, and markets whose money they are."""

from __future__ import annotations

from contracts.build import compile_text
from ledger import sending
from ledger.token import Token
from tests.exchange.conftest import Market, with_token

HEAD = """
# pragma version 0.4.3

interface Exchange:
    def withdraw(amount: uint256): nonpayable
    def deposit(account: address, amount: uint256): nonpayable

balanceOf: public(HashMap[address, uint256])

@external
@view
def decimals() -> uint8:
    return 9

@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    return True

@internal
def _move(sender: address, to: address, amount: uint256):
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
"""
SILENT = """
@external
def transfer(to: address, amount: uint256):
    self._move(msg.sender, to, amount)

@external
def transferFrom(sender: address, to: address, amount: uint256):
    self._move(sender, to, amount)
"""
FALSE = """
@external
def transfer(to: address, amount: uint256) -> bool:
    return False

@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    self._move(sender, to, amount)
    return amount > 7
"""
FEE = """
@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    return True

@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    self._move(sender, to, amount - 1)
    return True
"""
REENTRANT = """
@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    if amount == 40:
        extcall Exchange(msg.sender).withdraw(1)
    return True

@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    self._move(sender, to, amount)
    if amount == 7:
        extcall Exchange(msg.sender).deposit(self, 0)
    return True
"""
HOSTILE = """
target: address
message: Bytes[4096]
answers: public(uint256)

@external
def arm(target: address, message: Bytes[4096]):
    self.target = target
    self.message = message
    self.answers = 0

@internal
def _call_back():
    if self.target != empty(address):
        done: bool = raw_call(self.target, self.message, revert_on_failure=False)
        self.answers += 1 + convert(done, uint256)

@external
def transfer(to: address, amount: uint256) -> bool:
    self._move(msg.sender, to, amount)
    self._call_back()
    return True

@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    self._move(sender, to, amount)
    self._call_back()
    return True
"""


def market_with(market: Market, source: str) -> Market:
    """A market whose token is HEAD and this; the relayer has ten thousand of it."""
    code = bytes.fromhex(compile_text(HEAD + source)["bytecode"].removeprefix("0x"))
    made = sending.confirmed(market.chain, sending.send(market.chain, market.relayer, None, code, 3_000_000))
    odd = with_token(market, Token(market.chain, made.contract))
    odd.do(odd.token.mint(odd.relayer.address, 10_000, sender=odd.relayer))
    return odd
