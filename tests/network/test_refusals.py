"""What an oracle does not take of agents, by its reason; that it moves no clearing by a bit; who is held."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import eip712
from ledger.keys import Key
from market.atc.messages import Question, answer_to
from market.atc.responses import Stand
from node.client.schemas import AnswerBody, octets, signature_of
from node.oracle.app import receive
from node.oracle.rounds import OpenClearing
from tests.network.bad_answers import BAD, refusal, sent
from tests.network.clearing_case import DOMAIN, KEYS, NUMBER, balanced, case, honest, known_right, signed


@cache
def undisturbed() -> bytes:
    """What the clearing ends with when everybody answers as asked."""
    return case(lambda opened, question: receive(opened, sent(question))).run().encode()


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
