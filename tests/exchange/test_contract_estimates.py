"""Forecasts, estimates where readings stay away, and resettlement when they come late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import vectors
from ledger.keys import derive
from ledger.state import StoredReading
from market.events import (
    AccountResettled,
    AccountSettled,
    ForecastsPosted,
    ReadingEstimated,
    ReadingPosted,
    SlotSettled,
)
from market.slots import Rule
from tests.exchange.conftest import EUR, PRICES, Market, meter_of

BY_READING, BY_CONTRACT, BY_FORECAST = 0, 1, 2
CONTRACTED = 200


def traded(market: Market, energy_class: int = 0, prices: bool = True) -> None:
    """The buyer bought 200 Wh of the seller at hub tick 1 000; closed, priced."""
    market.open()
    market.place(market.seller, market.ask(market.seller, 97_000, CONTRACTED, energy_class=energy_class))
    market.place(market.buyer, market.bid(market.buyer, 101_000, CONTRACTED, energy_class=energy_class))
    market.close()
    if prices:
        market.post_prices()


def forecast(market: Market, **nets: int) -> tuple[int, ...]:
    """Post a forecast of these people; its words."""
    words = market.forecast_words({getattr(market, name).address: net for name, net in nets.items()})
    market.do(market.submit_forecasts(words))
    return words


def to_t1(market: Market, later: int = 0) -> None:
    market.at(market.terms.readings_due(market.slot) + later)


def settled(market: Market, *accounts: str) -> list[AccountSettled]:
    return [event for event in market.settle(*accounts) if isinstance(event, AccountSettled)]


def money(bill: AccountSettled | AccountResettled) -> tuple[int, int, int, int]:
    return bill.charge, bill.closeout, bill.imbalance, bill.penalty


# --- forecasts ----------------------------------------------------------------------------------


def test_a_quorum_posts_forecasts_after_the_gate_and_before_readings_are_due(trading):
    market = trading
    words = market.forecast_words({market.buyer.address: -5, market.seller.address: 2**31 - 1})
    assert words[0] == (2**32 - 5) << 32 | (2**31 - 1) << 96 and not any(words[1:])
    market.at(market.terms.closing(market.slot) - 1)
    market.refused("forecasts: before closing", market.submit_forecasts(words))
    assert market.do(market.submit_forecasts(words, signers=(1, 2, 4))) == (
        ForecastsPosted(market.slot, 1, 0, words, 0b10110),
    )
    market.refused("forecasts: already posted", market.submit_forecasts(words))
    # Another index is another forecast, whether there are accounts or not.
    market.do(market.submit_forecasts(words, index=65_535))
    to_t1(market, -1)
    market.do(market.submit_forecasts(words, index=1))
    market.refused("forecasts: too late", market.submit_forecasts(words, index=2))


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_forecast_is_of_256_accounts(trading, length):
    market = trading
    market.at(market.terms.gate(market.slot))
    market.refused("forecasts: wrong length", market.submit_forecasts((0,) * length))
    market.do(market.submit_forecasts((0,) * 32))


def test_forecasts_are_signed_as_they_are(trading):
    market = trading
    words = market.forecast_words({market.buyer.address: 5})
    market.at(market.terms.gate(market.slot))
    other = vectors.chunk_hash(market.forecast_words({market.buyer.address: 6}))
    for wrong in ({"index": 1}, {"epoch": 2}, {"slot": market.slot + 1}, {"values_hash": other}):
        market.refused("oracle: bad signature", market.submit_forecasts(words, wrong=wrong))
    market.refused("oracle: quorum not reached", market.submit_forecasts(words, signers=(0, 1)))
    market.refused("oracle: signers not ascending", market.submit_forecasts(words, signers=(1, 0, 2)))
    market.refused("oracle: signers not ascending", market.submit_forecasts(words, signers=(1, 1, 2)))
    market.do(market.submit_forecasts(words))


def test_forecasts_are_of_scheduled_slots(market):
    words = market.forecast_words({})
    market.at(market.terms.gate(market.slot))
    market.refused("slots: not scheduled", market.submit_forecasts(words))


# --- estimates ----------------------------------------------------------------------------------


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


def people(market: Market) -> list[str]:
    return [key.address for key in market.traders]


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


# --- resettlement -------------------------------------------------------------------------------


def test_a_late_reading_changes_a_settlement_to_what_it_would_have_been(market):
    traded(market)
    words = forecast(market, buyer=500, seller=-100)
    fresh = market.chain.snapshot()
    to_t1(market)
    readings = {market.buyer: 150, market.seller: -260, market.other: 40}
    in_time = {}
    for key, net in readings.items():
        market.do(market.submit_reading(market.signed_reading(key, net)))
    market.settle(*market.everyone)
    for address in market.everyone:
        in_time[address] = market.exchange.account_of(address).balance
    market.chain.revert(fresh)

    to_t1(market)
    market.estimate(*people(market), words=words)
    bills = {bill.account: bill for bill in settled(market, *market.everyone)}
    assert [bills[key.address].basis for key in readings] == [BY_FORECAST, BY_FORECAST, BY_CONTRACT]
    market.at(market.terms.final(market.slot) - 1)
    (sent,) = market.exchange.post_readings(
        [market.signed_reading(key, net) for key, net in readings.items()], sender=market.relayer
    )
    market.do(sent)
    # After T2 too: the reading came in time.
    changes = market.resettle(*people(market))
    assert [type(change) for change in changes] == [AccountResettled] * 3
    assert {a: market.exchange.account_of(a).balance for a in market.everyone} == in_time
    buyer = changes[0]
    assert (buyer.account, buyer.metered, buyer.delivered) == (market.buyer.address, 150, 150)
    assert money(buyer) == (
        1_000 * 150 - 1_000 * 200,
        (PRICES[1] - PRICES[0]) * 50,
        PRICES[1] * (150 - 200) - PRICES[1] * (500 - 200),
        0,
    )
    assert market.total() == 1_300 * EUR and market.clearing() == 0
    # Once.
    assert market.resettle(*people(market)) == ()
    assert {a: market.exchange.account_of(a).balance for a in market.everyone} == in_time


def test_resettlement_skips_those_without_a_late_reading(market):
    traded(market)
    buyer, other, seller = people(market)
    market.read(market.signed_reading(market.buyer, 150))
    to_t1(market)
    market.estimate(other, seller)
    market.settle(buyer, seller)
    # By reading; not settled; settled, without a reading.
    assert market.resettle(buyer, other, seller) == ()
    market.do(market.submit_reading(market.signed_reading(market.other, 40)))
    # Not settled yet, so its settlement will be by the reading.
    assert market.resettle(other) == ()
    (bill,) = settled(market, other)
    assert (bill.basis, bill.metered) == (BY_READING, 40)
    assert market.resettle(other) == ()
    market.do(market.submit_reading(market.signed_reading(market.seller, -150)))
    assert len(market.resettle(seller, seller)) == 1


def test_resettlement_is_of_known_prosumers_in_slots_with_a_rule(market):
    def resettle(*accounts: str) -> bytes:
        return market.exchange.resettle(market.slot, accounts, sender=market.relayer)

    market.refused("slots: not scheduled", resettle())
    market.open()
    market.refused("settlement: gate is open", resettle())
    market.close()
    market.refused("settlement: no prices yet", resettle())
    market.post_prices()
    market.refused("accounts: is the utility", resettle(market.utility.address))
    market.refused("accounts: unknown account", resettle(derive(7, "stranger").address))
    assert market.do(resettle(market.buyer.address)) == ()


def test_the_utility_must_be_able_to_cover_a_resettlement(market):
    x = market.exchange
    traded(market)
    words = forecast(market, seller=-CONTRACTED)
    to_t1(market)
    market.estimate(*people(market), words=words)
    market.settle(*market.everyone)
    market.do(market.submit_reading(market.signed_reading(market.seller, -400)))
    market.do(x.withdraw(x.backing(), sender=market.utility))
    sent = x.resettle(market.slot, [market.seller.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", sent)
    needed = PRICES[3] * 200
    market.do(x.deposit(market.utility.address, needed - 1, sender=market.relayer))
    sent = x.resettle(market.slot, [market.seller.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", sent)
    market.do(x.deposit(market.utility.address, 1, sender=market.relayer))
    market.resettle(market.seller.address)
    assert x.backing() == 0


def test_resettlement_moves_debts(market):
    """An estimate that put an account into debt, and a reading that takes it out again."""
    x = market.exchange
    market.open()
    debtor = market.register(market.newcomer, 1, deposit=10_000_000)
    market.close()
    market.post_prices()
    words = forecast(market, newcomer=1_000)
    to_t1(market)
    market.estimate(debtor.address, words=words)
    market.settle(debtor.address)
    assert x.uncovered() == 125_000 * 1_000 - 10_000_000
    market.do(market.submit_reading(market.signed_reading(debtor, 60)))
    backing = x.backing()
    market.resettle(debtor.address)
    assert x.uncovered() == 0 and market.balance(debtor) == 10_000_000 - 125_000 * 60
    assert x.backing() == backing - 2_500_000


def test_a_slot_settles_by_estimates_alone(market):
    traded(market)
    market.at(market.terms.final(market.slot) + 10**6)
    market.refused("reading: not due", market.submit_reading(market.signed_reading(market.buyer, 5)))
    market.estimate(*people(market))
    assert market.settle(*market.everyone)[-1] == SlotSettled(market.slot)
    assert market.clearing() == 0


def test_a_changed_meter_reads_for_the_estimate_it_missed(market):
    """The new key's epoch is what counts when the reading comes."""
    traded(market)
    to_t1(market)
    market.estimate(market.buyer.address)
    market.settle(market.buyer.address)
    old = market.signed_reading(market.buyer, 150)
    meter = meter_of(market.buyer).address
    market.do(market.exchange.set_meter(market.buyer.address, meter, sender=market.utility))
    market.refused("reading: wrong epoch", market.submit_reading(old))
    market.do(market.submit_reading(market.signed_reading(market.buyer, 150, epoch=2)))
    assert market.exchange.reading_of(market.slot, market.buyer.address) == StoredReading(
        True, 150, (0, 0), 2
    )
    (change,) = market.resettle(market.buyer.address)
    assert change.metered == 150


