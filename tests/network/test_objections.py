"""What an oracle objects to of another's proposal, and that enough accounts must have answered."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from market.atc.messages import Question
from market.atc.responses import Responses, Stand
from market.pricing.certificate import decode
from node.oracle.app import receive
from node.oracle.attendance import Attendance
from node.oracle.rounds import OpenClearing
from node.oracle.signers import Brought
from node.oracle.verify import ObjectionError, bring, verify
from tests.network.bad_answers import sent
from tests.network.clearing_case import CAPACITY_MW, KEYS, SLOT, case, claims, known, members, newton


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
    "a round that no question has": ("no question is of", lambda found: replace(found, round=2**16)),
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
    price, beyond = (struct.pack("<d", each) for each in (decode(brought.certificate).duals.price[0, 1], 1e7))
    with pytest.raises(ObjectionError, match="32-bit range"):
        claims(replace(brought, certificate=brought.certificate.replace(price, beyond)))
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
