"""Answers to the oracles' questions: each question checked, answered from the devices, signed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Lock

from ledger import eip712
from ledger.chain.protocol import ChainError, TimedChain
from ledger.exchange import Exchange
from ledger.keys import Key, recover
from market.atc.messages import Listening, Question, answer_to
from market.pricing.admission import ClearingFailed
from node.agent.household import Household
from node.client.complaints import Complaints
from node.client.http import Client, RefusedError, ServiceError
from node.client.schemas import AnswerBody, QuestionBody, signature_of
from node.oracle.duty import due

WAIT_SECONDS = 10.0
PAUSE_SECONDS = 0.5
QUESTIONS_MAX = 400
"""Questions an agent answers of one clearing: whoever asks on and on wants to see its costs."""
CLEARINGS_KEPT = 1_024


class QuestionRefusedError(Exception):
    """A question is not answered; the message says why."""


@dataclass(slots=True)
class _Clearing:
    """What one oracle has asked in one clearing: of how many periods, and which questions."""

    periods: int
    asked: set[bytes] = field(default_factory=set)


class Answering:
    """Answers one account's questions; `told` hears of what was refused."""

    def __init__(
        self,
        chain: TimedChain,
        exchange: Exchange,
        key: Key,
        household: Household,
        told: Callable[[str], None],
    ) -> None:
        self._chain, self._exchange, self._terms = chain, exchange, exchange.terms()
        self._key, self._household, self._told = key, household, told
        self._clearings: OrderedDict[tuple[int, int, int], _Clearing] = OrderedDict()
        self._members = exchange.oracle_set().oracles
        self._lock = Lock()

    def run(self, url: str, stop: Flag) -> None:
        """Answer one oracle's questions until `stop` is set.

        It asks each question until the answer is taken, so that one which is lost on the way is sent again.
        """
        client, complaints = Client(url), Complaints(self._told)
        listening = self._key.sign(eip712.digest(self._exchange.domain, Listening(self._key.address)))
        while not stop.is_set():
            try:
                body = client.question(self._key.address, listening, WAIT_SECONDS)
                if body is not None:
                    client.answer(self.answer(body))
                complaints.well(f"oracle {url}: is there")
            except (QuestionRefusedError, RefusedError, ServiceError, ChainError) as failure:
                complaints.wrong(f"oracle {url}: {failure}")
                stop.wait(PAUSE_SECONDS)

    def answer(self, body: QuestionBody) -> AnswerBody:
        """The signed answer to a question. Raises QuestionRefusedError, ChainError."""
        question = body.record()
        question_hash = eip712.struct_hash(question)
        with self._lock:
            self._check_asker(question, body)
            self._count(question, question_hash)
        try:
            powers = self._household.powers(question)
        except ClearingFailed as failure:
            raise QuestionRefusedError(str(failure)) from None
        answer = answer_to(question, question_hash, powers)
        return AnswerBody.of(answer, self._key.sign(eip712.digest(self._exchange.domain, answer)))

    def _check_asker(self, question: Question, body: QuestionBody) -> None:
        """A question is for us, and from an oracle of this market."""
        if question.agent != self._key.address:
            raise QuestionRefusedError(f"a question for {question.agent}")
        signer = recover(eip712.digest(self._exchange.domain, question), signature_of(body.signature))
        if signer not in self._members:
            self._members = self._exchange.oracle_set().oracles  # it may have changed
        if question.oracle >= len(self._members) or signer != self._members[question.oracle]:
            raise QuestionRefusedError("a question that no oracle of this market signed")

    def _count(self, question: Question, question_hash: bytes) -> None:
        """A question is of a clearing that is due, has its shape, and is not one of too many."""
        periods = len(question.targets)
        if not periods or len(question.weights) != periods:
            raise QuestionRefusedError(f"{len(question.weights)} weights and {periods} targets")
        key = question.slot, question.purpose, question.oracle
        clearing = self._clearings.get(key, _Clearing(periods))
        if clearing.periods != periods:
            raise QuestionRefusedError(f"{periods} periods, before they were {clearing.periods}")
        state = self._exchange.slot_of(question.slot)
        if due(self._terms, question.slot, state, self._chain.now()) != question.purpose:
            raise QuestionRefusedError(f"nothing of the kind is due of slot {question.slot}")
        clearing.asked.add(question_hash)
        if len(clearing.asked) > QUESTIONS_MAX:
            clearing.asked.discard(question_hash)
            raise QuestionRefusedError(f"more than {QUESTIONS_MAX} questions about slot {question.slot}")
        self._clearings[key] = clearing
        if len(self._clearings) > CLEARINGS_KEPT:
            self._clearings.popitem(last=False)
