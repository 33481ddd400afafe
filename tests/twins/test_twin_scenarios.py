"""What random lives seldom reach: long walks through the book, the last moment for readings, many slots."""

from __future__ import annotations

import pytest

from ledger import calls
from market.book import RESTING_MAX, VISITS_MAX
from market.messages import CancelRequest, Reading
from market.orders import Flag, Order, OrderFilled, OrderVoided, Side, VoidReason
from market.slots import Rule, Terms
from tests.twins.life import EUR, FIRST_SLOT_START, meter_of
from tests.twins.pair import Pair, Signer, key_of
from tests.twins.posting import ORACLES, QUORUM, Posting

TERMS = Terms(rule=Rule.DLMP, buses=3, penalties_ueur_per_kwh=(30_000,))
TAKER, *MAKERS = (key_of("person", index) for index in range(10))


@pytest.fixture(scope="module")
def deployed() -> Pair:
    return Pair(TERMS, 9, ORACLES, QUORUM)


@pytest.fixture
def market(deployed: Pair) -> Posting:
    """Ten rich accounts, and a slot that has just opened with charges of 0."""
    deployed.start_over()
    market = Posting()
    market.pair, market.utility, market.oracles = deployed, deployed.utility, list(ORACLES)
    market.slots = [FIRST_SLOT_START // TERMS.slot_seconds]
    for trader in (TAKER, *MAKERS):
        call = calls.RegisterAccount(trader.address, 1, meter_of(trader).address, 10**6, 10**6, 0, 1)
        assert isinstance(deployed.same(deployed.utility, call), tuple)
        market.deposit(trader, 10 * EUR)
    market.deposit(deployed.utility, 100 * EUR)
    schedule = calls.ScheduleSlots(market.slots[0], 1, 300_000, 100_000, 50_000)
    assert isinstance(deployed.same(deployed.utility, schedule), tuple)
    market.post_charges_of(market.slots[0], [0, 0, 0])
    market.go(TERMS.opens(market.slots[0]))
    return market


def order(market: Posting, index: int, nonce: int, side: Side, limit: int, **more) -> Order:
    trader = (TAKER, *MAKERS)[index]
    return Order(trader.address, market.slots[0], nonce, side, 0, limit, **more)


def crowd(market: Posting, count: int, expiry: int = 0) -> None:
    """So many asks of 2 Wh at one price, by as many accounts as it takes."""
    asks = [
        order(market, 1 + n // RESTING_MAX, n % RESTING_MAX, Side.ASK, 90_000, quantity_wh=2, expiry=expiry)
        for n in range(count)
    ]
    signed = [(ask, Signer(MAKERS[n // RESTING_MAX])) for n, ask in enumerate(asks)]
    for first in range(0, count, 70):
        assert isinstance(market.pair.place_all(market.pair.payer, signed[first : first + 70]), tuple)


def take(market: Posting, quantity: int, nonce: int = 0, flags: Flag = Flag.NONE):
    bid = order(market, 0, nonce, Side.BID, 100_000, quantity_wh=quantity, flags=flags)
    return market.pair.place(market.pair.payer, bid, Signer(TAKER))


@pytest.mark.parametrize("flags", [Flag.NONE, Flag.IMMEDIATE_OR_CANCEL])
def test_after_128_visits_the_rest_is_void(market, flags):
    crowd(market, VISITS_MAX + 1)
    *_, last = take(market, 2 * VISITS_MAX + 1, flags=flags)
    assert last == OrderVoided(market.slots[0], TAKER.address, 0, 1, VoidReason.VISITS)
    market.pair.compare_best(market.slots[0], 0)
    assert market.pair.exchange.best_ask(market.slots[0], 0).quantity == 2
    market.pair.compare_all(market.slots)


def test_the_128th_visit_may_fill_the_order(market):
    crowd(market, VISITS_MAX)
    events = take(market, 2 * VISITS_MAX)
    assert sum(isinstance(event, OrderFilled) for event in events) == VISITS_MAX == len(events) - 1
    market.pair.compare_all(market.slots)


def test_expired_orders_count_as_visits(market):
    crowd(market, VISITS_MAX + 2, expiry=market.now() + 60)
    market.go(market.now() + 60)
    events = take(market, 5)
    reasons = [event.reason for event in events if isinstance(event, OrderVoided)]
    assert reasons == [VoidReason.EXPIRED] * VISITS_MAX + [VoidReason.VISITS]
    # The next order finds what is left, and then rests.
    events = take(market, 5, nonce=1)
    assert [event.reason for event in events[1:]] == [VoidReason.EXPIRED] * 2
    market.pair.compare_best(market.slots[0], 0)
    assert market.pair.exchange.best_bid(market.slots[0], 0).quantity == 5
    market.pair.compare_all(market.slots)


def test_levels_refill_after_cancels_in_the_middle(market):
    crowd(market, 6)
    for nonce in (2, 0, 5):
        request = CancelRequest(MAKERS[0].address, market.slots[0], nonce)
        market.pair.cancel(market.pair.payer, request, Signer(MAKERS[0]))
    more = order(market, 2, 0, Side.ASK, 90_000, quantity_wh=4)
    market.pair.place(market.pair.payer, more, Signer(MAKERS[1]))
    events = take(market, 9)
    assert [(e.maker_nonce, e.quantity) for e in events[1:]] == [(1, 2), (3, 2), (4, 2), (0, 3)]
    market.pair.compare_all(market.slots)


def test_readings_end_at_t2(market):
    slot, pair = market.slots[0], market.pair
    reading = Reading(TAKER.address, slot, 5, (0,), 1)
    late = Reading(MAKERS[0].address, slot, 5, (0,), 1)
    market.go(TERMS.final(slot) - 1)
    assert isinstance(pair.read(pair.payer, reading, Signer(meter_of(TAKER))), tuple)
    assert pair.read(pair.payer, late, Signer(meter_of(MAKERS[0]))) == "reading: not due"


def test_a_thousand_slots_in_one_call_and_no_more(market):
    retail = (300_000, 100_000, 50_000)
    first = market.slots[0] + 100
    pair = market.pair
    assert pair.same(pair.utility, calls.ScheduleSlots(first, 1_025, *retail)) == "slots: too many"
    assert isinstance(pair.same(pair.utility, calls.ScheduleSlots(first, 1_024, *retail)), tuple)
    overlap = calls.ScheduleSlots(first - 1, 2, *retail)
    assert pair.same(pair.utility, overlap) == "slots: already scheduled"
    pair.compare_slot(first - 1)
    pair.compare_slot(first + 1_023)
