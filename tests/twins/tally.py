"""What random lives did: every call by its outcome, every event and code, and what the two tell together.

A life that quietly stops doing something would still agree with its twin: the counts are what keeps that
from passing for a test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts import build
from ledger import calls
from market.events import AccountResettled, AccountSettled, Event, ReadingEstimated, ReadingRejected
from market.messages import ReadingReject
from market.orders import (
    NOBODY,
    GateClosed,
    OrderPlaced,
    OrderRejected,
    OrdersFilled,
    OrderVoided,
    Reject,
    VoidReason,
)
from market.settlement import Basis
from market.slots import Rule, Terms

PAGE = build.SOURCES.parent / "README.md"
Outcome = tuple[Event, ...] | str


class Tally:
    """Counts by name. `done` are calls that succeeded, `refused` the rules that others broke."""

    def __init__(self) -> None:
        self.actions = 0
        self.lives = Counter[str]()
        self.done = Counter[str]()
        self.refused = Counter[str]()
        self.events = Counter[str]()
        self.codes = Counter[str]()
        self.features = Counter[str]()
        self.checks = Counter[str]()

    def count(self, call: calls.Call, outcome: Outcome, terms: Terms) -> None:
        """One action."""
        self.actions += 1
        if isinstance(outcome, str):
            self.refused[outcome] += 1
            return
        self.done[type(call).__name__] += 1
        for event in outcome:
            self.events[type(event).__name__] += 1
            if code := code_of(event):
                self.codes[code] += 1
        self.features.update(features_of(call, outcome, terms))

    def add(self, other: Mapping[str, Any]) -> None:
        """Take in what `as_json` gave."""
        for name, value in other.items():
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)
            else:
                getattr(self, name).update(value)

    def as_json(self) -> dict[str, Any]:
        """All counts, by name."""
        return {
            name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()
        }


def code_of(event: Event) -> str | None:
    """What an event's code stands for."""
    match event:
        case OrderRejected(code=code):
            return Reject(code).rule
        case ReadingRejected(code=code):
            return ReadingReject(code).rule
        case OrderVoided(reason=reason):
            return f"void: {VoidReason(reason).name.lower().replace('_', ' ')}"
        case ReadingEstimated(basis=basis):
            return f"estimate: {Basis(basis).name.lower()}"
        case AccountSettled(rule=rule, basis=basis):
            return f"settled: {Rule(rule).name.lower()}, by {Basis(basis).name.lower()}"
    return None


def features_of(call: calls.Call, events: Sequence[Event], terms: Terms) -> list[str]:
    """What an action shows that neither its name nor its events tell alone."""
    placed = [event for event in events if isinstance(event, OrderPlaced)]
    found = [f"order in class {event.energy_class}" for event in placed]
    found += ["immediate-or-cancel order" for event in placed if event.flags]
    found += ["order with an expiry" for event in placed if event.expiry]
    found += ["fill of several makers" for e in events if isinstance(e, OrdersFilled) and len(e.makers) > 1]
    match call:
        case calls.PlaceOrder(order=order) if order.relayer != NOBODY:
            found.append("order of a named relayer")
        case calls.CloseGate() if not any(isinstance(event, GateClosed) for event in events):
            found.append("gate closure in steps")
        case calls.AcceptRole(role=role):
            found.append(f"hand-over of role {role}")
        case calls.SetMeter():
            found.append("meter key of a new epoch")
        case calls.VetoFills(vetoes=vetoes) if any(veto.cut < veto.quantity for veto in vetoes):
            found.append("veto of a part")
    for event in events:
        if isinstance(event, AccountSettled):
            found += ["settled: a market of dlmp by the tariff"] * (event.rule != terms.rule)
            found += ["settled: with a penalty"] * (event.penalty > 0)
            found += ["settled: more than was contracted"] * (abs(event.metered) > abs(event.contracted) > 0)
        elif isinstance(event, AccountResettled) and (event.charge or event.closeout or event.imbalance):
            found.append("resettled: with a difference")
    return found


def rules() -> tuple[str, ...]:
    """Every rule that contracts/README.md names: its table of rules, then the reject codes."""
    page = Path(PAGE).read_text("utf-8")
    table = page.split("\n## Rules\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([a-z]+: [^`]+)` \|", table, re.MULTILINE)
    return (*named, *(code.rule for code in Reject), *(code.rule for code in ReadingReject))
