"""Estimates, which stand in where readings stay away."""

from __future__ import annotations

import pytest

from ledger.keys import derive
from ledger.state import StoredReading
from market.events import ReadingEstimated, ReadingPosted
from market.slots import Rule
from tests.exchange.conftest import PRICES
from tests.exchange.estimating import (
    BY_CONTRACT,
    BY_FORECAST,
    BY_READING,
    CONTRACTED,
    forecast,
    money,
    people,
    settled,
    to_t1,
    traded,
)


def test_without_a_forecast_the_dearer_of_contract_and_nothing_stands_in(market):
    """The buyer is taken at its word; the seller is not believed to have delivered what no meter saw."""
    traded(market)
    to_t1(market, -1)
    market.refused("settlement: readings may still come", market.submit_estimate(market.buyer.address))
    assert market.estimate(*people(market)) == (
        ReadingEstimated(market.slot, market.buyer.address, 200, BY_CONTRACT),
        ReadingEstimated(market.slot, market.other.address, 0, BY_CONTRACT),
        ReadingEstimated(market.slot, market.seller.address, 0, BY_FORECAST),
    )
    buyer, seller = settled(market, market.buyer.address, market.seller.address)
    assert (buyer.basis, buyer.metered, buyer.delivered, buyer.trades) == (BY_CONTRACT, 200, 200, 20_000_000)
    assert money(buyer) == (1_000 * 200, 0, 0, 0)
    assert (seller.basis, seller.metered, seller.delivered) == (BY_FORECAST, 0, 0)
    assert money(seller) == (0, (PRICES[3] - PRICES[0]) * -200, PRICES[3] * 200, 0)


@pytest.mark.parametrize("fixture", ["market", "tariff_market"])
def test_accounts_that_trade_with_each_other_gain_nothing_by_silence(request, fixture):
    """Charges differ by bus, so a pair that nobody meters could be paid for a flow that never was."""
    market = request.getfixturevalue(fixture)
    market.open((0, -40_000, 0, 60_000, *[0] * 8))
    before = market.balance(market.buyer) + market.balance(market.seller)
    market.place(market.seller, market.ask(market.seller, 160_000, 90_000))
    market.place(market.buyer, market.bid(market.buyer, 60_000, 90_000))
    market.close()
    market.post_prices()
    honest = market.chain.snapshot()
    market.read(market.signed_reading(market.buyer, 0), market.signed_reading(market.seller, 0))
    market.settle(*market.everyone[:2], market.seller.address)
    by_readings = market.balance(market.buyer) + market.balance(market.seller)
    market.chain.revert(honest)
    to_t1(market)
    market.estimate(market.buyer.address, market.seller.address)
    market.settle(market.buyer.address, market.seller.address, market.utility.address)
    assert market.clearing() == 0
    after = market.balance(market.buyer) + market.balance(market.seller)
    # Had both contracts stood in, the pair would have been paid 100 000 µ€/kWh for 90 kWh.
    assert after <= by_readings <= before


def test_what_stands_in_for_a_reading_is_shown(market):
    """Nothing, an estimate, a reading: energy, certified generation, the meter's epoch, the basis."""
    x, slot = market.exchange, market.slot
    traded(market)
    nothing = StoredReading(False, 0, (), 0, 0)
    assert [x.reading_of(slot, account) for account in people(market)] == [nothing] * 3
    to_t1(market)
    market.estimate(*people(market))
    assert [x.reading_of(slot, account) for account in people(market)] == [
        StoredReading(False, 200, (0, 0), 0, BY_CONTRACT),
        StoredReading(False, 0, (0, 0), 0, BY_CONTRACT),
        StoredReading(False, 0, (0, 0), 0, BY_FORECAST),
    ]
    market.do(market.submit_reading(market.signed_reading(market.buyer, -7, (3, 4))))
    assert x.reading_of(slot, market.buyer.address) == StoredReading(True, -7, (3, 4), 1, BY_READING)


