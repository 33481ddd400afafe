"""The benchmarks by name. Each imports what it measures only when it runs, so that listing them is quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

from node.bench.row import Row


class UnknownBenchmark(ValueError):  # noqa: N818 - a question about what does not exist
    """No group of benchmarks has this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of benchmarks, and what it measures in one line.

    One that `keeps` what it simulates does so in the folder that `rows` may be given.
    """

    name: str
    about: str
    rows: Callable[..., Iterable[Row]]
    keeps: bool = False


def _group(name: str, about: str, *, keeps: bool = False) -> Group:
    """The group whose module has its name, and is loaded when it runs."""

    def rows(*given: Path) -> Iterable[Row]:
        found: Iterable[Row] = import_module(f"node.bench.{name}").rows(*given)
        return found

    return Group(name, about, rows, keeps)


GROUPS: tuple[Group, ...] = (
    _group("contract", "gas of orders, cancels, batches, and of one taker against many makers"),
    _group("chain", "signed orders a second on the embedded chain"),
    _group("prices", "one slot priced, cold and warm, of 33 to 10,453 buses"),
    _group("certificates", "the check of a certificate, of 33 and of 5,294 buses"),
    _group("atc", "rounds of ATC, and its error to the central solve"),
    _group("audit", "every check on days of 3,000 and 30,000 orders: time, memory, growth", keeps=True),
    _group("book", "random orders through the twin's matcher"),
    _group("matching", "auctions of 100,000 orders over arrays, a market day without a chain"),
    _group("growth", "how times grow with buses, prosumers, orders and slots"),
    _group("scaling", "gas, bytes and storage of a session beside the formula of SCALING.md"),
    _group("shared", "50 feeders behind one connection, beside one problem of all"),
    _group("pages", "pages and events of a busy testnet: latency, listeners, memory"),
)
"""All groups, in the order of a whole run."""


def prices_of(feeders: Sequence[str]) -> Group:
    """The group `prices` on these feeders alone; what is no feeder raises FeederError when it runs."""

    def rows() -> Iterable[Row]:
        from node.bench.prices import rows_of  # noqa: PLC0415

        return rows_of(feeders)

    return Group("prices", f"one slot of {', '.join(feeders)} priced, cold and warm", rows)


def kept_in(folder: Path, groups: Iterable[Group]) -> tuple[Group, ...]:
    """The groups; the one that simulates days keeps them in this folder and finds them there again."""
    return tuple(
        replace(group, rows=partial(group.rows, folder)) if group.keeps else group for group in groups
    )


def chosen(names: Iterable[str]) -> tuple[Group, ...]:
    """The groups of these names, each once and in their order; all without names. Raises UnknownBenchmark."""
    known = {group.name: group for group in GROUPS}
    wanted = tuple(dict.fromkeys(names)) or tuple(known)
    for name in wanted:
        if name not in known:
            raise UnknownBenchmark(f"{name}: no such benchmark; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)
