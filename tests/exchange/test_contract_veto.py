"""The veto: what can be taken back, in which order, and what is left after closing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.orders import Berth, GateClosed, OrdersFilled, OrderVoided, Side, Veto, VoidReason
from tests.exchange.conftest import EUR, Market, fill_hash, level_number
from tests.exchange.vetoing import BUYER, IOC, OTHER, SELLER, TICK, asks, picture, taken_back, to_the_gate

# --- what a veto does ---------------------------------------------------------------------------


def test_the_last_fill_is_taken_back_whole(vetoing):
    market, buyer, other, seller = vetoing, *vetoing.traders
    asks(market, 100)
    market.place(buyer, market.bid(buyer, BUYER, 30, **IOC))
    before = picture(market)
    market.place(other, market.bid(other, OTHER, 50, **IOC))
    assert market.position(other).net == 50 and market.reserved(other) == 50 * OTHER
    to_the_gate(market)
    veto = replace(market.whole_vetoes()[-1], reason=2, element=65_535)
    assert veto == Veto(
        other.address, 0, 0, Side.BID, TICK, 50, fill_hash_of_first(market, 30), 50, 2, 65_535
    )
    assert market.do(market.veto(veto)) == (taken_back(veto, market.slot),)
    assert picture(market) == before
    assert market.exchange.level_of(market.slot, 0, Side.ASK, TICK) == 70
    events = market.close()
    assert events == (
        OrderVoided(market.slot, seller.address, 0, 70, VoidReason.GATE_CLOSED),
        GateClosed(market.slot, 4),
    )
    assert [market.position(key).net for key in (buyer, other, seller)] == [30, 0, -30]


def test_a_taker_that_sold_a_class_gets_back_what_it_reserved_for_the_penalty(vetoing):
    market, buyer, seller = vetoing, vetoing.buyer, vetoing.seller
    market.place(buyer, market.bid(buyer, BUYER, 100, energy_class=1))
    before = picture(market)
    market.place(seller, market.ask(seller, SELLER, 60, energy_class=1))
    assert market.reserved(seller) == 60 * (100_000 + 30_000)
    to_the_gate(market)
    market.do(market.veto(replace(market.whole_vetoes()[-1], cut=20)))
    assert market.reserved(seller) == 40 * 130_000
    market.do(market.veto(replace(market.whole_vetoes()[-1], quantity=40, cut=40)))
    assert picture(market) == before


def fill_hash_of_first(market: Market, quantity: int) -> bytes:
    """F after the buyer's order 0 took from the asks at the tick, written out."""
    level = level_number(market.slot, 0, Side.ASK, TICK)
    assert level == market.slot * 2**19 + 2**16 + 32_768 - TICK
    return fill_hash(b"\0" * 32, level, 1 * 2**8 + 0, quantity)


@pytest.mark.parametrize("cuts", [(10,), (10, 20), (10, 20, 20), (49, 1), (1, 49), (1, 1, 1)])
def test_parts_of_a_fill_are_taken_back_one_after_the_other(vetoing, cuts):
    market, buyer, seller = vetoing, vetoing.buyer, vetoing.seller
    asks(market, 100)
    market.place(buyer, market.bid(buyer, BUYER, 50, **IOC))
    to_the_gate(market)
    (veto,) = market.whole_vetoes()
    left = 50
    for cut in cuts:
        market.do(market.veto(replace(veto, quantity=left, cut=cut)))
        left -= cut
        assert market.position(buyer).net == left
        assert market.reserved(buyer) == left * BUYER
        assert market.position(buyer).trades == left * TICK * 100
    if left == 0:
        market.refused("veto: not the last fill", market.veto(replace(veto, quantity=0, cut=0)))
    market.close()
    assert [market.position(key).net for key in (buyer, seller)] == [left, -left]
    assert market.reserved(seller) == left * (200_000 - 100_000)