def bill_of(metered: int) -> int:
    """What the buyer pays beside its trade, for its contract of 200 Wh at bus 1 under `dlmp`."""
    delivered = max(0, min(200, metered))
    closeout = (PRICES[1] - PRICES[0]) * (200 - delivered)
    return 1_000 * delivered + closeout + PRICES[1] * (metered - 200)


@pytest.mark.parametrize(
    ("thought", "basis"),
    [
        (200, BY_CONTRACT),
        (201, BY_FORECAST),
        (199, BY_CONTRACT),
        (0, BY_CONTRACT),
        (-(2**31), BY_CONTRACT),
        (2**31 - 1, BY_FORECAST),
    ],
)
def test_the_dearer_of_contract_and_forecast_stands_in(market, thought, basis):
    traded(market)
    words = forecast(market, buyer=thought)
    to_t1(market)
    energy = thought if basis == BY_FORECAST else 200
    assert bill_of(energy) == max(bill_of(thought), bill_of(200))
    assert market.estimate(market.buyer.address, words=words) == (
        ReadingEstimated(market.slot, market.buyer.address, energy, basis),
    )
    market.do(market.exchange.deposit(market.utility.address, 10**6, sender=market.relayer))
    (bill,) = settled(market, market.buyer.address)
    assert (bill.basis, bill.metered) == (basis, energy)
    assert sum(money(bill)) == bill_of(energy)


def test_a_tie_is_the_contracts(market):
    """At a price of 0 beyond the contract, consuming more or as much costs the same."""
    market.open()
    market.place(market.seller, market.ask(market.seller, 97_000, CONTRACTED))
    market.place(market.buyer, market.bid(market.buyer, 101_000, CONTRACTED))
    market.close()
    market.post_prices((PRICES[0], 0, *PRICES[2:]))
    words = forecast(market, buyer=350, other=-1)
    to_t1(market)
    assert market.estimate(market.buyer.address, market.other.address, words=words) == (
        ReadingEstimated(market.slot, market.buyer.address, 200, BY_CONTRACT),
        ReadingEstimated(market.slot, market.other.address, 0, BY_CONTRACT),
    )


def test_under_the_tariff_the_tariffs_formula_decides(tariff_market):
    market = tariff_market
    traded(market)
    # The seller is thought to export less than it sold: it pays retail, 300 000, for 40 Wh.
    words = forecast(market, buyer=190, seller=-160, other=-10)
    to_t1(market)
    assert [(e.net_energy, e.basis) for e in market.estimate(*people(market), words=words)] == [
        (200, BY_CONTRACT),
        (0, BY_CONTRACT),
        (-160, BY_FORECAST),
    ]
    (bill,) = settled(market, market.seller.address)
    assert (bill.rule, bill.basis) == (Rule.TARIFF, BY_FORECAST)
    assert money(bill) == (-3_000 * -200, 0, 300_000 * 40, 0)


def test_estimates_without_prices_are_by_the_tariff(market):
    traded(market, prices=False)
    words = forecast(market, seller=-160)
    to_t1(market)
    (event,) = market.estimate(market.seller.address, words=words)
    assert (event.net_energy, event.basis) == (-160, BY_FORECAST)
    (bill,) = settled(market, market.seller.address)
    assert (bill.rule, bill.imbalance) == (Rule.TARIFF, 300_000 * 40)


def test_the_words_are_those_that_were_posted(market):
    traded(market)
    none, buyer = (), market.buyer.address
    words = forecast(market, buyer=500)
    wrong = (words[0] ^ 1, *words[1:])
    for given in (none, wrong, words[:31], words[:1]):
        market.refused("settlement: not the forecast", market.submit_estimate(buyer, words=given))
    to_t1(market)
    for given in (none, wrong, words[:31]):
        market.refused("settlement: not the forecast", market.submit_estimate(buyer, words=given))
    # Of index 1 nothing was posted, so nothing may be shown for it.
    market.refused("settlement: not the forecast", market.submit_estimate(words=words, index=1))
    assert market.do(market.submit_estimate(index=1)) == ()
    market.refused("settlement: not in this forecast", market.submit_estimate(buyer, index=1))
    assert len(market.estimate(buyer, words=words)) == 1


