"""The rounds of one clearing with agents elsewhere: who was asked what, who answered, who is held.

Questions go out to everybody at once; a round ends when all who are present have answered, or when its time
is over and other oracles, which ask once more, have heard nothing either. Who let it pass is held from then
on, at its last answer or else its forecast, and the others begin anew from the prices they had reached, so
that each silence costs little more than the time of two rounds and the clearing ends.

AnswerRefusedError              an answer is not taken, and changes nothing
├── UnknownAgentError           no account of this market
├── WrongSlotError              another slot, purpose or oracle than the open clearing's, or none is open
├── BadSignatureError           not signed by the account's key
├── TooLateError                the agent is held for the rest of this clearing
├── WrongRoundError             another round than the one that is open
├── WrongQuestionError          bound to another question than was asked
├── RepeatedError               this round has the agent's answer already
├── WrongShapeError             not one power a period
├── OutOfRangeError             beyond the capacity that is registered
└── ContradictionError          with an earlier answer: injecting less at a higher price
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Thread
from threading import Event as Flag

from ledger import eip712
from ledger.keys import Key, Signature, recover
from market.atc.messages import Answer, Question, answer_to
from market.atc.responses import Stand, Standing
from market.orders import Address

ROUNDS_MAX = 400
"""Questions that one clearing asks at most, beginnings anew included."""


class AnswerRefusedError(Exception):
    """An answer is not taken; the message says why."""

    @property
    def rule(self) -> str:
        """The rule's name as it is sent."""
        words = type(self).__name__.removesuffix("Error")
        return "".join("-" + letter.lower() if letter.isupper() else letter for letter in words).lstrip("-")


class UnknownAgentError(AnswerRefusedError):
    """No account of this market."""


class WrongSlotError(AnswerRefusedError):
    """Another slot, purpose or oracle than the open clearing's, or none is open."""


class BadSignatureError(AnswerRefusedError):
    """Not signed by the account's key."""


class TooLateError(AnswerRefusedError):
    """The agent is held for the rest of this clearing."""


class WrongRoundError(AnswerRefusedError):
    """Another round than the one that is open."""


class WrongQuestionError(AnswerRefusedError):
    """Bound to another question than was asked."""


class RepeatedError(AnswerRefusedError):
    """This round has the agent's answer already."""


class WrongShapeError(AnswerRefusedError):
    """Not one power a period."""


class OutOfRangeError(AnswerRefusedError):
    """Beyond the capacity that is registered."""


class ContradictionError(AnswerRefusedError):
    """Injects less at a higher price than before."""


class AgentsLostError(Exception):
    """A round ended without some agents' answers: they are held, and the others begin anew."""


class EndlessError(Exception):
    """The clearing asked as often as it may, and did not settle."""


