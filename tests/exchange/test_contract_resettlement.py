"""Resettlement, when readings come after an estimate; and the limits of readings."""

from __future__ import annotations

import pytest

from ledger.keys import derive
from ledger.state import StoredReading
from market.events import AccountResettled, SlotSettled
from tests.exchange.conftest import EUR, PRICES, Market, meter_of
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

# --- late readings ------------------------------------------------------------------------------


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
