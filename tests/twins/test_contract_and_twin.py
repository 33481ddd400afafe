"""The contract and its readable twin do the same, whatever is asked of them."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, settings

from market.slots import Rule, Terms
from tests.twins.machine import TwinMachine
from tests.twins.pair import Pair
from tests.twins.posting import ORACLES, QUORUM

MARKETS = {
    # A token finer than n€, three words by bus with values to spare, two classes, a veto.
    "dlmp": (
        Terms(rule=Rule.DLMP, lot_wh=2, buses=17, penalties_ueur_per_kwh=(40_000, 250_000), veto_grace=400),
        18,
    ),
    # A token coarser than n€, more buses than a chunk holds, one class, no veto.
    "tariff": (Terms(rule=Rule.TARIFF, lot_wh=5, buses=260, penalties_ueur_per_kwh=(70_000,)), 6),
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


@pytest.mark.parametrize("name", MARKETS)
def test_contract_and_twin_agree(name):
    run(name, examples=10, steps=42)


@pytest.mark.long
@pytest.mark.parametrize("name", MARKETS)
def test_contract_and_twin_agree_at_length(name):
    run(name, examples=150, steps=80)
