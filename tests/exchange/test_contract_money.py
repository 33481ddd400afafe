"""Accounts, roles, deposits and withdrawals: tokens of any decimals, tokens that misbehave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.build import compile_text
from ledger import sending
from ledger.chain.protocol import Reverted
from ledger.exchange import deploy
from ledger.keys import derive
from market.events import (
    AccountChanged,
    AccountRegistered,
    Deposited,
    MeterChanged,
    RoleAccepted,
    RoleProposed,
    Withdrawn,
)
from market.orders import NOBODY, Reject
from market.slots import Terms
from tests.exchange.conftest import EUR, TERMS, found, meter_of

# --- registration -------------------------------------------------------------------------------


def test_accounts_are_registered_and_changed_by_the_utility(market):
    x, newcomer = market.exchange, market.newcomer
    meter = meter_of(newcomer).address
    register = (newcomer.address, 11, meter, 5, 2**32 - 1, 2**128 - 1, 3)
    market.refused("accounts: not the utility", x.register_account(*register, sender=market.relayer))
    assert market.do(x.register_account(*register, sender=market.utility)) == (
        AccountRegistered(newcomer.address, 4, 11, meter, 5, 2**32 - 1, 2**128 - 1, 3),
    )
    market.refused("accounts: already registered", x.register_account(*register, sender=market.utility))
    assert x.account_at(4) == newcomer.address and x.account_at(5) == NOBODY and x.account_count() == 5
    account = x.account_of(newcomer.address)
    assert (account.id, account.bus, account.meter_key, account.meter_epoch) == (4, 11, meter, 1)
    change = (newcomer.address, 7, 8, 9, 1)
    market.refused("accounts: not the utility", x.set_account(*change, sender=market.relayer))
    assert market.do(x.set_account(*change, sender=market.utility)) == (AccountChanged(*change),)
    account = x.account_of(newcomer.address)
    assert (account.import_capacity, account.export_capacity, account.credit_limit, account.classes) == (
        7,
        8,
        9,
        1,
    )
    assert (account.bus, account.meter_epoch) == (11, 1)


@pytest.mark.parametrize("bus", [0, 12, 65_535])
def test_accounts_are_at_buses_of_the_feeder(market, bus):
    key = market.newcomer.address
    market.refused(
        "accounts: no such bus",
        market.exchange.register_account(key, bus, key, 1, 1, 0, 0, sender=market.utility),
    )


def test_nobody_has_no_account_and_no_meter(market):
    x, key = market.exchange, market.newcomer.address
    market.refused("accounts: nobody", x.register_account(NOBODY, 1, key, 1, 1, 0, 0, sender=market.utility))
    market.refused("accounts: nobody", x.register_account(key, 1, NOBODY, 1, 1, 0, 0, sender=market.utility))
    market.refused("accounts: nobody", x.set_meter(market.buyer.address, NOBODY, sender=market.utility))
    market.refused("accounts: unknown account", x.set_meter(key, key, sender=market.utility))
    market.refused(
        "accounts: is the utility", x.set_account(market.utility.address, 1, 1, 1, 1, sender=market.utility)
    )
    with pytest.raises(Reverted, match="accounts: unknown account"):
        x.account_of(key)


def test_a_meter_key_has_an_epoch(market):
    x, buyer, key = market.exchange, market.buyer, derive(7, "new meter").address
    market.refused("accounts: not the utility", x.set_meter(buyer.address, key, sender=buyer))
    assert market.do(x.set_meter(buyer.address, key, sender=market.utility)) == (
        MeterChanged(buyer.address, key, 2),
    )
    account = x.account_of(buyer.address)
    assert (account.meter_key, account.meter_epoch, account.bus) == (key, 2, 1)


# --- roles --------------------------------------------------------------------------------------


def test_the_guardian_hands_over_in_two_steps(market):
    x, successor = market.exchange, market.newcomer
    market.refused("accounts: not the guardian", x.pause(sender=market.utility))
    market.refused("accounts: not the guardian", x.propose_role(1, successor.address, sender=market.utility))
    assert market.do(x.propose_role(1, successor.address, sender=market.guardian)) == (
        RoleProposed(1, successor.address),
    )
    assert x.guardian() == market.guardian.address
    market.refused("accounts: not the successor", x.accept_role(1, sender=market.utility))
    market.refused("accounts: not the successor", x.accept_role(0, sender=successor))
    assert market.do(x.accept_role(1, sender=successor)) == (RoleAccepted(1, successor.address),)
    assert x.guardian() == successor.address
    market.refused("accounts: not the guardian", x.pause(sender=market.guardian))
    market.do(x.pause(sender=successor))
    market.refused("accounts: nothing to change", x.pause(sender=successor))
    market.refused("accounts: not the successor", x.accept_role(1, sender=successor))
    market.refused("accounts: no such role", x.propose_role(2, successor.address, sender=market.guardian))


def test_the_utilitys_account_goes_with_its_role(market):
    x, successor = market.exchange, market.newcomer
    market.refused("accounts: not the utility", x.propose_role(0, successor.address, sender=successor))
    market.do(x.propose_role(0, market.buyer.address, sender=market.utility))
    market.refused("accounts: already registered", x.accept_role(0, sender=market.buyer))
    market.do(x.propose_role(0, successor.address, sender=market.utility))
    market.do(x.accept_role(0, sender=successor))
    assert x.utility() == x.account_at(0) == successor.address
    assert x.account_of(successor.address).balance == 1_000 * EUR
    market.refused("accounts: unknown account", x.withdraw(1, sender=market.utility))
    market.do(x.withdraw(1, sender=successor))
    market.refused(
        "accounts: not the utility", x.schedule_slots(market.slot, 1, 3, 2, 1, sender=market.utility)
    )
    market.do(x.schedule_slots(market.slot, 1, 3, 2, 1, sender=successor))


def test_who_was_the_utility_gets_no_account_of_its_own(trading):
    """Nonces are by id: an order that was placed for id 0 could be placed again for the new one."""
    market, x, former, successor = trading, trading.exchange, trading.utility, trading.newcomer
    ask = market.ask(former, 150_000, 100)
    signed = market.signed(former, ask)
    market.place(former, ask)
    market.do(x.propose_role(0, successor.address, sender=former))
    market.do(x.accept_role(0, sender=successor))
    register = (former.address, 1, meter_of(former).address, 10_000, 10_000, 10**12, 0)
    market.refused("accounts: was the utility", x.register_account(*register, sender=successor))
    assert [event.code for event in market.place_all(signed)] == [Reject.UNKNOWN_TRADER]
    # It may become the utility again, which is the same account.
    market.do(x.propose_role(0, former.address, sender=successor))
    market.do(x.accept_role(0, sender=former))
    assert [event.code for event in market.place_all(signed)] == [Reject.NONCE_USED]
    register = (successor.address, *register[1:])
    market.refused("accounts: was the utility", x.register_account(*register, sender=former))


# --- money --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decimals", "neur_per_unit", "units_per_neur"), [(6, 1_000, 1), (9, 1, 1), (18, 1, 10**9), (0, 10**9, 1)]
)
def test_tokens_of_any_decimals(decimals, neur_per_unit, units_per_neur):
    market = found(TERMS, decimals)
    x, buyer, token = market.exchange, market.buyer, market.token
    assert token.balance_of(x.address) == 1_300 * 10**decimals
    amount = 3 * neur_per_unit
    assert market.do(x.deposit(buyer.address, amount, sender=market.relayer)) == (
        Deposited(buyer.address, market.relayer.address, amount),
    )
    assert market.balance(buyer) == 100 * EUR + amount
    assert market.do(x.withdraw(amount, sender=buyer)) == (Withdrawn(buyer.address, amount),)
    assert token.balance_of(buyer.address) == 3 * units_per_neur
    assert token.balance_of(x.address) == 1_300 * 10**decimals
    if neur_per_unit > 1:
        market.refused(
            "accounts: not whole token units", x.deposit(buyer.address, amount + 1, sender=market.relayer)
        )
        market.refused("accounts: not whole token units", x.withdraw(amount - 1, sender=buyer))


def test_deposits_need_an_account_and_tokens(market):
    x = market.exchange
    market.refused("accounts: unknown account", x.deposit(market.newcomer.address, 1, sender=market.relayer))
    market.refused("token: insufficient allowance", x.deposit(market.buyer.address, 1, sender=market.buyer))
    market.refused(
        "token: insufficient balance", x.deposit(market.buyer.address, 20_000 * EUR, sender=market.relayer)
    )
    market.refused(
        "accounts: amount too large", x.deposit(market.buyer.address, 2**126, sender=market.relayer)
    )


def test_withdrawals_leave_what_is_reserved(trading):
    market, x, buyer = trading, trading.exchange, trading.buyer
    market.place(buyer, market.bid(buyer, 101_000, 100))
    free = 100 * EUR - 101_000 * 100
    market.refused("accounts: insufficient funds", x.withdraw(free + 1, sender=buyer))
    market.do(x.withdraw(free, sender=buyer))
    assert market.balance(buyer) == market.reserved(buyer) == 101_000 * 100
    market.refused("accounts: unknown account", x.withdraw(1, sender=market.newcomer))


def test_credit_is_for_orders_only(market):
    x, key = market.exchange, market.newcomer
    market.register(key, 4, deposit=0, credit=10**12)
    market.refused("accounts: insufficient funds", x.withdraw(1, sender=key))


# --- tokens that misbehave ----------------------------------------------------------------------

TOKEN = """
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


