"""Thirty agents and their oracles as processes: four slots from charges to settlement, then with failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from market.atc.responses import Stand
from node.agent.drawn import as_toml, drawn
from node.scenario.world import World
from node.testnet.world import SLOTS_PER_DAY, world_of
from tests.network.processes import network
from tests.network.trading_day import audited, best_prices, clearing, furthest, settle, trade

pytestmark = pytest.mark.long

AGENTS = 30
KILLED, SILENT = range(5, 10), (20, 21)
DOWN, LYING = 2, 1
APART_UEUR_PER_KWH = 5
"""What the residual stop, 1e-5 of the price, allows on both sides, and rounding: 160 000 µ€/kWh at most."""


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(AGENTS)


def devices(world: World) -> Callable[[int], str]:
    return lambda number: as_toml(drawn(world, number))


def test_three_signers_and_thirty_agents_trade_four_slots(
    tmp_path: Path, world: World, record_property: Callable[[str, object], None]
):
    with network(
        tmp_path,
        accounts=AGENTS,
        devices=devices(world),
        oracles=dict.fromkeys(range(3), ()),
        agents=dict.fromkeys(range(AGENTS), ()),
        answer_seconds=60,
        turn_seconds=300,
    ) as net:
        slots = trade(net)
        settle(net, slots, missing=False)
        bills = [event for agent in net.agents.values() for event in agent.events if event["event"] == "bill"]
        record, report = audited(net, tmp_path / "bundle")
    assert report.ok, str(report)
    assert not [line for line in report.assumed if "missing from" in line or "estimate settled" in line]
    found = [clearing(record, slot) for slot in slots]
    apart = [furthest(each.posted, best_prices(each, world, each.slot % SLOTS_PER_DAY)) for each in found]
    assert max(apart) <= APART_UEUR_PER_KWH, apart
    assert all(len(each.standing(Stand.ANSWERED)) == AGENTS for each in found)
    rounds = [each.responses.round for each in found]
    record_property("rounds", rounds)
    record_property("furthest from Newton, µ€/kWh", apart)
    record_property("bills read by agents", len(bills))
    record_property("audit", report.verified[2])
    print(rounds, apart, len(bills), report.verified, sep="\n")


def test_failures_change_nothing_but_who_is_counted(
    tmp_path: Path, world: World, record_property: Callable[[str, object], None]
):
    """Five agents killed in the middle of a clearing, two silent, one of five signers down and one lying.

    With three signers one that is down and one that lies leave one, which is no quorum of two: no prices, and
    that is right. So there are five, of which three must agree.
    """
    misbehaving = dict.fromkeys(KILLED, ("killed",)) | dict.fromkeys(SILENT, ("silent",))
    with network(
        tmp_path,
        accounts=AGENTS,
        signers=5,
        devices=devices(world),
        oracles={number: ("lying",) * (number == LYING) for number in range(5) if number != DOWN},
        agents={number: misbehaving.get(number, ()) for number in range(AGENTS)},
        answer_seconds=20,
        turn_seconds=90,
    ) as net:
        slots = trade(net)
        assert not any(net.agents[number].runs for number in KILLED)
        settle(net, slots, missing=True)
        record, report = audited(net, tmp_path / "bundle")
        addresses = [account["address"] for account in net.document["accounts"]]
    assert report.ok, str(report)
    found = [clearing(record, slot) for slot in slots]
    assert all(set(each.signers) == {0, 3, 4} for each in found), [each.signers for each in found]
    apart = [furthest(each.posted, best_prices(each, world, each.slot % SLOTS_PER_DAY)) for each in found]
    assert max(apart) <= APART_UEUR_PER_KWH, apart
    killed, silent = ({addresses[number] for number in numbers} for numbers in (KILLED, SILENT))
    # at their last answers; at forecasts where the liar's turn came first, in which they died
    assert found[0].standing(Stand.HELD) in (killed, set())
    assert found[0].standing(Stand.HELD) | found[0].standing(Stand.FORECAST) == killed | silent
    assert all(each.standing(Stand.FORECAST) == killed | silent for each in found[1:])
    for slot in slots:
        missing = [line for line in report.assumed if line.startswith(f"slot {slot}: missing from")]
        assert all(any(address in line for line in missing) for address in killed | silent)
        (estimated,) = [line for line in report.assumed if line.startswith(f"slot {slot}: no reading came")]
        assert all(address in estimated for address in killed)
    rounds = [each.responses.round for each in found]
    record_property("rounds", rounds)
    record_property("furthest from Newton, µ€/kWh", apart)
    record_property("audit", report.verified[2])
    print(rounds, apart, report.verified, *report.assumed, sep="\n")
