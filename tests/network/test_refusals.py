"""What an oracle does not take, by its reason, and that none of it moves a clearing by a bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from queue import Queue
from threading import Event as Flag
from threading import Thread
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import eip712
from ledger.eip712 import Domain
from ledger.keys import Key, Signature
from market.atc.messages import Answer, Question, answer_to
from market.atc.responses import Responses, Stand
from market.orders import Address
from market.pricing.newton import NewtonClearing
from node.client.schemas import (
    ANSWER_MAX_BYTES,
    AnswerBody,
    HeardBody,
    MalformedError,
    ProposalBody,
    UnansweredBody,
    VoteBody,
    octets,
    signature_of,
)
from node.client.serving import listening, serving
from node.oracle.app import OversizedError, Takes, create_app, receive
from node.oracle.attendance import Attendance
from node.oracle.inquiries import Inquiry
from node.oracle.rounds import AnswerRefusedError, OpenClearing
from node.oracle.signers import Brought
from node.oracle.verify import Known, ObjectionError, bring, claimed, verify
from tests.network.clearing_case import (
    CAPACITY_MW,
    DOMAIN,
    KEYS,
    NUMBER,
    ORACLE,
    ORACLE_KEY,
    PURPOSE,
    SLOT,
    STRANGER,
    Case,
    balanced,
    case,
    feeder_33,
    honest,
    listens,
    members,
    newton,
    outlook,
    signed,
)


@cache
def undisturbed() -> bytes:
    """What the clearing ends with when everybody answers as asked."""
    return case(lambda opened, question: receive(opened, sent(question))).run().encode()


def sent(question: Question) -> bytes:
    """A good answer as it is sent."""
    return honest(question).model_dump_json().encode()


def altered(**changes: Any) -> Callable[[Question], bytes]:
    """A good answer with other members, its signature as it was."""
    return lambda question: json.dumps(honest(question).model_dump() | changes).encode()


def resigned(key: Key | None = None, **changes: Any) -> Callable[[Question], bytes]:
    """An answer with other members, signed anew by the agent or by another key."""

    def make(question: Question) -> bytes:
        answer = replace(honest(question).record(), **changes)
        signer = KEYS[NUMBER[question.agent]] if key is None else key
        return signed(answer, signer).model_dump_json().encode()

    return make


def by(change: Callable[[Question], dict[str, Any]]) -> Callable[[Question], bytes]:
    """As `resigned`, with changes that depend on the question."""
    return lambda question: resigned(**change(question))(question)


BAD: dict[str, tuple[str, Callable[[Question], bytes]]] = {
    "no JSON": ("malformed", lambda question: b"power: 5"),
    "not UTF-8": ("malformed", lambda question: b"\xff\xfe"),
    "nested without end": ("malformed", lambda question: b"[" * 5_000),
    "another member": ("malformed", altered(cost=3)),
    "a member missing": (
        "malformed",
        lambda question: honest(question).model_dump_json(exclude={"round"}).encode(),
    ),
    "NaN": ("malformed", altered(powers=[float("nan")])),
    "infinity": ("malformed", altered(powers=[float("inf")])),
    "a fraction": ("malformed", altered(powers=[0.5])),
    "text": ("malformed", altered(powers=["5"])),
    "true": ("malformed", altered(powers=[True])),
    "a number of 64 bits and more": ("malformed", altered(powers=[2**63])),
    "a number of 4 000 digits": ("malformed", altered(powers=[10**4_000])),
    "a signature too short": ("malformed", altered(signature="0x00")),
    "an oversized body": ("oversized", lambda question: sent(question) + b" " * ANSWER_MAX_BYTES),
    "an unknown agent": ("unknown-agent", resigned(STRANGER, agent=STRANGER.address)),
    "another slot": ("wrong-slot", resigned(slot=SLOT + 1)),
    "another purpose": ("wrong-slot", resigned(purpose=1 - PURPOSE)),
    "another oracle": ("wrong-slot", resigned(oracle=ORACLE + 1)),
    "another's signature": ("bad-signature", resigned(STRANGER)),
    "a power changed after signing": ("bad-signature", altered(powers=[1])),
    "no signature": ("bad-signature", altered(signature="0x" + "00" * 64)),
    "a round that is over": ("wrong-round", by(lambda question: {"round": question.round - 1})),
    "a round to come": ("wrong-round", by(lambda question: {"round": question.round + 1})),
    "another question": ("wrong-question", resigned(question=bytes(32))),
    "no power": ("wrong-shape", resigned(powers=())),
    "two powers": ("wrong-shape", resigned(powers=(0, 0))),
    "a huge power": ("out-of-range", resigned(powers=(2**63 - 1,))),
    "more than is registered": ("out-of-range", resigned(powers=(CAPACITY_MW + 1,))),
}
"""Bodies that no oracle takes, each with the rule that it breaks."""


def refusal(by: Takes, data: bytes) -> str:
    """The rule by which a body is refused."""
    try:
        receive(by, data)
    except MalformedError:
        return "malformed"
    except OversizedError:
        return "oversized"
    except AnswerRefusedError as failure:
        return failure.rule
    return "taken"


@pytest.mark.parametrize("kind", BAD)
def test_each_is_refused_by_its_rule_and_moves_nothing(kind: str):
    rule, make = BAD[kind]

    def respond(opened: OpenClearing, question: Question) -> None:
        if opened.round == 1:  # who was held could not answer again
            assert refusal(opened, make(question)) == rule
        receive(opened, sent(question))

    assert case(respond).run().encode() == undisturbed()


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from(KEYS), st.sampled_from(sorted(BAD)), st.booleans()))
)
def test_any_mixture_of_them_moves_nothing(messages: list[tuple[int, Key, str, bool]]):
    def respond(opened: OpenClearing, question: Question) -> None:
        now = [each for each in messages if each[:2] == (opened.round, KEYS[NUMBER[question.agent]])]
        for _, _, kind, late in now:
            if not late:
                assert refusal(opened, BAD[kind][1](question)) == BAD[kind][0]
        receive(opened, sent(question))
        for _, _, kind, late in now:
            if late:
                assert refusal(opened, BAD[kind][1](question)) in {BAD[kind][0], "repeated"}

    assert case(respond).run().encode() == undisturbed()


def test_an_answer_counts_once_and_in_its_round_only():
    earlier: list[bytes] = []

    def respond(opened: OpenClearing, question: Question) -> None:
        for data in earlier:
            assert refusal(opened, data) in {"wrong-round", "repeated"}
        receive(opened, sent(question))
        assert refusal(opened, sent(question)) == "repeated"
        earlier.append(sent(question))

    done = case(respond)
    assert done.run().encode() == undisturbed()
    assert refusal(done.opened, earlier[-1]) == "repeated"


def test_who_contradicts_itself_is_held_at_what_it_said_before():
    """Less at a higher price is nobody's best answer, and would keep the rounds from settling."""

    def respond(opened: OpenClearing, question: Question) -> None:
        if question.agent == KEYS[0].address and question.round == 3:
            answer = honest(question).record()
            (before,) = [each for each in opened.standings() if each.agent == question.agent]
            assert before.question is not None
            up = question.targets[0] > before.question.targets[0]
            power = before.powers[0] + (-40_000_000 if up else 40_000_000)
            body = signed(replace(answer, powers=(power,)), KEYS[0])
            assert refusal(opened, body.model_dump_json().encode()) == "contradiction"
        else:
            receive(opened, sent(question))

    clearing = case(respond)
    ended = clearing.run()
    assert [each.agent for each in ended.of(Stand.HELD)] == [KEYS[0].address]
    (held,) = ended.of(Stand.HELD)
    assert held.question is not None and held.question.round == 2
    assert known_right(ended, clearing)


