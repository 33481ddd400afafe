"""Agents when oracles, nodes and messages fail them, and when an oracle asks what it should not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from ledger import eip712
from ledger.chain.protocol import ChainUnavailable, Reverted
from market.agents.policies import AgentView
from market.atc.messages import Purpose, Question
from market.atc.responses import Stand
from market.orders import Flag, Order, OrdersFilled, OrderVoided, Side, VoidReason
from market.slots import Terms
from node.agent.answering import QUESTIONS_MAX, Answering, QuestionRefusedError
from node.agent.devices import DeviceFile, Firm, Flexible, Generator, of_slot
from node.agent.household import Household
from node.agent.trading import Habits, Trader, outcome
from node.client.complaints import Complaints
from node.client.http import Client, UnreachableError
from node.client.schemas import AnswerBody, QuestionBody
from node.client.serving import listening, serving
from node.oracle.app import create_app
from node.oracle.coordinate import coordinate
from node.oracle.rounds import OpenClearing
from tests.network.clearing_case import (
    CAPACITY_MW,
    DOMAIN,
    FILES,
    KEYS,
    ORACLE,
    ORACLE_KEY,
    PURPOSE,
    SLOT,
    listens,
    members,
    newton,
    outlook,
)
from tests.network.test_oracle_server import Serving

TERMS = Terms()
UTILITY = "0x" + "33" * 20


@dataclass
class Node:
    """Chain and exchange as far as an agent asks them: one slot, and readings, the first ones lost."""

    second: int = TERMS.closing(SLOT) + 1
    outages: int = 0
    refusal: str = ""
    state: Any = field(
        default_factory=lambda: SimpleNamespace(
            scheduled=True,
            settled=False,
            gate_closed=True,
            charges_complete=True,
            prices_complete=False,
            retail=240_000,
            network_fee=80_000,
            fit=70_000,
        )
    )
    quoted: bool = True
    readings: set[int] = field(default_factory=set)
    domain = DOMAIN

    def now(self) -> int:
        return self.second

    def terms(self) -> Terms:
        return TERMS

    def oracle_set(self) -> Any:
        return SimpleNamespace(oracles=(ORACLE_KEY.address,))

    def slot_of(self, slot: int) -> Any:
        nothing = SimpleNamespace(
            scheduled=False, settled=False, gate_closed=False, charges_complete=False, prices_complete=False
        )
        return self.state if slot == SLOT else nothing

    def account_of(self, agent: str) -> Any:
        return SimpleNamespace(bus=3, meter_epoch=0, import_capacity=10**5, export_capacity=10**5)

    def price_of(self, slot: int, bus: int) -> int:
        return 100_000

    def position_of(self, slot: int, agent: str) -> Any:
        return SimpleNamespace(net=0, resting_bids=0, resting_asks=0)

    def charge_of(self, slot: int, bus: int) -> int:
        return 0

    def best_bid(self, slot: int, energy_class: int) -> Any:
        return SimpleNamespace(found=False)

    best_ask = best_bid

    def utility(self) -> str:
        return UTILITY

    def nonce_used(self, slot: int, trader: str, nonce: int) -> bool:
        return self.quoted and trader == UTILITY

    def reading_of(self, slot: int, agent: str) -> Any:
        return SimpleNamespace(found=slot in self.readings)

    def post_reading(self, reading: Any, signature: Any, *, sender: Any) -> Any:
        if self.outages:
            self.outages -= 1
            raise ChainUnavailable("the node is gone")
        if self.refusal:
            raise Reverted(self.refusal)
        self.readings.add(reading.slot)

    def confirm(self, sent: Any) -> None:
        pass


def answering(node: Node, number: int = 0, file: DeviceFile | None = None) -> Answering:
    household = Household(file or FILES[number], 0.25)
    return Answering(cast(Any, node), cast(Any, node), KEYS[number], household, lambda line: None)


def asked(
    targets: tuple[int, ...] = (0,), weights: tuple[int, ...] | None = None, **changes: Any
) -> QuestionBody:
    """A question to the first agent, signed by the oracle."""
    about = {"slot": SLOT, "purpose": PURPOSE, "round": 1} | changes
    question = Question(
        KEYS[0].address,
        oracle=ORACLE,
        weights=weights or (10**8,) * len(targets),
        targets=targets,
        **about,
    )
    return QuestionBody.of(question, ORACLE_KEY.sign(eip712.digest(DOMAIN, question)))


# --- answers that are lost, oracles that begin again ----------------------------------------------


@contextmanager
def agents(url: str, node: Node) -> Iterator[None]:
    """All six, each on a thread of its own."""
    stop = Event()
    threads = [Thread(target=answering(node, k).run, args=(url, stop), daemon=True) for k in range(len(KEYS))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()


def opened(serves: Serving) -> OpenClearing:
    """A clearing that a server has opened; its rounds wait long enough for a busy machine."""
    serves.opened = OpenClearing(
        DOMAIN,
        ORACLE_KEY,
        slot=SLOT,
        purpose=PURPOSE,
        oracle=ORACLE,
        members=members(),
        answer_seconds=30.0,
        on_round=lambda: serves.on_round(),  # noqa: PLW0108 - set later
    )
    return serves.opened


def test_an_answer_lost_on_the_way_is_sent_again(monkeypatch: pytest.MonkeyPatch):
    lost: list[AnswerBody] = []
    answer = Client.answer

    def flaky(self: Client, body: AnswerBody) -> None:
        if body.agent == KEYS[2].address and not lost:
            lost.append(body)
            raise UnreachableError("connection reset")
        answer(self, body)

    monkeypatch.setattr(Client, "answer", flaky)
    serves = Serving(None)
    clearing = opened(serves)
    with serving(create_app(serves), listening("127.0.0.1", 0)) as url, agents(url, Node()):
        ended = coordinate(clearing, outlook(), newton())
    assert lost and {each.stand for each in ended.standings} == {Stand.ANSWERED}


def test_an_oracle_that_begins_again_has_its_first_question_answered_again():
    """Word for word the same question: an agent that remembered it would be held for silent."""
    serves = Serving(None)
    with serving(create_app(serves), listening("127.0.0.1", 0)) as url, agents(url, Node()):
        agent = KEYS[0].address
        weights, targets = {agent: (10**8,)}, {agent: (CAPACITY_MW,)}
        first = opened(serves).ask(weights, targets)
        assert httpx.get(f"{url}/question/{agent}", headers=listens(KEYS[0])).status_code == 204, (
            "it has answered"
        )
        assert opened(serves).ask(weights, targets) == first


# --- questions that no clearing would ask ----------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (asked(()), "0 weights and 0 targets"),
        (asked((0, 0), (10**8,)), "1 weights and 2 targets"),
        (asked((0,), (10**8, 10**8)), "2 weights and 1 targets"),
        (asked(slot=SLOT + 1), "nothing of the kind is due"),
        (asked(purpose=Purpose.CHARGES), "nothing of the kind is due"),
    ],
)
def test_a_question_that_no_clearing_asks_is_refused(body: QuestionBody, why: str):
    with pytest.raises(QuestionRefusedError, match=why):
        answering(Node()).answer(body)


def test_a_clearing_keeps_its_periods_and_has_so_many_questions():
    agent = answering(Node())
    agent.answer(asked((0, 0)))
    with pytest.raises(QuestionRefusedError, match="3 periods, before they were 2"):
        agent.answer(asked((0, 0, 0), round=2))
    for number in range(1, QUESTIONS_MAX):
        agent.answer(asked((number, 0)))
    agent.answer(asked((1, 0)))  # again, as where the first answer was lost
    with pytest.raises(QuestionRefusedError, match="more than 400 questions"):
        agent.answer(asked((-1, 0)))


def test_nobody_is_asked_about_a_slot_whose_prices_are_posted():
    node = Node()
    agent = answering(node)
    agent.answer(asked())
    node.state.prices_complete = True
    with pytest.raises(QuestionRefusedError, match="nothing of the kind is due"):
        agent.answer(asked((5,), round=2))


# --- orders -------------------------------------------------------------------------------------------


class Watching:
    """A policy that orders nothing, and remembers in which rounds it was asked."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def orders(self, view: AgentView, rng: object) -> tuple[Order, ...]:
        self.rounds.append(view.round)
        return ()


