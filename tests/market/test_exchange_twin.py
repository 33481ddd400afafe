"""The twin as a whole: lives of a slot, money, oracles and roles."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.keccak import keccak
from market.book import OrderRefused
from market.events import (
    AccountSettled,
    OraclesRotated,
    ReadingPosted,
    ReadingRejected,
    RoleAccepted,
    SlotSettled,
    TradesCleared,
)
from market.exchange import Exchange, ReadingRefused
from market.messages import CancelRequest, ReadingReject
from market.orders import NOBODY, Order, OrderPlaced, OrderRejected, Reject, Side
from market.settlement import Member, Substation, Valuation, rule_in_force, slot_identity
from market.slots import Rule
from tests.market.exchange_cases import (
    END,
    GOOD_READING,
    everybody,
    late,
    metered,
    order,
    post_prices,
    quorum,
    refused,
    traded,
)
from tests.market.twin_cases import (
    CHARGES,
    GUARDIAN,
    ORACLES,
    PENALTIES,
    PRICES,
    QUORUM,
    RELAYER,
    RICH_NEUR,
    SLOT,
    TARIFF,
    TRADERS,
    UTILITY,
    Market,
    berth_of,
    bus_of,
    bus_prices,
    charges,
    fills_of,
    market_of,
    meter,
    orders,
    picture,
    rules,
    tariffs,
    terms,
    trader,
)

deterministic = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture
def market() -> Market:
    return market_of(TARIFF, bus_charges=CHARGES)


# --- a slot's life ------------------------------------------------------------------------------


def test_a_slot_from_charges_to_settlement(market):
    metered(traded(market), 80, -100)
    events = market.settle(*everybody())
    assert [type(event) for event in events] == [AccountSettled] * 6 + [SlotSettled]
    utility, buyer, _, seller, *_ = events
    assert (utility.contracted, utility.trades, utility.metered) == (0, 0, 0)
    assert (buyer.contracted, buyer.metered, buyer.delivered) == (100, 80, 80)
    assert (buyer.trades, buyer.charge) == (100 * 100_000, 80 * 1_000)
    assert (buyer.closeout, buyer.imbalance) == (20 * 5_000, -20 * 125_000)
    assert (seller.contracted, seller.metered, seller.delivered) == (-100, 0, 0)
    assert (seller.trades, seller.charge) == (-100 * 100_000, 0)
    assert (seller.closeout, seller.imbalance) == (-100 * (115_000 - 120_000), 100 * 115_000)
    assert market.account(0).balance_neur == RICH_NEUR - 10_000_000 - 80_000 - 100_000 + 2_500_000
    assert market.account(0).reserved_neur == 0
    assert market.exchange.accounts.clearing_neur == {}
    assert market.exchange.slot(SLOT).settled


def test_settling_again_is_skipped(market):
    metered(traded(market))
    assert len(market.settle(trader(0), trader(0), trader(2))) == 2
    assert market.settle(trader(2), trader(0)) == ()
    assert market.exchange.accounts.clearing_neur == {}
    assert [type(event) for event in market.settle(*everybody())][-1] is SlotSettled


@pytest.mark.parametrize("cleared", [False, True])
def test_the_utility_leaves_clearing_alone(market, cleared):
    """Trades of a slot half settled are others' money; sellers wait for their buyers' alone."""
    metered(traded(market), 100, 0, -100)
    accounts, utility = market.exchange.accounts, market.by(UTILITY)
    with refused("settlement: clear first"):
        market.exchange.settle(utility, SLOT, [trader(2)])
    if cleared:
        (paid,) = market.exchange.clear_trades(utility, SLOT, [trader(0)])
        assert paid == TradesCleared(SLOT, trader(0), 100 * 100_000)
    else:
        market.exchange.settle(utility, SLOT, [trader(0)])
    assert accounts.clearing_neur == {SLOT: 100 * 100_000}
    assert accounts.held_neur == (TRADERS + 1) * RICH_NEUR
    free = accounts.utility.balance_neur
    with refused("accounts: insufficient funds"):
        market.exchange.withdraw(utility, free + 1)
    market.exchange.withdraw(utility, free)
    assert accounts.backing_neur == 0


def test_without_prices_the_tariff_settles_from_t_p_on(market):
    traded(market).close()
    for index in range(TRADERS):
        market.read(index, 0)
    with refused("settlement: no prices yet"):
        market.settle(*everybody())
    market.now = market.exchange.terms.prices_due(SLOT)
    events = market.settle(*everybody())
    assert {event.rule for event in events if isinstance(event, AccountSettled)} == {Rule.TARIFF}
    with refused("prices: too late"):
        market.post_prices(PRICES)


def test_without_charges_nobody_trades_and_the_slot_settles_at_nu_0():
    market = metered(market_of(TARIFF, bus_charges=None), 70)
    with pytest.raises(OrderRefused, match="order: slot not open"):
        market.now, late = market.exchange.terms.opens(SLOT), market.now
        market.exchange.place_order(market.by(), order(0, 0, Side.BID, 90_000), trader(0))
    market.now = late
    buyer = market.settle(trader(0))[0]
    assert (buyer.charge, buyer.imbalance) == (0, 70 * 125_000)


def test_who_came_after_the_snapshot_does_not_settle(market):
    metered(market)
    market.exchange.register_account(market.by(UTILITY), trader(9), 1, meter(9), 1, 1, 0, 0)
    with refused("settlement: not in the snapshot"):
        market.settle(trader(0), trader(9))
    assert not market.exchange.slot(SLOT).book.position(market.account(0)).settled
    assert isinstance(market.settle(*everybody())[-1], SlotSettled)


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda m: m.exchange.settle(m.by(), SLOT + 1, ()), "slots: not scheduled"),
        (lambda m: m.exchange.settle(m.by(), SLOT, (trader(0), trader(99))), "accounts: unknown account"),
        (lambda m: m.exchange.settle(m.by(), SLOT, (trader(0), trader(1))), "settlement: no reading"),
    ],
)
def test_settlements_that_are_refused_settle_nobody(market, spoil, rule):
    traded(market).close()
    market.post_prices(PRICES)
    market.read(0, 100)
    before = picture(market.exchange)
    with refused(rule):
        spoil(market)
    assert picture(market.exchange) == before


def test_an_open_gate_is_no_time_to_settle(market):
    market.now = market.exchange.terms.end(SLOT)
    with refused("settlement: gate is open"):
        market.settle(UTILITY)


def test_a_batch_that_the_utility_cannot_back_settles_nobody():
    market = market_of(TARIFF, bus_charges=CHARGES, deposit_neur=50_000_000, utility_neur=0)
    metered(traded(market), 100, -10_000)  # trader 1 delivers far more than anybody pays for
    before = picture(market.exchange)
    with refused("settlement: utility unfunded"):
        market.exchange.settle(market.by(), SLOT, everybody())
    assert picture(market.exchange) == before
    market.exchange.deposit(market.by(trader(3)), UTILITY, 2 * 10**9)  # anyone may
    assert isinstance(market.settle(*everybody())[-1], SlotSettled)
    assert market.exchange.accounts.backing_neur >= 0


# --- properties of whole lives ------------------------------------------------------------------


@st.composite
def lives(draw: st.DrawFn) -> tuple[Market, Valuation, list[int]]:
    """A market that has traded, closed, and been read; with or without prices."""
    rule, tariff, bus_charges = draw(rules), draw(tariffs()), draw(charges)
    poor = draw(st.booleans())
    market = market_of(
        tariff,
        rule=rule,
        bus_charges=bus_charges,
        deposit_neur=draw(st.integers(0, 10**7)) if poor else RICH_NEUR,
        utility_neur=10**12,
    )
    for nonce in range(draw(st.integers(0, 25))):
        market.place(draw(orders(TRADERS, nonce, tariff, bus_charges)))
        market.now += 1
    market.close()
    prices = draw(st.one_of(st.none(), bus_prices(tariff)))
    if prices is None:
        market.now = market.exchange.terms.prices_due(SLOT)
    else:
        market.post_prices(prices)
    for index in range(TRADERS):
        net_wh = market.exchange.slot(SLOT).book.position(market.account(index)).net_wh
        energy = draw(st.one_of(st.just(net_wh), st.just(0), st.integers(-500, 500)))
        market.read(index, energy, (draw(st.integers(0, 60)), 0))
    valuation = Valuation(rule_in_force(rule, prices), tariff, bus_charges, prices, PENALTIES)
    return market, valuation, draw(st.permutations(range(TRADERS + 1)))


@deterministic
@given(lives())
def test_the_order_of_settlement_does_not_matter(life):
    market, _, permutation = life
    again = Market(deepcopy(market.exchange), market.now)
    market.settle(*everybody())
    for index in permutation:
        again.settle(everybody()[index])
        assert again.exchange.accounts.backing_neur >= 0
    assert again.exchange.slot(SLOT).settled
    assert picture(again.exchange) == picture(market.exchange)


@deterministic
@given(lives())
def test_money_is_kept_and_the_identity_holds_on_whole_lives(life):
    market, valuation, _ = life
    accounts = market.exchange.accounts
    book, readings = market.exchange.slot(SLOT).book, market.exchange.slot(SLOT).readings
    held = accounts.held_neur
    events = market.settle(*everybody())
    settled = [event for event in events if isinstance(event, AccountSettled)]
    total = sum(e.charge + e.closeout + e.imbalance + e.penalty for e in settled)
    assert accounts.held_neur == held and accounts.clearing_neur == {}
    assert all(account.reserved_neur == 0 for account in accounts)
    assert sum(event.trades for event in settled) == 0
    members = [
        Member(bus_of(i), book.position(market.account(i)), readings[market.account(i).id])
        for i in range(TRADERS)
    ]
    utility = book.position(accounts.utility)
    substation = Substation(777, 60_000, (0, 10, 0, 30, 5))
    identity = slot_identity(utility, members, substation, valuation)
    assert identity.holds
    passive_bill = valuation.tariff.retail * sum(substation.passive_wh)
    assert identity.result == total - utility.trades_neur + passive_bill - 60_000 * 777


# --- orders and readings, alone and in a batch --------------------------------------------------


def test_the_same_rule_refuses_alone_and_is_skipped_in_a_batch(market):
    bad = order(0, 0, Side.BID, 101_000, 0)
    with pytest.raises(OrderRefused) as caught:
        market.exchange.place_order(market.by(), bad, trader(0))
    assert caught.value.reject is Reject.NOT_WHOLE_LOTS
    rejected, placed = market.place(bad, replace(bad, quantity_wh=10))
    assert rejected == OrderRejected(SLOT, trader(0), 0, Reject.NOT_WHOLE_LOTS)
    assert isinstance(placed, OrderPlaced)


def test_the_book_is_deep_in_one_call(market):
    events = market.place(*(order(index, 0, Side.ASK, 90_000, 1) for index in range(1, 5)))
    events += market.place(order(0, 0, Side.BID, 95_000, 4))
    filled = fills_of(market.exchange.slot(SLOT).book, events)
    assert [fill.maker for fill in filled] == [trader(4), trader(2), trader(3), trader(1)]


READINGS = {
    ReadingReject.UNKNOWN_ACCOUNT: (replace(GOOD_READING, account=UTILITY), meter(0), END),
    ReadingReject.BAD_SIGNATURE: (GOOD_READING, trader(0), END),
    ReadingReject.NOT_DUE: (GOOD_READING, meter(0), terms().final(SLOT)),
    ReadingReject.WRONG_EPOCH: (replace(GOOD_READING, epoch=2), meter(0), END),
    ReadingReject.ALREADY_FINAL: (replace(GOOD_READING, account=trader(1)), meter(1), END),
    ReadingReject.WRONG_CLASSES: (replace(GOOD_READING, certified=(0,)), meter(0), END),
    ReadingReject.OUT_OF_RANGE: (replace(GOOD_READING, net_energy=-(10**6) - 1), meter(0), END),
}


@pytest.mark.parametrize("reject", ReadingReject)
def test_readings_that_are_refused(market, reject):
    reading, signer, second = READINGS[reject]
    market.read(1, 5)
    late(market, second)
    before = picture(market.exchange)
    with pytest.raises(ReadingRefused) as caught:
        market.exchange.post_reading(market.by(), reading, signer)
    assert (caught.value.reject, caught.value.rule) == (reject, reject.rule)
    assert picture(market.exchange) == before
    late(market, min(second, terms().final(SLOT) - 1))
    skipped, *_ = market.exchange.post_readings(
        late(market, second).by(), [(reading, signer), (GOOD_READING, meter(0))]
    )
    assert skipped == ReadingRejected(SLOT, reading.account, reject)
    if reject is not ReadingReject.NOT_DUE:
        assert market.exchange.slot(SLOT).readings[1] == GOOD_READING


def test_a_slot_not_scheduled_has_no_readings(market):
    reading = replace(GOOD_READING, slot=SLOT - 5)
    assert market.exchange.post_readings(late(market, END).by(), [(reading, meter(0))]) == (
        ReadingRejected(SLOT - 5, trader(0), ReadingReject.NOT_DUE),
    )


def test_a_new_meter_key_is_a_new_epoch(market):
    market.exchange.set_meter(market.by(UTILITY), trader(0), meter(77))
    late(market, END)
    with pytest.raises(ReadingRefused, match="reading: wrong epoch"):
        market.exchange.post_reading(market.by(), GOOD_READING, meter(77))
    with pytest.raises(ReadingRefused, match="reading: bad signature"):
        market.exchange.post_reading(market.by(), GOOD_READING, meter(0))
    (event,) = market.exchange.post_reading(market.by(), replace(GOOD_READING, epoch=2), meter(77))
    assert isinstance(event, ReadingPosted)


# --- roles, pause, oracles ----------------------------------------------------------------------


def test_deployment_says_who_has_the_roles(market):
    assert market.exchange.deployed() == (
        RoleAccepted(0, UTILITY),
        RoleAccepted(1, GUARDIAN),
        OraclesRotated(1, QUORUM, ORACLES),
    )
    with refused("oracle: bad set"):
        Exchange(UTILITY, GUARDIAN, ORACLES, 5, terms(), token_decimals=9, hash_of=keccak)


@pytest.mark.parametrize(
    "bad",
    [
        {"slot_seconds": 0},
        {"lot_wh": 0},
        {"buses": 1},
        {"buses": 1_025},
        {"open_lead": 900},
        {"open_lead": 900 + 2**21},
        {"resettle_grace": 3_599},
        {"veto_grace": 901},
        {"penalties_ueur_per_kwh": (0, -1)},
    ],
)
def test_terms_that_cannot_work_are_refused(bad):
    with refused("slots: bad terms"):
        Exchange(UTILITY, GUARDIAN, ORACLES, QUORUM, terms(**bad), token_decimals=9, hash_of=keccak)


def test_tokens_finer_than_the_contract_can_count_are_refused():
    with refused("accounts: too many decimals"):
        Exchange(UTILITY, GUARDIAN, ORACLES, QUORUM, terms(), token_decimals=37, hash_of=keccak)
    with refused("accounts: nobody"):
        Exchange(UTILITY, NOBODY, ORACLES, QUORUM, terms(), token_decimals=36, hash_of=keccak)


def test_every_rule_of_the_specification_is_a_rule_of_the_twin():
    """The strings of contracts/README.md and of the Vyper, but those of what is outside the twin."""
    page = files("contracts").joinpath("README.md").read_text("utf-8")
    named = set(re.findall(r"`\"?([a-z]+: [a-z0-9 _]+)\"?`", page))
    known = {reject.rule for reject in (*Reject, *ReadingReject)}
    for module in files("market").iterdir():
        if module.name.endswith(".py"):
            known |= set(re.findall(r'"([a-z]+: [a-z0-9 _]+)"', module.read_text("utf-8")))
    outside = {"accounts: transfer failed", "module: rule", "exchange: wrong blueprint"}
    outside |= {"book: no such class", "book: no such level", "oracle: no such bus"}  # of views
    assert len(named) > 70
    assert {rule for rule in named - known if not rule.startswith("token: ")} == outside
    sources = files("contracts").joinpath("src")
    in_code = {
        rule
        for module in sources.iterdir()
        if module.name.endswith(".vy") and module.name != "Token.vy"
        for rule in re.findall(r'"([a-z]+: [a-z0-9 _]+)"', module.read_text("utf-8"))
    }
    assert in_code - known == outside
    assert in_code <= named


def test_the_guardian_pauses_orders_and_nothing_else(market):
    market.place(order(0, 0, Side.BID, 90_000))
    market.exchange.pause(market.by(GUARDIAN))
    with refused("exchange: paused"):
        market.place()
    with refused("exchange: paused"):
        market.exchange.place_order(market.by(), order(0, 1, Side.BID, 90_000), trader(0))
    berth = berth_of(market.exchange.slot(SLOT).book, trader(0), 0)
    market.exchange.cancel_order(market.by(), CancelRequest(trader(0), SLOT, 0), berth, trader(0))
    market.exchange.withdraw(market.by(trader(0)), RICH_NEUR)
    metered(market)
    market.settle(*everybody())
    market.exchange.unpause(market.by(GUARDIAN))


def test_the_utilitys_heir_has_its_money_orders_and_nonces(market):
    heir = trader(70)
    ask = Order(UTILITY, SLOT, 0, Side.ASK, 0, 100_000, 50)
    market.place(ask)
    market.exchange.propose_role(market.by(UTILITY), 0, heir)
    market.exchange.accept_role(market.by(heir), 0)
    assert market.exchange.accounts.utility.address == heir
    assert market.exchange.accounts.find(UTILITY) is None
    assert market.place(replace(ask, trader=heir))[0] == OrderRejected(SLOT, heir, 0, Reject.NONCE_USED)
    _, fill = market.place(order(0, 0, Side.BID, 101_000, 50))
    assert [f.maker for f in fills_of(market.exchange.slot(SLOT).book, [fill])] == [heir]
    with refused("accounts: not the utility"):
        market.exchange.schedule_slots(market.by(UTILITY), SLOT + 9, 1, 3, 1, 2)
    with refused("accounts: not the successor"):
        market.exchange.accept_role(market.by(heir), 0)


def test_who_was_the_utility_gets_no_account_of_its_own(market):
    """Nonces are by id: what it signed as the utility could be placed again."""
    heir = trader(70)
    market.exchange.propose_role(market.by(UTILITY), 0, heir)
    market.exchange.accept_role(market.by(heir), 0)
    with refused("accounts: was the utility"):
        market.exchange.register_account(market.by(heir), UTILITY, 1, meter(70), 1, 1, 0, 0)
    market.exchange.propose_role(market.by(heir), 0, UTILITY)
    market.exchange.accept_role(market.by(UTILITY), 0)
    with refused("accounts: was the utility"):
        market.exchange.register_account(market.by(UTILITY), heir, 1, meter(70), 1, 1, 0, 0)


def test_a_registered_account_cannot_become_the_utility(market):
    market.exchange.propose_role(market.by(UTILITY), 0, trader(0))
    with refused("accounts: already registered"):
        market.exchange.accept_role(market.by(trader(0)), 0)


def test_oracles_rotate_by_a_quorum_of_the_old_ones(market):
    new = (trader(80), trader(81))
    assert market.exchange.rotate_oracles(market.by(), new, 2, quorum(1, 2, 3)) == (
        OraclesRotated(2, 2, new),
    )
    late(market, END)
    with refused("oracle: bad signature"):
        post_prices(market, signed=quorum(0, 1))
    (posted,) = post_prices(market, signed=[(0, new[0]), (1, new[1])])
    assert (posted.epoch, posted.signers) == (2, 0b11)


# --- token units --------------------------------------------------------------------------------


def test_amounts_are_whole_token_units():
    market = market_of(TARIFF)
    coarse = Exchange(
        UTILITY, GUARDIAN, ORACLES, QUORUM, market.exchange.terms, token_decimals=6, hash_of=keccak
    )
    with refused("accounts: not whole token units"):
        coarse.deposit(market.by(), UTILITY, 1_001)
    coarse.deposit(market.by(), UTILITY, 1_000)
    with refused("accounts: not whole token units"):
        coarse.withdraw(market.by(UTILITY), 1)
    coarse.withdraw(market.by(UTILITY), 1_000)
    assert coarse.accounts.held_neur == 0
    fine = Exchange(
        UTILITY, GUARDIAN, ORACLES, QUORUM, market.exchange.terms, token_decimals=18, hash_of=keccak
    )
    fine.deposit(market.by(RELAYER), UTILITY, 1)
    assert fine.accounts.held_neur == 1