def test_silent_and_vanished_agents_are_held_and_the_clearing_ends():
    """One never answers, one stops after the third round, one after the fifth."""
    last_rounds = {KEYS[1].address: 0, KEYS[2].address: 3, KEYS[4].address: 5}

    def respond(opened: OpenClearing, question: Question) -> None:
        if question.round <= last_rounds.get(question.agent, 99):
            receive(opened, sent(question))
        elif question.round > last_rounds[question.agent] + 1:
            assert refusal(opened, sent(question)) == "too-late"

    clearing = case(respond)
    ended = clearing.run()
    stands = {each.agent: (each.stand, each.question and each.question.round) for each in ended.standings}
    assert stands[KEYS[1].address] == (Stand.FORECAST, None)
    assert stands[KEYS[2].address] == (Stand.HELD, 3)
    assert len(ended.answered) >= 3
    assert known_right(ended, clearing)


@pytest.mark.parametrize("silent", list(combinations(range(len(KEYS)), 2)), ids=str)
def test_whichever_two_are_silent_the_others_settle(silent: tuple[int, int]):
    """Between far hub prices: where these end, all are at their bounds but one, by a hundredth of a kW."""
    clearing = case(
        lambda opened, question: NUMBER[question.agent] in silent or receive(opened, sent(question))  # type: ignore[func-returns-value]
    )
    ended = clearing.run(balanced())
    assert {NUMBER[each.agent] for each in ended.of(Stand.FORECAST)} == set(silent)
    assert len(ended.answered) == len(KEYS) - 2
    assert ended.round <= 100