@pytest.mark.parametrize("cut", [1, 9, 10, 11, 29, 30, 31, 60, 100, 101, 150, 209, 210])
@pytest.mark.parametrize("quantity", [210, 250])
def test_closing_after_a_veto_is_as_if_less_had_been_taken(vetoing, quantity, cut):
    """Entries of 10, 20, … 90 Wh, over four words: one order and a veto, against a smaller order."""
    market, buyer = vetoing, vetoing.buyer
    asks(market, *range(10, 100, 10))
    fresh = market.chain.snapshot()
    nonces = dict(market.nonces)
    market.place(buyer, market.bid(buyer, BUYER, quantity, **IOC))
    to_the_gate(market)
    (veto,) = market.whole_vetoes()
    market.do(market.veto(replace(veto, cut=cut)))
    left = veto.quantity - cut
    opens = [max(0, min(place * 10, place * (place + 1) * 5 - left)) for place in range(1, 10)]
    for place, open_wh in enumerate(opens):
        order = market.exchange.order_of(market.slot, market.seller.address, place)
        assert order.quantity == open_wh
        assert order.berth == (Berth(0, Side.ASK, TICK, place) if open_wh else Berth())
    events = market.close()
    assert [(e.nonce, e.quantity) for e in events[:-1]] == [(n, q) for n, q in enumerate(opens) if q]
    vetoed = picture(market)
    assert vetoed[buyer.address][0].net == left == -vetoed[market.seller.address][0].net
    if left % 10 == 0:  # whole lots, so there is such an order
        market.chain.revert(fresh)
        market.nonces.clear()
        market.nonces.update(nonces)
        if left:
            market.place(buyer, market.bid(buyer, BUYER, left, **IOC))
        assert market.close() == events
        assert picture(market) == vetoed


def test_fills_are_taken_back_from_the_last_on(vetoing):
    market, buyer, other, seller = vetoing, *vetoing.traders
    asks(market, 40, 40, 40)
    pictures = [picture(market)]
    for key, limit, quantity in ((buyer, BUYER, 30), (other, OTHER, 50), (buyer, BUYER, 20)):
        market.place(key, market.bid(key, limit, quantity, **IOC))
        pictures.append(picture(market))
    to_the_gate(market)
    vetoes = market.whole_vetoes()
    for wrong in (vetoes[:1], vetoes[1:2], vetoes, [vetoes[2], vetoes[0]], [vetoes[2], vetoes[2]]):
        market.refused("veto: not the last fill", market.veto(*wrong))
        assert picture(market) == pictures[3]
    events = market.do(market.veto(*reversed(vetoes)))
    assert events == tuple(taken_back(veto, market.slot) for veto in reversed(vetoes))
    assert picture(market) == pictures[0]
    assert market.close()[0].quantity == 40
    assert market.reserved(seller) == 0


def test_a_batch_is_taken_back_as_a_whole_or_not_at_all(vetoing):
    market, buyer, other = vetoing, vetoing.buyer, vetoing.other
    asks(market, 100)
    market.place(buyer, market.bid(buyer, BUYER, 30, **IOC))
    market.place(other, market.bid(other, OTHER, 50, **IOC))
    to_the_gate(market)
    before, (first, second) = picture(market), market.whole_vetoes()
    market.refused("veto: more than was filled", market.veto(second, replace(first, cut=31)))
    assert picture(market) == before
    market.do(market.veto(replace(second, cut=20), replace(second, quantity=30, cut=30), first))
    assert market.position(buyer).net == market.position(other).net == 0


def test_an_order_over_several_levels_is_as_many_fills(vetoing):
    market, buyer, seller = vetoing, vetoing.buyer, vetoing.seller
    for limit in (97_000, 98_000, 99_000):
        market.place(seller, market.ask(seller, limit, 30))
    market.place(buyer, market.bid(buyer, 103_000, 80, **IOC))
    to_the_gate(market)
    vetoes = market.whole_vetoes()
    assert [(veto.tick, veto.quantity) for veto in vetoes] == [(1_000, 30), (1_010, 30), (1_020, 20)]
    # What trades was 30 at 100 000, 30 at 101 000, 20 at 102 000.
    market.do(market.veto(vetoes[2], replace(vetoes[1], cut=10)))
    position = market.position(buyer)
    assert (position.net, position.trades) == (50, 30 * 100_000 + 20 * 101_000)
    assert position.reserve == market.reserved(buyer) == 30 * 101_000 + 20 * 102_000
    market.close()
    assert market.position(seller).trades == -position.trades


def test_sellers_that_took_bids_are_vetoed_too(vetoing):
    market, buyer, other, seller = vetoing, *vetoing.traders
    market.place(buyer, market.bid(buyer, BUYER, 40))
    market.place(other, market.bid(other, OTHER, 40))
    market.place(seller, market.ask(seller, SELLER, 60, **IOC))
    to_the_gate(market)
    (veto,) = market.whole_vetoes()
    assert veto.taker_side == Side.ASK
    market.do(market.veto(replace(veto, cut=30, reason=1)))
    assert market.reserved(seller) == 30 * 100_000 and market.position(seller).net == -30
    market.close()
    assert [market.position(key).net for key in (buyer, other, seller)] == [30, 0, -30]
    assert market.reserved(buyer) == 30 * BUYER and market.reserved(other) == 0


