"""The contract and its readable twin do the same, whatever is asked of them."""

from __future__ import annotations

from functools import cache
from typing import get_args

import pytest
from hypothesis import HealthCheck, Phase, settings

from ledger import calls
from market.orders import VoidReason
from market.settlement import Basis
from market.slots import Rule, Terms
from tests.twins.machine import TwinMachine
from tests.twins.pair import Pair
from tests.twins.posting import ORACLES, QUORUM
from tests.twins.tally import Tally

MARKETS = {
    # A token finer than n€, three words by bus with values to spare, two classes, a veto.
    "dlmp": (
        Terms(rule=Rule.DLMP, lot_wh=2, buses=17, penalties_ueur_per_kwh=(40_000, 250_000), veto_grace=400),
        18,
    ),
    # A token coarser than n€, more buses than a chunk holds, one class, no veto.
    "tariff": (Terms(rule=Rule.TARIFF, lot_wh=5, buses=260, penalties_ueur_per_kwh=(70_000,)), 6),
}

SUCCEED = [
    *(call.__name__ for call in get_args(calls.Call)),
    *("event: FillVetoed", "event: AccountResettled", "accounts: was the utility"),
    *(f"voided: {reason.name}" for reason in VoidReason if reason < VoidReason.VISITS),
    *(f"estimated: {basis.name}" for basis in (Basis.CONTRACT, Basis.FORECAST)),
]
"""What is too rare for short lives, a full level and 128 visits, tests/exchange brings about."""
REFUSING = {
    *("accounts", "book", "charges", "exchange", "forecasts", "oracle", "order", "prices"),
    *("reading", "rejected", "settlement", "slots", "substation", "veto"),
}


@cache
def pair(name: str) -> Pair:
    terms, decimals = MARKETS[name]
    return Pair(terms, decimals, ORACLES, QUORUM)


def run(name: str, examples: int, steps: int) -> None:
    machine = type(f"{name.capitalize()}Machine", (TwinMachine,), {"pair": pair(name)})
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        deadline=None,
        # What failed is in the message, with the call; making it smaller would take many minutes.
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    case("runTest").runTest()


@cache
def lived(name: str) -> Tally:
    """What the lives of every run did in a market."""
    run(name, examples=14, steps=42)
    return pair(name).tally


@pytest.mark.parametrize("name", MARKETS)
def test_contract_and_twin_agree(name):
    assert lived(name)["calls"] >= 1_000


def test_lives_have_every_feature():
    """Each kind of call succeeds somewhere, and refusals are as varied as they are meant to be."""
    tally = lived("dlmp") + lived("tariff")
    assert tally["calls"] >= 2_000
    assert not [name for name in SUCCEED if not tally[name]]
    refused = {name for name in tally if name.partition(": ")[0] in REFUSING}
    assert len(refused) >= 70, sorted(refused)


@pytest.mark.long
@pytest.mark.parametrize("name", MARKETS)
def test_contract_and_twin_agree_at_length(name):
    run(name, examples=150, steps=80)