def test_a_clearing_in_which_nobody_answers_ends_too():
    clearing = case(lambda opened, question: None)
    ended = clearing.run()
    assert {each.stand for each in ended.standings} == {Stand.FORECAST}
    assert known_right(ended, clearing)


# --- what other oracles say to it ---------------------------------------------------------------


def known(oracle: int = ORACLE) -> Known:
    return Known(SLOT, PURPOSE, oracle, outlook(), members(), DOMAIN, unheard)


def unheard(question: Question) -> Inquiry:
    """What an oracle knows that asked too, and heard nobody."""
    return Inquiry(question, ORACLE_KEY.sign(eip712.digest(DOMAIN, question)), second=0)


def known_right(ended: Responses, clearing: Case) -> bool:
    """Another oracle, with a solver of its own, finds the same prices from the bytes alone."""
    brought = replace(bring(ended, newton()), rounds=clearing.rounds())
    found = verify(brought, known(), NewtonClearing(feeder_33()))
    return found.encode() == brought.inputs and claims(brought).prices == brought.prices


def claims(brought: Brought) -> Brought:
    """What another oracle reads in the bytes."""
    return claimed((brought.inputs, brought.certificate, brought.rounds), known())


@cache
def finished() -> tuple[Responses, bytes]:
    """What a clearing ends with, and its rounds."""
    clearing = case(lambda opened, question: receive(opened, sent(question)))
    return clearing.run(), clearing.rounds()


def ended() -> Responses:
    return finished()[0]


def shown(responses: Responses) -> Brought:
    """Responses with the proof and the rounds of the true ones, put before another oracle."""
    return Brought(bring(ended(), newton()).prices, responses.encode(), proof(), finished()[1])


@cache
def proof() -> bytes:
    return bring(ended(), newton()).certificate


def with_first(found: Responses, **changes: Any) -> Responses:
    first, *others = found.standings
    return replace(found, standings=(replace(first, **changes), *others))


