"""What random lives seldom reach: long walks through the book, the last moment for readings, many slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ledger import calls
from ledger.keccak import keccak
from market.book import MAKERS_PER_EVENT, RESTING_MAX, VISITS_MAX
from market.exchange import VISITS_PER_CALL
from market.fills import chain
from market.levels import GAPS_MAX, GAPS_PER_CALL
from market.messages import CancelRequest, Reading
from market.orders import (
    Berth,
    FillVetoed,
    Flag,
    GateClosed,
    Order,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Reject,
    Side,
    VetoPaused,
    VoidReason,
)
from market.slots import Rule, Terms
from tests.twins.life import EUR, FIRST_SLOT_START, meter_of
from tests.twins.pair import Pair, Signer, key_of
from tests.twins.posting import ORACLES, QUORUM, Posting
from tests.twins.trading import Trading

TERMS = Terms(rule=Rule.DLMP, buses=3, penalties_ueur_per_kwh=(30_000,), veto_grace=600)
TAKER, *MAKERS = (key_of("person", index) for index in range(10))


class Market(Trading, Posting):
    """What traders and oracles do, as it is told."""


@pytest.fixture(scope="module")
def deployed() -> Pair:
    return Pair(TERMS, 9, ORACLES, QUORUM)


@pytest.fixture
def market(deployed: Pair) -> Market:
    """Ten rich accounts, and a slot that has just opened with charges of 0."""
    deployed.start_over()
    market = Market()
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


def order(market: Market, index: int, nonce: int, side: Side, limit: int, **more) -> Order:
    trader = (TAKER, *MAKERS)[index]
    return Order(trader.address, market.slots[0], nonce, side, 0, limit, **more)


def crowd(  # noqa: PLR0917
    market: Market,
    count: int,
    expiry: int = 0,
    side: Side = Side.ASK,
    limit: int = 90_000,
    first_nonce: int = 0,
) -> None:
    """So many orders of 2 Wh at one price, by as many accounts as it takes."""
    orders = [
        order(
            market,
            1 + n // RESTING_MAX,
            first_nonce + n % RESTING_MAX,
            side,
            limit,
            quantity_wh=2,
            expiry=expiry,
        )
        for n in range(count)
    ]
    place_in_batches(market, [(each, Signer(MAKERS[n // RESTING_MAX])) for n, each in enumerate(orders)])


def place_in_batches(market: Market, signed: Sequence[tuple[Order, Signer]], size: int = 64) -> None:
    for first in range(0, len(signed), size):
        assert isinstance(market.pair.place_all(market.pair.payer, signed[first : first + size]), tuple)


def leave_gaps(market: Market, turns: range) -> None:
    """16 gaps a turn at the price of the crowd, of which nothing may rest: makers meet their own asks."""
    signed = []
    for turn in turns:
        maker, first_nonce = 1 + turn % 8, turn // 8 * (RESTING_MAX + 1)
        nonces = range(first_nonce, first_nonce + RESTING_MAX)
        made = [order(market, 1 + maker, nonce, Side.ASK, 90_000, quantity_wh=2) for nonce in nonces]
        flags = Flag.IMMEDIATE_OR_CANCEL
        made.append(order(market, 1 + maker, nonces.stop, Side.BID, 90_000, quantity_wh=2, flags=flags))
        signed += [(each, Signer(MAKERS[maker])) for each in made]
    place_in_batches(market, signed, 3 * (RESTING_MAX + 1))


def take(market: Market, quantity: int, nonce: int = 0, flags: Flag = Flag.NONE):
    bid = order(market, 0, nonce, Side.BID, 100_000, quantity_wh=quantity, flags=flags)
    return market.pair.place(market.pair.payer, bid, Signer(TAKER))


def cancel(market: Market, maker: int, nonce: int):
    key, slot = MAKERS[maker], market.slots[0]
    berth = market.resting(key, slot).get(nonce, Berth())
    request = CancelRequest(key.address, slot, nonce)
    return market.pair.cancel(market.pair.payer, request, berth, Signer(key))


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
    told = [len(event.makers) for event in events if isinstance(event, OrdersFilled)]
    assert told == [MAKERS_PER_EVENT] * (VISITS_MAX // MAKERS_PER_EVENT)
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
        cancel(market, 0, nonce)
    more = order(market, 2, 0, Side.ASK, 90_000, quantity_wh=4)
    market.pair.place(market.pair.payer, more, Signer(MAKERS[1]))
    _, filled = take(market, 9)
    fills = filled.fills(lambda number: market.pair.twin.accounts.at(number).address)
    assert [(fill.maker_nonce, fill.quantity) for fill in fills] == [(1, 2), (3, 2), (4, 2), (0, 3)]
    market.pair.compare_all(market.slots)


@pytest.mark.parametrize(("gaps", "found"), [(GAPS_MAX - 1, False), (GAPS_MAX, True)])
def test_a_cancel_at_the_head_passes_127_gaps_behind_it(market, gaps, found):
    crowd(market, gaps + 1)
    for number in range(gaps, -1, -1):
        assert isinstance(cancel(market, number // RESTING_MAX, number % RESTING_MAX), tuple)
    market.pair.compare_best(market.slots[0], 0)
    best = market.pair.exchange.best_ask(market.slots[0], 0)
    assert (best.found, best.quantity) == (found, 0)
    take(market, 5)
    market.pair.compare_all(market.slots)


def test_an_exact_fill_leaves_the_gaps_behind_it_at_the_head(market):
    crowd(market, 4)
    for nonce in (1, 2, 3):
        cancel(market, 0, nonce)
    take(market, 2)
    best = market.pair.exchange.best_ask(market.slots[0], 0)
    assert (best.found, best.quantity) == (True, 0)
    market.pair.compare_best(market.slots[0], 0)
    take(market, 5, nonce=1)
    market.pair.compare_best(market.slots[0], 0)
    market.pair.compare_all(market.slots)


def test_closing_goes_entry_by_entry(market):
    crowd(market, 20)
    take(market, 7)
    cancel(market, 0, 9)
    slot, pair = market.slots[0], market.pair
    market.go(TERMS.closing(slot) - 1)
    assert pair.same(pair.payer, calls.CloseGate(slot, 1)) == "book: before closing"
    for limit in (0, 1, 2, 3, 0, 4, 5, 4):
        assert isinstance(pair.same(pair.payer, calls.CloseGate(slot, limit)), tuple)
        pair.compare_all(market.slots)
        pair.compare_best(slot, 0)
        pair.compare_order(slot, pair.twin.accounts.get(MAKERS[1].address), 3)
    assert not pair.twin.slot(slot).book.gate_closed
    *_, closed = pair.same(pair.payer, calls.CloseGate(slot, 1))
    assert closed.accounts == 11
    assert pair.same(pair.payer, calls.CloseGate(slot, 1)) == "book: gate is closed"


def test_an_order_cancelled_after_a_fill_is_void_again_after_a_veto(market):
    """The part that was filled rests again; the order, which is void already, is counted down once."""
    slot, pair = market.slots[0], market.pair
    crowd(market, 1)
    take(market, 1)
    assert isinstance(cancel(market, 0, 0), tuple)
    market.go(TERMS.gate(slot))
    (fill,) = pair.twin.slot(slot).book.fills
    assert isinstance(pair.same(pair.utility, calls.VetoFills(slot, (market.veto_of(fill, 1),))), tuple)
    pair.compare_all(market.slots)
    market.go(TERMS.closing(slot))
    void, _ = pair.same(pair.payer, calls.CloseGate(slot, 9))
    assert (void.quantity, void.reason) == (1, VoidReason.GATE_CLOSED)
    pair.compare_all(market.slots)
    assert pair.exchange.position_of(slot, MAKERS[0].address).reserve == 0


def test_a_veto_goes_back_over_many_makers_and_gaps(market):
    slot, pair = market.slots[0], market.pair
    crowd(market, 100)
    for number in (3, 17, 40, 41, 42, 98):
        cancel(market, number // RESTING_MAX, number % RESTING_MAX)
    events = take(market, 171)
    found = chain(slot, events, lambda taker: pair.twin.accounts.get(taker).id, keccak)
    assert found == pair.twin.slot(slot).book.fills
    market.go(TERMS.gate(slot))
    for cut in (1, 9, 150, 11):
        (fill,) = pair.twin.slot(slot).book.fills
        assert isinstance(pair.same(pair.utility, calls.VetoFills(slot, (market.veto_of(fill, cut),))), tuple)
        resting = pair.exchange.level_of(slot, 0, Side.ASK, fill.tick)
        assert resting == pair.twin.slot(slot).book.level_wh(0, Side.ASK, fill.tick)
    assert not pair.twin.slot(slot).book.fills
    market.go(TERMS.closing(slot))
    assert isinstance(pair.same(pair.payer, calls.CloseGate(slot, 100)), tuple)
    pair.compare_all(market.slots)
    assert all(pair.twin.slot(slot).book.position(who).net_wh == 0 for who in pair.twin.accounts)


@pytest.mark.parametrize("visits", [VISITS_PER_CALL - 1, VISITS_PER_CALL])
def test_a_batch_ends_after_256_visits(market, visits):
    crowd(market, VISITS_MAX + 3)
    crowd(market, VISITS_MAX + 3, side=Side.BID, limit=80_000, first_nonce=20)
    buy = order(market, 0, 0, Side.BID, 100_000, quantity_wh=2 * VISITS_MAX)
    sell = order(market, 0, 1, Side.ASK, 70_000, quantity_wh=2 * (visits - VISITS_MAX))
    later = [order(market, 0, nonce, Side.BID, 100_000, quantity_wh=1) for nonce in (2, 3, 3)]
    batch = [(each, Signer(TAKER)) for each in (buy, sell, *later)]
    events = market.pair.place_all(market.pair.payer, batch)
    skipped = [event.nonce for event in events if isinstance(event, OrderRejected)]
    assert skipped == ([2, 3, 3] if visits == VISITS_PER_CALL else [3, 3])
    assert {event.code for event in events if isinstance(event, OrderRejected)} == {Reject.TOO_MANY_VISITS}
    market.pair.compare_all(market.slots)
    # What was skipped was not used up: it is sent again.
    events = market.pair.place_all(market.pair.payer, batch[-2:])
    assert [event.code for event in events if isinstance(event, OrderRejected)] == [Reject.NONCE_USED]


def test_vetoes_pause_behind_1024_gaps(market):
    slot, pair = market.slots[0], market.pair
    crowd(market, 1)
    take(market, 2)
    leave_gaps(market, range(33))
    pair.place(pair.payer, order(market, 1, 39, Side.ASK, 90_000, quantity_wh=3), Signer(MAKERS[0]))
    take(market, 2, nonce=1)
    assert isinstance(cancel(market, 0, 39), tuple)
    leave_gaps(market, range(33, 66))
    market.go(TERMS.gate(slot))
    vetoes = tuple(market.veto_of(fill, 2) for fill in reversed(pair.twin.slot(slot).book.fills))
    # 528 gaps are behind the second fill, and as many between both: the vetoes of a call share its 1 024.
    taken_back, paused = pair.same(pair.utility, calls.VetoFills(slot, vetoes))
    assert isinstance(taken_back, FillVetoed)
    assert paused == VetoPaused(slot, 0, Side.ASK, 900, 1 + 33 * RESTING_MAX - (GAPS_PER_CALL - 528))
    pair.compare_all(market.slots)
    wrong = replace(vetoes[1], before=vetoes[0].before)
    assert pair.same(pair.utility, calls.VetoFills(slot, (wrong,))) == "veto: not the last fill"
    (event,) = pair.same(pair.utility, calls.VetoFills(slot, vetoes[1:]))
    assert isinstance(event, FillVetoed)
    pair.compare_all(market.slots)
    market.go(TERMS.closing(slot))
    for _ in range(3):
        closed = pair.same(pair.payer, calls.CloseGate(slot, 2**32 - 1))
    assert isinstance(closed[-1], GateClosed)
    pair.compare_all(market.slots)


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
