"""The repository as the tests of the house see it: its files, its modules, what they name."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("contracts", "market", "ledger", "node")


@dataclass(frozen=True)
class Use:
    """An outside name that a module uses: `time.time`, whichever way it was imported.

    `call` is the call where it is called at once, with its arguments.
    """

    path: str
    line: int
    name: str
    call: ast.Call | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


@cache
def files() -> tuple[Path, ...]:
    """Every file that is committed, or would be by `git add .`, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = {Path(name) for name in listing.split("\0") if name}
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


@cache
def text(path: Path) -> str | None:
    """A file's text, or None where it is binary."""
    try:
        return (ROOT / path).read_text("utf-8")
    except UnicodeDecodeError:
        return None


def modules(*folders: str) -> tuple[Path, ...]:
    """Python modules under these folders."""
    return tuple(path for path in files() if path.suffix == ".py" and path.parts[0] in folders)


def packages() -> tuple[Path, ...]:
    """Folders that are packages, by their `__init__.py`."""
    return tuple(path.parent for path in modules(*PACKAGES) if path.name == "__init__.py")


@cache
def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(text(path) or "", str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that a module imports, inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


def uses(path: Path) -> Iterator[Use]:
    """Every outside name that a module uses, by the full name it was imported under."""
    names = dict(_bound_names(path))
    calls = {id(node.func): node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            first, *rest = _dotted(node)
            if first in names:
                yield Use(str(path), node.lineno, ".".join([names[first], *rest]), calls.get(id(node)))


def _bound_names(path: Path) -> Iterator[tuple[str, str]]:
    """What each imported name stands for."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    yield alias.asname, alias.name
                else:
                    yield alias.name.split(".")[0], alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.expr) -> list[str]:
    """`a.b.c` as its parts; a call or an index in between hides what is before it."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else ["", *parts]