# --- the limits of readings ---------------------------------------------------------------------


TAKES, GIVES = 2**32 - 2, 2**31
"""Wh a slot that the buyer's connection is registered with."""


def connected(market: Market) -> None:
    address = market.buyer.address
    market.do(market.exchange.set_account(address, TAKES, GIVES, 0, 0, sender=market.utility))


@pytest.mark.parametrize("net", [TAKES + 1, -GIVES - 1, 2**63 - 1, -(2**63)])
def test_readings_beyond_the_connection_are_refused_and_leave_room_for_a_true_one(market, net):
    traded(market)
    connected(market)
    market.at(market.terms.end(market.slot))
    bad = market.signed_reading(market.buyer, net)
    market.refused("reading: out of range", market.submit_reading(bad))
    (sent,) = market.exchange.post_readings([bad, bad], sender=market.relayer)
    assert [event.code for event in market.do(sent)] == [7, 7]
    assert not market.exchange.reading_of(market.slot, market.buyer.address).found
    market.do(market.submit_reading(market.signed_reading(market.buyer, 5)))


def test_a_reading_counts_by_what_is_registered_when_it_comes(market):
    traded(market)
    market.at(market.terms.end(market.slot))
    bad = market.signed_reading(market.buyer, TAKES + 1)
    market.refused("reading: out of range", market.submit_reading(bad))
    market.do(market.exchange.set_account(market.buyer.address, TAKES + 1, 0, 0, 0, sender=market.utility))
    market.do(market.submit_reading(bad))


