"""What can be said of the contract from its syntax alone, for every path at once."""

from __future__ import annotations

import pytest
import vyper.ast as tree
from vyper.ast.parse import parse_to_ast

import contracts
from contracts import build
from tests.exchange.vyper_events import silent_changes
from tests.exchange.vyper_sources import FUNCTIONS, MODULES, Function, external, reached_from

CHANGING = sorted(external(changing=True), key=lambda function: function.name)
TOKEN_CALLS = {"accounts._deposit", "accounts._withdraw"}
"""The only functions that call another contract."""
CREATING = {"create_from_blueprint", "create_copy_of", "create_minimal_proxy_to", "raw_create"}
RAW_CALLS = CREATING | {"raw_call", "send", "selfdestruct"}
"""Builtins of Vyper that run, make or end other code."""


def named(function: Function) -> str:
    return function.name


def test_the_three_codes_are_all_that_can_be_called():
    names = {function.node.name for function in [*external(changing=True), *external(changing=False)]}
    entries = {entry["name"] for entry in contracts.load("Exchange").abi if entry["type"] == "function"}
    assert names == entries


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=named)
def test_every_loop_is_bounded(function):
    for loop in function.nodes(tree.For):
        if isinstance(loop.iter, tree.Call):
            assert loop.iter.func.id == "range"
            bounds = [keyword for keyword in loop.iter.keywords if keyword.arg == "bound"]
            limit = bounds[0].value if bounds else loop.iter.args[-1]
            assert is_constant(limit, function.module), f"{function.name}: line {loop.lineno}"
        else:
            # A list of the call data or of the storage, whose type has a bound.
            assert isinstance(loop.iter, (tree.Name, tree.Attribute)), f"{function.name}: line {loop.lineno}"


def is_constant(node: tree.VyperNode, module: str) -> bool:
    if isinstance(node, tree.Int):
        return True
    owner = MODULES[module]
    if isinstance(node, tree.Attribute) and node.value.id in MODULES:
        owner, name = MODULES[node.value.id], node.attr
    else:
        name = node.id
    return any(
        declaration.target.id == name and declaration.is_constant
        for declaration in owner.get_children(tree.VariableDecl)
    )


@pytest.mark.parametrize("function", CHANGING, ids=named)
def test_every_change_is_told_by_an_event(function):
    assert any(part.writes for part in reached_from(function)), "changes nothing: it should be a view"
    silent = [statement.lineno for statement in silent_changes(function)]
    assert not silent, f"{function.module}.vy: no event tells of what lines {silent} change"


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=named)
def test_who_writes_to_storage_is_not_a_view(function):
    assert not (function.writes and function.changes_nothing)


def test_only_deposits_and_withdrawals_call_another_contract():
    calling = {name for name, function in FUNCTIONS.items() if function.nodes(tree.ExtCall)}
    assert calling == TOKEN_CALLS
    raw = {name for name, f in FUNCTIONS.items() for call in f.nodes(tree.Call) if is_raw(call)}
    delegating = {"Exchange.__default__", "Clearinghouse.__default__"}
    assert raw == delegating | {"Exchange.__init__"}


def is_raw(call: tree.Call) -> bool:
    return isinstance(call.func, tree.Name) and call.func.id in RAW_CALLS


@pytest.mark.parametrize("name", sorted(TOKEN_CALLS))
def test_calls_of_the_token_come_after_every_change_and_are_checked(name):
    function = FUNCTIONS[name]
    first = min(call.lineno for call in function.nodes(tree.ExtCall))
    for part in reached_from(function):
        if part is not function and part.writes:
            lines = [call.lineno for call in function.nodes(tree.Call) if calls_into(call, part)]
            assert lines and max(lines) < first, f"{part.name} changes something after the token was called"
    assert all(write.lineno < first for write in function.writes)
    last = function.node.body[-1]
    assert isinstance(last, tree.Expr) and last.value.func.attr == "_require"
    assert last.value.args[0].id == "moved"


