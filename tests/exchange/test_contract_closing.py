"""The gate closes: in one call or in pieces, and every maker is credited exactly."""

from __future__ import annotations

from ledger.keys import derive
from ledger.state import RestingOrder
from market.orders import Berth, ClosingPaused, GateClosed, OrdersFilled, OrderVoided, Side, VoidReason
from tests.exchange.conftest import EUR, Market
from tests.exchange.levels import LIMIT, TICK, queue, sell


def busy(market: Market) -> None:
    """Levels of both sides and two classes, with gaps, partial and whole fills, and one opened again."""
    buyer, other, seller = market.traders
    queue(market, [100] * 9)
    market.place(seller, market.ask(seller, 297_000, 100))
    market.place(seller, market.ask(seller, 197_000, 50, energy_class=1))
    market.place(seller, market.ask(seller, 197_000, 70, energy_class=1))
    market.place(buyer, market.bid(buyer, 201_000, 60, energy_class=1))
    market.place(other, market.bid(other, 101_050, 80))
    market.place(seller, market.ask(seller, 95_000, 20))
    market.do(market.cancel(buyer, 1))
    sell(market, 230)
    market.do(market.cancel(other, 1))
    market.place(buyer, market.bid(buyer, LIMIT["buyer"], 40))


def picture(market: Market) -> dict:
    """All that closing is about, of everybody."""
    x, slot = market.exchange, market.slot
    return {
        address: (
            x.position_of(slot, address),
            [x.class_net_of(slot, address, energy_class) for energy_class in (1, 2)],
            x.account_of(address),
        )
        for address in market.everyone
    } | {"state": x.slot_of(slot)}


def test_closing_in_steps_of_any_limit_is_closing_at_once(trading):
    market = trading
    busy(market)
    outcomes = []
    for limit in (512, 14, 1, 2, 3, 5, 7):
        snapshot = market.chain.snapshot()
        events = market.close(limit)
        steps = [event for event in events if isinstance(event, ClosingPaused)]
        assert limit >= 14 or steps
        outcomes.append(([event for event in events if event not in steps], picture(market)))
        market.chain.revert(snapshot)
    assert all(outcome == outcomes[0] for outcome in outcomes[1:])
    events, seen = outcomes[0]
    assert isinstance(events[-1], GateClosed) and len(events) > 5
    for address in market.everyone:
        position, _, account = seen[address]
        assert (position.resting_bids, position.resting_asks) == (0, 0)
        assert position.reserve == account.reserved
    assert sum(seen[address][0].net for address in market.everyone) == 0
    assert sum(seen[address][0].trades for address in market.everyone) == 0
    assert sum(seen[address][1][0] for address in market.everyone) == 0


def test_makers_are_credited_exactly(trading):
    """Positions after closing are the sums of the fills that the events told."""
    market = trading
    busy(market)
    market.close()
    told = [event for event in market.exchange.history() if isinstance(event, OrdersFilled)]
    nets = dict.fromkeys(market.everyone, 0)
    classes, trades = dict(nets), dict(nets)
    for event in told:
        sign = 1 if event.taker_side == Side.BID else -1
        for fill in event.fills(market.exchange.account_at):
            for who, bought in ((fill.taker, sign), (fill.maker, -sign)):
                nets[who] += bought * fill.quantity
                trades[who] += bought * fill.quantity * fill.tick * 100
                classes[who] += bought * fill.quantity if fill.energy_class == 1 else 0
    x, slot = market.exchange, market.slot
    assert {a: x.position_of(slot, a).net for a in nets} == nets
    assert {a: x.position_of(slot, a).trades for a in nets} == trades
    assert {a: x.class_net_of(slot, a, 1) for a in nets} == classes
    assert sum(abs(net) for net in nets.values()) > 0 and sum(abs(n) for n in classes.values()) == 120


