"""What vetoes take back, maker by maker, and the books that traders and pages see of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.history import history
from ledger.keys import Key
from ledger.record import Record
from ledger.trades import take_back
from market.events import Event
from market.orders import Fill, FillVetoed, OrderPlaced, OrdersFilled, OrderVoided, Side
from node.simulate.bookview import SlotView
from tests.audit.small_market import BUYER, NEIGHBOUR, SELLER, SILENT

ADDRESSES = ("utility", "first", "second", "taker")


def maker(number: int, nonce: int, quantity: int) -> int:
    return number << 40 | nonce << 32 | quantity


def rests(number: int, nonce: int, quantity: int) -> OrderPlaced:
    return OrderPlaced(5, ADDRESSES[number], nonce, Side.ASK, 0, 40, 4_000, quantity, 0, 0)


def vetoed(quantity: int) -> FillVetoed:
    return FillVetoed(5, "taker", 9, Side.BID, 0, 40, quantity, 2, 1)


TRADED: tuple[Event, ...] = (
    rests(1, 0, 100),
    rests(2, 0, 100),
    OrderPlaced(5, "taker", 9, Side.BID, 0, 41, 4_100, 150, 0, 0),
    OrdersFilled(5, "taker", 9, Side.BID, 0, 40, (maker(1, 0, 100), maker(2, 0, 50))),
)


def seen(*events: Event) -> SlotView:
    view = SlotView(5, ADDRESSES.__getitem__)
    view.apply(events)
    return view


def test_veto_goes_back_over_makers() -> None:
    fills = list(seen(*TRADED).fills)
    parts = take_back(fills, 70)
    assert [(part.maker, part.quantity) for part in parts] == [("second", 50), ("first", 20)]
    assert [(fill.maker, fill.quantity) for fill in fills] == [("first", 80)]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=8), st.lists(st.integers(1, 40), max_size=12))
def test_no_energy_is_lost(quantities: list[int], cuts: list[int]) -> None:
    fills = [Fill(5, 0, 40, quantity, "m", i, "t", 9, Side.BID) for i, quantity in enumerate(quantities)]
    standing = list(fills)
    gone = sum(part.quantity for cut in cuts for part in take_back(standing, cut))
    assert gone == min(sum(cuts), sum(quantities))
    assert sum(fill.quantity for fill in standing) == sum(quantities) - gone
    whole, last = standing[:-1], standing[-1:]
    assert whole == fills[: len(whole)]
    assert all(replace(fill, quantity=fills[len(whole)].quantity) == fills[len(whole)] for fill in last)


def test_view_counts_a_fill_for_both_and_shows_what_rests() -> None:
    view = seen(*TRADED)
    assert view.contracted == {"taker": 150, "first": -100, "second": -50}
    assert view.ladder(Side.ASK) == ((40, 50),)
    assert view.ladder(Side.BID) == ()
    assert (view.best(Side.ASK), view.best(Side.BID)) == (40, None)
    assert (view.resting_nonces("first"), view.resting_nonces("second")) == ((), (0,))


def test_view_of_a_veto_rests_again_until_closing_voids_it() -> None:
    view = seen(*TRADED, vetoed(70))
    assert view.contracted == {"taker": 80, "first": -80, "second": 0}
    assert view.ladder(Side.ASK) == ((40, 120),)
    assert view.resting_wh("taker", Side.BID) == 0, "the taker's part is gone"
    view.apply([OrderVoided(5, "second", 0, 100, 6), OrderVoided(5, "first", 0, 20, 6)])
    assert view.ladder(Side.ASK) == ()
    assert view.resting_nonces("first") == ()


@pytest.mark.parametrize("trader", [BUYER, SELLER, NEIGHBOUR])
def test_view_and_history_of_a_real_veto_agree(record: Record, trader: Key) -> None:
    known = history(record)
    slot = known.slots[SILENT]
    addresses = {number: address for address, number in known.ids.items()}
    view = SlotView(SILENT, addresses.__getitem__)
    view.apply(logged.event for logged in slot.logged if logged.event is not None)
    held = {addresses[number]: position.net_wh for number, position in known.positions(slot).items()}
    address = trader.address
    assert view.contracted[address] == held[address]
    assert sum(part.quantity for _, part in slot.vetoed) == 300
