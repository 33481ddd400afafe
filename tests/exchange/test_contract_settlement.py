"""Readings and settlement: hand-computed bills under both rules, in any order, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from ledger import vectors
from ledger.calls import SignedReading
from ledger.keys import derive
from market.events import (
    AccountSettled,
    ReadingPosted,
    ReadingRejected,
    SlotSettled,
    SubstationPosted,
    TradesCleared,
)
from market.messages import Reading
from market.slots import Rule
from tests.exchange.conftest import EUR, PRICES, TERMS, Market, found, meter_of


def trade(market: Market, quantity: int = 200) -> None:
    """The buyer buys from the seller at hub tick 1 000, that is 100 000 µ€/kWh."""
    market.place(market.seller, market.ask(market.seller, 97_000, quantity))
    market.place(market.buyer, market.bid(market.buyer, 101_000, quantity))


def bills(events) -> dict[str, AccountSettled]:
    return {e.account: e for e in events if isinstance(e, AccountSettled)}


def delivered(market: Market, buyer: int = 150, seller: int = -260, other: int = 40) -> None:
    """A slot traded, closed, priced and metered."""
    market.open()
    trade(market)
    market.close()
    market.post_prices()
    market.read(
        market.signed_reading(market.buyer, buyer),
        market.signed_reading(market.seller, seller),
        market.signed_reading(market.other, other),
    )


def test_bills_under_dlmp(market):
    delivered(market)
    before = {key.address: market.balance(key) for key in (*market.traders, market.utility)}
    events = market.settle(*market.everyone)
    slot, got = market.slot, bills(events)
    assert got[market.buyer.address] == AccountSettled(
        slot, market.buyer.address, Rule.DLMP, 0,
        contracted=200, metered=150, delivered=150,
        trades=200 * 100_000,
        charge=1_000 * 150,
        closeout=(125_000 - 120_000) * (200 - 150),
        imbalance=125_000 * (150 - 200),
        penalty=0,
    )  # fmt: skip
    assert got[market.seller.address] == AccountSettled(
        slot, market.seller.address, Rule.DLMP, 0,
        contracted=-200, metered=-260, delivered=-200,
        trades=-200 * 100_000,
        charge=-3_000 * -200,
        closeout=0,
        imbalance=115_000 * -60,
        penalty=0,
    )  # fmt: skip
    assert got[market.other.address] == AccountSettled(
        slot, market.other.address, Rule.DLMP, 0,
        contracted=0, metered=40, delivered=0,
        trades=0, charge=0, closeout=0, imbalance=122_000 * 40, penalty=0,
    )  # fmt: skip
    assert got[market.utility.address] == AccountSettled(
        slot, market.utility.address, Rule.DLMP, 0, 0, 0, 0, 0, 0, 0, 0, 0
    )
    assert events[-1] == SlotSettled(slot)
    change = {address: market.exchange.account_of(address).balance - b for address, b in before.items()}
    assert change[market.buyer.address] == -14_150_000
    assert change[market.seller.address] == 26_300_000
    assert change[market.other.address] == -4_880_000
    assert sum(change.values()) == 0
    assert market.clearing() == 0
    for key in market.traders:
        position = market.exchange.position_of(slot, key.address)
        assert position.settled and position.reserve == 0 and market.reserved(key) == 0


@pytest.mark.parametrize(
    ("contracted", "metered", "kept"),
    [(200, 250, 200), (200, 200, 200), (200, 0, 0), (200, -50, 0), (-200, -90, -90), (-200, 30, 0)],
)
def test_what_was_delivered_of_a_contract(market, contracted, metered, kept):
    market.open()
    trade(market)
    market.close()
    market.post_prices()
    key = market.buyer if contracted > 0 else market.seller
    market.read(market.signed_reading(key, metered))
    (bill,) = bills(market.settle(key.address)).values()
    bus = 1 if contracted > 0 else 3
    charge = {1: 1_000, 3: -3_000}[bus]
    assert (bill.contracted, bill.metered, bill.delivered) == (contracted, metered, kept)
    assert bill.charge == charge * kept
    assert bill.closeout == (PRICES[bus] - PRICES[0]) * (contracted - kept)
    assert bill.imbalance == PRICES[bus] * (metered - contracted)


def test_bills_under_tariff(tariff_market):
    market = tariff_market
    delivered(market)
    got = bills(market.settle(*market.everyone))
    buyer, seller, other = (
        got[key.address] for key in market.traders[:1] + market.traders[2:] + market.traders[1:2]
    )
    assert {bill.rule for bill in got.values()} == {Rule.TARIFF}
    # The charge of the contract, undelivered or not; surplus goes back at the feed-in tariff.
    assert (buyer.charge, buyer.closeout, buyer.imbalance) == (1_000 * 200, 0, -50_000 * 50)
    # 50 000 - 3 000 where exporting is charged.
    assert (seller.charge, seller.closeout, seller.imbalance) == (-3_000 * -200, 0, -47_000 * 60)
    assert (other.charge, other.imbalance) == (0, 300_000 * 40)
    assert market.clearing() == 0


@pytest.mark.parametrize(
    ("metered", "charge", "imbalance"),
    [
        (60, -3_000 * 60, -47_000 * 40),  # a charge in its favour only for what it delivered
        (100, -3_000 * 100, 0),
        (130, -3_000 * 100, 300_000 * 30),
        (-10, 0, -47_000 * 110),
    ],
)
def test_a_charge_in_favour_is_paid_for_delivery_under_tariff(tariff_market, metered, charge, imbalance):
    market = tariff_market
    market.open()
    market.place(market.other, market.ask(market.other, 102_050, 100))
    market.place(market.seller, market.bid(market.seller, 97_000, 100))
    market.close()
    market.post_prices()
    market.read(market.signed_reading(market.seller, metered))
    (bill,) = bills(market.settle(market.seller.address)).values()
    assert (bill.charge, bill.imbalance) == (charge, imbalance)


def test_dear_buses_pay_more_than_retail_under_tariff(tariff_market):
    market = tariff_market
    market.open((0, 150_000, *[0] * 10))
    market.close()
    market.post_prices()
    market.read(market.signed_reading(market.buyer, 40))
    (bill,) = bills(market.settle(market.buyer.address)).values()
    assert bill.imbalance == (200_000 + 150_000) * 40


def test_without_prices_a_slot_settles_by_the_tariff(market):
    market.open()
    trade(market)
    market.close()
    market.read(market.signed_reading(market.buyer, 150), market.signed_reading(market.seller, -260))
    market.at(market.terms.prices_due(market.slot) - 1)
    market.refused(
        "settlement: no prices yet",
        market.exchange.settle(market.slot, [market.buyer.address], sender=market.relayer),
    )
    (bill,) = bills(market.settle(market.buyer.address)).values()
    assert (bill.rule, bill.charge, bill.imbalance) == (Rule.TARIFF, 200_000, -2_500_000)


def test_without_charges_a_slot_settles_with_none(market):
    market.schedule()
    market.close()
    market.post_prices()
    market.read(market.signed_reading(market.buyer, 150))
    (bill,) = bills(market.settle(market.buyer.address)).values()
    assert (bill.rule, bill.charge, bill.imbalance) == (Rule.DLMP, 0, 125_000 * 150)


def test_the_utility_settles_its_hub_trades_at_their_price(market):
    market.open()
    market.place(market.utility, market.ask(market.utility, 200_000, 500))
    market.place(market.buyer, market.bid(market.buyer, 201_000, 500))
    market.close()
    market.post_prices()
    before = market.balance(market.utility)
    (bill,) = bills(market.settle(market.utility.address)).values()
    assert (bill.contracted, bill.metered, bill.delivered, bill.trades) == (-500, 0, 0, -500 * 200_000)
    assert market.balance(market.utility) - before == 100_000_000
    assert market.clearing() == 0
    assert market.total() == 1_300 * EUR


@pytest.mark.parametrize("cleared", [False, True], ids=["who pays in the first batch", "cleared"])
def test_any_order_of_batches_gives_the_same_result(market, cleared):
    delivered(market)
    outcomes = set()
    x, buyer = market.exchange, market.buyer.address
    for order in permutations(market.everyone):
        snapshot = market.chain.snapshot()
        events = ()
        first = order[:1] if cleared else (*order[:1], buyer)
        if cleared:
            market.do(x.clear_trades(market.slot, order[2:] + order[:2], sender=market.relayer))
        for batch in (first, order[1:3], order):
            events += market.do(x.settle(market.slot, batch, sender=market.relayer))
        postings = frozenset(bills(events).values())
        balances = tuple(market.exchange.account_of(a).balance for a in market.everyone)
        assert len(postings) == 4 and events.count(SlotSettled(market.slot)) == 1
        assert events[-1] == SlotSettled(market.slot)
        outcomes.add((postings, balances, market.exchange.uncovered(), market.clearing()))
        market.chain.revert(snapshot)
    assert len(outcomes) == 1


def test_nobody_is_paid_for_trades_before_others_have_paid(market):
    """Sellers wait for a call that clears, whatever the utility has; with their buyers they do not."""
    delivered(market)
    x, slot, relayer = market.exchange, market.slot, market.relayer
    market.refused("settlement: clear first", x.settle(slot, [market.seller.address], sender=relayer))
    everyone = market.everyone
    assert market.do(x.clear_trades(slot, [market.seller.address], sender=relayer)) == ()
    (paid,) = market.do(x.clear_trades(slot, [market.buyer.address] * 2, sender=relayer))
    assert paid == TradesCleared(slot, market.buyer.address, 20_000_000)
    (paid,) = market.do(x.clear_trades(slot, [*everyone, *everyone], sender=relayer))
    assert paid == TradesCleared(slot, market.seller.address, -20_000_000)
    assert market.clearing() == 0 == market.reserved(market.seller)
    (bill,) = market.settle(market.buyer.address)
    assert bill.trades == 20_000_000, "the bill tells trades that were cleared too"
    assert market.clearing() == 0, "and does not move them again"
    market.settle(market.seller.address)
    assert market.clearing() == 0
    assert market.do(x.clear_trades(slot, everyone, sender=relayer)) == ()


def test_what_is_cleared_is_no_longer_reserved(market):
    market.open()
    trade(market, 100)
    x, slot, buyer = market.exchange, market.slot, market.buyer
    market.refused("settlement: gate is open", x.clear_trades(slot, [buyer.address], sender=market.relayer))
    market.close()
    before, reserve = market.balance(buyer), market.reserved(buyer)
    market.do(x.clear_trades(slot, market.everyone, sender=market.relayer))
    after = market.position(buyer)
    assert after.cleared and not after.settled and not market.position(market.seller).cleared
    assert market.balance(buyer) == before - after.trades
    assert market.reserved(buyer) == after.reserve == reserve - after.trades
    unknown = x.clear_trades(slot, [derive(7, "stranger").address], sender=market.relayer)
    assert market.do(unknown) == ()
    unscheduled = x.clear_trades(slot + 9, [buyer.address], sender=market.relayer)
    market.refused("slots: not scheduled", unscheduled)


def test_settled_accounts_are_skipped(market):
    delivered(market)
    market.settle(market.buyer.address, market.buyer.address)
    after = market.balance(market.buyer)
    assert market.settle(market.buyer.address) == ()
    assert market.balance(market.buyer) == after
    assert market.exchange.slot_of(market.slot).settled_accounts == 1


def test_settlement_needs_a_closed_gate_a_reading_and_the_snapshot(market):
    x = market.exchange

    def settle(key) -> bytes:
        return x.settle(market.slot, [key.address], sender=market.relayer)

    market.refused("slots: not scheduled", settle(market.buyer))
    market.open()
    market.refused("settlement: gate is open", settle(market.buyer))
    market.close()
    market.refused("settlement: no prices yet", settle(market.buyer))
    market.post_prices()
    market.refused("settlement: no reading", settle(market.buyer))
    late = market.register(derive(7, "late"), 4)
    market.refused("settlement: not in the snapshot", settle(late))
    market.refused("accounts: unknown account", settle(derive(7, "stranger")))
    market.do(settle(market.utility))


def test_the_utility_must_be_able_to_cover_a_batch(market):
    market.open()
    trade(market, 100)
    market.close()
    market.post_prices()
    market.do(market.exchange.withdraw(market.exchange.backing(), sender=market.utility))
    assert market.exchange.backing() == 0
    market.read(market.signed_reading(market.buyer, 100), market.signed_reading(market.seller, -150))
    x = market.exchange
    market.do(x.clear_trades(market.slot, [market.buyer.address], sender=market.relayer))
    sent = x.settle(market.slot, [market.seller.address], sender=market.relayer)
    market.refused("settlement: utility unfunded", sent)
    # The seller gets 100 000 x 100 that the buyer has paid, and of the utility 115 000 x 50 less 3 000 x 100.
    needed = 5_750_000 - 300_000
    market.do(x.deposit(market.utility.address, needed - 1, sender=market.relayer))
    market.refused(
        "settlement: utility unfunded", x.settle(market.slot, [market.seller.address], sender=market.relayer)
    )
    market.do(x.deposit(market.utility.address, 1, sender=market.relayer))
    market.settle(market.seller.address)
    assert x.backing() == 0 and market.clearing() == 0
    market.refused("accounts: insufficient funds", x.withdraw(1, sender=market.utility))
    market.settle(market.buyer.address)
    assert x.backing() == 1_000 * 100


def test_what_accounts_owe_limits_the_utility(market):
    market.open()
    debtor = market.register(market.newcomer, 1, deposit=10_000_000)
    market.close()
    market.post_prices()
    market.read(market.signed_reading(debtor, 1_000))
    before = market.balance(market.utility)
    market.settle(debtor.address)
    x = market.exchange
    assert market.balance(debtor) == 10_000_000 - 125_000_000
    assert x.uncovered() == 115_000_000
    assert market.balance(market.utility) == before + 125_000_000
    market.refused("accounts: insufficient funds", x.withdraw(before + 10_000_001, sender=market.utility))
    market.refused("accounts: insufficient funds", x.withdraw(1, sender=debtor))
    market.do(x.withdraw(before + 10_000_000, sender=market.utility))
    assert x.backing() == 0
    market.do(x.deposit(debtor.address, 15_000_000, sender=market.relayer))
    assert x.uncovered() == 100_000_000 and x.backing() == 15_000_000
    market.do(x.deposit(debtor.address, 200_000_000, sender=market.relayer))
    assert x.uncovered() == 0 and x.backing() == 115_000_000


def test_tokens_cover_all_balances_exactly(market):
    delivered(market)
    for account in market.everyone:
        market.settle(account)
        assert market.token.balance_of(market.exchange.address) == market.total()


# --- classes ------------------------------------------------------------------------------------


def test_energy_sold_beyond_certified_generation_pays_the_penalty(market):
    market.open()
    market.place(market.seller, market.ask(market.seller, 97_000, 300, energy_class=1))
    market.place(market.buyer, market.bid(market.buyer, 101_000, 300, energy_class=1))
    market.close()
    market.post_prices()
    market.read(
        market.signed_reading(market.seller, -300, (120, 999)), market.signed_reading(market.buyer, 300)
    )
    got = bills(market.settle(market.seller.address, market.buyer.address))
    assert got[market.seller.address].penalty == (300 - 120) * 30_000
    assert got[market.buyer.address].penalty == 0
    assert got[market.seller.address].trades == -300 * 100_000


# --- readings -----------------------------------------------------------------------------------


def test_the_first_reading_is_final(market):
    market.open()
    market.close()
    (posted,) = market.read(market.signed_reading(market.buyer, -99_999, (7, 8)))
    assert posted == ReadingPosted(market.slot, market.buyer.address, -99_999, (7, 8), 1)
    stored = market.exchange.reading_of(market.slot, market.buyer.address)
    assert (stored.found, stored.net_energy, stored.certified, stored.epoch) == (True, -99_999, (7, 8), 1)
    market.refused("reading: already final", market.submit_reading(market.signed_reading(market.buyer, 5)))
    assert not market.exchange.reading_of(market.slot, market.seller.address).found


def test_readings_that_break_a_rule(market):
    market.open()
    market.close()
    x, slot, buyer = market.exchange, market.slot, market.buyer
    stranger = derive(7, "stranger")
    good = market.signed_reading(buyer, 5)
    market.at(market.terms.end(slot) - 1)
    market.refused("reading: not due", market.submit_reading(good))
    market.do(x.set_meter(market.other.address, meter_of(market.other).address, sender=market.utility))
    unscheduled = Reading(buyer.address, slot - 1, 5, (0, 0), 1)
    bad = {
        "reading: unknown account": market.signed_reading(stranger, 5),
        "reading: bad signature": SignedReading.by(buyer, x.domain, good.reading),
        "reading: not due": SignedReading.by(meter_of(buyer), x.domain, unscheduled),
        "reading: wrong epoch": market.signed_reading(market.other, 5),
        "reading: wrong classes": market.signed_reading(buyer, 5, (1,)),
    }
    for rule, signed in bad.items():
        market.refused(rule, market.submit_reading(signed))
    market.refused(
        "reading: unknown account", market.submit_reading(market.signed_reading(market.utility, 5))
    )
    (sent,) = x.post_readings([*bad.values(), good, good], sender=market.relayer)
    *rejected, posted, again = market.do(sent)
    assert [e.code for e in rejected] == [1, 2, 3, 4, 6]
    assert posted == ReadingPosted(slot, buyer.address, 5, (0, 0), 1)
    assert again == ReadingRejected(slot, buyer.address, 5)
    market.do(market.submit_reading(market.signed_reading(market.other, 5, epoch=2)))


def test_readings_end_at_the_last_deadline(market):
    market.open()
    market.close()
    market.at(market.terms.final(market.slot) - 1)
    market.do(market.submit_reading(market.signed_reading(market.buyer, 5)))
    market.refused("reading: not due", market.submit_reading(market.signed_reading(market.seller, 5)))


def test_the_substation_is_posted_once_after_delivery_by_the_utility(market):
    market.schedule()
    x, slot = market.exchange, market.slot
    passive = vectors.pack((0, *range(1, 12)), signed=False)
    market.at(market.terms.end(slot) - 1)
    market.refused("substation: not due", x.post_substation(slot, -5, 6, passive, sender=market.utility))
    market.refused(
        "accounts: not the utility", x.post_substation(slot, -5, 6, passive, sender=market.relayer)
    )
    market.refused(
        "substation: wrong length", x.post_substation(slot, -5, 6, passive[:1], sender=market.utility)
    )
    beyond = vectors.pack((0, *range(1, 13)), signed=False)
    market.refused(
        "oracle: value beyond the last bus", x.post_substation(slot, -5, 6, beyond, sender=market.utility)
    )
    assert market.do(x.post_substation(slot, -5, 6, passive, sender=market.utility)) == (
        SubstationPosted(slot, -5, 6, passive),
    )
    market.refused(
        "substation: already posted", x.post_substation(slot, -5, 6, passive, sender=market.utility)
    )


def test_a_market_without_classes_takes_readings_without():
    market = found(replace(TERMS, penalties_ueur_per_kwh=()))
    market.schedule()
    market.read(market.signed_reading(market.buyer, 5, ()))
    assert market.exchange.reading_of(market.slot, market.buyer.address).net_energy == 5
    market.refused(
        "reading: wrong classes", market.submit_reading(market.signed_reading(market.seller, 5, (1,)))
    )
