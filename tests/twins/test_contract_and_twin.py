"""The contract and its readable twin do the same, whatever is asked of them; and everything is asked.

Each life is drawn by its number. `make long` lives on from these (`tests/long/lives.py`).
"""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest

from ledger.calls import Call
from market.events import Event
from tests.twins.lives import MARKETS, live
from tests.twins.tally import Tally, rules

LIVES = range(8)
VIEWING = 0.1
"""Share of actions after which views are asked; storage is looked at after each."""
ACTIONS_MIN = 2_000

FEATURES = {
    **{f"order in class {energy_class}": 10 for energy_class in range(4)},
    "immediate-or-cancel order": 50,
    "order with an expiry": 50,
    "order of a named relayer": 1,
    "fill of several makers": 5,
    "gate closure in steps": 20,
    "veto of a part": 3,
    "hand-over of role 0": 3,
    "hand-over of role 1": 3,
    "meter key of a new epoch": 1,
    "settled: a market of dlmp by the tariff": 5,
    "settled: with a penalty": 1,
    "settled: more than was contracted": 10,
    "resettled: with a difference": 10,
}
"""What has to come about, and how often at least."""
CODES = {
    **{f"void: {reason}": 20 for reason in ("cancelled", "expired", "own order", "immediate or cancel")},
    "void: gate closed": 100,
    "estimate: contract": 10,
    "estimate: forecast": 5,
    **{f"settled: {rule}, by reading": 50 for rule in ("dlmp", "tariff")},
    **{
        f"settled: {rule}, by {basis}": 3 for rule in ("dlmp", "tariff") for basis in ("contract", "forecast")
    },
}
CHECKS = {
    "token balance = Σ balances + Σ clearing": ACTIONS_MIN,
    "backing": ACTIONS_MIN,
    "backing, something uncovered": 100,
    "cleared before settlement": 20,
    "refused, and rightly: settlement: utility unfunded": 1,
    "refused, and rightly: settlement: clear first": 1,
    "reserved = Σ reserves by slot": ACTIONS_MIN,
    "reserve covers what is paid in": 1_000,
    "reserve covers the worst case": 1_000,
    "reserve covers the worst case, with a penalty": 5,
    "queues in storage = queues by events": 200,
    "positions = entries": 200,
    "book never crossed": 400,
    "price-time priority": 150,
    "limit as signed": 300,
    "nobody beyond their limit": 500,
    "Σ energy = 0 and Σ trades = 0": 50,
    "postings of a slot sum to 0": 50,
    "identity of the slot": 50,
    "identity, without charges": 1,
    "identity, without prices": 5,
    "identity, with hub trades": 5,
    "identity, with the substation's reading": 3,
    "identity, with a resettlement": 5,
}
"""Invariants, and how often they were looked at at least."""
ELSEWHERE = {"exchange: wrong blueprint", "slots: bad terms", "accounts: too many decimals"}
ELSEWHERE |= {"accounts: transfer failed", "accounts: too many", "accounts: balance out of range"}
ELSEWHERE |= {"book: no such class", "book: no such level", "oracle: no such bus", "batch: too many visits"}
"""Rules that no life of these markets can break: of deployment, hostile tokens, views, sizes beyond them."""
SELDOM = {"accounts: was the utility", "accounts: nothing to change", "accounts: amount too large"}
SELDOM |= {"slots: already scheduled", "slots: no such slot", "prices: hub price off range"}
SELDOM |= {"substation: wrong length", "substation: already posted", "charges: substation is not zero"}
SELDOM |= {
    "prices: substation is not the hub price",
    "forecasts: wrong length",
    "oracle: wrong number of chunks",
    "oracle: value beyond the last bus",
}
SELDOM |= {"veto: not the last fill", "veto: more than was filled", "reading: wrong classes"}
"""Rules that so few lives need not break; those of `make long` do."""


@cache
def lived(market: str) -> Tally:
    """The first lives of a market."""
    total = Tally()
    for number in LIVES:
        total.add(live(market, number, VIEWING).as_json())
    return total


@pytest.fixture(scope="module")
def together() -> Tally:
    total = Tally()
    for market in MARKETS:
        total.add(lived(market).as_json())
    return total


@pytest.mark.parametrize("market", MARKETS)
def test_contract_and_twin_agree(market: str) -> None:
    assert lived(market).lives == {market: len(LIVES)}


def test_lives_make_every_call_and_see_every_event(together: Tally) -> None:
    assert together.actions >= ACTIONS_MIN
    assert together.done.keys() == {call.__name__ for call in get_args(Call)}
    assert together.events.keys() == {event.__name__ for event in get_args(Event)} - {"VetoPaused"}


@pytest.mark.parametrize("kind", ["features", "codes", "checks"])
def test_lives_show_what_they_are_meant_to(together: Tally, kind: str) -> None:
    least = {"features": FEATURES, "codes": CODES, "checks": CHECKS}[kind]
    counted = getattr(together, kind)
    assert {name: counted[name] for name in least if counted[name] < least[name]} == {}


def test_lives_break_every_rule_that_they_can(together: Tally) -> None:
    """Orders and readings among them: alone they are refused, in a batch rejected."""
    broken = {*together.refused, *together.codes}
    assert {*rules()} - broken - SELDOM == ELSEWHERE
    assert not broken & ELSEWHERE
