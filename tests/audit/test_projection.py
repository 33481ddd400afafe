"""The market as its events tell it: one account at all its addresses, nonces, and what is forgotten."""

from __future__ import annotations

import gc

import pytest

from market.orders import NonceCancelled, OrderPlaced, OrderVoided, Side
from node.api import projection
from node.api.projection import Projection
from node.api.sources import RecordSource
from node.simulate.bookview import SlotView
from tests.audit.small_market import BUYER, NEW_UTILITY, SLOT, UTILITY


def test_orders_of_a_utility_that_was_handed_over_are_found_again():
    former, present = UTILITY.address, NEW_UTILITY.address
    view = SlotView(SLOT, lambda number: present, lambda address: former if address == present else address)
    view.apply([OrderPlaced(SLOT, former, 7, Side.BID, 0, 10, 1_000, 500, 0, 0)])
    view.apply([OrderVoided(SLOT, present, 7, 200, 0)])
    assert (view.rests_wh(former, 7), view.rests_wh(present, 7), view.next_nonce(present)) == (300, 300, 8)


def test_nonces_are_free_until_placed_or_cancelled():
    view = SlotView(SLOT, lambda number: BUYER.address)

    def used(*nonces: int) -> None:
        view.apply([OrderPlaced(SLOT, BUYER.address, nonce, 0, 0, 1, 1, 1, 0, 0) for nonce in nonces])

    assert (view.free_nonce(BUYER.address), view.next_nonce(BUYER.address)) == (0, 0)
    view.apply([NonceCancelled(SLOT, BUYER.address, 0)])
    assert (view.free_nonce(BUYER.address), view.next_nonce(BUYER.address)) == (1, 1)
    used(255)
    assert (view.free_nonce(BUYER.address), view.next_nonce(BUYER.address)) == (1, 256)
    used(1, 2, 4)
    assert view.free_nonce(BUYER.address) == 3
    used(*range(255))
    assert view.free_nonce(BUYER.address) is None


def test_settled_slots_are_forgotten_where_there_are_too_many_orders(
    source: RecordSource, monkeypatch: pytest.MonkeyPatch
):
    whole = Projection(source)
    slots, payments = whole.slots(), whole.payments()
    orders = sum(len(facts.view.placed) for facts in slots.values())
    traded = [slot for slot, facts in slots.items() if facts.view.placed and facts.settled]
    monkeypatch.setattr(projection, "ORDERS_KEPT", orders - 1)
    held = _views_in_memory(traded[0])
    less = Projection(source)
    with less._lock:
        less._refresh()
        less._forget_oldest()
    assert traded[0] not in less.slots()
    assert set(traded[1:]) <= less.slots().keys()
    assert less.payments() == payments, "what was paid is told all the same"
    assert _views_in_memory(traded[0]) == held, "nothing else holds on to what was forgotten"


def _views_in_memory(slot: int) -> int:
    gc.collect()
    return sum(type(each) is SlotView and each.slot == slot for each in gc.get_objects())