def test_the_level_opened_last_is_closed_first(trading):
    market, buyer, other, seller = trading, *trading.traders
    market.place(buyer, market.bid(buyer, 101_000, 100))
    market.place(other, market.bid(other, 101_050, 50))
    market.place(buyer, market.bid(buyer, 101_000, 20))
    market.place(seller, market.ask(seller, 297_000, 100))
    market.place(seller, market.ask(seller, 295_000, 30, energy_class=1))
    # An order at a level that is there opens none.
    market.place(other, market.bid(other, 102_050, 10))
    voids = [(e.trader, e.nonce, e.quantity) for e in market.close()[:-1]]
    assert voids == [
        (seller.address, 1, 30),
        (seller.address, 0, 100),
        (other.address, 0, 50),
        (buyer.address, 0, 100),
        (buyer.address, 1, 20),
        (other.address, 1, 10),
    ]


def test_the_gate_closes_in_pieces(trading):
    market, buyer, other, seller = trading, *trading.traders
    x = market.exchange
    queue(market, [100, 100, 100])
    market.place(seller, market.ask(seller, 297_000, 100))
    market.do(market.cancel(other, 0))
    market.at(market.terms.gate(market.slot) - 1)
    market.refused("book: before closing", x.close_gate(market.slot, 9, sender=market.relayer))
    assert x.best_ask(market.slot, 0).found
    assert market.do(x.close_gate(market.slot, 2, sender=market.relayer)) == (
        OrderVoided(market.slot, seller.address, 0, 100, VoidReason.GATE_CLOSED),
        OrderVoided(market.slot, buyer.address, 0, 100, VoidReason.GATE_CLOSED),
        ClosingPaused(market.slot, 0, Side.BID, 1_000, 1),
    )
    state = x.slot_of(market.slot)
    assert (state.closing, state.gate_closed, state.accounts) == (True, False, 0)
    assert market.reserved(buyer) == 100 * 101_000
    # The book is gone.
    assert not x.best_ask(market.slot, 0).found and not x.best_bid(market.slot, 0).found
    assert x.order_of(market.slot, buyer.address, 1) == RestingOrder(Berth(), 0)
    assert x.level_of(market.slot, 0, Side.BID, TICK) == 0
    market.refused(
        "settlement: gate is open", x.settle(market.slot, [market.utility.address], sender=market.relayer)
    )
    # A limit of 0 goes nowhere, one gap is an entry like any other.
    for limit, place in ((0, 1), (1, 2)):
        assert market.do(x.close_gate(market.slot, limit, sender=market.relayer)) == (
            ClosingPaused(market.slot, 0, Side.BID, 1_000, place),
        )
    assert market.do(x.close_gate(market.slot, 1, sender=market.relayer)) == (
        OrderVoided(market.slot, buyer.address, 1, 100, VoidReason.GATE_CLOSED),
        GateClosed(market.slot, 4),
    )
    state = x.slot_of(market.slot)
    assert (state.gate_closed, state.closing, state.accounts) == (True, True, 4)
    market.refused("book: gate is closed", x.close_gate(market.slot, 2, sender=market.relayer))
    for key in market.traders:
        position = market.position(key)
        assert (position.resting_bids, position.resting_asks, position.reserve) == (0, 0, 0)


def test_an_empty_gate_closes_at_once(trading):
    market = trading
    market.at(market.terms.gate(market.slot))
    closed = market.exchange.close_gate(market.slot, 0, sender=market.relayer)
    assert market.do(closed) == (GateClosed(market.slot, 4),)
    market.refused(
        "slots: not scheduled", market.exchange.close_gate(market.slot - 1, 0, sender=market.relayer)
    )


def test_closing_goes_through_more_entries_than_a_word_holds(trading):
    market, buyer = trading, trading.buyer
    for nonce in range(14):
        market.place(buyer, market.bid(buyer, 101_000 if nonce % 2 else 100_900, 10))
    assert [e.nonce for e in market.close(5) if isinstance(e, OrderVoided)] == [
        *range(1, 14, 2),
        *range(0, 14, 2),
    ]
    assert market.reserved(buyer) == 0


def test_accounts_registered_before_the_last_step_are_in_the_snapshot(trading):
    market, x = trading, trading.exchange
    queue(market, [10, 10])
    market.at(market.terms.gate(market.slot))
    market.do(x.close_gate(market.slot, 1, sender=market.relayer))
    market.register(derive(7, "late"), 4, deposit=EUR)
    assert market.close()[-1] == GateClosed(market.slot, 5)
    market.register(derive(7, "too late"), 4, deposit=EUR)
    assert x.slot_of(market.slot).accounts == 5
