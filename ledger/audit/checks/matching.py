"""`matching`, `reserves`, and the calls part of `lifecycle`: the twin's answers against the recorded ones.

Every event of order entry, veto and gate closure belongs to `matching`, but an order taken or skipped for its
funds, and a withdrawal, to `reserves`. The other events of a call belong to `lifecycle`; readings,
prices and postings have checks of their own as well, which derive them by another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import zip_longest
from typing import get_args

from ledger.audit.replay import Step, replay
from ledger.audit.verdict import PASSED, Verdict, at, text
from ledger.history import history
from ledger.record import Logged, Record
from market.events import (
    AccountResettled,
    AccountSettled,
    ChargesChunk,
    Event,
    PricesChunk,
    ReadingEstimated,
    Withdrawn,
)
from market.findings import Finding
from market.orders import BookEvent, OrderPlaced, OrderRejected, Reject
from market.slots import Terms

MATCHING, RESERVES, CALLS = "matching", "reserves", "lifecycle"

Pair = tuple[Event | None, Logged | None]
"""What the twin answers, and what was recorded in its place."""


def check_matching(record: Record) -> Iterator[Verdict]:
    """One verdict an event of the book, and one a call that brought any."""
    yield from _compared(record, MATCHING, lambda pair: _of_book(pair) and not _of_funds(pair))
    yield from _progress(record)


def check_reserves(record: Record) -> Iterator[Verdict]:
    """One verdict an order that was weighed, taken or skipped for its funds, and one a withdrawal."""
    yield from _compared(record, RESERVES, _of_funds)
    for step in replay(record).steps:
        yield from (PASSED for expected, recorded in _pairs(step) if _both_placed(expected, recorded))


def check_calls(record: Record) -> Iterator[Verdict]:
    """One verdict an event that neither the book nor another check answers for; calls that must fail."""
    yield from _compared(record, CALLS, _of_other_events)
    for step in replay(record).steps:
        if step.refused is not None and step.sent.status == 1:
            what = f"{step.sent.where} {type(step.sent.call).__name__}"
            yield Finding(CALLS, what, f'refused: "{step.refused}"', "succeeded", "breaks this rule")
        elif step.refused is None and step.expected and step.sent.status != 1:
            what = f"{step.sent.where} {type(step.sent.call).__name__}"
            yield Finding(CALLS, what, "succeeds", "failed", "no rule is broken")


def _progress(record: Record) -> Iterator[Verdict]:
    found = replay(record)
    if found.stopped is not None:
        where = found.steps[-1].sent.where if found.steps else "the deployment"
        yield Finding(
            MATCHING, f"after {where}", "a call that can be replayed", found.stopped, "stopped here"
        )


# --- which check answers ------------------------------------------------------------------------


def _kinds(pair: Pair) -> tuple[Event, ...]:
    expected, logged = pair
    recorded = logged.event if logged is not None else None
    return tuple(event for event in (expected, recorded) if event is not None)


def _of_book(pair: Pair) -> bool:
    return any(isinstance(event, get_args(BookEvent)) for event in _kinds(pair))


def _of_funds(pair: Pair) -> bool:
    return any(
        isinstance(event, Withdrawn)
        or (isinstance(event, OrderRejected) and event.code == Reject.INSUFFICIENT_FUNDS)
        for event in _kinds(pair)
    )


def _both_placed(expected: Event | None, recorded: Logged | None) -> bool:
    """Whether both took the same order, so that both found it funded."""
    if not isinstance(expected, OrderPlaced) or recorded is None:
        return False
    other = recorded.event
    return isinstance(other, OrderPlaced) and (other.trader, other.nonce) == (expected.trader, expected.nonce)


def _of_other_events(pair: Pair) -> bool:
    return not (_of_book(pair) or _of_funds(pair) or _derived_elsewhere(pair))


DERIVED_ELSEWHERE = AccountSettled, AccountResettled, ReadingEstimated, ChargesChunk, PricesChunk
"""`settlement`, `readings`, `charges` and `prices` look into these."""


def _derived_elsewhere(pair: Pair) -> bool:
    """Postings, estimates and vectors that are in their place."""
    kinds = [type(event) for event in _kinds(pair)]
    return len(kinds) == 2 and kinds[0] is kinds[1] and kinds[0] in DERIVED_ELSEWHERE


# --- comparing ----------------------------------------------------------------------------------


def _compared(record: Record, name: str, mine: Callable[[Pair], bool]) -> Iterator[Verdict]:
    terms = history(record).terms
    for step in replay(record).steps:
        for pair in _pairs(step):
            if mine(pair):
                yield _verdict(name, step, pair, terms)


def _pairs(step: Step) -> list[Pair]:
    """Expected and recorded events side by side; past the first difference only where the numbers agree.

    An event that was dropped or added shifts all after it, so that one finding says it all.
    """
    recorded = [logged for logged in step.sent.logs if logged.event is not None]
    pairs: list[Pair] = list(zip_longest(step.expected, recorded))
    if len(recorded) == len(step.expected):
        return pairs
    for number, (expected, logged) in enumerate(pairs):
        if logged is None or logged.event != expected:
            return pairs[: number + 1]
    return pairs


def _verdict(name: str, step: Step, pair: Pair, terms: Terms) -> Verdict:
    expected, logged = pair
    if logged is not None and logged.event == expected:
        return PASSED
    where = at(logged, terms) if logged is not None else step.sent.where
    wanted, found = _shown(expected), _shown(logged.event if logged is not None else None)
    if expected is not None and logged is not None and type(expected) is type(logged.event):
        wanted, found = _differing(expected, logged.event)
        where = f"{where} {type(expected).__name__}"
    hint = f"replay it: the twin's rule is in market, {step.sent.where}"
    return Finding(name, where, wanted, found, "not what its call gives by the rules", hint)


def _shown(event: Event | None) -> str:
    return "no further event" if event is None else type(event).__name__


def _differing(expected: Event, found: Event | None) -> tuple[str, str]:
    """The members of two events of one kind that differ."""
    values = [
        (item.name, getattr(expected, item.name), getattr(found, item.name)) for item in fields(expected)
    ]
    differing = [(name, wanted, had) for name, wanted, had in values if wanted != had]
    return (
        ", ".join(f"{name} {text(wanted)}" for name, wanted, _ in differing),
        ", ".join(f"{name} {text(had)}" for name, _, had in differing),
    )