def test_classes_are_taken_back_with_their_energy(vetoing):
    market, buyer, seller, x = vetoing, vetoing.buyer, vetoing.seller, vetoing.exchange
    asks(market, 50, 50, energy_class=1)
    asks(market, 50)
    market.place(buyer, market.bid(buyer, BUYER, 40, **IOC))
    market.place(buyer, market.bid(buyer, BUYER, 80, energy_class=1, **IOC))
    to_the_gate(market)
    plain, certified = market.whole_vetoes()
    assert (plain.energy_class, certified.energy_class) == (0, 1)
    market.refused("veto: not the last fill", market.veto(replace(certified, energy_class=0)))
    market.do(market.veto(replace(certified, cut=35)))
    assert x.class_net_of(market.slot, buyer.address, 1) == 45
    assert market.position(buyer).net == 85
    market.do(market.veto(replace(certified, quantity=45, cut=45), plain))
    assert x.class_net_of(market.slot, buyer.address, 1) == market.position(buyer).net == 0
    market.close()
    assert x.class_net_of(market.slot, seller.address, 1) == market.position(seller).net == 0


def test_the_utilitys_own_fills_are_vetoed_like_others(vetoing):
    market, utility, seller = vetoing, vetoing.utility, vetoing.seller
    asks(market, 100)
    market.place(utility, market.bid(utility, 100_000, 60, **IOC))
    to_the_gate(market)
    (veto,) = market.whole_vetoes()
    market.do(market.veto(replace(veto, cut=25)))
    market.close()
    assert [market.position(key).net for key in (utility, seller)] == [35, -35]
    assert market.reserved(utility) == 35 * 100_000


def test_the_utilitys_fills_go_with_its_role(vetoing):
    market, x, successor = vetoing, vetoing.exchange, vetoing.newcomer
    asks(market, 100)
    market.place(market.utility, market.bid(market.utility, 100_000, 60, **IOC))
    (veto,) = market.whole_vetoes()
    market.do(x.propose_role(0, successor.address, sender=market.utility))
    market.do(x.accept_role(0, sender=successor))
    to_the_gate(market)
    market.refused("accounts: not the utility", market.veto(veto))
    market.refused("accounts: unknown account", market.veto(veto, sender=successor))
    market.do(market.veto(replace(veto, taker=successor.address), sender=successor))
    assert x.position_of(market.slot, successor.address).net == 0


# --- entries that were shrunk, voided, passed ----------------------------------------------------


def test_a_fill_of_an_order_that_was_cancelled_later_is_taken_back(vetoing):
    """Its rest was void already: what comes back is what was filled of it, and closing voids that too."""
    market, buyer, seller = vetoing, vetoing.buyer, vetoing.seller
    asks(market, 100, 20)
    market.place(buyer, market.bid(buyer, BUYER, 40, **IOC))
    market.do(market.cancel(seller, 0))
    market.place(buyer, market.bid(buyer, BUYER, 20, **IOC))
    assert market.position(seller).asks == 1
    to_the_gate(market)
    first, second = market.whole_vetoes()
    market.do(market.veto(second, replace(first, cut=15)))
    x = market.exchange
    assert [x.order_of(market.slot, seller.address, n).quantity for n in (0, 1)] == [15, 20]
    # Nobody could meet what came back to a level that had been passed.
    assert not x.best_ask(market.slot, 0).found
    events = market.close()
    assert [(e.nonce, e.quantity) for e in events[:-1]] == [(0, 15), (1, 20)]
    position = market.position(seller)
    assert (position.net, position.resting_asks, position.asks) == (-25, 0, 1)
    assert position.reserve == market.reserved(seller) == 25 * 100_000


