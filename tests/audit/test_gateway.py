"""The typed gateway against the real contract: reads, refusals with their reasons, batches."""

from __future__ import annotations

import re

import pytest

from ledger import sending
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import TRANSACTION_GAS_MAX, Reverted, TransactionRefused
from ledger.eip712 import separator
from ledger.exchange import Exchange, SignedOrder
from ledger.gas import ACCOUNTS, ENTRIES, ORDERS, READINGS, SLOTS, VETOES, GasBudget
from ledger.state import Best, Position
from market.events import OraclesRotated, SlotsScheduled
from market.messages import OracleSet
from market.orders import Order, OrderPlaced, OrderRejected, Reject, Side, Veto, VetoReason
from market.slots import Rule
from tests.audit.small_market import (
    BUYER,
    GUARDIAN,
    ORACLES,
    RELAYER,
    SELLER,
    SLOT,
    TARIFF,
    UTILITY,
    SmallMarket,
)


@pytest.fixture(scope="module")
def market() -> SmallMarket:
    """Open for trading in the first slot."""
    small = SmallMarket(Rule.DLMP)
    small.post_charges(SLOT, 0.8)
    small.chain.advance_to(small.terms.opens(SLOT))
    return small


def test_reads_are_records(market: SmallMarket) -> None:
    exchange = market.exchange
    assert exchange.terms() == market.terms
    assert exchange.oracle_set() == OracleSet(1, 2, tuple(key.address for key in ORACLES))
    assert (exchange.utility(), exchange.guardian()) == (UTILITY.address, GUARDIAN.address)
    assert exchange.account_count() == 4
    assert exchange.account_at(1) == BUYER.address
    assert exchange.account_of(BUYER.address).balance == 50 * 10**9
    assert exchange.slot_of(SLOT).retail == TARIFF.retail
    assert exchange.token().decimals == 6
    assert exchange.token().balance_of(exchange.address) == 1_150 * 10**6
    assert not exchange.paused()
    parts = exchange.parts()
    assert all(market.chain.code(address) for address in (parts.clearinghouse, parts.registry))


def test_history_is_all_events_in_order(market: SmallMarket) -> None:
    happened = market.exchange.history()
    assert isinstance(happened[2], OraclesRotated)
    assert SlotsScheduled(SLOT, 4, TARIFF.retail, TARIFF.network_fee, TARIFF.fit) in happened


def test_single_order_rests_and_is_read(market: SmallMarket) -> None:
    signed = market.sign(SELLER, SLOT, 200, Side.ASK, 150_000, 100)
    [placed] = market.confirm(market.exchange.place_order(signed.order, signed.signature, sender=RELAYER))
    assert isinstance(placed, OrderPlaced)
    assert market.exchange.best_ask(SLOT, 0) == Best(True, placed.tick, 100)
    assert market.exchange.order_of(SLOT, SELLER.address, 200).quantity == 100
    assert market.exchange.nonce_used(SLOT, SELLER.address, 200)
    position = market.exchange.position_of(SLOT, SELLER.address)
    assert isinstance(position, Position)
    assert position.resting_asks == 100
    market.cancel(SELLER, SLOT, 200)
    assert not market.exchange.best_ask(SLOT, 0).found


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (Order(BUYER.address, SLOT, 90, Side.BID, 0, 100_000, 5), "order: not whole lots"),
        (Order(BUYER.address, SLOT, 91, Side.BID, 0, 100_000, 900_000), "order: over capacity"),
        (Order(BUYER.address, SLOT + 9, 92, Side.BID, 0, 100_000, 10), "order: slot not open"),
    ],
)
def test_single_order_that_breaks_a_rule_reverts_by_name(
    market: SmallMarket, order: Order, reason: str
) -> None:
    signed = SignedOrder.by(BUYER, market.exchange.domain, order)
    sent = market.exchange.place_order(signed.order, signed.signature, sender=RELAYER)
    with pytest.raises(Reverted, match=reason):
        market.exchange.confirm(sent)


def test_big_batch_takes_several_transactions(market: SmallMarket) -> None:
    orders = [market.sign(SELLER, SLOT, 30, Side.BID, 80_000, 5) for _ in range(130)]
    sent = market.exchange.place_orders(orders, sender=RELAYER)
    assert len(sent) == 3
    rejected = market.confirm(*sent)
    assert {type(event) for event in rejected} == {OrderRejected}
    assert {event.code for event in rejected if isinstance(event, OrderRejected)} == {Reject.NOT_WHOLE_LOTS}
    assert len(rejected) == 130


