"""What the utility has to back, and that nobody's payment waits for a utility without money.

Every trade is covered from the order on: by the buyer's balance, by the utility's where the buyer has credit
or the utility buys itself. So it is cleared, whatever becomes of readings, and the utility, and accounts
that work with it, take nothing of what others paid. What a utility without money owes waits, trades do not.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ledger.history import movements
from market.events import SlotSettled
from market.orders import OrderRejected, Reject
from tests.exchange.conftest import CHARGES, EUR, HUB_TICK, Market, deal

DEAR, SOLD_WH = 1_950, 100_000
WORTH_NEUR = DEAR * 100 * SOLD_WH
"""19.50 € that the honest buyer pays the honest seller."""
FAR_DEARER, LITTLE_WH = 20_000, 9_750
"""The same worth of little energy, at a tick that accounts in league agree on."""
EARNED_NEUR = WORTH_NEUR + CHARGES[3] * SOLD_WH
"""What the honest seller has of it after the charge of its bus."""


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


def deliver(*markets: Market) -> None:
    """Close and price slots, and go to the end of the last."""
    for market in markets:
        market.close()
        market.post_prices()
    markets[0].at(markets[0].terms.end(markets[-1].slot))


def read(market: Market, net_wh: dict) -> None:
    """Post readings where the slot has ended."""
    for key, net in net_wh.items():
        market.do(market.submit_reading(market.signed_reading(key, net)))


def settles(market: Market, *keys) -> None:
    """Settle accounts as they are, without clearing anything first."""
    market.do(market.exchange.settle(market.slot, [key.address for key in keys], sender=market.relayer))


# --- what buyers paid ---------------------------------------------------------------------------


def test_an_unfunded_utility(market):
    """It takes out neither what buyers have paid for sellers to come, nor what backs those in debt."""
    x = market.exchange
    market.open()
    deal(market, market.seller, market.buyer, 1_000, 200)
    deliver(market)
    read(market, {market.buyer: 200, market.seller: -200})
    settles(market, market.buyer)
    assert market.clearing() == 200 * HUB_TICK
    own = market.balance(market.utility)
    market.refused("accounts: insufficient funds", x.withdraw(own + 1, sender=market.utility))
    market.do(x.withdraw(own, sender=market.utility))
    # The seller's charge of -3 000 is all that comes to the utility; its trade is paid by the buyer.
    settles(market, market.seller)
    assert market.balance(market.utility) == 3_000 * 200
    read(market, {market.other: 0})
    market.settle(*market.everyone)
    assert market.clearing() == 0 and market.token.balance_of(x.address) == market.total()


def test_what_buyers_paid_pays_no_reading_and_no_withdrawal(market):
    """Neither a reading that the utility cannot pay for takes it, nor a withdrawal of the utility."""
    x, buyer, seller, other = market.exchange, market.buyer, market.seller, market.other
    drain(market)
    market.open()
    deal(market, seller, buyer, DEAR, SOLD_WH)
    deliver(market)
    read(market, {buyer: SOLD_WH, seller: -SOLD_WH, other: -SOLD_WH})
    settles(market, buyer)
    refused = x.settle(market.slot, [other.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", refused)
    free = market.balance(market.utility)
    market.refused("accounts: insufficient funds", x.withdraw(free + 1, sender=market.utility))
    drain(market)
    # The seller's charge is below 0 and comes to the utility with it: that alone is what the next may get.
    settles(market, seller)
    assert x.backing() == -CHARGES[3] * SOLD_WH


# --- every trade is covered ---------------------------------------------------------------------


def test_the_utility_buys_with_what_it_has(market):
    """Its bids reserve from its backing; asks nothing, or below 0 what it pays to be rid of energy."""
    x, utility = market.exchange, market.utility
    drain(market)
    market.open()
    bid = market.bid(utility, 100_000, 1_000)
    assert market.place_all(market.signed(utility, bid)) == (
        OrderRejected(market.slot, utility.address, bid.nonce, Reject.INSUFFICIENT_FUNDS),
    )
    market.do(x.deposit(utility.address, EUR, sender=market.relayer))
    market.place(utility, market.bid(utility, 100_000, 1_000))
    assert (market.reserved(utility), x.backing()) == (EUR // 10, EUR - EUR // 10)
    market.place(utility, market.ask(utility, 200_000, 10**6))
    assert market.reserved(utility) == EUR // 10
    rid = market.ask(utility, -50_000, 1_000, energy_class=0)
    market.refused("accounts: insufficient funds", x.withdraw(EUR, sender=utility))
    market.do(x.withdraw(x.backing(), sender=utility))
    market.refused("order: insufficient funds", market.submit(utility, rid))
    market.close()
    assert (market.reserved(utility), x.backing()) == (0, EUR // 10)


def test_what_the_utility_bought_is_paid(market):
    """However dearly an account of its own sells to it, it pays from what it reserved."""
    x, utility = market.exchange, market.utility
    puppet = market.register(market.newcomer, 4)
    market.open()
    deal(market, market.seller, market.buyer, DEAR, SOLD_WH)
    deal(market, puppet, utility, 30_000, 6_330)
    drain(market)
    deliver(market)
    read(market, {market.buyer: SOLD_WH, market.seller: -SOLD_WH, puppet: -6_330, market.other: 0})
    market.refused("settlement: clear first", x.settle(market.slot, [puppet.address], sender=market.relayer))
    before = market.balance(market.seller)
    market.do(x.clear_trades(market.slot, market.everyone, sender=market.relayer))
    assert market.clearing() == WORTH_NEUR, "what the utility bought has been paid to its seller"
    drain(market)
    for key in (puppet, market.seller, market.buyer, market.other, utility):
        settles(market, key)
        drain(market)
    assert market.balance(market.seller) == before + EARNED_NEUR
    assert x.slot_of(market.slot).settled and market.clearing() == 0


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
    berth = x.order_of(market.slot, poor.address, lent.nonce).berth
    market.do(market.cancel(poor, lent.nonce, berth=berth))
    assert (x.uncovered(), x.backing()) == (0, EUR)
    market.place(poor, market.bid(poor, 200_000, 10_000))
    market.do(x.deposit(poor.address, EUR // 2, sender=market.relayer))
    assert (x.uncovered(), x.backing()) == (EUR // 2, EUR // 2)


def test_what_the_utility_owes_a_buyer_does_not_lower_its_reserve(market):
    """At a negative charge a buyer reserves the hub price: with less its trade would wait for the utility."""
    market.open()
    cheap = market.register(market.newcomer, 3, deposit=100_000 * 100)
    assert CHARGES[3] < 0
    market.place(cheap, market.bid(cheap, 100_000 + CHARGES[3], 100))
    assert market.reserved(cheap) == 100_000 * 100


@pytest.mark.parametrize("surplus_wh", [0, 2**32 - 1], ids=["reads its contract", "reads a surplus"])
@pytest.mark.parametrize("sells", ["a puppet", "the utility"])
@pytest.mark.parametrize("means", ["credit", "a deposit that another slot eats up"])
def test_a_buyer_that_will_not_pay_takes_nothing_from_other_sellers(market, means, sells, surplus_wh):
    """It buys from one in league with it, who is settled first and takes what an honest buyer paid in.

    At most it gives what nobody can pay for, so that its own settlement is refused: its trade is cleared
    all the same.
    """
    x, utility, puppet = market.exchange, market.utility, market.guardian
    credit, deposit = (25 * EUR, 0) if means == "credit" else (0, 25 * EUR)
    broke = market.register(
        market.newcomer, 4, credit=credit, deposit=deposit, import_capacity=2**32 - 1,
        export_capacity=2**32 - 1,
    )  # fmt: skip
    market.register(puppet, 4, deposit=0, credit=EUR)
    if means != "credit":
        drain(market)
    first, second = two_slots(market)
    league = puppet if sells == "a puppet" else utility
    deal(first, market.seller, market.buyer, DEAR, SOLD_WH)
    deal(first, league, broke, FAR_DEARER, LITTLE_WH)
    drain(market)
    deliver(first, second)
    read(first, {market.buyer: SOLD_WH, market.seller: -SOLD_WH, broke: -surplus_wh or LITTLE_WH})
    if league is puppet:
        read(first, {puppet: -LITTLE_WH})
    if means != "credit":
        read(second, {broke: 4 * SOLD_WH})
        second.settle(broke.address)
        assert market.balance(broke) < 0
        drain(market)
    settles(first, market.buyer)
    drain(market)
    settles(first, league)
    drain(market)
    if league is puppet:
        market.do(x.withdraw(market.balance(puppet), sender=puppet))
    before = market.balance(market.seller)
    first.settle(market.seller.address)
    assert market.balance(market.seller) - before == EARNED_NEUR
    market.do(x.withdraw(market.balance(market.seller), sender=market.seller))
    if surplus_wh:
        owed = x.settle(first.slot, [broke.address], sender=market.relayer)
        market.refused("settlement: utility unfunded", owed)
    else:
        first.settle(broke.address)
        assert first.clearing() == 0
    assert x.backing() >= 0 and market.token.balance_of(x.address) == market.total()


@pytest.mark.parametrize("read_wh", [SOLD_WH, SOLD_WH - 1_000], ids=["all", "a little less than was bought"])
def test_who_pays_is_cleared_whatever_the_utility_has(market, read_wh):
    """Without a cent of the utility's payers pay, and sellers have it; what the utility owes waits."""
    x = market.exchange
    lender = market.register(market.newcomer, 4, deposit=10 * EUR, credit=30 * EUR)
    friend = market.register(market.guardian, 4)
    market.open()
    deal(market, market.seller, market.buyer, DEAR, SOLD_WH)
    deal(market, friend, lender, DEAR, SOLD_WH)
    drain(market)
    deliver(market)
    read(market, {market.buyer: read_wh, market.seller: -SOLD_WH, lender: SOLD_WH, friend: -SOLD_WH})
    for payer in (lender, market.buyer):
        market.do(x.clear_trades(market.slot, [payer.address], sender=market.relayer))
        drain(market)
    before = market.balance(market.seller)
    for seller in (friend, market.seller):
        settles(market, seller)
    assert market.balance(market.seller) == before + EARNED_NEUR
    drain(market)
    if read_wh != SOLD_WH:
        owed = x.settle(market.slot, [market.buyer.address], sender=market.relayer)
        market.refused("settlement: utility unfunded", owed)
        market.do(x.deposit(market.utility.address, EUR, sender=market.relayer))
    read(market, {market.other: 0})
    market.settle(*market.everyone)
    assert x.slot_of(market.slot).settled and market.clearing() == 0
    assert market.token.balance_of(x.address) == market.total()


