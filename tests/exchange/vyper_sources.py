"""The contract's sources as syntax trees, and who calls whom in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import vyper.ast as tree
from vyper.ast.parse import parse_to_ast

from contracts import build

CODES = ("Exchange", "Clearinghouse", "Registry")
"""The parts of the Exchange: what is external in them is all that anybody can call."""


@dataclass(frozen=True)
class Function:
    """One function of one module."""

    module: str
    node: tree.FunctionDef

    @property
    def name(self) -> str:
        """As calls name it: module and function."""
        return f"{self.module}.{self.node.name}"

    @cached_property
    def decorators(self) -> set[str]:
        """Decorators by name."""
        return {decorator.id for decorator in self.node.decorator_list}

    @property
    def is_external(self) -> bool:
        """Whether it can be called from outside."""
        return "external" in self.decorators

    @property
    def changes_nothing(self) -> bool:
        """Whether the compiler holds it to changing nothing."""
        return bool(self.decorators & {"view", "pure"})

    def nodes(self, *kinds: type) -> list:
        """Nodes of these kinds in the order of the source."""
        return sorted(self.node.get_descendants(kinds), key=lambda node: (node.lineno, node.col_offset))

    @cached_property
    def calls(self) -> set[str]:
        """Functions of ours that it calls."""
        found = set()
        for call in self.nodes(tree.Call):
            if isinstance(call.func, tree.Attribute) and isinstance(call.func.value, tree.Name):
                owner = self.module if call.func.value.id == "self" else call.func.value.id
                found.add(f"{owner}.{call.func.attr}")
        return found

    @cached_property
    def writes(self) -> list[tree.VyperNode]:
        """Statements that write to storage, of its own module or another's."""
        assignments = [
            statement
            for statement in self.nodes(tree.Assign, tree.AugAssign)
            if any(map(in_storage, targets(statement.target)))
        ]
        lists = [
            statement
            for statement in self.nodes(tree.Expr, tree.Assign, tree.AnnAssign)
            if isinstance(call := statement.value, tree.Call)
            and isinstance(call.func, tree.Attribute)
            and call.func.attr in {"append", "pop"}
            and in_storage(call.func.value)
        ]
        return assignments + lists


def targets(target: tree.VyperNode) -> list[tree.VyperNode]:
    """What is assigned to, one by one."""
    return list(target.elements) if isinstance(target, tree.Tuple) else [target]


def in_storage(target: tree.VyperNode) -> bool:
    """Whether a name, an entry or a member is of a variable of a module, one's own or another."""
    while isinstance(target, tree.Subscript) or (
        isinstance(target, tree.Attribute) and not isinstance(target.value, tree.Name)
    ):
        target = target.value
    if not isinstance(target, tree.Attribute):
        return False
    return target.value.id == "self" or target.value.id in MODULES


def _modules() -> dict[str, tree.Module]:
    return {
        path.stem: parse_to_ast(path.read_text("utf-8"))
        for path in sorted(build.SOURCES.glob("*.vy"))
        if path.stem != "Token"
    }


MODULES = _modules()
FUNCTIONS = {
    function.name: function
    for module, body in MODULES.items()
    for function in (Function(module, node) for node in body.get_children(tree.FunctionDef))
}


def reached_from(function: Function) -> Iterator[Function]:
    """A function and all that it may come to call."""
    seen: set[str] = set()
    waiting = [function.name]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in FUNCTIONS:
            seen.add(name)
            yield FUNCTIONS[name]
            waiting += FUNCTIONS[name].calls


def external(*, changing: bool) -> Iterable[Function]:
    """What anybody can call of the three codes, without constructors and the delegating fallback."""
    for function in FUNCTIONS.values():
        delegates = function.node.name == "__default__"
        callable_of_ours = function.module in CODES and function.is_external and not delegates
        if callable_of_ours and function.changes_nothing != changing:
            yield function
