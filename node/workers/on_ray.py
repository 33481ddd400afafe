"""Workers on Ray (the extra `ray`): actors that hold parts, and are asked again where one is killed.

A part is made from what the process that asks put into Ray's object store, and whatever an actor holds it can
make anew from there. So an actor that dies is begun again, makes its parts again and is asked the same again;
since answers depend on the question alone, nothing of the run is lost or changed.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from market.atc.regions import Held
from node.workers.crew import Item, Result, WorkersError

BEGUN_ANEW_MAX = 20
"""How often one worker is begun again: who dies more often would die of the same thing again."""
HELD_MAX = 4
"""Holdings of which a worker keeps its parts; of others it makes them when it is asked."""

Place = tuple[int, int]
"""Holding, and the part's number in it."""


class Worker:
    """One process, as an actor."""

    def __init__(self) -> None:
        self._parts: OrderedDict[int, dict[int, Any]] = OrderedDict()

    def answer(
        self, holding: int, question: str, asked: Sequence[tuple[int, list[Any], tuple[Any, ...]]]
    ) -> list[Any]:
        """What parts answer: each has its number, what it is made from, and its arguments."""
        parts = self._parts.setdefault(holding, {})
        self._parts.move_to_end(holding)
        while len(self._parts) > HELD_MAX:
            self._parts.popitem(last=False)
        for number, source, _ in asked:
            if number not in parts:
                parts[number] = _made(source)
        return [getattr(parts[number], question)(*arguments) for number, _, arguments in asked]

    def do(self, work: Callable[[Any], Any], item: Any) -> Any:
        """Something that depends on its item alone."""
        return work(item)

    def pid(self) -> int:
        """The process's id."""
        return os.getpid()


def _made(source: list[Any]) -> Any:
    import ray  # noqa: PLC0415 - an extra

    make, of = ray.get(source)
    return make(of)


class OnRay:
    """Actors on this machine or a cluster; implements Crew."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self._actors = tuple(actors)
        self._holdings = count()

    def hold(self, make: Callable[[Any], Any], of: Sequence[Any]) -> Held:
        """Parts held by the actors in turn."""
        import ray  # noqa: PLC0415 - an extra

        maker = ray.put(make)
        return _HeldByActors(self, next(self._holdings), [[maker, ray.put(each)] for each in of])

    def each(self, do: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """`do` of every item, the next one to whoever is done."""
        import ray  # noqa: PLC0415 - an extra

        waiting = list(enumerate(items))[::-1]
        results: dict[int, Result] = {}
        idle = list(self._actors)
        busy: dict[Any, tuple[int, Any]] = {}
        while waiting or busy:
            while waiting and idle:
                number, item = waiting.pop()
                actor = idle.pop()
                busy[actor.do.remote(do, item)] = number, actor
            (done, *_), _ = ray.wait(list(busy))
            number, actor = busy.pop(done)
            results[number] = gathered([done])[0]
            idle.append(actor)
        return [results[number] for number in sorted(results)]

    @property
    def actors(self) -> tuple[Any, ...]:
        """The workers, as Ray's handles."""
        return self._actors

    def pids(self) -> list[int]:
        """Process id of each worker, on its own machine."""
        return [int(pid) for pid in gathered([actor.pid.remote() for actor in self._actors])]


class _HeldByActors:
    """Parts in actors; implements Held."""

    def __init__(self, crew: OnRay, holding: int, sources: Sequence[list[Any]]) -> None:
        self._actors, self._holding, self._sources = crew.actors, holding, sources

    def ask(self, question: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """All actors at once, each for all its parts."""
        asked = [
            (number, source, each)
            for number, (source, each) in enumerate(zip(self._sources, arguments, strict=True))
        ]
        workers = len(self._actors)
        answers = gathered(
            [
                actor.answer.remote(self._holding, question, asked[place::workers])
                for place, actor in enumerate(self._actors)
            ]
        )
        return [answers[number % workers][number // workers] for number in range(len(asked))]


def gathered(promises: Sequence[Any]) -> list[Any]:
    """What was promised. Raises what the work raised, WorkersError where its worker is gone for good."""
    import ray  # noqa: PLC0415 - an extra

    try:
        return list(ray.get(list(promises)))
    except ray.exceptions.RayTaskError as failure:
        raise failure.cause from None
    except ray.exceptions.RayError as failure:
        raise WorkersError(f"a worker died more than {BEGUN_ANEW_MAX} times: {failure}") from None


@contextmanager
def started(workers: int, address: str | None = None) -> Iterator[OnRay]:
    """So many actors, gone at the end; on this machine or the cluster at an address. Raises WorkersError."""
    # whoever runs this asked for workers, not to be counted elsewhere
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError:
        raise WorkersError("workers need Ray: pip install 'wattbook[ray]'") from None
    local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as failure:
        raise WorkersError(f"Ray does not start: {failure}") from None
    try:
        actor = ray.remote(num_cpus=1, max_restarts=BEGUN_ANEW_MAX, max_task_retries=BEGUN_ANEW_MAX)(Worker)
        yield OnRay([actor.remote() for _ in range(workers)])
    finally:
        ray.shutdown()
