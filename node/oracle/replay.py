"""All rounds of a clearing, as one oracle puts them before the others, and how those ask them again.

A question follows from what is published and from the answers before it. An oracle that is shown every
answer, with the question that it was signed for, makes the same rounds itself, and finds a question that
the method would not have asked. What the rounds ended with must then be the responses it is asked to sign.
Where an answer is said to have never come, it must have asked that question itself, in vain (`inquiries`).

Bytes, for oracles alone and kept by none: `WBRR`, version 1; periods T; then for each account, in order of
registration, how many answers it gave, and each: round, weights, targets, powers (T × int64 each), r ‖ vs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ledger import eip712
from ledger.keys import Signature, recover
from market.atc.messages import Question
from market.orders import Address
from market.pricing.wire import Reader, Writer
from node.oracle.inquiries import Inquiry
from node.oracle.rounds import AnswerRefusedError, Given, Member, Rounds

MAGIC, VERSION = b"WBRR", 1
HALF_BYTES = 32
TARGET_SLACK_MILLIWATTS = 1_000
"""What another processor's rounding may make of a target; it moves an answer by no more than that."""

Inquired = Callable[[Question], Inquiry | None]
"""What became of a question that an oracle asked for another; None where it was not had to."""


class SilencedError(Exception):
    """Somebody is called silent whom this oracle did not find silent."""


class NotAskedError(Exception):
    """A question is not the one that the method asks there, or an answer to it cannot count."""


def encode(history: Sequence[Sequence[Given]], periods: int) -> bytes:
    """The bytes of every answer of a clearing."""
    writer = Writer(MAGIC, VERSION)
    writer.counts(periods)
    for answers in history:
        writer.counts(len(answers))
        for given in answers:
            writer.counts(given.question.round)
            for numbers in (given.question.weights, given.question.targets, given.powers):
                writer.ints(np.array(numbers, dtype=np.int64))
            writer.raw(given.signature.r + given.signature.vs)
    return writer.bytes()


class Replay(Rounds):
    """Rounds whose answers were given to another oracle. `ask` raises NotAskedError and SilencedError too."""

    def __init__(
        self,
        domain: eip712.Domain,
        data: bytes,
        *,
        slot: int,
        purpose: int,
        oracle: int,
        members: Sequence[Member],
        inquired: Inquired,
    ) -> None:
        """`inquired` says what this oracle heard when it asked for the other one. Raises FormatError."""
        super().__init__(slot=slot, purpose=purpose, oracle=oracle, members=members)
        self._domain, self._inquired = domain, inquired
        self._said: dict[tuple[Address, int], Given] = {}
        reader = Reader(data, MAGIC, VERSION)
        (periods,) = reader.counts(1)
        for member in members:
            (count,) = reader.counts(1)
            for _ in range(count):
                given = self._read(reader, member.agent, periods)
                self._said[member.agent, given.question.round] = given
        reader.end()

    def _read(self, reader: Reader, agent: Address, periods: int) -> Given:
        (number,) = reader.counts(1)
        weights, targets, powers = (
            tuple(int(each) for each in reader.ints(periods)) for _ in ("weights", "targets", "powers")
        )
        question = Question(agent, self.slot, self.purpose, self.oracle, number, weights, targets)
        return Given(question, powers, Signature(reader.raw(HALF_BYTES), reader.raw(HALF_BYTES)))

    def _answers_to(self, questions: Mapping[Address, Question]) -> Mapping[Address, Given]:
        """What was answered in the round, each answer found right. Raises NotAskedError, SilencedError."""
        said = {
            agent: self._said[agent, self.round] for agent in questions if (agent, self.round) in self._said
        }
        for agent, given in said.items():
            if not _same(given.question, questions[agent]):
                raise NotAskedError(f"round {self.round}: {agent} was asked what the method does not ask")
            if recover(eip712.digest(self._domain, given.answer), given.signature) != agent:
                raise NotAskedError(f"round {self.round}: {agent} did not sign its answer")
            try:
                self._check(self._members[agent], given)
            except AnswerRefusedError as refusal:
                raise NotAskedError(f"round {self.round}: {agent}: {refusal.rule}: {refusal}") from None
            self._history[agent].append(given)
        for agent in questions.keys() - said.keys():
            self._require_silent(questions[agent])
        return said

    def _require_silent(self, question: Question) -> None:
        """Who is called silent did not answer us either, or nothing that could count."""
        called = f"silenced: {question.agent} is called silent in round {self.round}"
        inquiry = self._inquired(question)
        if inquiry is None or not _same(inquiry.question, question):
            raise SilencedError(f"{called}, and we were not had to ask it")
        if inquiry.given is not None and self._counts(inquiry.given):
            raise SilencedError(f"{called}, and answered us")

    def _counts(self, given: Given) -> bool:
        """Whether the clearing would have taken an answer."""
        try:
            self._check(self._members[given.question.agent], given)
        except AnswerRefusedError:
            return False
        return True


def _same(asked: Question, expected: Question) -> bool:
    """Whether a question is the expected one, but for rounding."""
    return (
        asked.weights == expected.weights
        and len(asked.targets) == len(expected.targets)
        and all(
            abs(one - other) <= TARGET_SLACK_MILLIWATTS
            for one, other in zip(asked.targets, expected.targets, strict=True)
        )
    )