def test_words_where_none_were_posted_are_refused(market):
    traded(market)
    to_t1(market)
    words = market.forecast_words({market.buyer.address: 10_000})
    market.refused("settlement: not the forecast", market.submit_estimate(market.buyer.address, words=words))


def test_who_can_be_estimated(market):
    x = market.exchange
    traded(market)
    late = market.register(derive(7, "late"), 4)
    to_t1(market)
    for account, rule in (
        (market.utility.address, "accounts: is the utility"),
        (late.address, "settlement: not in the snapshot"),
        (derive(7, "stranger").address, "accounts: unknown account"),
    ):
        market.refused(rule, market.submit_estimate(market.buyer.address, account))
    assert not any(isinstance(event, ReadingEstimated) for event in x.history())
    assert len(market.estimate(*people(market))) == 3
    # Again it needs none, nor does who has a reading.
    assert market.estimate(*people(market)) == ()


def test_a_gate_that_is_open_has_no_snapshot(market):
    market.open()
    to_t1(market)
    market.refused("settlement: not in the snapshot", market.submit_estimate(market.buyer.address))
    market.do(market.exchange.close_gate(market.slot, 0, sender=market.relayer))
    market.estimate(market.buyer.address)


def test_an_estimate_of_a_slot_nobody_scheduled_is_refused_of_nobody_too(market):
    to_t1(market)
    market.refused("slots: not scheduled", market.submit_estimate(market.buyer.address))
    market.refused("slots: not scheduled", market.submit_estimate())


def test_who_has_a_reading_is_skipped(market):
    traded(market)
    market.read(market.signed_reading(market.buyer, 150))
    to_t1(market)
    events = market.estimate(*people(market))
    assert [event.account for event in events] == [market.other.address, market.seller.address]
    (bill,) = settled(market, market.buyer.address)
    assert (bill.basis, bill.metered) == (BY_READING, 150)


def test_a_reading_before_the_settlement_takes_the_place_of_the_estimate(market):
    traded(market)
    to_t1(market)
    market.estimate(market.buyer.address)
    posted = market.do(market.submit_reading(market.signed_reading(market.buyer, 150, (7, 8))))
    assert posted == (ReadingPosted(market.slot, market.buyer.address, 150, (7, 8), 1),)
    stored = market.exchange.reading_of(market.slot, market.buyer.address)
    assert stored == StoredReading(True, 150, (7, 8), 1)
    (bill,) = settled(market, market.buyer.address)
    assert (bill.basis, bill.metered, bill.delivered) == (BY_READING, 150, 150)
    # There is nothing left to put right.
    assert market.resettle(market.buyer.address) == ()


def test_an_estimate_certifies_nothing(market):
    traded(market, energy_class=1)
    to_t1(market)
    market.estimate(*people(market))
    buyer, seller = settled(market, market.buyer.address, market.seller.address)
    assert seller.penalty == 200 * 30_000 and buyer.penalty == 0
    market.do(market.submit_reading(market.signed_reading(market.seller, 0, (120, 0))))
    (change,) = market.resettle(market.seller.address)
    assert money(change) == (0, 0, 0, -120 * 30_000)


def test_estimates_do_not_depend_on_when_they_are_made(market):
    """The same account, the same words: at T1, after T2, before and after others were settled."""
    traded(market)
    words = forecast(market, buyer=350, seller=-350)
    seen = []
    for later, others in ((0, ()), (0, (market.utility.address,)), (10**6, ())):
        snapshot = market.chain.snapshot()
        to_t1(market, later)
        if others:
            market.settle(*others)
        seen.append(market.estimate(*people(market), words=words))
        market.chain.revert(snapshot)
    assert seen[0] == seen[1] == seen[2]
    assert [(event.net_energy, event.basis) for event in seen[0]] == [
        (350, BY_FORECAST),
        (0, BY_CONTRACT),
        (-200, BY_CONTRACT),
    ]
