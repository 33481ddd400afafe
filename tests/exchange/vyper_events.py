"""Which changes of storage no event is sure to tell of, on any path through a function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import vyper.ast as tree

from tests.exchange.vyper_sources import FUNCTIONS, Function

Statement = tree.VyperNode
Place = tuple[Sequence[Statement], int]
"""A list of statements, and which of them it is about."""


def silent_changes(function: Function) -> list[Statement]:
    """Statements that change storage, by themselves or by what they call, with no event beside them.

    An event stands beside a change if it stands in the same list of statements or in one around it, and
    nothing returns between the two: whoever comes to the one comes to the other. That it is the right
    event the twin shows.
    """
    return [
        lists[-1][0][lists[-1][1]]
        for lists in _statements(function.node.body, ())
        if _changes(function, lists[-1]) and not _told(function, lists)
    ]


def _statements(body: Sequence[Statement], around: tuple[Place, ...]) -> Iterator[tuple[Place, ...]]:
    """Every statement by its place, the places of those around it first."""
    for index, statement in enumerate(body):
        lists = (*around, (body, index))
        yield lists
        for inner in _inner(statement):
            yield from _statements(inner, lists)


def _inner(statement: Statement) -> list[Sequence[Statement]]:
    """The lists of statements inside a statement."""
    if isinstance(statement, tree.If):
        return [statement.body, statement.orelse]
    return [statement.body] if isinstance(statement, tree.For) else []


def _called(function: Function, statement: Statement) -> Iterator[Function]:
    """Functions of ours that a statement calls itself, without those in the statements inside it."""
    within = {id(node) for body in _inner(statement) for inner in body for node in _with_all(inner)}
    for call in _with_all(statement):
        if id(call) in within or not isinstance(call, tree.Call):
            continue
        if isinstance(call.func, tree.Attribute) and isinstance(call.func.value, tree.Name):
            owner = function.module if call.func.value.id == "self" else call.func.value.id
            if (name := f"{owner}.{call.func.attr}") in FUNCTIONS:
                yield FUNCTIONS[name]


def _with_all(statement: Statement) -> list[Statement]:
    return [statement, *statement.get_descendants()]


def _changes(function: Function, place: Place) -> bool:
    statement = place[0][place[1]]
    return statement in function.writes or any(map(silent_changes, _called(function, statement)))


def _told(function: Function, places: Sequence[Place]) -> bool:
    """Whether whoever comes to the last of these places comes to an event, before it or after it."""
    returns = leaves = False
    for body, index in reversed(places):
        if isinstance(body[index], tree.For):
            leaves = False  # who left the loop goes on behind it
        if any(_logs(function, statement) for statement in body[: index + 1]):
            return True
        if not returns and not leaves:
            logs, returns, leaves = _runs_into(function, body[index + 1 :])
            if logs:
                return True
    return False


def _runs_into(function: Function, body: Sequence[Statement]) -> tuple[bool, bool, bool]:
    """Whether statements are sure to log; if not, whether they may return, or leave their loop."""
    for statement in body:
        if _logs(function, statement):
            return True, False, False
        within = _with_all(statement)
        returns = any(isinstance(node, tree.Return) for node in within)
        leaves = not isinstance(statement, tree.For) and any(
            isinstance(node, (tree.Break, tree.Continue)) for node in within
        )
        if returns or leaves:
            return False, returns, leaves
    return False, False, False


def _logs(function: Function, statement: Statement) -> bool:
    """Whether a statement is sure to end with an event."""
    if isinstance(statement, tree.Log):
        return True
    if isinstance(statement, tree.If) and statement.orelse:
        return all(_runs_into(function, body)[0] for body in _inner(statement))
    if any(isinstance(node, (tree.BoolOp, tree.IfExp)) for node in _with_all(statement)):
        return False  # what stands in them may not be called
    return any(_runs_into(called, called.node.body)[0] for called in _called(function, statement))