CAP = 2**24
"""Most gas that a transaction may ask for since the fork Osaka (EIP-7825)."""


@pytest.mark.parametrize(
    ("budget", "whole", "capped"),
    [
        (ORDERS, 64, 8),
        (READINGS, 100, 100),
        (ACCOUNTS, 100, 81),
        (VETOES, 64, 49),
        (ENTRIES, 512, 274),
        (SLOTS, 1_024, 414),
    ],
)
def test_a_batch_is_what_fits_the_gas_of_a_transaction(budget: GasBudget, whole: int, capped: int) -> None:
    assert (budget.fits(TRANSACTION_GAS_MAX), budget.fits(CAP)) == (whole, capped)
    assert budget.limit(whole) <= TRANSACTION_GAS_MAX
    assert budget.limit(capped) <= CAP
    assert capped == whole or budget.limit(capped + 1) > CAP
    with pytest.raises(TransactionRefused, match="more than the 21000 of --transaction-gas"):
        budget.fits(21_000)


def test_batches_follow_the_chain_s_cap(market: SmallMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market.chain, "transaction_gas_max", CAP)
    gateway, relayer = market.exchange, RELAYER
    orders = [market.sign(SELLER, SLOT, 30, Side.BID, 80_000, 5) for _ in range(20)]
    nobody = [f"0x{number:040x}" for number in range(1, 101)]
    veto = Veto(SELLER.address, 0, 0, 1, 0, 5, bytes(32), 5, VetoReason.LOADING, 1)
    sent = (
        gateway.place_orders(orders, sender=relayer),
        gateway.estimate_all(SLOT, 0, (), nobody, sender=relayer),
        gateway.clear_all(SLOT, nobody, sender=relayer),
        gateway.settle_all(SLOT, nobody, sender=relayer),
        gateway.resettle_all(SLOT, nobody, sender=relayer),
        gateway.veto_all(SLOT, [veto] * 50, sender=relayer),
        gateway.schedule_all(SLOT + 100, 500, TARIFF, sender=UTILITY),
        (gateway.close_gate(SLOT, 512, sender=relayer),),
    )
    assert [len(batches) for batches in sent] == [3, 2, 2, 4, 2, 2, 2, 1]
    assert max(asked(market.chain, each) for batches in sent for each in batches) <= CAP
    assert len(market.confirm(*sent[0])) == len(gateway.relay_orders(orders, sender=relayer)) == 20
    for each in (30_000_000, CAP + 1):
        with pytest.raises(
            TransactionRefused, match=f"asks for {each}, more than the {CAP} of --transaction-gas"
        ):
            sending.send(market.chain, relayer, relayer.address, b"", each)


def asked(chain: EmbeddedChain, transaction: bytes) -> int:
    """Gas that a transaction asked for."""
    return sending.transaction_of(chain, chain.receipt(transaction)).gas


@pytest.mark.parametrize(
    "said",
    [
        "intrinsic gas too high -- tx.gas_limit > env.cfg.tx_gas_limit_cap",  # anvil 1.7.1
        "transaction gas limit too high (cap: 16777216, tx: 28000000)",  # Geth's ErrGasLimitTooHigh
        "Transaction gas limit is 28000000 and exceeds transaction gas cap of 16777216",  # hardhat's EDR
    ],
)
def test_a_node_that_caps_gas_is_answered_with_the_option(
    market: SmallMarket, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def refuse(raw: bytes) -> bytes:
        raise TransactionRefused(said)

    monkeypatch.setattr(market.chain, "send", refuse)
    with pytest.raises(TransactionRefused, match=re.escape(said) + "; it asks for .* by --transaction-gas"):
        sending.send(market.chain, RELAYER, RELAYER.address, b"", TRANSACTION_GAS_MAX)


def test_nobody_else_may_register(market: SmallMarket) -> None:
    key = BUYER.address
    sent = market.exchange.register_account(key, 1, key, 1, 1, 0, 0, sender=SELLER)
    with pytest.raises(Reverted, match="accounts: not the utility"):
        market.exchange.confirm(sent)


def test_domain_is_the_contracts(market: SmallMarket) -> None:
    assert market.exchange.domain_separator() == separator(market.exchange.domain)
    other = Exchange(market.chain, BUYER.address)
    assert separator(other.domain) != market.exchange.domain_separator()
