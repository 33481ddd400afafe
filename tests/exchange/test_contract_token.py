"""A hostile token, and one whose unit is not the market's: nothing is moved twice, and nothing is lost."""

from __future__ import annotations

import pytest

from ledger import calls, sending
from ledger.chain.protocol import Reverted
from ledger.eip712 import digest
from ledger.keccak import keccak
from tests.exchange.conftest import PRICES, TERMS, Market, deal, found
from tests.exchange.tokens import FALSE, FEE, HOSTILE, REENTRANT, SILENT, market_with

REFUSED, DONE = 1, 2
"""What the token adds to its `answers` for each call that it makes."""


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


def hostile_market(market: Market) -> Market:
    """A market whose token calls back what it is armed with; the buyer has 1 000, the token itself 100."""
    odd = market_with(market, HOSTILE)
    token = odd.token
    odd.register(odd.buyer, 1, deposit=1_000)
    odd.do(odd.exchange.register_account(token.address, 1, token.address, 9, 9, 0, 0, sender=odd.utility))
    odd.do(odd.exchange.deposit(token.address, 100, sender=odd.relayer))
    odd.schedule()
    return odd


def arm(market: Market, message: bytes) -> None:
    """Let the token send this to the exchange whenever it moves."""
    padded = message + bytes(-len(message) % 32)
    words = (int(market.exchange.address, 16), 64, len(message))
    data = keccak(b"arm(address,bytes)")[:4] + b"".join(word.to_bytes(32, "big") for word in words) + padded
    sent = sending.send(market.chain, market.relayer, market.token.address, data, 3_000_000)
    sending.confirmed(market.chain, sent)


def answer(market: Market) -> int:
    return int.from_bytes(market.chain.call(market.token.address, keccak(b"answers()")[:4]), "big")


def test_a_hostile_token_calls_back(market):
    """It is called when everything is booked, and can start nothing that moves money meanwhile."""
    odd = hostile_market(market)
    x, slot, buyer = odd.exchange, odd.slot, odd.buyer
    odd.at(odd.terms.prices_due(slot))
    odd.do(x.close_gate(slot, 0, sender=odd.relayer))
    moving = [
        calls.Deposit(odd.token.address, 0),
        calls.Withdraw(1),
        calls.ClearTrades(slot, ()),
        calls.Settle(slot, ()),
        calls.Resettle(slot, ()),
    ]
    for call in moving:
        # It is no other rule that refuses it: outside a transfer the same call is fine.
        odd.chain.call(x.address, calls.encode(call), sender=odd.token.address)
        arm(odd, calls.encode(call))
        odd.do(x.withdraw(1, sender=buyer))
        assert answer(odd) == REFUSED, call
        odd.do(x.deposit(buyer.address, 1, sender=odd.relayer))
        assert answer(odd) == 2 * REFUSED, call
    assert odd.balance(buyer) == 1_000 and x.account_of(odd.token.address).balance == 100
    assert odd.token.balance_of(x.address) == 1_100 == odd.total()


def test_a_hostile_token_spends_what_is_leaving(market):
    """Order entry has no lock: an order that is sent during a withdrawal finds the money gone already."""
    odd = hostile_market(market)
    x, buyer = odd.exchange, odd.buyer
    odd.post_charges((0,) * 12)
    odd.at(odd.terms.opens(odd.slot))
    # 10 Wh at hub tick 1, where a bid reserves its price: all that the buyer has.
    order = odd.bid(buyer, 100, 10)
    signature = buyer.sign(digest(x.domain, order))
    message = calls.encode(calls.PlaceOrder(order, signature))
    odd.chain.call(x.address, message, sender=odd.relayer.address)
    arm(odd, message)
    odd.do(x.withdraw(1, sender=buyer))
    assert answer(odd) == REFUSED
    assert (odd.balance(buyer), odd.reserved(buyer)) == (999, 0)
    odd.do(x.deposit(buyer.address, 1, sender=odd.relayer))
    assert answer(odd) == REFUSED + DONE
    assert (odd.balance(buyer), odd.reserved(buyer)) == (1_000, 1_000)


@pytest.mark.parametrize(("decimals", "neur_per_unit", "units_per_neur"), [(6, 1_000, 1), (18, 1, 10**9)])
def test_rounding_of_tokens_loses_and_makes_nothing(decimals, neur_per_unit, units_per_neur):
    """Through a whole slot the tokens are what is owed, to the unit; fractions of one cannot leave."""
    market = found(TERMS, decimals)
    x = market.exchange
    market.open()
    deal(market, market.seller, market.buyer, 1_001, 130)
    market.close()
    market.post_prices((PRICES[0], 125_001, 122_003, 115_007, *PRICES[4:]))
    readings = {market.buyer: 131, market.seller: -77, market.other: 3}
    market.read(*(market.signed_reading(key, net) for key, net in readings.items()))
    market.settle(*market.everyone)
    assert market.token.balance_of(x.address) * neur_per_unit == market.total() * units_per_neur
    fraction = market.balance(market.other) % neur_per_unit
    assert fraction == (-3 * 122_003) % neur_per_unit
    if fraction:
        market.refused(
            "accounts: not whole token units", x.withdraw(market.balance(market.other), sender=market.other)
        )
    market.do(x.withdraw(market.balance(market.other) - fraction, sender=market.other))
    assert market.balance(market.other) == fraction
    assert market.token.balance_of(x.address) * neur_per_unit == market.total() * units_per_neur
