"""Corners that deliberate faults (`faults.py`) found bare, or held by one test that is about something else.

The last Wh of a capacity, a dear bus under the tariff, another chain, a level that has no place left, and
more entries than one call may close.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.chain import building
from ledger.chain.embedded import CHAIN_ID
from ledger.eip712 import digest
from ledger.keccak import keccak
from ledger.keys import Key, derive
from market.orders import ClosingPaused, GateClosed, OrderVoided, Side, VoidReason
from tests.exchange.conftest import EUR, TERMS, Market, found, level_number

LIMITS = {Side.BID: 100_000, Side.ASK: 97_000}
"""Hub prices; bus 4 has no charge. They meet nothing that rests."""
CROSSING = {Side.BID: 110_000, Side.ASK: 90_000}
FAR = {Side.BID: 60_000, Side.ASK: 150_000}
PLACES_MAX, ENTRIES_PER_CALL = 65_535, 512
"""Bounds of the sources: entries of a level, and those that one call closes."""
HEADS = 12
"""Where `levels.heads` is in the storage."""

# --- capacity -----------------------------------------------------------------------------------


def narrow(market: Market, capacity: int) -> Key:
    """An account that may take or give so many Wh a slot."""
    key = derive(7, "narrow", capacity)
    return market.register(key, 4, import_capacity=capacity, export_capacity=capacity)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("missing", [1, 9])
def test_a_lot_that_does_not_fit_whole_is_refused(trading, side, missing):
    market, key = trading, narrow(trading, 310 - missing)
    market.refused("order: over capacity", market.submit(key, market.order(key, side, LIMITS[side], 310)))
    market.place(key, market.order(key, side, LIMITS[side], 300, nonce=1))
    last = market.order(key, side, LIMITS[side], 10, nonce=2)
    market.refused("order: over capacity", market.submit(key, last))
    market.do(market.exchange.set_account(key.address, 310, 310, 0, 0, sender=market.utility))
    market.place(key, last)


@pytest.mark.parametrize("side", Side)
def test_what_was_traded_counts_to_the_last_wh(trading, side):
    """What is bought leaves as much less to buy, and as much more to sell."""
    market, key, other = trading, narrow(trading, 309), Side(1 - side)
    market.place(market.other, market.order(market.other, other, 100_000, 100))
    market.place(key, market.order(key, side, CROSSING[side], 100))
    assert abs(market.position(key).net) == 100
    for direction, fits in ((side, 200), (other, 400)):
        wide = market.order(key, direction, FAR[direction], fits + 10)
        market.refused("order: over capacity", market.submit(key, wide))
        market.place(key, replace(wide, quantity_wh=fits))


# --- reserve ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charge", "reserve"),
    [
        (100_000, 200_000),  # retail costs 300 000, as does the hub with the charge: 200 000 + 100 000
        (100_001, 200_001),
        (150_000, 250_000),
    ],
)
def test_at_a_dear_bus_an_ask_reserves_what_the_energy_would_cost_there(tariff_market, charge, reserve):
    """As dear as it can come: nothing is delivered, and the bill is all that was kept for it."""
    market, buyer = tariff_market, tariff_market.buyer
    market.open((0, charge, *[0] * 10))
    market.place(buyer, market.ask(buyer, 100_000 + charge, 10))
    assert market.reserved(buyer) == 10 * reserve
    market.place(market.other, market.bid(market.other, 100_000, 10))
    market.close()
    market.post_prices()
    market.read(market.signed_reading(buyer, 0))
    market.settle(buyer.address)
    assert market.balance(buyer) == 100 * EUR - 10 * reserve


# --- another chain ------------------------------------------------------------------------------


def test_a_market_on_another_chain_takes_what_was_signed_for_it_alone():
    market, here = found(TERMS, chain_id=CHAIN_ID + 1), found(TERMS)
    assert market.exchange.address == here.exchange.address
    market.open()
    order = market.bid(market.buyer, 60_000)
    foreign = market.buyer.sign(digest(here.exchange.domain, order))
    market.refused("order: bad signature", market.exchange.place_order(order, foreign, sender=market.relayer))
    market.place(market.buyer, order)


# --- long queues --------------------------------------------------------------------------------


def empty_queue(market: Market, monkeypatch: pytest.MonkeyPatch, places: int, tick: int) -> None:
    """Let a level of bids, opened already, have so many places behind it, whose orders were cancelled."""
    level = level_number(market.slot, 0, Side.BID, tick)
    slot = int.from_bytes(keccak(HEADS.to_bytes(32, "big") + level.to_bytes(32, "big")), "big")
    address = bytes.fromhex(market.exchange.address[2:])
    word = market.chain.storage(market.exchange.address, slot)
    # One order was met or cancelled there, and nothing rests: head and tail of the queue are alike.
    assert word & 0xFFFF == word >> 16 & 0xFFFF == 1

    def written(machine, *others):
        machine._state.set_storage(address, slot, word & ~0xFFFFFFFF | places << 16 | places)
        return building.fill(machine, *others)

    with monkeypatch.context() as patch:
        patch.setattr("ledger.chain.embedded.fill", written)
        market.chain.mine_block()


@pytest.fixture
def opened(trading) -> Market:
    """A market with a level at tick 600 where an order was cancelled."""
    trading.place(trading.other, trading.bid(trading.other, 62_050, 10, nonce=0))
    trading.do(trading.cancel(trading.other, 0))
    return trading


def test_a_level_has_65_535_places(opened, monkeypatch):
    market, buyer = opened, opened.buyer
    empty_queue(market, monkeypatch, PLACES_MAX - 1, 600)
    assert market.place(buyer, market.bid(buyer, 61_000, 10, nonce=0)) == []
    assert market.place(buyer, market.bid(buyer, 61_000, 20, nonce=1)) == [
        OrderVoided(market.slot, buyer.address, 1, 20, VoidReason.LEVEL_FULL)
    ]
    position = market.position(buyer)
    assert (position.bids, position.resting_bids, position.reserve) == (1, 10, 10 * 61_000)
    # The level beside it has places, and the one that is full trades what it has.
    assert market.place(buyer, market.bid(buyer, 61_100, 10, nonce=2)) == []
    seller = market.seller
    events = market.do(market.submit(seller, market.ask(seller, 50_000, 20)))
    assert [fill[1:] for fill in market.fills(events)] == [(2, 601, 10), (0, 600, 10)]


@pytest.mark.parametrize(("places", "calls"), [(ENTRIES_PER_CALL, 1), (ENTRIES_PER_CALL + 1, 2)])
def test_a_call_closes_512_entries_whatever_its_limit(opened, monkeypatch, places, calls):
    market = opened
    empty_queue(market, monkeypatch, places, 600)
    market.at(market.terms.closing(market.slot))
    events = paused = [ClosingPaused(market.slot, 0, Side.BID, 600, ENTRIES_PER_CALL)]
    for _ in range(calls):
        assert events == paused
        events = list(market.do(market.exchange.close_gate(market.slot, 2**32 - 1, sender=market.relayer)))
    assert [type(event) for event in events] == [GateClosed]
    market.refused("book: gate is closed", market.exchange.close_gate(market.slot, 1, sender=market.relayer))
