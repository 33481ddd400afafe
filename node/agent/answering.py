"""Answers to the oracles' questions: each question checked, answered from the devices, signed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Event as Flag
from threading import Lock

from ledger import eip712
from ledger.exchange import Exchange
from ledger.keys import Key, recover
from market.atc.messages import Question, answer_to
from market.pricing.admission import ClearingFailed
from node.agent.household import Household
from node.client.http import Client, RefusedError, ServiceError
from node.client.schemas import AnswerBody, QuestionBody, signature_of

WAIT_SECONDS = 10.0
PAUSE_SECONDS = 0.5
QUESTIONS_MAX = 400
"""Questions an agent answers of one clearing: whoever asks on and on wants to see its costs."""


class QuestionRefusedError(Exception):
    """A question is not answered; the message says why."""


class Answering:
    """Answers one account's questions; `told` hears of what was refused."""

    def __init__(
        self, key: Key, household: Household, exchange: Exchange, told: Callable[[str], None]
    ) -> None:
        self._key, self._household, self._exchange, self._told = key, household, exchange, told
        self._asked: Counter[tuple[int, int, int]] = Counter()
        self._members = exchange.oracle_set().oracles
        self._lock = Lock()

    def run(self, url: str, stop: Flag) -> None:
        """Wait for one oracle's questions until `stop` is set."""
        client, seen, reachable = Client(url), "", True
        while not stop.is_set():
            try:
                body = client.question(self._key.address, seen, WAIT_SECONDS)
                if not reachable:
                    self._told(f"oracle {url}: is there")
                reachable = True
                if body is not None:
                    seen = eip712.struct_hash(body.record()).hex()
                    client.answer(self.answer(body))
            except (QuestionRefusedError, RefusedError) as refusal:
                self._told(f"oracle {url}: {refusal}")
            except ServiceError as failure:
                if reachable:
                    self._told(f"oracle {failure}")
                reachable = False
                stop.wait(PAUSE_SECONDS)

    def answer(self, body: QuestionBody) -> AnswerBody:
        """The signed answer to a question. Raises QuestionRefusedError."""
        question = body.record()
        self._check(question, body)
        try:
            powers = self._household.powers(question)
        except ClearingFailed as failure:
            raise QuestionRefusedError(str(failure)) from None
        answer = answer_to(question, eip712.struct_hash(question), powers)
        return AnswerBody.of(answer, self._key.sign(eip712.digest(self._exchange.domain, answer)))

    def _check(self, question: Question, body: QuestionBody) -> None:
        """A question is for us, from an oracle of this market, and not one of too many."""
        if question.agent != self._key.address:
            raise QuestionRefusedError(f"a question for {question.agent}")
        signer = recover(eip712.digest(self._exchange.domain, question), signature_of(body.signature))
        with self._lock:
            if signer not in self._members:
                self._members = self._exchange.oracle_set().oracles  # it may have changed
            if question.oracle >= len(self._members) or signer != self._members[question.oracle]:
                raise QuestionRefusedError("a question that no oracle of this market signed")
            clearing = question.slot, question.purpose, question.oracle
            self._asked[clearing] += 1
            if self._asked[clearing] > QUESTIONS_MAX:
                raise QuestionRefusedError(f"more than {QUESTIONS_MAX} questions about slot {question.slot}")