@dataclass(frozen=True, slots=True)
class Member:
    """An account that may answer: where it is, what it registered and what is forecast of it, mW injected."""

    agent: Address
    bus: int
    least: int
    most: int
    forecast: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that was taken."""

    question: Question
    powers: tuple[int, ...]
    signature: Signature

    @property
    def answer(self) -> Answer:
        """The message that the agent signed."""
        return answer_to(self.question, eip712.struct_hash(self.question), self.powers)


class Rounds:
    """Who was asked what in one clearing, and who is held; where answers come from is for those below."""

    def __init__(self, *, slot: int, purpose: int, oracle: int, members: Sequence[Member]) -> None:
        self.slot, self.purpose, self.oracle = slot, purpose, oracle
        self.round = 0
        self._members = {member.agent: member for member in members}
        self._history: dict[Address, list[Given]] = {agent: [] for agent in self._members}
        self._held: set[Address] = set()

    @property
    def present(self) -> tuple[Member, ...]:
        """Who is asked: everybody who is not held, in order of registration."""
        return tuple(member for member in self._members.values() if member.agent not in self._held)

    @property
    def history(self) -> tuple[tuple[Given, ...], ...]:
        """Every answer that was taken, by account in order of registration."""
        return tuple(tuple(each) for each in self._history.values())

    def ask(
        self, weights: Mapping[Address, tuple[int, ...]], targets: Mapping[Address, tuple[int, ...]]
    ) -> dict[Address, tuple[int, ...]]:
        """One round: powers of everybody who is present. Raises AgentsLostError, EndlessError."""
        if self.round >= ROUNDS_MAX:
            raise EndlessError(f"not settled after {self.round} rounds")
        self.round += 1
        about = self.slot, self.purpose, self.oracle, self.round
        questions = {agent: Question(agent, *about, weights[agent], targets[agent]) for agent in weights}
        answers = self._answers_to(questions)
        late = questions.keys() - answers.keys()
        if late:
            self._held |= late
            raise AgentsLostError(f"round {self.round}: {len(late)} did not answer")
        return {agent: given.powers for agent, given in answers.items()}

    def _answers_to(self, questions: Mapping[Address, Question]) -> Mapping[Address, Given]:
        """Answers to a round's questions, each kept; nothing of who did not answer."""
        raise NotImplementedError

    def last(self, member: Member) -> tuple[int, ...]:
        """What an agent answered last, or what is forecast of it."""
        history = self._history[member.agent]
        return history[-1].powers if history else member.forecast

    def standings(self) -> tuple[Standing, ...]:
        """Where every account stands after the last round, in order of registration."""
        return tuple(self._standing(member) for member in self._members.values())

    def _standing(self, member: Member) -> Standing:
        history = self._history[member.agent]
        if not history:
            return Standing(member.agent, member.bus, Stand.FORECAST, member.forecast)
        given = history[-1]
        stand = Stand.HELD if member.agent in self._held else Stand.ANSWERED
        both = given.signature.r + given.signature.vs
        return Standing(member.agent, member.bus, stand, given.powers, given.question, both)

    def _check(self, member: Member, given: Given) -> None:
        """What is said must be possible, and one rising curve with what was said before."""
        if len(given.powers) != len(given.question.targets):
            raise WrongShapeError(f"{len(given.powers)} powers for {len(given.question.targets)} periods")
        for power in given.powers:
            if not member.least <= power <= member.most:
                raise OutOfRangeError(
                    f"{power} mW is beyond the registered {member.least} to {member.most} mW"
                )
        for earlier in self._history[member.agent]:
            if _contradict(earlier, given):
                raise ContradictionError(f"with the answer of round {earlier.question.round}")


Elsewhere = Callable[[Sequence[tuple[Question, Signature]]], Iterable[tuple[Answer, Signature]]]
"""Has others ask signed questions, and yields the answers that they hear."""