def market_with(market, source: str):
    """A market whose token is compiled from source; the relayer has a thousand of it."""
    code = bytes.fromhex(compile_text(TOKEN + source)["bytecode"].removeprefix("0x"))
    sent = sending.send(market.chain, market.relayer, None, code, 3_000_000)
    address = sending.confirmed(market.chain, sent).contract
    token = replace_token(market, address)
    exchange = deploy(
        market.chain,
        market.relayer,
        token=address,
        utility=market.utility.address,
        guardian=market.guardian.address,
        oracles=[key.address for key in market.oracles],
        quorum=3,
        terms=TERMS,
    )
    market.do(token.mint(market.relayer.address, 1_000, sender=market.relayer))
    return replace(market, token=token, exchange=exchange)


def replace_token(market, address):
    return type(market.token)(market.chain, address)


def test_a_token_that_returns_nothing_is_fine(market):
    odd = market_with(market, SILENT)
    odd.register(odd.buyer, 1, deposit=100)
    odd.do(odd.exchange.withdraw(40, sender=odd.buyer))
    assert odd.balance(odd.buyer) == odd.token.balance_of(odd.exchange.address) == 60


def test_a_token_that_returns_false_has_not_paid(market):
    odd = market_with(market, FALSE)
    odd.register(odd.buyer, 1, deposit=100)
    odd.refused("accounts: transfer failed", odd.exchange.deposit(odd.buyer.address, 7, sender=odd.relayer))
    odd.refused("accounts: transfer failed", odd.exchange.withdraw(40, sender=odd.buyer))
    assert odd.balance(odd.buyer) == 100