LIES: dict[str, tuple[str, Callable[[Responses], Responses]]] = {
    "a power": ("not signed by its key", lambda found: with_first(found, powers=(-7,))),
    "another's bus": ("accounts are not those", lambda found: with_first(found, bus=9)),
    "an account left out": (
        "accounts are not those",
        lambda found: replace(found, standings=found.standings[1:]),
    ),
    "a forecast of its own": (
        "not the forecast",
        lambda found: with_first(found, stand=Stand.FORECAST, powers=(3,), question=None, signature=b""),
    ),
    "held, though it answered": ("the last was", lambda found: with_first(found, stand=Stand.HELD)),
    "another slot": ("not (1994763, 1, 0)", lambda found: replace(found, slot=SLOT + 1)),
    "another load": (
        "differ from what the utility published",
        lambda found: replace(
            found, conditions=replace(found.conditions, fixed_p=1.01 * found.conditions.fixed_p)
        ),
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_the_responses_is_objected_to(lie: str):
    expected, tell = LIES[lie]
    with pytest.raises(ObjectionError) as objection:
        verify(shown(tell(ended())), known(), newton())
    assert expected in str(objection.value)


def test_answers_that_had_not_settled_are_objected_to():
    """The bytes of the second round: all signed, all true, and no agreement."""
    kept: list[Responses] = []
    final = ended()

    def respond(opened: OpenClearing, question: Question) -> None:
        if question.round == 3 and not kept:
            kept.append(replace(final, round=2, standings=opened.standings()))
        receive(opened, sent(question))

    case(respond).run()
    with pytest.raises(ObjectionError, match="not settled"):
        bring(kept[0], newton())


def test_another_certificate_is_objected_to():
    brought = shown(ended())
    other = bring(with_everybody_at_forecast(ended()), newton())
    with pytest.raises(ObjectionError, match="certificate"):
        verify(replace(brought, certificate=other.certificate), known(), newton())
    with pytest.raises(ObjectionError, match="more expected"):
        claims(replace(brought, certificate=brought.certificate[:-3]))
    for cut in ({"inputs": brought.inputs[:-1]}, {"rounds": brought.rounds[:-1]}):
        with pytest.raises(ObjectionError):
            verify(replace(brought, **cut), known(), newton())


def test_an_answer_to_a_question_that_the_method_would_not_ask_is_objected_to():
    """A proposer solicits what it wants, and holds the agents at the true answers they gave."""
    steered = case(lambda opened, question: receive(opened, sent(question)))
    victims = [key.address for key in KEYS[:2]]
    steered.opened.ask(dict.fromkeys(victims, (10**13,)), dict.fromkeys(victims, (CAPACITY_MW,)))
    steered.opened._held |= set(victims)
    brought = bring(steered.run(), newton())
    with pytest.raises(ObjectionError, match="asked what the method does not ask"):
        verify(replace(brought, rounds=steered.rounds()), known(), newton())
    with pytest.raises(ObjectionError, match="the rounds end with other responses"):
        verify(replace(brought, rounds=finished()[1]), known(), newton())


def test_enough_accounts_must_have_answered():
    """Half of those not known as silent; an oracle knows that only of clearings it coordinated itself."""

    def after(answering: int) -> Responses:
        named = {key.address for key in KEYS[:answering]}
        return case(
            lambda opened, question: question.agent in named and receive(opened, sent(question))
        ).run()  # type: ignore[func-returns-value]

    everybody, half, two, nobody = (after(count) for count in (6, 3, 2, 0))
    fresh = Attendance()
    fresh.require(everybody)
    fresh.require(half)
    for few in (two, nobody):
        fresh.asked(nobody)  # whom nobody answers is cut off itself, and learns nothing
        with pytest.raises(ObjectionError, match="of 6 that are not known as silent"):
            fresh.require(few)
    fresh.asked(two)
    fresh.require(two)
    with pytest.raises(ObjectionError, match="0 accounts answered"):
        fresh.require(nobody)
    fresh.shown(everybody)
    with pytest.raises(ObjectionError, match="2 accounts answered"):
        fresh.require(two)


def with_everybody_at_forecast(found: Responses) -> Responses:
    return replace(
        found,
        standings=tuple(
            replace(each, stand=Stand.FORECAST, powers=member.forecast, question=None, signature=b"")
            for each, member in zip(found.standings, members(), strict=True)
        ),
    )


# --- over HTTP ----------------------------------------------------------------------------------


@dataclass
class Serving:
    """An oracle that serves one clearing and votes on nothing."""

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
        raise ObjectionError("asks nobody")

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
        for seconds in ("nan", "-1", "31", "soon"):
            target = f"/question/{KEYS[0].address}?wait={seconds}"
            refused = client.get(target, headers=listens(KEYS[0]))
            assert (refused.status_code, refused.json()["refusal"]) == (400, "malformed")


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


def test_a_question_is_bound_to_its_oracle_and_an_answer_to_its_question():
    questions: list[tuple[Question, Any]] = []

    def respond(opened: OpenClearing, question: Question) -> None:
        questions.append((question, opened.question(question.agent)))
        receive(opened, sent(question))

    case(respond).run()
    question, found = questions[0]
    assert found is not None
    assert eip712.digest(DOMAIN, found[0]) == eip712.digest(DOMAIN, question)
    body: AnswerBody = honest(question)
    assert octets(body.question) == eip712.struct_hash(question)
    assert signature_of(body.signature).s > 0
    moved = replace(question, targets=(question.targets[0] + 1,))
    assert answer_to(moved, eip712.struct_hash(moved), (0,)).question != octets(body.question)