def test_nobody_bids_before_the_utility_has_quoted_but_in_the_last_round():
    """Who only takes would else lose its order to an empty book, and have no other until the next round."""
    node, policy = Node(quoted=False), Watching()
    agent = trader(node, [], Habits(policy, rounds=4))
    node.second = opens = TERMS.opens(SLOT)
    agent.step()
    assert not policy.rounds
    node.quoted = True
    agent.step()
    agent.step()
    assert policy.rounds == [0]
    node.quoted = False
    for quarter in (2, 3):
        node.second = opens + quarter * (TERMS.gate(SLOT) - opens) // 4
        agent.step()
    assert policy.rounds == [0, 3], "quotes that never come are not waited for for ever"


def test_what_became_of_an_order_is_told_with_it():
    mine, other = KEYS[0].address, KEYS[1].address
    order = Order(mine, SLOT, 3, Side.BID, 0, 100_000, 5_000, Flag.IMMEDIATE_OR_CANCEL)
    happened = (
        OrderVoided(SLOT, other, 3, 9, VoidReason.EXPIRED),
        OrdersFilled(SLOT, mine, 3, Side.BID, 0, 900, (1 << 40 | 1_200, 2 << 40 | 800)),
        OrdersFilled(SLOT, mine, 2, Side.BID, 0, 900, (1 << 40 | 7,)),
        OrderVoided(SLOT, mine, 3, 3_000, VoidReason.IMMEDIATE_OR_CANCEL),
    )
    assert outcome(order, happened) == {
        "filled_wh": 2_000, "voided_wh": 3_000, "void_reason": "immediate_or_cancel"
    }  # fmt: skip
    assert outcome(order, ()) == {"filled_wh": 0}


