"""Accounts, roles, deposits and withdrawals: tokens of any decimals."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
