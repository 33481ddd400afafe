"""Every message between oracles, agents and the market's own server, once.

Bodies are JSON objects: no unknown key, no number where text belongs, no fraction, NaN or infinity where a
whole number belongs. What is signed becomes a record (`market.atc.messages`) before it is looked at.

MalformedError   the bytes are no such message; says where and what was allowed
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.address import checksummed
from ledger.keys import Signature
from market.atc.messages import Answer, Question
from market.messages import CancelRequest
from market.orders import NOBODY, Address, Flag, Order, Side
from node.rpc.untrusted import parse

ANSWER_MAX_BYTES = 65_536
"""The largest body an agent may send: an answer for a week of quarter hours is a fifth of that."""
PROPOSAL_MAX_BYTES = 64_000_000
"""The largest body one oracle may send another: a day of 5 000 buses, in hexadecimal."""
LISTENING_SCHEME = "Wattbook"
"""How `Authorization` begins where an agent asks for its questions; its signature of `Listening` follows."""
PERIODS_MAX = 700
FORECASTS_MAX = 256
"""Of 256 accounts each, as many as the contract numbers."""
UNANSWERED_MAX = 65_536
"""Of one round: everybody that the contract numbers."""
RSV_BYTES = 65
Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
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


class OrderBody(Body):
    """An order before it is signed; `limit_ueur_per_kwh` is all-in at the trader's own bus."""

    trader: AddressText
    slot: Uint32
    nonce: Uint8
    side: Literal["bid", "ask"]
    energy_class: Uint8 = 0
    limit_ueur_per_kwh: Int32
    quantity_wh: Uint32
    immediate_or_cancel: bool = False
    expiry_unix_seconds: Uint32 = 0
    relayer: AddressText = NOBODY

    @classmethod
    def of(cls, order: Order) -> OrderBody:
        """The message of a record."""
        return cls(
            trader=order.trader,
            slot=order.slot,
            nonce=order.nonce,
            side="bid" if order.side == Side.BID else "ask",
            energy_class=order.energy_class,
            limit_ueur_per_kwh=order.limit_ueur_per_kwh,
            quantity_wh=order.quantity_wh,
            immediate_or_cancel=bool(order.flags & Flag.IMMEDIATE_OR_CANCEL),
            expiry_unix_seconds=order.expiry,
            relayer=order.relayer,
        )

    def order(self) -> Order:
        """What is signed."""
        return Order(
            trader=address(self.trader),
            slot=self.slot,
            nonce=self.nonce,
            side=Side.BID if self.side == "bid" else Side.ASK,
            energy_class=self.energy_class,
            limit_ueur_per_kwh=self.limit_ueur_per_kwh,
            quantity_wh=self.quantity_wh,
            flags=Flag.IMMEDIATE_OR_CANCEL if self.immediate_or_cancel else Flag.NONE,
            expiry=self.expiry_unix_seconds,
            relayer=address(self.relayer),
        )


class Signed(Body):
    """What comes with the trader's signature: r ‖ vs, or r ‖ s ‖ v as wallets return it."""

    signature: Annotated[str, Field(pattern=r"^0x([0-9a-fA-F]{128}|[0-9a-fA-F]{130})$")]

    def signed(self) -> Signature:
        """The signature as a pair; one of no such form signs nothing."""
        data = octets(self.signature)
        try:
            return Signature.from_rsv(data) if len(data) == RSV_BYTES else Signature(data[:32], data[32:])
        except ValueError:
            return Signature(bytes(32), bytes(32))


class SignedOrderBody(OrderBody, Signed):
    """An order with the trader's signature."""


class CancelBody(Body):
    """A cancel before it is signed: of what rests of an order, or of a nonce that was not seen yet."""

    trader: AddressText
    slot: Uint32
    nonce: Uint8

    def request(self) -> CancelRequest:
        """What is signed."""
        return CancelRequest(address(self.trader), self.slot, self.nonce)


class SignedCancelBody(CancelBody, Signed):
    """A cancel with the trader's signature."""


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
    rounds: Octets
    signature: SignatureText


class VoteBody(Body):
    """An oracle's signature of the same digest and of each forecast of accounts, or why it gives none."""

    oracle: Uint8
    signature: SignatureText | None = None
    forecasts: Annotated[list[SignatureText], Field(max_length=FORECASTS_MAX)] = []
    objection: Annotated[str, Field(max_length=2_000)] = ""


class UnansweredBody(Body):
    """Questions that found no answer in time, for another oracle to ask once more; each is signed."""

    questions: Annotated[list[QuestionBody], Field(max_length=UNANSWERED_MAX)]


class HeardBody(Body):
    """The answers that came in there."""

    answers: Annotated[list[AnswerBody], Field(max_length=UNANSWERED_MAX)]


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
