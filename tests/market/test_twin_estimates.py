"""Forecasts, estimates where readings stay away, and what a late reading changes of them."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import vectors
from market.accounts import Refused
from market.events import (
    AccountResettled,
    AccountSettled,
    ForecastsPosted,
    ReadingEstimated,
    SlotSettled,
)
from market.orders import Order, Side, VetoFills
from market.settlement import Basis, Member, Substation, Valuation, rule_in_force, slot_identity
from tests.market.twin_cases import (
    CHARGES,
    ORACLES,
    PENALTIES,
    PRICES,
    RICH_NEUR,
    SLOT,
    TARIFF,
    TRADERS,
    UTILITY,
    Market,
    bus_of,
    bus_prices,
    charges,
    market_of,
    meter,
    orders,
    picture,
    rules,
    tariffs,
    terms,
    trader,
    veto_of,
)

EVERYBODY = (UTILITY, *(trader(index) for index in range(TRADERS)))
deterministic = settings(derandomize=True, deadline=None, max_examples=60)


def refused(rule: str):
    return pytest.raises(Refused, match=rf"^{rule}( \(|$)")


@pytest.fixture
def market() -> Market:
    """Trader 0 bought 100 Wh of trader 2, the gate is closed, prices are there, T1 has come."""
    market = market_of(TARIFF, bus_charges=CHARGES)
    market.place(
        Order(trader(2), SLOT, 0, Side.ASK, 1, 100_000, 100),
        Order(trader(0), SLOT, 0, Side.BID, 1, 101_000, 100),
    )
    market.close()
    market.post_prices(PRICES)
    return market


def later(market: Market) -> Market:
    market.now = market.exchange.terms.readings_due(SLOT)
    return market


# --- forecasts ----------------------------------------------------------------------------------


def test_a_forecast_is_posted_once_between_the_gate_and_t1(market):
    words = vectors.pack([0] * 256)
    market.now = terms().closing(SLOT) - 1
    with refused("forecasts: before closing"):
        market.exchange.post_forecasts(market.by(), SLOT, 0, words, market.quorum())
    market.now = terms().closing(SLOT)
    with refused("slots: not scheduled"):
        market.exchange.post_forecasts(market.by(), SLOT + 1, 0, words, market.quorum())
    with refused("forecasts: wrong length"):
        market.exchange.post_forecasts(market.by(), SLOT, 0, words[1:], market.quorum())
    with refused("oracle: quorum not reached"):
        market.exchange.post_forecasts(market.by(), SLOT, 0, words, [(0, ORACLES[0])])
    assert market.forecast([0, 80]) == (
        ForecastsPosted(SLOT, 1, 0, vectors.pack([0, 80, *[0] * 254]), 0b1101),
    )
    with refused("forecasts: already posted"):
        market.forecast([0, 80])
    assert len(market.forecast([], index=2**16 - 1)) == 1
    with refused("forecasts: too late"):
        later(market).forecast([], index=1)


# --- estimates ----------------------------------------------------------------------------------


def test_the_estimate_is_the_dearer_of_contract_and_forecast(market):
    market.forecast([0, 80, 0, -130, 0, 7])
    events = market.estimate(*EVERYBODY[1:])
    assert [(e.net_energy, e.basis) for e in events if isinstance(e, ReadingEstimated)] == [
        # Delivering 80 of 100 Wh costs ν·80 + 5 000·20 − 125 000·20 less than all of them: the contract.
        (100, Basis.CONTRACT),
        (0, Basis.CONTRACT),
        # 130 Wh sold instead of 100 earn more: the contract.
        (-100, Basis.CONTRACT),
        (0, Basis.CONTRACT),
        (7, Basis.FORECAST),
    ]
    settled = market.settle(*EVERYBODY)
    assert [e.basis for e in settled if isinstance(e, AccountSettled)] == [0, 1, 1, 1, 1, 2]
    assert isinstance(settled[-1], SlotSettled)


def test_without_a_forecast_zero_is_the_forecast_and_nothing_is_certified(market):
    assert market.estimate(trader(0), trader(2)) == (
        ReadingEstimated(SLOT, trader(0), 100, Basis.CONTRACT),
        ReadingEstimated(SLOT, trader(2), 0, Basis.FORECAST),
    )
    (settled,) = market.settle(trader(2))
    assert (settled.metered, settled.delivered, settled.basis) == (0, 0, Basis.FORECAST)
    assert settled.imbalance == 100 * PRICES[bus_of(2)]
    assert settled.penalty == 100 * PENALTIES[0]


def test_a_reading_before_the_settlement_takes_the_place_of_the_estimate(market):
    market.estimate(trader(0))
    market.read(0, 60)
    (settled,) = market.settle(trader(0))
    assert (settled.basis, settled.metered) == (Basis.READING, 60)
    assert market.resettle(trader(0)) == ()


def test_who_needs_no_estimate_is_skipped(market):
    market.read(0, 60)
    assert market.estimate(trader(0)) == ()
    assert len(market.estimate(trader(1), trader(1), trader(0))) == 1
    assert market.estimate(trader(1)) == ()
    market.settle(trader(1))
    assert market.estimate(trader(1)) == ()


ESTIMATES_REFUSED = {
    "settlement: readings may still come": lambda m: setattr(m, "now", m.now - 1),
    "settlement: not the forecast": lambda m: m.exchange.slot(SLOT).forecasts.update({0: (1,) * 32}),
    "accounts: is the utility": lambda m: UTILITY,
    "accounts: unknown account": lambda m: trader(99),
    "settlement: not in the snapshot": lambda m: trader(9),
}


@pytest.mark.parametrize("rule", ESTIMATES_REFUSED)
def test_estimates_that_are_refused_estimate_nobody(market, rule):
    later(market).exchange.register_account(market.by(UTILITY), trader(9), 1, meter(9), 1, 1, 0, 0)
    whom = ESTIMATES_REFUSED[rule](market) or trader(0)
    before = picture(market.exchange)
    with refused(rule):
        market.exchange.estimate(market.by(), SLOT, 0, (), (trader(1), whom))
    assert picture(market.exchange) == before


def test_accounts_are_estimated_by_their_own_forecast(market):
    later(market)
    with refused("settlement: not in this forecast"):
        market.exchange.estimate(market.by(), SLOT, 1, (), (trader(0),))
    with refused("settlement: not the forecast"):
        market.exchange.estimate(market.by(), SLOT, 1, (0,) * 32, ())
    assert market.exchange.estimate(market.by(), SLOT, 1, (), ()) == ()
    with refused("slots: not scheduled"):
        market.exchange.estimate(market.by(), SLOT + 1, 1, (), ())


def test_an_estimate_waits_for_closing_and_for_prices():
    market = later(market_of(TARIFF, bus_charges=CHARGES, price_grace=7_200))
    with refused("settlement: not in the snapshot"):
        market.estimate(trader(0))
    market.close()
    with refused("settlement: no prices yet"):
        market.estimate(trader(0))
    market.now = market.exchange.terms.prices_due(SLOT)
    assert len(market.estimate(trader(0))) == 1


# --- resettlement -------------------------------------------------------------------------------


def test_a_late_reading_posts_the_differences_once(market):
    market.forecast([0, 0, 0, -100])
    market.estimate(*EVERYBODY[1:])
    market.settle(*EVERYBODY)
    assert market.resettle(*EVERYBODY[1:]) == ()
    market.read(2, -70, (70, 0))
    (change,) = market.resettle(trader(2), trader(0), trader(2))
    assert change == AccountResettled(
        SLOT,
        trader(2),
        metered=-70,
        delivered=-70,
        charge=0,
        closeout=-30 * (115_000 - 120_000),
        imbalance=30 * 115_000,
        penalty=(30 - 100) * PENALTIES[0],
    )
    paid = change.charge + change.closeout + change.imbalance + change.penalty
    assert market.account(2).balance_neur == RICH_NEUR + 10_000_000 - 100 * PENALTIES[0] - paid
    assert market.resettle(trader(2)) == ()
    with refused("accounts: is the utility"):
        market.resettle(UTILITY)
    with refused("accounts: unknown account"):
        market.resettle(trader(99))


def test_who_is_not_settled_is_not_resettled(market):
    market.estimate(trader(0))
    market.read(0, 60)
    assert market.resettle(trader(0)) == ()


def test_a_resettlement_that_the_utility_cannot_back_changes_nothing(market):
    market.forecast([])
    market.estimate(*EVERYBODY[1:])
    market.settle(*EVERYBODY)
    market.exchange.withdraw(market.by(UTILITY), market.exchange.accounts.utility.balance_neur)
    market.read(1, -5_000)
    before = picture(market.exchange)
    with refused("settlement: utility unfunded"):
        market.resettle(trader(1))
    assert picture(market.exchange) == before
    market.exchange.deposit(market.by(UTILITY), UTILITY, 10**9)
    assert len(market.resettle(trader(1))) == 1


# --- whole lives --------------------------------------------------------------------------------


@st.composite
def lives(draw: st.DrawFn) -> tuple[Market, Valuation]:
    """A market with a veto that has traded, vetoed, closed, and has prices or waits for none any more."""
    rule, tariff, bus_charges = draw(rules), draw(tariffs()), draw(charges)
    market = market_of(tariff, rule=rule, bus_charges=bus_charges, veto_grace=60)
    for nonce in range(draw(st.integers(0, 25))):
        market.place(draw(orders(TRADERS, nonce, tariff, bus_charges)))
        market.now += 1
    market.now = market.exchange.terms.gate(SLOT)
    book = market.exchange.slot(SLOT).book
    for _ in range(draw(st.integers(0, 2))):
        if book.fills:
            last = book.fills[-1]
            book.apply(VetoFills((veto_of(last, draw(st.integers(1, last.quantity_wh))),), market.now))
    market.close()
    prices = draw(st.one_of(st.none(), bus_prices(tariff)))
    if prices is not None:
        market.post_prices(prices)
    if draw(st.booleans()):
        market.forecast([0, *(draw(st.integers(-300, 300)) for _ in range(TRADERS))])
    return market, Valuation(rule_in_force(rule, prices), tariff, bus_charges, prices, PENALTIES)


@deterministic
@given(lives(), st.data())
def test_late_readings_leave_the_market_as_if_they_had_been_there(life, data):
    market, valuation = life
    book, accounts = market.exchange.slot(SLOT).book, market.exchange.accounts
    held = accounts.held_neur
    readings = {}
    for index in range(TRADERS):
        net_wh = book.position(market.account(index)).net_wh
        energy = data.draw(st.one_of(st.just(net_wh), st.just(0), st.integers(-500, 500)))
        readings[index] = energy, (data.draw(st.integers(0, 60)), 0)
    late = data.draw(st.sets(st.sampled_from(range(TRADERS))))
    later(market)
    for index in set(readings) - late:
        market.read(index, *readings[index])
    in_time = Market(deepcopy(market.exchange), market.now)

    estimated = market.estimate(*EVERYBODY[1:])
    assert len(estimated) == len(late)
    check_identity(market, valuation, market.settle(*EVERYBODY))
    for index in late:
        market.read(index, *readings[index])
        in_time.read(index, *readings[index])
    changes = market.resettle(*EVERYBODY[1:])
    assert len(changes) == len(late)
    check_identity(market, valuation, in_time.settle(*EVERYBODY))
    assert market.resettle(*EVERYBODY[1:]) == ()

    again = in_time.exchange.accounts
    assert [picture(account) for account in accounts] == [picture(account) for account in again]
    assert accounts.held_neur == held and not accounts.clearing_neur and accounts.backing_neur >= 0


def check_identity(market: Market, valuation: Valuation, settled) -> None:
    """The slot's identity, with what accounts are settled by now, is what the settlement posted."""
    slot = market.exchange.slot(SLOT)
    members = [
        Member(bus_of(index), slot.book.position(account), slot.metered(account))
        for index in range(TRADERS)
        for account in [market.account(index)]
    ]
    utility = slot.book.position(market.exchange.accounts.utility)
    substation = Substation(777, 60_000, (0, 10, 0, 30, 5))
    identity = slot_identity(utility, members, substation, valuation)
    assert identity.holds
    posted = [event for event in settled if isinstance(event, AccountSettled)]
    total = sum(e.charge + e.closeout + e.imbalance + e.penalty for e in posted)
    passive_bill = valuation.tariff.retail * sum(substation.passive_wh)
    assert identity.result == total - utility.trades_neur + passive_bill - 60_000 * 777