class OpenClearing(Rounds):
    """One clearing as the agents see it. `ask` blocks its caller; the others may be called from any thread.

    `told` hears of every question and answer, for a transcript; `on_round` when new questions are there.
    `elsewhere` has others ask who did not answer in time, in a thread of its own (`inquiries`).
    """

    def __init__(
        self,
        domain: eip712.Domain,
        key: Key,
        *,
        slot: int,
        purpose: int,
        oracle: int,
        members: Sequence[Member],
        answer_seconds: float,
        told: Callable[[str, Question | Answer], None] = lambda kind, message: None,
        on_round: Callable[[], None] = lambda: None,
        elsewhere: Elsewhere = lambda questions: (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(slot=slot, purpose=purpose, oracle=oracle, members=members)
        self._domain, self._key = domain, key
        self._answer_seconds = answer_seconds
        self._told, self._on_round, self._monotonic = told, on_round, monotonic
        self._elsewhere = elsewhere
        self._changed = Condition()
        self._questions: dict[Address, tuple[Question, Signature]] = {}
        self._answers: dict[Address, Given] = {}

    # --- the coordinator's side -----------------------------------------------------------------

    def ask(
        self, weights: Mapping[Address, tuple[int, ...]], targets: Mapping[Address, tuple[int, ...]]
    ) -> dict[Address, tuple[int, ...]]:
        """One round, whose time is over before anybody else looks; see Rounds."""
        with self._changed:
            return super().ask(weights, targets)

    def _answers_to(self, questions: Mapping[Address, Question]) -> Mapping[Address, Given]:
        """What comes in until everybody answered, or the round's time is over."""
        self._answers = {}
        self._questions = {agent: self._signed(question) for agent, question in questions.items()}
        self._on_round()
        ends = self._monotonic() + self._answer_seconds
        while len(self._answers) < len(questions) and (left := ends - self._monotonic()) > 0:
            self._changed.wait(left)
        if unanswered := [self._questions[agent] for agent in questions if agent not in self._answers]:
            self._have_asked(unanswered)
        return self._answers

    def _have_asked(self, unanswered: Sequence[tuple[Question, Signature]]) -> None:
        """Wait while others ask who did not answer here; what they hear counts, and what still comes here."""
        over = Flag()

        def ask() -> None:
            try:
                for answer, signature in self._elsewhere(unanswered):
                    with suppress(AnswerRefusedError):
                        self.take(answer, signature)
            finally:
                with self._changed:
                    over.set()
                    self._changed.notify_all()

        Thread(target=ask, daemon=True).start()
        while len(self._answers) < len(self._questions) and not over.is_set():
            self._changed.wait()

    def _signed(self, question: Question) -> tuple[Question, Signature]:
        self._told("question", question)
        return question, self._key.sign(eip712.digest(self._domain, question))

    # --- the agents' side -----------------------------------------------------------------------

    def question(self, agent: Address) -> tuple[Question, Signature] | None:
        """What an agent is asked now; None if it has answered, is held or is nobody here."""
        with self._changed:
            if agent in self._answers or agent in self._held:
                return None
            return self._questions.get(agent)

    def take(self, answer: Answer, signature: Signature) -> None:
        """Count an answer. Raises AnswerRefusedError, and then nothing has changed."""
        with self._changed:
            question = self._expected(answer, signature)
            given = Given(question, answer.powers, signature)
            self._check(self._members[answer.agent], given)
            self._answers[answer.agent] = given
            self._history[answer.agent].append(given)
            self._told("answer", answer)
            self._changed.notify_all()

    def _expected(self, answer: Answer, signature: Signature) -> Question:
        """The question that an answer may answer."""
        agent = answer.agent
        if agent not in self._members:
            raise UnknownAgentError(f"{agent} has no account in this market")
        wanted, found = ((each.slot, int(each.purpose), each.oracle) for each in (self, answer))
        if wanted != found:
            raise WrongSlotError(f"slot, purpose, oracle {found}: the open clearing is {wanted}")
        if recover(eip712.digest(self._domain, answer), signature) != agent:
            raise BadSignatureError(f"not signed by {agent}")
        if agent in self._held:
            raise TooLateError(f"{agent} missed a round and is held at its last answer")
        if answer.round != self.round or agent not in self._questions:
            raise WrongRoundError(f"round {answer.round}: round {self.round} is open")
        question, _ = self._questions[agent]
        if answer.question != eip712.struct_hash(question):
            raise WrongQuestionError(f"0x{answer.question.hex()} was not asked in round {self.round}")
        if agent in self._answers:
            raise RepeatedError(f"round {self.round} has an answer of {agent}")
        return question


def _contradict(one: Given, other: Given) -> bool:
    """Whether no convex cost gives both answers: Σ_t (μ_t − μ'_t)(p_t − p'_t) < 0, exact in integers.

    Powers are rounded to a mW, and marginal prices by a mW's worth of the weight. Below a price of 0 a
    storage that burns no energy has no convex cost: where there is one, nothing is held against anybody.
    """
    product = slack = 0
    for t, (power, power_then) in enumerate(zip(one.powers, other.powers, strict=True)):
        weight, weight_then = one.question.weights[t], other.question.weights[t]
        price = weight * (one.question.targets[t] - power)
        price_then = weight_then * (other.question.targets[t] - power_then)
        if price < weight or price_then < weight_then:
            return False
        product += (price - price_then) * (power - power_then)
        slack += abs(power - power_then) * (weight + weight_then) + 2 * abs(price - price_then)
        slack += 2 * (weight + weight_then)
    return product < -slack
