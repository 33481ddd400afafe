"""An oracle over HTTP: what it refuses and says so, and whom it tells questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from threading import Event as Flag
from threading import Thread

import httpx
import pytest

from ledger.chain.protocol import ChainUnavailable
from ledger.eip712 import Domain
from ledger.keys import Key, Signature
from market.atc.messages import Answer, Question
from market.orders import Address
from node.client.schemas import HeardBody, ProposalBody, UnansweredBody, VoteBody
from node.client.serving import listening, serving
from node.oracle.app import create_app
from node.oracle.rounds import OpenClearing
from tests.network.bad_answers import BAD, sent
from tests.network.clearing_case import CAPACITY_MW, DOMAIN, KEYS, ORACLE, ORACLE_KEY, case, honest, listens


@dataclass
class Serving:
    """An oracle that serves one clearing, votes on nothing, and has lost its node."""

    opened: OpenClearing | None
    key: Key = ORACLE_KEY
    domain: Domain = DOMAIN
    on_round: Callable[[], None] = lambda: None

    def question(self, agent: Address) -> tuple[Question, Signature] | None:
        return None if self.opened is None else self.opened.question(agent)

    def take(self, answer: Answer, signature: Signature) -> None:
        assert self.opened is not None
        self.opened.take(answer, signature)

    def ask_too(self, body: UnansweredBody) -> HeardBody:
        raise ChainUnavailable("http://127.0.0.1:1: does not answer")

    def vote(self, body: ProposalBody) -> VoteBody:
        return VoteBody(oracle=ORACLE, objection="not now")

    def proof(self, kind: str, digest: bytes) -> bytes | None:
        return None


STATUS = {"malformed": 400, "oversized": 413, "not-the-agent": 401}


@contextmanager
def server(opened: OpenClearing | None) -> Iterator[httpx.Client]:
    app = create_app(Serving(opened))
    with serving(app, listening("127.0.0.1", 0)) as url, httpx.Client(base_url=url) as client:
        yield client


@contextmanager
def asking() -> Iterator[tuple[httpx.Client, OpenClearing]]:
    """A server whose first round waits for everybody; they answer at the end, and are heard."""
    begun, ended = Flag(), Queue[dict[str, tuple[int, ...]]]()
    opened = case(lambda opened, question: begun.set(), answer_seconds=60.0).opened
    weights, targets = ({key.address: (number,) for key in KEYS} for number in (10**8, CAPACITY_MW))
    with server(opened) as client:
        round_ = Thread(target=lambda: ended.put(opened.ask(weights, targets)), daemon=True)
        round_.start()
        assert begun.wait(30.0)
        yield client, opened
        honestly = {}
        for key in KEYS:
            found = opened.question(key.address)
            assert found is not None, "a refused message counts for nothing"
            honestly[key.address] = tuple(honest(found[0]).powers)
            assert client.post("/answer", content=sent(found[0])).json() == {"taken": True}
        assert ended.get(timeout=30.0) == honestly


def test_refusals_go_out_with_rule_and_reason():
    with asking() as (client, opened):
        found = opened.question(KEYS[0].address)
        assert found is not None
        for kind, (rule, make) in BAD.items():
            answer = client.post("/answer", content=make(found[0]))
            assert answer.json()["refusal"] == rule, kind
            assert answer.status_code == STATUS.get(rule, 409), kind
            assert answer.json()["reason"]


def test_what_else_a_server_is_asked_is_refused():
    with server(None) as client:
        assert client.get("/certificates/00").json()["refusal"] == "unknown"
        assert client.post("/proposal", content=b"{}").status_code == 400
        assert client.post("/unanswered", content=b"{}").status_code == 400
        assert client.get("/question/0x12", headers=listens(KEYS[0])).status_code == 400
        # the oracle's own node is gone
        assert _refusal(client.post("/unanswered", json={"questions": []})) == (503, "no-chain")
        for seconds in ("nan", "-1", "31", "soon"):
            target = f"/question/{KEYS[0].address}?wait={seconds}"
            assert _refusal(client.get(target, headers=listens(KEYS[0]))) == (400, "malformed")


def _refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and rule."""
    return answer.status_code, answer.json()["refusal"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Wattbook"},
        {"Authorization": "Wattbook 0x12"},
        {"Authorization": "Wattbook power"},
        listens(KEYS[0]) | {"Authorization": listens(KEYS[0])["Authorization"].replace("Wattbook", "Basic")},
        listens(KEYS[1]),
    ],
)
def test_only_the_account_is_told_its_questions(headers: dict[str, str]):
    """Targets of several rounds would let an onlooker guess at a slope."""
    target = f"/question/{KEYS[0].address}"
    with asking() as (client, _):
        assert client.get(target, headers=listens(KEYS[0])).json()["agent"] == KEYS[0].address
        refused = client.get(target, headers=headers)
        assert (refused.status_code, refused.json()["refusal"]) == (401, "not-the-agent")
        assert refused.headers["WWW-Authenticate"] == "Wattbook"


def test_who_waits_for_a_question_hears_of_none_when_the_server_stops():
    app, heard = create_app(Serving(None)), Queue[int]()

    def wait(url: str) -> None:
        path = f"{url}/question/{KEYS[0].address}?wait=30"
        heard.put(httpx.get(path, headers=listens(KEYS[0]), timeout=60.0).status_code)

    with serving(app, listening("127.0.0.1", 0)) as url:
        waiting = Thread(target=wait, args=(url,))
        waiting.start()
        waiting.join(0.5)
    assert heard.get(timeout=30.0) == 204