def test_fills_before_and_behind_voids_of_all_kinds_are_taken_back(vetoing):
    """A queue in which orders expired, were the taker's own, were cancelled, whole and in part."""
    market, buyer, other, seller = vetoing, *vetoing.traders
    expiry = market.chain.now() + 200
    asks(market, 30)  # place 0
    market.place(other, market.ask(other, OTHER, 40, expiry=expiry))  # 1: 10 are filled, 30 expire
    market.place(buyer, market.ask(buyer, BUYER, 50))  # 2: the taker's own
    asks(market, 60)  # 3: a gap
    asks(market, 70)  # 4
    market.place(other, market.ask(other, OTHER, 80))  # 5: 20 are filled, 60 are cancelled
    asks(market, 90)  # 6
    market.place(buyer, market.bid(buyer, BUYER, 40, **IOC))
    market.do(market.cancel(seller, 1))
    market.at(expiry)
    market.place(buyer, market.bid(buyer, BUYER, 90, **IOC))
    market.do(market.cancel(other, 1))
    market.place(buyer, market.bid(buyer, BUYER, 10, **IOC))
    to_the_gate(market)
    fills = market.whole_vetoes()
    assert [fill.quantity for fill in fills] == [40, 90, 10]
    assert market.position(buyer).net == 140
    events = market.do(market.veto(fills[2], fills[1], replace(fills[0], cut=35)))
    assert [event.quantity for event in events] == [10, 90, 35]
    x = market.exchange
    left = [
        x.order_of(market.slot, key.address, nonce).quantity
        for key, nonce in ((seller, 0), (other, 0), (buyer, 0), (seller, 1), (seller, 2), (other, 1))
    ]
    assert left == [25, 10, 0, 0, 70, 20]
    closed = [(e.trader, e.nonce, e.quantity) for e in market.close()[:-1]]
    assert closed == [
        (seller.address, 0, 25),
        (other.address, 0, 10),
        (seller.address, 2, 70),
        (other.address, 1, 20),
        (seller.address, 3, 90),
    ]
    assert [market.position(key).net for key in (buyer, other, seller)] == [5, 0, -5]
    for key in market.traders:
        position = market.position(key)
        assert (position.resting_bids, position.resting_asks) == (0, 0)
        assert position.reserve == market.reserved(key)
    assert market.reserved(other) == 0


def test_a_fill_of_128_makers_is_taken_back(vetoing):
    market, seller = vetoing, vetoing.seller
    keys = market.crowd(128)
    market.place(seller, market.ask(seller, SELLER, 1_280, **IOC))
    to_the_gate(market)
    (veto,) = market.whole_vetoes()
    market.do(market.veto(replace(veto, cut=1_275)))
    market.close()
    assert [market.position(key).net for key in keys] == [5, *[0] * 7]
    assert market.position(seller).net == -5
    assert [market.reserved(key) for key in keys] == [5 * 100_000, *[0] * 7]


def test_sixty_four_vetoes_a_call(vetoing):
    market, buyer = vetoing, vetoing.buyer
    asks(market, 1_000)
    orders = [market.signed(buyer, market.bid(buyer, BUYER, 10, **IOC)) for _ in range(65)]
    assert sum(isinstance(event, OrdersFilled) for event in market.place_all(*orders)) == 65
    to_the_gate(market)
    vetoes = market.whole_vetoes()[::-1]
    assert market.chain.receipt(market.veto(*vetoes)).status == 0
    assert len(market.do(market.veto(*vetoes[:64]))) == 64
    assert market.position(buyer).net == 10


def test_an_immediate_maker_and_taker_are_both_undone(vetoing):
    """An account that took and was taken from: only the vetoed part of each goes."""
    market, buyer, other, seller = vetoing, *vetoing.traders
    asks(market, 50)
    market.place(buyer, market.bid(buyer, BUYER, 80))  # takes 50, 30 rest
    market.place(other, market.ask(other, OTHER, 20, **IOC))  # takes 20 of them
    to_the_gate(market)
    first, second = market.whole_vetoes()
    market.do(market.veto(second, replace(first, cut=10)))
    market.close()
    assert [market.position(key).net for key in (buyer, other, seller)] == [40, 0, -40]
    assert market.reserved(buyer) == 40 * BUYER


# --- afterwards ---------------------------------------------------------------------------------


def test_a_vetoed_slot_settles_to_zero(vetoing):
    market, buyer, other, seller = vetoing, *vetoing.traders
    asks(market, 60, 60)
    market.place(buyer, market.bid(buyer, BUYER, 80, **IOC))
    market.place(other, market.bid(other, OTHER, 40, **IOC))
    to_the_gate(market)
    first, second = market.whole_vetoes()
    market.do(market.veto(second, replace(first, cut=15)))
    market.close()
    market.post_prices()
    market.read(*(market.signed_reading(key, net) for key, net in ((buyer, 60), (other, 5), (seller, -70))))
    before = market.total()
    events = market.settle(*market.everyone)
    trades = {event.account: event.trades for event in events[:-1]}
    assert trades[buyer.address] == -trades[seller.address] == 65 * 100_000 and trades[other.address] == 0
    assert market.clearing() == 0 and market.total() == before == 1_300 * EUR
    assert [market.reserved(key) for key in market.traders] == [0, 0, 0]