def calls_into(call: tree.Call, part: Function) -> bool:
    """Whether a call is one of `part`, or of what may come to call it."""
    if not isinstance(call.func, tree.Attribute) or not isinstance(call.func.value, tree.Name):
        return False
    target = FUNCTIONS.get(f"{part.module}.{call.func.attr}")
    return target is not None and part in list(reached_from(target))


@pytest.mark.parametrize("function", CHANGING, ids=named)
def test_what_moves_money_cannot_be_entered_again(function):
    # The lock is one for all three codes. Order entry and cancels call no other contract and stay cheap.
    moves = {"accounts._credit", "accounts._deposit", "accounts._withdraw"}
    if moves & {part.name for part in reached_from(function)}:
        assert "nonreentrant" in function.decorators


@pytest.mark.parametrize("function", CHANGING, ids=named)
def test_what_only_a_role_may_do_asks_for_it_first(function):
    asks = {"accounts._only_utility", "accounts._only_guardian"}
    # Handing over roles asks inside, by role; pausing too.
    inside = {"accounts._propose_role", "accounts._set_paused"}
    first = function.node.body[0]
    called = first.value if isinstance(first, tree.Expr) else None
    says = function.node.doc_string.value
    if "; by the utility" in says or "; by the guardian" in says:
        assert isinstance(called, tree.Call), "asks for nothing first"
        assert f"{called.func.value.id}.{called.func.attr}" in asks | inside


def test_there_is_no_way_to_change_the_code():
    for name, function in FUNCTIONS.items():
        for call in function.nodes(tree.Call):
            if isinstance(call.func, tree.Name) and call.func.id == "raw_call":
                assert call.args[0].id in {"CLEARINGHOUSE", "REGISTRY"}, name
    for module in ("Exchange", "Clearinghouse"):
        for declaration in MODULES[module].get_children(tree.VariableDecl):
            if declaration.target.id in {"CLEARINGHOUSE", "REGISTRY"}:
                assert declaration.is_immutable


def test_the_checks_see_what_they_look_for():
    """The helpers find a write, a log and a call in a module that has one of each."""
    source = "@external\ndef f():\n    self.x[1] = 2\n    slots.states[2] |= 3\n    log E()\n    self._g()\n"
    function = Function("m", parse_to_ast(source).get_children(tree.FunctionDef)[0])
    assert len(function.writes) == 2 and function.calls == {"m._g"} and function.nodes(tree.Log)
    assert build.SOURCES.is_dir()


@pytest.mark.parametrize(
    ("body", "silent"),
    [
        ("self.x = 1\n    log E()", []),
        ("log E()\n    self.x = 1", []),
        ("if a:\n        self.x = 1\n    log E()", []),
        ("self.x = 1\n    if a:\n        log E()\n    else:\n        log F()", []),
        ("self.x = 1\n    if a:\n        log E()", [3]),
        ("self.x = 1\n    for i: uint256 in range(2):\n        log E()", [3]),
        ("if a:\n        self.x = 1\n        return\n    log E()", [4]),
        ("self.x = 1\n    if a:\n        return\n    log E()", [3]),
        (
            "for i: uint256 in range(2):\n        self.x = i"
            "\n        if a:\n            continue\n        log E()",
            [4],
        ),
        (
            "for i: uint256 in range(2):\n        self.x = i\n        if a:\n            break\n    log E()",
            [],
        ),
        ("self.x, b = 1, 2", [3]),
        ("self.s.member = 1", [3]),
        ("self.list.append(1)", [3]),
        ("b: uint256 = oracle.oracles.pop()", [3]),
        ("self.x = 1\n    b: bool = a and accounts._told(1)\n", [3]),
        ("positions._use(1, 2, 3)", [3]),
        ("resting._log_voided(1, a, 2, 3, 4)\n    self.x = 1", []),
    ],
)
def test_a_change_that_some_path_does_not_tell_of_is_seen(body, silent):
    source = f"@external\ndef f(a: bool):\n    {body}\n"
    function = Function("m", parse_to_ast(source).get_children(tree.FunctionDef)[0])
    assert [statement.lineno for statement in silent_changes(function)] == silent