# --- readings ---------------------------------------------------------------------------------------


def trader(node: Node, told: list[Any], habits: Habits = Habits(None)) -> Trader:  # noqa: B008 - frozen
    node.second = TERMS.end(SLOT) + 5
    return Trader(
        cast(Any, node),
        cast(Any, node),
        KEYS[0],
        meter=KEYS[1],
        household=Household(DeviceFile(), 0.25),
        habits=habits,
        market=cast(Any, SimpleNamespace(items=lambda path, **query: [])),
        told=told.append,
    )


def test_a_reading_is_kept_until_the_chain_has_it_also_by_an_agent_that_is_begun_anew():
    node, told = Node(outages=2), []
    first = trader(node, told)
    for again in (first, trader(node, told)):
        with pytest.raises(ChainUnavailable):
            again.step()
    assert not told
    trader(node, told).step()
    assert node.readings == {SLOT}
    assert [(each["event"], each["slot"]) for each in told] == [("reading", SLOT)]
    first.step()
    assert len(told) == 1, "there is one, whoever sent it"


def test_a_slot_is_read_whose_trading_the_agent_missed():
    """Its node was gone from before the slot opened until after the delivery."""
    node, told = Node(), []
    agent = trader(node, told)
    node.second = TERMS.opens(SLOT) - 10
    agent.step()
    node.second = TERMS.end(SLOT) + 5
    agent.step()
    assert node.readings == {SLOT} and len(told) == 1


@pytest.mark.parametrize(
    ("cost", "value", "injects_mw"),
    [(60.0, 60.0, 0.02), (60.0, 80.0, 0.0), (100.0, 300.0, -0.03), (250.0, 80.0, -0.01)],
)
def test_without_a_market_it_sells_at_the_feed_in_tariff_or_buys_at_retail(
    cost: float, value: float, injects_mw: float
):
    """30 kW of generation and 50 kW of demand beside 10 kW that are firm; 70 and 240 €/MWh."""
    own = of_slot(
        DeviceFile(
            firm=Firm(kw=10.0),
            generator=Generator(max_kw=30.0, cost_eur_per_mwh=cost, cost_at_max_eur_per_mwh=cost),
            flexible=Flexible(max_kw=50.0, value_at_min_eur_per_mwh=value, value_at_max_eur_per_mwh=value),
        ),
        0,
    )
    assert own.alone_mw(240.0, 70.0) == pytest.approx(injects_mw)


def test_a_reading_that_the_contract_refuses_is_told_and_not_sent_for_ever():
    node, told = Node(refusal="readings: out of range"), []
    again = trader(node, told)
    again.step()
    again.step()
    assert [each["refused"] for each in told] == ["readings: out of range"]


def test_what_goes_wrong_again_and_again_is_told_once():
    told: list[str] = []
    complaints = Complaints(told.append)
    for line in ("gone", "gone", "slow", "slow"):
        complaints.wrong(line)
    complaints.well("is there")
    complaints.well("is there")
    complaints.wrong("slow")
    assert told == ["gone", "slow", "is there", "slow"]
