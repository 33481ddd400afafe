"""Who does the work: this process alone, or workers that it asks; the same code, and the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from market.atc.regions import Held, here

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkersError(RuntimeError):
    """There are no workers, or one died more often than it is begun anew; the message says what to do."""


class Crew(Protocol):
    """Those who work."""

    def hold(self, make: Callable[[Any], Any], of: Sequence[Any]) -> Held:
        """Parts `make(each)` that answer all at once, as `market.atc.regions` divides prosumers."""
        ...

    def each(self, do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`do` of every item, in their order; it must depend on the item alone. Raises what `do` raises."""
        ...


class Alone:
    """This process, one thing after the other; implements Crew."""

    def hold(self, make: Callable[[Any], Any], of: Sequence[Any]) -> Held:
        """Parts in this process."""
        return here(make, of)

    def each(self, do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`do` of every item."""
        return [do(item) for item in items]


@contextmanager
def crew(workers: int, address: str | None = None) -> Iterator[Crew]:
    """So many workers of Ray, on this machine or of the cluster at an address; none: this process.

    Raises WorkersError where Ray is not installed or does not start.
    """
    if workers == 0:
        yield Alone()
        return
    from node.workers.on_ray import started  # noqa: PLC0415 - an extra, and it loads slowly

    with started(workers, address) as many:
        yield many
