"""Questions of other oracles' clearings that found no answer there, asked here once more.

That somebody is silent is nobody's word alone. Before an oracle holds who let a round pass, it has every
other one ask the same signed question: an agent whom any of them reaches is heard, however slow its way to
the first. And an oracle signs what calls an account silent only if it was had to ask the account itself, in
the same turn, and heard nothing that could count. So one that leaves agents out finds no quorum, and one
that is honest is in nobody's debt: what the others heard, it was handed before it went on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition

from ledger import eip712
from ledger.eip712 import Domain
from ledger.keys import Signature, recover
from market.atc.messages import Answer, Question
from market.orders import Address
from node.oracle.rounds import BadSignatureError, Given

KEPT_MAX = 65_536
"""Inquiries remembered at most; the oldest go first."""
About = tuple[Address, int, int, int, int]
"""Agent, slot, purpose, oracle, round."""


@dataclass(slots=True)
class Inquiry:
    """A question asked for another oracle: since which second of the chain, and what was answered here."""

    question: Question
    signature: Signature
    second: int
    given: Given | None = None


class Inquiries:
    """What one oracle asks for the others; `ask` blocks its caller, all may be called from any thread."""

    def __init__(
        self,
        domain: Domain,
        answer_seconds: float,
        on_round: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._domain, self._answer_seconds = domain, answer_seconds
        self._on_round, self._monotonic = on_round, monotonic
        self._changed = Condition()
        self._open: dict[About, Inquiry] = {}
        self._done: dict[About, Inquiry] = {}

    def ask(
        self, questions: Sequence[tuple[Question, Signature]], second: int, since: float
    ) -> tuple[Given, ...]:
        """Answers that come in until everybody answered, or a round's time is over.

        It is `second` now. What was asked since second `since` is not asked again: who has the same asked
        twice hears what comes in, or came.
        """
        with self._changed:
            inquiries = [self._begun(*each, second, since) for each in questions]
            self._on_round()
            ends = self._monotonic() + self._answer_seconds
            while any(map(self._waits, inquiries)) and (left := ends - self._monotonic()) > 0:
                self._changed.wait(left)
            for inquiry in inquiries:
                self._end(inquiry)
        return tuple(each.given for each in inquiries if each.given is not None)

    def _begun(self, question: Question, signature: Signature, second: int, since: float) -> Inquiry:
        """The inquiry of a question: what was heard in another turn says nothing of this one."""
        about = _about(question)
        before = self._open.get(about) or self._done.get(about)
        if before is not None and before.question == question and before.second >= since:
            return before
        self._done.pop(about, None)
        self._open[about] = Inquiry(question, signature, second)
        return self._open[about]

    def _waits(self, inquiry: Inquiry) -> bool:
        return inquiry.given is None and self._open.get(_about(inquiry.question)) is inquiry

    def _end(self, inquiry: Inquiry) -> None:
        """Ask no more, and remember it, unless the same was asked anew meanwhile."""
        about = _about(inquiry.question)
        if self._open.get(about) is inquiry:
            self._done[about] = self._open.pop(about)
        while len(self._done) > KEPT_MAX:
            del self._done[next(iter(self._done))]

    def questions(self, agent: Address) -> list[tuple[Question, Signature]]:
        """What an agent is asked now for other oracles, the oldest first."""
        with self._changed:
            return [
                (inquiry.question, inquiry.signature)
                for inquiry in self._open.values()
                if inquiry.question.agent == agent and inquiry.given is None
            ]

    def take(self, answer: Answer, signature: Signature) -> bool:
        """Hear an answer to what is asked here; False where it answers none of that.

        Raises BadSignatureError. Whether it can count is for those to judge who know the rounds before it.
        """
        with self._changed:
            inquiry = self._open.get(_about(answer))
            if inquiry is None or answer.question != eip712.struct_hash(inquiry.question):
                return False
            if recover(eip712.digest(self._domain, answer), signature) != answer.agent:
                raise BadSignatureError(f"not signed by {answer.agent}")
            inquiry.given = Given(inquiry.question, answer.powers, signature)
            self._changed.notify_all()
        return True

    def found(self, question: Question, since: float) -> Inquiry | None:
        """What became of a question if it was asked here since that second of the chain."""
        with self._changed:
            inquiry = self._done.get(_about(question))
        return inquiry if inquiry is not None and inquiry.second >= since else None


def _about(message: Question | Answer) -> About:
    return message.agent, message.slot, int(message.purpose), message.oracle, message.round
