"""What the utility has to back, and that nobody's payment waits for a utility without money.

A slot's sellers are paid by its buyers, and each buyer's payment is covered from the order on: by its
balance, or by the utility where it has credit or spent its reserve elsewhere. So the utility, and accounts
that work with it, take nothing of what others paid.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.events import AccountSettled
from market.orders import OrderRejected, Reject
from tests.exchange.conftest import CHARGES, EUR, HUB_TICK, Market, deal

DEAR, SOLD_WH = 1_950, 100_000
WORTH_NEUR = DEAR * 100 * SOLD_WH
"""19.50 € that the honest buyer pays the honest seller."""
FAR_DEARER, LITTLE_WH = 20_000, 9_750
"""The same worth of little energy, at a tick that accounts in league agree on."""


def drain(market: Market) -> None:
    """The utility takes out all that it may."""
    market.do(market.exchange.withdraw(market.exchange.backing(), sender=market.utility))


def two_slots(market: Market) -> tuple[Market, Market]:
    """This slot and the next, both open."""
    market.schedule(2)
    slots = market.slot, market.slot + 1
    for slot in slots:
        market.post_charges(slot=slot)
    market.at(market.terms.opens(slots[-1]))
    return market, replace(market, slot=slots[-1], nonces={})


def deliver(markets: tuple[Market, ...]) -> None:
    """Close and price slots, and go to the end of the last."""
    for market in markets:
        market.close()
        market.post_prices()
    markets[0].at(markets[0].terms.end(markets[-1].slot))


def read(market: Market, net_wh: dict) -> None:
    """Post readings where the slot has ended."""
    for key, net in net_wh.items():
        market.do(market.submit_reading(market.signed_reading(key, net)))


# --- what buyers paid ---------------------------------------------------------------------------


def test_an_unfunded_utility(market):
    """It takes out neither what buyers have paid for sellers to come, nor what backs those in debt."""
    x = market.exchange
    market.open()
    deal(market, market.seller, market.buyer, 1_000, 200)
    market.close()
    market.post_prices()
    market.read(market.signed_reading(market.buyer, 200), market.signed_reading(market.seller, -200))
    market.settle(market.buyer.address)
    assert market.clearing() == 200 * HUB_TICK
    own = market.balance(market.utility)
    market.refused("accounts: insufficient funds", x.withdraw(own + 1, sender=market.utility))
    market.do(x.withdraw(own, sender=market.utility))
    # The seller's charge of -3 000 is all that comes to the utility; its trade is paid by the buyer.
    market.settle(market.seller.address)
    assert market.balance(market.utility) == 3_000 * 200
    market.do(market.submit_reading(market.signed_reading(market.other, 0)))
    market.settle(*market.everyone)
    assert market.clearing() == 0 and market.token.balance_of(x.address) == market.total()


def test_what_buyers_paid_pays_no_reading_and_no_withdrawal(market):
    """Neither a reading that the utility cannot pay for takes it, nor a withdrawal of the utility."""
    x, buyer, seller, other = market.exchange, market.buyer, market.seller, market.other
    market.do(x.withdraw(market.balance(market.utility), sender=market.utility))
    market.open()
    deal(market, seller, buyer, 1_950, 100_000)
    market.close()
    market.post_prices()
    market.read(*(market.signed_reading(key, net) for key, net in ((buyer, 10**5), (seller, -(10**5)))))
    market.do(market.submit_reading(market.signed_reading(other, -(10**5))))
    market.settle(buyer.address)
    refused = x.settle(market.slot, [other.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", refused)
    free = market.balance(market.utility)
    market.refused("accounts: insufficient funds", x.withdraw(free + 1, sender=market.utility))
    market.do(x.withdraw(free, sender=market.utility))
    # The seller's charge is below 0 and comes to the utility with it: that alone is what the next may get.
    market.settle(seller.address)
    assert x.backing() == -CHARGES[x.account_of(seller.address).bus] * 10**5


@pytest.mark.parametrize("later", [0, 1], ids=["in the same slot", "in the next slot"])
def test_the_utility_pays_for_what_it_bought_before_anybody_is_paid_for_it(market, later):
    """An account of its own that sells dearly to it takes nothing of what others paid, and no buyer waits."""
    x, utility = market.exchange, market.utility
    puppet = market.register(market.newcomer, 4, deposit=100 * EUR)
    drain(market)
    markets = two_slots(market)
    shop = markets[later]
    deal(market, market.seller, market.buyer, DEAR, SOLD_WH)
    deal(shop, puppet, utility, 30_000, 6_330)
    deliver(markets)
    read(market, {market.buyer: SOLD_WH, market.seller: -SOLD_WH})
    read(shop, {puppet: -6_330})
    market.settle(market.buyer.address)
    assert market.reserved(market.buyer) == 0 and market.clearing() == WORTH_NEUR
    # Nothing of the shop's slot is paid for before the utility has paid.
    unpaid = x.settle(shop.slot, [puppet.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", unpaid)
    if later:
        market.settle(market.seller.address)
    market.do(x.deposit(utility.address, 30 * EUR, sender=market.relayer))
    shop.settle(puppet.address)
    market.settle(market.seller.address)
    assert x.account_of(utility.address).balance >= 0


def test_a_utility_that_bought_for_more_than_there_is_holds_up_sellers_alone(market):
    """6 000 € for 2 MWh: buyers settle, get their reserves back and withdraw; sellers wait for money."""
    puppet = market.register(market.newcomer, 4, export_capacity=2**32 - 1)
    market.open()
    deal(market, market.seller, market.buyer, DEAR, SOLD_WH)
    deal(market, puppet, market.utility, 30_000, 2 * 10**6)
    deliver((market,))
    read(market, {market.buyer: SOLD_WH, market.seller: -SOLD_WH})
    (bill,) = market.settle(market.buyer.address)
    assert isinstance(bill, AccountSettled) and market.reserved(market.buyer) == 0
    market.do(market.exchange.withdraw(market.balance(market.buyer), sender=market.buyer))
    held_up = market.exchange.settle(market.slot, [market.seller.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", held_up)


# --- who pays is covered ------------------------------------------------------------------------


def test_credit_is_given_as_far_as_the_utility_backs_it(market):
    """An order on credit needs as much backing as it lacks; voids give it back; deposits take its place."""
    x = market.exchange
    poor = market.register(market.newcomer, 4, deposit=EUR, credit=100 * EUR)
    drain(market)
    market.open()
    bid = market.bid(poor, 200_000, 10_000)
    assert market.place_all(market.signed(poor, bid)) == (
        OrderRejected(market.slot, poor.address, bid.nonce, Reject.INSUFFICIENT_FUNDS),
    )
    market.do(x.deposit(market.utility.address, EUR - 1, sender=market.relayer))
    market.refused("order: insufficient funds", market.submit(poor, market.bid(poor, 200_000, 10_000)))
    market.do(x.deposit(market.utility.address, 1, sender=market.relayer))
    lent = market.bid(poor, 200_000, 10_000)
    market.place(poor, lent)
    assert (x.uncovered(), x.backing()) == (EUR, 0)
    market.refused("accounts: insufficient funds", x.withdraw(1, sender=market.utility))
    market.refused("accounts: insufficient funds", x.withdraw(1, sender=poor))
    market.do(market.cancel(poor, lent.nonce, berth=x.order_of(market.slot, poor.address, lent.nonce).berth))
    assert (x.uncovered(), x.backing()) == (0, EUR)
    market.place(poor, market.bid(poor, 200_000, 10_000))
    market.do(x.deposit(poor.address, EUR // 2, sender=market.relayer))
    assert (x.uncovered(), x.backing()) == (EUR // 2, EUR // 2)


@pytest.mark.parametrize("sells", ["a puppet", "the utility"])
@pytest.mark.parametrize("means", ["credit", "a deposit that another slot eats up"])
def test_a_buyer_that_will_not_pay_takes_nothing_from_other_sellers(market, means, sells):
    """It buys from one in league with it, who is settled first and takes what an honest buyer paid in."""
    x, utility, puppet = market.exchange, market.utility, market.guardian
    credit, deposit = (25 * EUR, 0) if means == "credit" else (0, 25 * EUR)
    broke = market.register(market.newcomer, 4, credit=credit, deposit=deposit, import_capacity=2**32 - 1)
    market.register(puppet, 4, deposit=0, credit=EUR)
    if means != "credit":
        drain(market)
    markets = first, second = two_slots(market)
    deal(first, market.seller, market.buyer, DEAR, SOLD_WH)
    if sells == "a puppet":
        deal(first, puppet, broke, FAR_DEARER, LITTLE_WH)
    else:
        deal(first, utility, broke, FAR_DEARER, LITTLE_WH)
    drain(market)
    deliver(markets)
    delivered = {market.buyer: SOLD_WH, market.seller: -SOLD_WH, broke: LITTLE_WH}
    read(first, delivered | ({puppet: -LITTLE_WH} if sells == "a puppet" else {}))
    if means != "credit":
        read(second, {broke: 4 * SOLD_WH})
        second.settle(broke.address)
        assert market.balance(broke) < 0
        drain(market)
    first.settle(market.buyer.address)
    drain(market)
    league = puppet if sells == "a puppet" else utility
    first.settle(league.address)
    drain(market)
    if league is puppet:
        market.do(x.withdraw(market.balance(puppet), sender=puppet))
    before = market.balance(market.seller)
    first.settle(market.seller.address, broke.address)
    earned = WORTH_NEUR - CHARGES[3] * -SOLD_WH
    assert market.balance(market.seller) - before == earned
    market.do(x.withdraw(market.balance(market.seller), sender=market.seller))
    assert first.clearing() == 0 and x.advances() == 0 and x.backing() >= 0
    assert market.token.balance_of(x.address) == market.total()


def test_what_the_utility_owes_a_buyer_does_not_lower_its_reserve(market):
    """At a negative charge a buyer reserves the hub price: with less its trade would wait for the utility."""
    market.open()
    cheap = market.register(market.newcomer, 3, deposit=100_000 * 100)
    assert CHARGES[3] < 0
    market.place(cheap, market.bid(cheap, 100_000 + CHARGES[3], 100))
    assert market.reserved(cheap) == 100_000 * 100


def test_those_who_pay_settle_whatever_the_utility_has(market):
    """Without a cent of the utility's, whoever owes it nothing less than 0 is settled, payers first."""
    x = market.exchange
    lender = market.register(market.newcomer, 4, deposit=10 * EUR, credit=30 * EUR)
    friend = market.register(market.guardian, 4)
    market.open()
    deal(market, market.seller, market.buyer, DEAR, SOLD_WH)
    deal(market, friend, lender, DEAR, SOLD_WH)
    drain(market)
    deliver((market,))
    read(market, {market.buyer: SOLD_WH, market.seller: -SOLD_WH, lender: SOLD_WH, friend: -SOLD_WH})
    for payer in (lender, market.buyer):
        market.settle(payer.address)
        drain(market)
    read(market, {market.other: 0})
    for seller in (friend, market.seller):
        market.settle(seller.address)
        drain(market)
    market.settle(*market.everyone)
    assert x.slot_of(market.slot).settled and market.clearing() == 0
    assert market.token.balance_of(x.address) == market.total()
