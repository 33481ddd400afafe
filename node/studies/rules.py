"""Auctions of a reader's own, from files.

A file `FILE.py` has a function `auction(bids, asks, grid, rng)` that returns an `Outcome`; its rule is called
FILE. It is run as the code that it is: name files that you trust.

RuleFileError   no such file, or none that has an auction
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from node.studies.community import Auction


class RuleFileError(ValueError):
    """A file has no auction; the message names the file."""


def load_rules(paths: Iterable[Path]) -> dict[str, Auction]:
    """The auctions of files by name. Raises RuleFileError."""
    return {path.stem: _load(path) for path in paths}


def _load(path: Path) -> Auction:
    spec = importlib.util.spec_from_file_location(f"rule_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RuleFileError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as failure:
        raise RuleFileError(f"{path}: {type(failure).__name__}: {failure}") from failure
    auction = getattr(module, "auction", None)
    if not callable(auction):
        raise RuleFileError(f"{path}: it has no function auction(bids, asks, grid, rng)")
    found: Auction = auction
    return found
