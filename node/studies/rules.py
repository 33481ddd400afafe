"""Auctions of a reader's own, from files.

A file `FILE.py` has a function `auction(bids, asks, grid, rng)` that returns an `Outcome`; its rule is called
FILE. It may import what lies beside it. It is run as the code that it is: name files that you trust.

RuleFileError   no such file, none that has an auction, or a name that is taken
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType

from node.studies.auctions import Auction
from node.studies.failures import told


class RuleFileError(ValueError):
    """A file has no auction, or one of a name that is taken; the message names the file."""


def load_rules(paths: Iterable[Path], taken: Collection[str]) -> dict[str, Auction]:
    """The auctions of files by name, none of which may be like one that is `taken`. Raises RuleFileError."""
    named: dict[str, Path] = {}
    known = {_alike(name): f"what is compared already: {', '.join(taken)}" for name in taken}
    for path in paths:
        alike = _alike(path.stem)
        if alike in known:
            raise RuleFileError(f"{path}: {path.stem} is the name of {known[alike]}; rename the file")
        known[alike] = str(path)
        named[path.stem] = path
    return {name: _load(path) for name, path in named.items()}


def _alike(name: str) -> str:
    """Names that differ in this are told apart at a glance."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _load(path: Path) -> Auction:
    auction = getattr(_executed(path), "auction", None)
    if not callable(auction):
        raise RuleFileError(f"{path}: it has no function auction(bids, asks, grid, rng)")
    found: Auction = auction
    return found


def _executed(path: Path) -> ModuleType:
    """The file as a module that is found by its name, as dataclasses need it, and finds its neighbours."""
    spec = importlib.util.spec_from_file_location(f"rule_{path.stem}", path.absolute())
    if not path.is_file() or spec is None or spec.loader is None:
        raise RuleFileError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # behind everything else: a neighbour hides no package
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as failure:
        raise RuleFileError(f"{path}: {told(failure, spec.origin)}") from failure
    return module
