"""Every message between oracles, agents and the market's own server, once.

Bodies are JSON objects: no unknown key, no number where text belongs, no fraction, NaN or infinity where a
whole number belongs. What is signed becomes a record (`market.atc.messages`) before it is looked at.

MalformedError   the bytes are no such message; says where and what was allowed
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.address import checksummed
from ledger.keys import Signature
from market.atc.messages import Answer, Question
from market.orders import Address
from node.rpc.untrusted import parse

ANSWER_MAX_BYTES = 65_536
"""The largest body an agent may send: an answer for a week of quarter hours is a fifth of that."""
PROPOSAL_MAX_BYTES = 64_000_000
"""The largest body one oracle may send another: a day of 5 000 buses, in hexadecimal."""
PERIODS_MAX = 700
FORECASTS_MAX = 256
"""Of 256 accounts each, as many as the contract numbers."""
INT64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]

Uint8 = Annotated[int, Field(ge=0, lt=2**8)]
Uint16 = Annotated[int, Field(ge=0, lt=2**16)]
Uint32 = Annotated[int, Field(ge=0, lt=2**32)]
Weight = Annotated[int, Field(ge=1, lt=2**63)]
AddressText = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]
Bytes32 = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
SignatureText = Annotated[str, Field(pattern=r"^0x[0-9a-f]{128}$")]
Octets = Annotated[str, Field(pattern=r"^0x([0-9a-f]{2})*$")]


class MalformedError(ValueError):
    """The bytes are no message of the kind that was expected."""


class Body(BaseModel):
    """A JSON object: immutable, no unknown keys, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class QuestionBody(Body):
    """An oracle asks an agent for the proximal step at a target; signed by the oracle."""

    agent: AddressText
    slot: Uint32
    purpose: Uint8
    oracle: Uint8
    round: Uint16
    weights: Annotated[list[Weight], Field(max_length=PERIODS_MAX)]
    targets: Annotated[list[INT64], Field(max_length=PERIODS_MAX)]
    signature: SignatureText

    @classmethod
    def of(cls, question: Question, signature: Signature) -> QuestionBody:
        """The message of a record."""
        return cls(
            agent=question.agent,
            slot=question.slot,
            purpose=question.purpose,
            oracle=question.oracle,
            round=question.round,
            weights=list(question.weights),
            targets=list(question.targets),
            signature=signature_text(signature),
        )

    def record(self) -> Question:
        """What was signed."""
        return Question(
            agent=address(self.agent),
            slot=self.slot,
            purpose=self.purpose,
            oracle=self.oracle,
            round=self.round,
            weights=tuple(self.weights),
            targets=tuple(self.targets),
        )


class AnswerBody(Body):
    """An agent's powers, bound to the question by its hash; signed by the account's key."""

    agent: AddressText
    slot: Uint32
    purpose: Uint8
    oracle: Uint8
    round: Uint16
    question: Bytes32
    powers: Annotated[list[INT64], Field(max_length=PERIODS_MAX)]
    signature: SignatureText

    @classmethod
    def of(cls, answer: Answer, signature: Signature) -> AnswerBody:
        """The message of a record."""
        return cls(
            agent=answer.agent,
            slot=answer.slot,
            purpose=answer.purpose,
            oracle=answer.oracle,
            round=answer.round,
            question="0x" + answer.question.hex(),
            powers=list(answer.powers),
            signature=signature_text(signature),
        )

    def record(self) -> Answer:
        """What was signed."""
        return Answer(
            agent=address(self.agent),
            slot=self.slot,
            purpose=self.purpose,
            oracle=self.oracle,
            round=self.round,
            question=octets(self.question),
            powers=tuple(self.powers),
        )


class ProposalBody(Body):
    """Bytes that one oracle puts before the others, with its own signature of what follows from them."""

    slot: Uint32
    purpose: Uint8
    oracle: Uint8
    inputs: Octets
    certificate: Octets
    signature: SignatureText


class VoteBody(Body):
    """An oracle's signature of the same digest and of each forecast of accounts, or why it gives none."""

    oracle: Uint8
    signature: SignatureText | None = None
    forecasts: Annotated[list[SignatureText], Field(max_length=FORECASTS_MAX)] = []
    objection: Annotated[str, Field(max_length=2_000)] = ""


class RefusalBody(Body):
    """Why a message was not taken: the rule it breaks, and how."""

    refusal: str
    reason: str


class TakenBody(Body):
    """A message was taken."""

    taken: bool


class ForecastBody(Body):
    """What the utility expects of an account without hearing from it, mW injected by period."""

    agent: AddressText
    powers: Annotated[list[INT64], Field(max_length=PERIODS_MAX)]


class OutlookBody(Body):
    """What the utility publishes for a clearing: feeder, passive load and tariff (WBIN), forecasts."""

    slot: Uint32
    purpose: Uint8
    inputs: Octets
    forecasts: list[ForecastBody]


B = TypeVar("B", bound=Body)


def read(kind: type[B], data: bytes) -> B:
    """A message from bytes that a stranger sent. Raises MalformedError."""
    try:
        value = parse(data)
    except (ValueError, RecursionError) as failure:
        raise MalformedError(f"not JSON: {failure}") from None
    try:
        return kind.model_validate(value)
    except ValidationError as failure:
        first = failure.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise MalformedError(f"{where}: {first['msg']}") from None


def address(text: str) -> Address:
    """The checksummed form."""
    return checksummed(bytes.fromhex(text[2:]))


def octets(text: str) -> bytes:
    """The bytes of hexadecimal text."""
    return bytes.fromhex(text[2:])


def signature_text(signature: Signature) -> str:
    """r ‖ vs in hexadecimal."""
    return "0x" + (signature.r + signature.vs).hex()


def signature_of(text: str) -> Signature:
    """The pair of r ‖ vs in hexadecimal."""
    both = octets(text)
    return Signature(both[:32], both[32:])