def test_a_token_that_keeps_a_fee_is_refused(market):
    odd = market_with(market, FEE)
    odd.register(odd.buyer, 1, deposit=0)
    odd.refused("accounts: transfer failed", odd.exchange.deposit(odd.buyer.address, 7, sender=odd.relayer))
    assert odd.balance(odd.buyer) == 0


def test_a_token_cannot_call_back(market):
    odd = market_with(market, REENTRANT)
    odd.register(odd.buyer, 1, deposit=100)
    # The token itself has an account, with money in it: without a lock both calls back would pass.
    own = odd.token.address
    odd.do(odd.exchange.register_account(own, 1, own, 1, 1, 0, 0, sender=odd.utility))
    odd.do(odd.exchange.deposit(own, 100, sender=odd.relayer))
    with pytest.raises(Reverted):
        odd.do(odd.exchange.deposit(odd.buyer.address, 7, sender=odd.relayer))
    with pytest.raises(Reverted):
        odd.do(odd.exchange.withdraw(40, sender=odd.buyer))
    assert odd.balance(odd.buyer) == 100 and odd.token.balance_of(odd.exchange.address) == 200
    odd.do(odd.exchange.withdraw(41, sender=odd.buyer))
    odd.do(odd.exchange.deposit(odd.buyer.address, 8, sender=odd.relayer))


# --- deployment ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "terms",
    [
        replace(TERMS, slot_seconds=0),
        replace(TERMS, lot_wh=0),
        replace(TERMS, open_lead=900),
        replace(TERMS, resettle_grace=3_599),
        replace(TERMS, veto_grace=901),
        replace(TERMS, buses=1),
        replace(TERMS, buses=1_025),
        replace(TERMS, penalties_ueur_per_kwh=(-1,)),
    ],
)
def test_terms_that_make_no_market_are_refused(market, terms: Terms):
    with pytest.raises(Reverted):
        deploy(
            market.chain,
            market.relayer,
            token=market.token.address,
            utility=market.utility.address,
            guardian=market.guardian.address,
            oracles=[key.address for key in market.oracles],
            quorum=3,
            terms=terms,
        )


def test_the_largest_market_can_be_deployed(market):
    terms = replace(
        TERMS,
        slot_seconds=2**32 - 1,
        open_lead=2**32 - 1,
        gate_lead=2**32 - 2**21,
        price_grace=2**32 - 1,
        meter_grace=2**32 - 1,
        resettle_grace=2**32 - 1,
        veto_grace=2**32 - 2**21,
        lot_wh=2**32 - 1,
        buses=1_024,
        penalties_ueur_per_kwh=(2**31 - 1,) * 3,
    )
    oracles = [derive(7, "many", i).address for i in range(16)]
    x = deploy(
        market.chain, market.relayer, token=market.token.address, utility=market.utility.address,
        guardian=market.guardian.address, oracles=oracles, quorum=16, terms=terms,
    )  # fmt: skip
    assert x.terms() == terms and x.oracle_set().oracles == tuple(oracles)