# --- what sellers get does not wait -------------------------------------------------------------


def clear(market: Market, *keys) -> tuple:
    """Clear the trades of accounts, which may be none that there is."""
    named = [key.address for key in keys]
    return market.do(market.exchange.clear_trades(market.slot, named, sender=market.relayer))


def unfunded(market: Market, key) -> None:
    """The settlement of an account waits for the utility."""
    owed = market.exchange.settle(market.slot, [key.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", owed)


def free_of_charge(market: Market):
    """A seller at a bus without a charge, which may export all that it likes."""
    seller = market.register(market.newcomer, 4)
    assert CHARGES[4] == 0
    market.do(market.exchange.set_account(seller.address, 10**6, 10**6, 0, 0, sender=market.utility))
    return seller


@pytest.mark.parametrize("backing", ["withdrawn", "taken by a bid on credit"])
def test_a_surplus_holds_up_no_trade(market, backing):
    """The utility owes a little for surplus, and has nothing left: what the buyer paid is the seller's."""
    x, seller = market.exchange, free_of_charge(market)
    stranger = market.register(market.guardian, 4, deposit=0, credit=2_000 * EUR, import_capacity=2**32 - 1)
    market.schedule(6)
    later = replace(market, slot=market.slot + 5, nonces={})
    market.post_charges()
    later.post_charges()
    market.at(market.terms.opens(market.slot))
    deal(market, seller, market.buyer, DEAR, SOLD_WH)
    deliver(market)
    read(market, {market.buyer: SOLD_WH, seller: -SOLD_WH - 100_000, market.other: 0, market.seller: 0})
    read(market, {stranger: 0})
    if backing == "withdrawn":
        drain(market)
    else:
        later.place(stranger, later.bid(stranger, 100_000, x.backing() // 100_000))
        assert (x.backing(), market.balance(market.utility)) == (0, 1_000 * EUR)
    before = market.balance(seller)
    (paid_in, paid_out) = clear(market, market.buyer, seller, market.guardian, seller, market.buyer)
    assert (paid_in.amount, paid_out.amount) == (WORTH_NEUR, -WORTH_NEUR)
    assert (market.balance(seller) - before, market.reserved(seller)) == (WORTH_NEUR, 0)
    market.do(x.withdraw(market.balance(seller), sender=seller))
    settles(market, market.buyer)
    drain(market)
    unfunded(market, seller)
    market.do(x.deposit(market.utility.address, EUR * 100, sender=market.relayer))
    market.settle(*market.everyone, seller.address)
    assert x.slot_of(market.slot).settled and market.clearing() == 0


def test_a_veto_makes_no_seller_wait(veto_market):
    """The utility makes a surplus of what was sold, by a veto."""
    market, x = veto_market, veto_market.exchange
    seller = free_of_charge(market)
    market.open()
    deal(market, seller, market.buyer, DEAR, SOLD_WH)
    deal(market, seller, market.other, DEAR, 10)
    market.chain.advance_to(market.terms.gate(market.slot))
    market.do(market.veto(market.whole_vetoes()[-1]))
    deliver(market)
    read(market, {market.buyer: SOLD_WH, seller: -SOLD_WH - 10})
    drain(market)
    clear(market, market.buyer, seller)
    drain(market)
    unfunded(market, seller)
    assert market.clearing() == 0 and x.position_of(market.slot, seller.address).cleared


def test_who_may_still_owe_something_is_not_paid_ahead(market):
    """Not before the rule is known and the reading is there, nor where that costs it anything."""
    seller, terms = free_of_charge(market), market.terms
    market.open()
    deal(market, seller, market.buyer, DEAR, SOLD_WH)
    deal(market, market.seller, market.other, DEAR, 10)
    market.close()
    clear(market, market.buyer)
    assert clear(market, seller) == ()
    market.at(terms.end(market.slot))
    read(market, {seller: -SOLD_WH, market.seller: 0})
    assert clear(market, seller) == (), "no prices"
    market.at(terms.prices_due(market.slot))
    clear(market, market.other)
    assert clear(market, market.seller) == (), "sold what it has not delivered"
    (paid,) = clear(market, seller)
    assert paid.amount == -WORTH_NEUR
    assert market.clearing() == 10 * 100 * DEAR


def test_a_silent_seller_is_paid_once_its_estimate_is_final(market):
    """Until then a reading may take the estimate's place."""
    seller, x, terms = free_of_charge(market), market.exchange, market.terms
    market.open()
    deal(market, seller, market.buyer, DEAR, SOLD_WH)
    market.close()
    market.post_prices()
    words = market.forecast_words({seller.address: -SOLD_WH})
    market.do(market.submit_forecasts(words))
    clear(market, market.buyer)
    market.at(terms.readings_due(market.slot))
    market.do(x.estimate(market.slot, 0, words, [seller.address], sender=market.relayer))
    assert clear(market, seller) == ()
    market.at(terms.final(market.slot))
    due = clear(market, seller)
    assert [event.amount for event in due] == [-WORTH_NEUR]


@pytest.mark.parametrize("tick", [DEAR, -700])
def test_the_utility_is_cleared_and_hands_over(market, tick):
    """Its successor takes what it has with id 0, cleared trades too: nothing is paid twice, nor told so."""
    x, heir = market.exchange, market.newcomer
    market.open()
    one, two = (market.seller, market.utility) if tick > 0 else (market.utility, market.buyer)
    deal(market, one, two, tick, 10_000)
    drain(market)
    deliver(market)
    read(market, {market.buyer: 10_000 if tick < 0 else 0, market.seller: -10_000 if tick > 0 else 0})
    read(market, {market.other: 0})
    before = x.uncovered(), x.backing()
    market.do(x.clear_trades(market.slot, [market.utility.address] * 2, sender=market.relayer))
    assert market.clearing() == 1_000_000 * abs(tick) and (x.uncovered(), x.backing()) == before
    market.do(x.propose_role(0, heir.address, sender=market.utility))
    market.do(x.accept_role(0, sender=heir))
    market.do(x.deposit(heir.address, 10 * EUR, sender=market.relayer))
    market.do(x.clear_trades(market.slot, market.everyone, sender=market.relayer))
    events = market.do(x.settle(market.slot, market.everyone * 2, sender=market.relayer))
    assert events[-1] == SlotSettled(market.slot) and market.clearing() == 0
    assert market.token.balance_of(x.address) == market.total() and x.backing() >= 0
    record = SimpleNamespace(sent=[SimpleNamespace(logs=[SimpleNamespace(event=e) for e in x.history()])])
    moved = [each for _, every in movements(record) for each in every]
    assert sum(each.cleared_neur for each in moved) == 0