@pytest.mark.parametrize("net", [TAKES, -GIVES])
def test_readings_at_the_end_of_the_range_are_billed_exactly(market, net):
    traded(market)
    connected(market)
    market.read(market.signed_reading(market.buyer, net))
    sent = market.exchange.settle(market.slot, [market.buyer.address], sender=market.relayer)
    if net < 0:
        # What a meter says that much of is owed by the utility: it has to bring it.
        market.refused("settlement: utility unfunded", sent)
        market.do(market.token.mint(market.relayer.address, 10**18, sender=market.relayer))
        market.do(
            market.exchange.deposit(market.utility.address, PRICES[1] * GIVES + 10**9, sender=market.relayer)
        )
        sent = market.exchange.settle(market.slot, [market.buyer.address], sender=market.relayer)
    (bill,) = market.do(sent)
    assert bill.metered == net and bill.imbalance == PRICES[1] * (net - 200)
    assert market.exchange.uncovered() == max(0, -market.balance(market.buyer))


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


def test_accounts_beyond_the_first_256_are_in_the_next_forecast(market):
    x = market.exchange
    market.open()
    keys = [derive(7, "many", index) for index in range(253)]
    for key in keys:
        market.register(key, 4, deposit=0)
    assert [x.account_of(keys[i].address).id for i in (251, 252)] == [255, 256]
    market.close()
    market.post_prices()
    first = vectors.pack([7] * 256)
    second = vectors.pack([9, *[0] * 255])
    market.do(market.submit_forecasts(first, index=0))
    market.do(market.submit_forecasts(second, index=1))
    to_t1(market)
    last, next_one = keys[251].address, keys[252].address
    market.refused("settlement: not in this forecast", market.submit_estimate(next_one, words=first))
    market.refused("settlement: not in this forecast", market.submit_estimate(last, words=second, index=1))
    assert [
        *market.do(market.submit_estimate(last, words=first)),
        *market.do(market.submit_estimate(next_one, words=second, index=1)),
    ] == [
        ReadingEstimated(market.slot, last, 7, BY_FORECAST),
        ReadingEstimated(market.slot, next_one, 9, BY_FORECAST),
    ]


def test_every_place_of_a_forecast_is_the_accounts_own(market):
    """Ids 1 to 10 are over two words, each with a value of its own."""
    market.open()
    keys = [*market.traders, *(derive(7, "more", index) for index in range(7))]
    for key in keys[3:]:
        market.register(key, 4, deposit=EUR)
    market.close()
    market.post_prices()
    nets = {key.address: 11 * (index + 1) for index, key in enumerate(keys)}
    words = market.forecast_words(nets)
    market.do(market.submit_forecasts(words))
    to_t1(market)
    events = market.estimate(*nets, words=words)
    assert [(event.account, event.net_energy) for event in events] == list(nets.items())
    assert {event.basis for event in events} == {BY_FORECAST}
    stored = replace(market.exchange.reading_of(market.slot, keys[9].address))
    assert not stored.found
