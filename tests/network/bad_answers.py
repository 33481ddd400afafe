"""Answers as agents send them, and those that no oracle takes, each with the rule that it breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ledger.keys import Key
from market.atc.messages import Question
from node.client.schemas import ANSWER_MAX_BYTES, MalformedError
from node.oracle.app import OversizedError, Takes, receive
from node.oracle.rounds import AnswerRefusedError
from tests.network.clearing_case import (
    CAPACITY_MW,
    KEYS,
    NUMBER,
    ORACLE,
    PURPOSE,
    SLOT,
    STRANGER,
    honest,
    signed,
)


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
