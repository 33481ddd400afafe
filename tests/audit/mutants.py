"""Every rule of the audit broken, one at a time, to see that some kind of tampering then goes unnoticed.

A mutant is a check's module with one thing changed: a verdict that is not given, a branch that is not taken,
one part of a condition left out, a bound moved by one. It is caught when its findings on any tampered record,
or on the honest one, differ. `python -m tests.audit.mutants` lists who survives, after some three minutes
of a core; `survivors.txt` says why each of them may.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType

from ledger.audit import CHECKS, clearings
from ledger.audit.checks import matching, pricing, responses, vetoes
from ledger.audit.verdict import Passed
from ledger.record import Record
from market.atc.responses import Stand
from market.findings import Finding
from market.slots import Rule

BOUNDS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
Findings = tuple[Finding, ...] | str
Told = Callable[[Record], object]
"""A check, or what else a module tells of a record."""


@dataclass(frozen=True)
class Mutant:
    """A check's functions with one rule broken, and where it was."""

    name: str
    told: tuple[Told, ...]


def modules() -> dict[ModuleType, tuple[str, ...]]:
    """Modules of checks, each with the names of what it tells of a record."""
    found: dict[ModuleType, list[str]] = {}
    for check in CHECKS:
        module = inspect.getmodule(check.run)
        assert module is not None
        found.setdefault(module, []).append(check.run.__name__)  # type: ignore[attr-defined]
    found[matching].append("check_calls")
    found[vetoes].append("unjudged")
    found[clearings] = ["clearings", "unproved"]
    found[responses] = ["check_charges", "check_prices", "standing"]
    return {module: tuple(names) for module, names in found.items()}


def told_by(module: ModuleType, made: ModuleType, names: Iterable[str]) -> tuple[Told, ...]:
    """What a module of checks tells, as it was made; what looks into answers does so through its caller."""
    if module is not responses:
        return tuple(getattr(made, name) for name in names)
    caller = _executed(pricing, ast.parse(inspect.getsource(pricing)))
    caller.responses = made  # type: ignore[attr-defined]
    caller.standing = lambda record: [  # type: ignore[attr-defined]
        sorted(made.standing_so(record, stand).items()) for stand in (Stand.HELD, Stand.FORECAST)
    ]
    return tuple(getattr(caller, name) for name in names)


def _executed(module: ModuleType, tree: ast.Module) -> ModuleType:
    """A module of other code in the place of this one."""
    made = ModuleType(module.__name__)
    exec(compile(tree, module.__file__ or "", "exec"), made.__dict__)
    return made


# --- what is broken -----------------------------------------------------------------------------


def _changes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """Each node that can be broken, in what way, and what stands there then."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.YieldFrom()) | ast.Expr(value=ast.Yield(value=ast.Call())):
                yield node, "not given", ast.Pass()
            case ast.Return(value=ast.Call(func=ast.Name(id="Finding"))):
                yield node, "passed", ast.Return(ast.Name("PASSED", ast.Load()))
            case ast.If():
                for what, value in (("always", True), ("never", False)):
                    yield node.test, f"{what} so", ast.Constant(value)
            case ast.BoolOp(values=values):
                for number in range(len(values)):
                    rest = values[:number] + values[number + 1 :]
                    kept = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
                    yield node, f"without part {number + 1}", kept
            case ast.Compare(ops=[op]) if type(op) in BOUNDS:
                other = ast.Compare(node.left, [BOUNDS[type(op)]()], node.comparators)
                yield node, "bound moved", other
            case ast.match_case(pattern=pattern) if not _catches_all(pattern):
                yield node, "no such case", ast.match_case(pattern, ast.Constant(False), node.body)


def _catches_all(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and pattern.pattern is None


class _Put(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().visit(node)


def mutants(
    module: ModuleType, names: Iterable[str], wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Mutant]:
    """The mutants of a module, or those whose name is wanted."""
    source = inspect.getsource(module)
    for number, (old, how, _) in enumerate(_changes(ast.parse(source))):
        what = " ".join(ast.unparse(_shown(old)).split())
        name = f"{module.__name__.rpartition('.')[2]}: {what[:90]}: {how}"
        if not wanted(name):
            continue
        tree = ast.parse(source)
        place, _, new = list(_changes(tree))[number]
        broken = ast.fix_missing_locations(_Put(place, copy.deepcopy(new)).visit(tree))
        yield Mutant(name, told_by(module, _executed(module, broken), names))


def _shown(node: ast.AST) -> ast.AST:
    return node.pattern if isinstance(node, ast.match_case) else node


# --- who survives -------------------------------------------------------------------------------


def findings(tell: Told, record: Record) -> Findings:
    """What a check finds, what else a module tells, or by which exception it ends."""
    try:
        told = tell(record)
        if not isinstance(told, Iterator):
            return repr(told)
        return tuple(each for each in told if not isinstance(each, Passed))
    except Exception as stop:  # a mutant may break anything
        return repr(stop)


def survivors(
    records: Iterable[Callable[[], Record]], wanted: Callable[[str], bool] = lambda name: True
) -> tuple[int, list[str]]:
    """How many mutants there are, and those that find the same in all records."""
    alive = [
        (module, names, mutant)
        for module, names in modules().items()
        for mutant in mutants(module, names, wanted)
    ]
    count = len(alive)
    for read in records:
        record = read()
        honest = {
            module: tuple(findings(tell, record) for tell in told_by(module, module, names))
            for module, names in {module: names for module, names, _ in alive}.items()
        }
        alive = [
            (module, names, mutant)
            for module, names, mutant in alive
            if tuple(findings(tell, record) for tell in mutant.told) == honest[module]
        ]
    return count, [mutant.name for _, _, mutant in alive]


def main() -> None:
    """Count mutants, and name those that nobody catches."""
    count, left = survivors(tampered_records())
    print(f"{count} mutants, {len(left)} survive")
    for name in sorted(left):
        print(f"  {name}")


def tampered_records() -> Iterator[Callable[[], Record]]:
    """The honest record in six forms, one with a veto, one of each kind of tampering, answers with lies.

    A node's record has no proofs and no genesis, or begins late; blocks of one second have the same time; a
    day is cleared together; others use the chain, too.
    """
    from tests.audit.answered import records
    from tests.audit.expected import KINDS
    from tests.audit.forge import begun_late, same_second
    from tests.audit.small_market import SmallMarket, shared, traded
    from tests.audit.tamper_quorum import charges_of_a_day
    from tests.audit.tamper_vetoes import vetoed
    from tests.audit.tampering import Ground

    ground = Ground.of(traded())
    yield lambda: ground.record
    bare = replace(ground.bundle, certificates={}, inputs={}, genesis=b"")
    yield lambda: Record.of(bare, proves_itself=False)
    yield lambda: Record.of(begun_late(ground.bundle, 3), proves_itself=False)
    yield lambda: Record.of(same_second(ground.bundle), proves_itself=False)
    yield lambda: Record.of(charges_of_a_day(ground), proves_itself=True)
    yield lambda: Record.of(shared(SmallMarket(Rule.DLMP)).bundle(), proves_itself=False)
    yield lambda: vetoed().record
    for kind in KINDS:
        yield lambda kind=kind: kind.tamper(ground).record  # type: ignore[misc]
    yield from records()


if __name__ == "__main__":
    main()
