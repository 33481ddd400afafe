"""What the contract verifies is what wallets sign: EIP-712 as eth-account computes it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_account.messages import encode_typed_data

from ledger.chain.protocol import Reverted
from ledger.eip712 import digest, separator, typed_data
from ledger.keys import CURVE_ORDER, HALF_CURVE_ORDER, Key, Signature, derive, recover
from market.messages import CancelRequest, ChargesHeader, OracleSet, PricesHeader, Reading
from market.orders import Flag, Order, OrderPlaced, Side

MESSAGES = [
    Order(
        derive(7, "buyer").address,
        2**32 - 1,
        255,
        Side.ASK,
        7,
        -(2**31),
        2**32 - 1,
        Flag.IMMEDIATE_OR_CANCEL,
        5,
    ),
    CancelRequest(derive(7, "buyer").address, 1_000_020, 3),
    ChargesHeader(1_000_020, 1, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32),
    PricesHeader(1_000_020, 1, -5, -(2**63), b"\x01" * 32, b"\x02" * 32, b"\x03" * 32),
    Reading(derive(7, "buyer").address, 1_000_020, -5, (), 1),
    Reading(derive(7, "buyer").address, 1_000_020, 5, (0, 2**32 - 1, 3), 1),
    OracleSet(1, 2, (derive(7, "a").address, derive(7, "b").address)),
]


def by_wallet(key, data: dict) -> Signature:
    """Sign as a wallet does, and take its 65 bytes."""
    return Signature.from_rsv(
        Account.sign_message(encode_typed_data(full_message=data), key.secret).signature
    )


def test_the_domain_is_the_contracts(market):
    assert market.exchange.domain_separator() == separator(market.exchange.domain)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_digests_are_those_of_eth_account(market, message):
    domain = market.exchange.domain
    signed = Account.sign_message(encode_typed_data(full_message=typed_data(domain, message)), b"\x01" * 32)
    assert bytes(signed.message_hash) == digest(domain, message)


def test_the_contract_takes_an_order_and_a_cancel_of_a_wallet(trading):
    market, buyer, x = trading, trading.buyer, trading.exchange
    order = market.bid(buyer, -101_000, 100, relayer=market.relayer.address, expiry=2**32 - 1)
    signature = by_wallet(buyer, typed_data(x.domain, order))
    (placed,) = market.do(x.place_order(order, signature, sender=market.relayer))
    assert isinstance(placed, OrderPlaced)
    cancel = CancelRequest(buyer.address, market.slot, order.nonce)
    market.do(x.cancel_order(cancel, by_wallet(buyer, typed_data(x.domain, cancel)), sender=market.relayer))


@pytest.mark.parametrize("field", ["limit_ueur_per_kwh", "quantity_wh", "nonce", "expiry", "slot"])
def test_a_changed_order_is_not_signed(trading, field):
    market, buyer = trading, trading.buyer
    order = market.bid(buyer, 101_000, 100)
    signature = buyer.sign(digest(market.exchange.domain, order))
    changed = replace(order, **{field: getattr(order, field) + 10})
    market.refused(
        "order: bad signature", market.exchange.place_order(changed, signature, sender=market.relayer)
    )


def test_another_chain_or_contract_is_another_domain(trading):
    market, buyer = trading, trading.buyer
    order = market.bid(buyer, 101_000, 100)
    for domain in (
        replace(market.exchange.domain, chain_id=1),
        replace(market.exchange.domain, contract=market.token.address),
    ):
        signature = buyer.sign(digest(domain, order))
        market.refused(
            "order: bad signature", market.exchange.place_order(order, signature, sender=market.relayer)
        )


def test_a_signature_of_nobody_opens_nothing(trading):
    """ecrecover answers nothing for nonsense; nobody's meter key must not match that."""
    market = trading
    nonsense = Signature(b"\x00" * 32, b"\x00" * 32)
    order = market.bid(market.buyer, 101_000)
    market.refused(
        "order: bad signature", market.exchange.place_order(order, nonsense, sender=market.relayer)
    )
    reading = Reading(market.utility.address, market.slot, 5, (0, 0), 0)
    market.refused(
        "reading: unknown account", market.exchange.post_reading(reading, nonsense, sender=market.relayer)
    )
    with pytest.raises(Reverted):
        market.do(market.exchange.accept_role(0, sender=market.relayer))


def signed_with(message_digest: bytes, s: int) -> tuple[Key, Signature]:
    """A key and its signature of a digest with that very s.

    The pair (r, vs) has no room for the upper half of s but for the few values between n/2 and 2^255,
    which no search finds. So s and the point are chosen, and the key for which they are a signature
    follows from them (SEC 1, §4.1.3).
    """
    nonce = 12_345
    x, y = PrivateKey(nonce.to_bytes(32, "big")).public_key.point()
    z = int.from_bytes(message_digest, "big")
    secret = (s * nonce - z) * pow(x, -1, CURVE_ORDER) % CURVE_ORDER
    vs = s | (y & 1) << 255
    return Key(secret.to_bytes(32, "big")), Signature(x.to_bytes(32, "big"), vs.to_bytes(32, "big"))


@pytest.mark.parametrize(("s", "accepted"), [(HALF_CURVE_ORDER, True), (HALF_CURVE_ORDER + 1, False)])
def test_s_lies_in_the_lower_half(market, s, accepted):
    account = market.newcomer.address
    reading = Reading(account, market.slot, 5, (0, 0), 1)
    meter, signature = signed_with(digest(market.exchange.domain, reading), s)
    market.do(market.exchange.register_account(account, 4, meter.address, 5, 0, 0, 0, sender=market.utility))
    market.schedule()
    market.at(market.terms.end(market.slot))
    sent = market.exchange.post_reading(reading, signature, sender=market.relayer)
    if not accepted:
        return market.refused("reading: bad signature", sent)
    assert recover(digest(market.exchange.domain, reading), signature) == meter.address
    market.do(sent)
