"""The benchmarks by name. Each imports what it measures only when it runs, so that listing them is quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from node.bench.row import Row


class UnknownBenchmark(ValueError):  # noqa: N818 - a question about what does not exist
    """No group of benchmarks has this name; the message lists those there are."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of benchmarks, and what it measures in one line."""

    name: str
    about: str
    rows: Callable[[], Iterable[Row]]


def _contract() -> Iterable[Row]:
    from node.bench.contract import rows  # noqa: PLC0415 - each loads what it measures

    return rows()


def _chain() -> Iterable[Row]:
    from node.bench.chain import rows  # noqa: PLC0415

    return rows()


def _prices() -> Iterable[Row]:
    from node.bench.prices import rows  # noqa: PLC0415

    return rows()


def _certificates() -> Iterable[Row]:
    from node.bench.certificates import rows  # noqa: PLC0415

    return rows()


def _atc() -> Iterable[Row]:
    from node.bench.atc import rows  # noqa: PLC0415

    return rows()


def _audit(folder: Path | None = None) -> Iterable[Row]:
    from node.bench.audit import rows  # noqa: PLC0415

    return rows(folder)


def _book() -> Iterable[Row]:
    from node.bench.book import rows  # noqa: PLC0415

    return rows()


def _matching() -> Iterable[Row]:
    from node.bench.matching import rows  # noqa: PLC0415

    return rows()


def _pages() -> Iterable[Row]:
    from node.bench.pages import rows  # noqa: PLC0415

    return rows()


def _growth() -> Iterable[Row]:
    from node.bench.growth import rows  # noqa: PLC0415

    return rows()


def _scaling() -> Iterable[Row]:
    from node.bench.scaling import rows  # noqa: PLC0415

    return rows()


def _shared() -> Iterable[Row]:
    from node.bench.shared import rows  # noqa: PLC0415

    return rows()


GROUPS: tuple[Group, ...] = (
    Group("contract", "gas of orders, cancels, batches, and of one taker against many makers", _contract),
    Group("chain", "signed orders a second on the embedded chain", _chain),
    Group("prices", "one slot priced, cold and warm, of 33 to 10,453 buses", _prices),
    Group("certificates", "the check of a certificate, of 33 and of 5,294 buses", _certificates),
    Group("atc", "rounds of ATC, and its error to the central solve", _atc),
    Group("audit", "every check on days of 3,000 and 30,000 orders: time, memory, growth", _audit),
    Group("book", "random orders through the twin's matcher", _book),
    Group("matching", "auctions of 100,000 orders over arrays, a market day without a chain", _matching),
    Group("growth", "how times grow with buses, prosumers, orders and slots", _growth),
    Group("scaling", "gas, bytes and storage of a session beside the formula of SCALING.md", _scaling),
    Group("shared", "50 feeders behind one connection, beside one problem of all", _shared),
    Group("pages", "pages and events of a busy testnet: latency, listeners, memory", _pages),
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
        replace(group, rows=partial(_audit, folder)) if group.rows is _audit else group for group in groups
    )


def chosen(names: Iterable[str]) -> tuple[Group, ...]:
    """The groups of these names, each once and in their order; all without names. Raises UnknownBenchmark."""
    known = {group.name: group for group in GROUPS}
    wanted = tuple(dict.fromkeys(names)) or tuple(known)
    for name in wanted:
        if name not in known:
            raise UnknownBenchmark(f"{name}: no such benchmark; there are {', '.join(known)}")
    return tuple(known[name] for name in wanted)
