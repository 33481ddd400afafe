"""Regions and sweeps on Ray: the same bits as in this process, on any number of workers, some killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from market.atc.clearing import AtcClearing
from market.atc.feeders import Connection, share
from market.atc.methods import METHODS
from market.atc.prosumers import Prosumers, Response
from market.atc.regions import Held, in_regions
from market.feeder.model import Feeder
from market.pricing.admission import ClearingFailed, PricingError
from market.pricing.conditions import Conditions, Devices, Solution
from market.units import Floats
from node.bench.day import demo_day
from node.bench.drawn import drawn_conditions
from node.bench.shared import drawn
from node.workers.crew import Alone, Crew, WorkersError, crew

REGIONS = 6


@contextmanager
def on_ray(workers: int) -> Iterator[Crew]:
    pytest.importorskip("ray")
    with crew(workers) as many:
        yield many


def cleared(method: str, many: Crew, feeder: Feeder, conditions: Conditions) -> Solution:
    levels = in_regions(REGIONS, feeder.buses, many.hold)
    return AtcClearing(feeder, METHODS[method], levels)(feeder, conditions)


def same(one: Solution, other: Solution) -> bool:
    """Whether prices, schedules and rounds are the same to the last bit."""
    pairs = (
        (one.duals.price, other.duals.price),
        (one.primal.gen, other.primal.gen),
        (one.primal.load, other.primal.load),
    )
    return one.iterations == other.iterations and all(a.tobytes() == b.tobytes() for a, b in pairs)


class Killing:
    """A crew whose workers are killed, each once, just before they are asked: at every third question one."""

    def __init__(self, crew: Any) -> None:
        self._crew = crew
        self.asked, self.killed = 0, []

    def hold(self, make: Callable[[Any], Any], of: Sequence[Any]) -> Held:
        held, killing = self._crew.hold(make, of), self

        class Watched:
            def ask(self, question: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
                killing.asked += 1
                if killing.asked % 3 == 0 and len(killing.killed) < 2:
                    pid = killing._crew.pids()[len(killing.killed)]
                    os.kill(pid, signal.SIGKILL)
                    killing.killed.append(pid)
                return held.ask(question, arguments)

        return Watched()


@pytest.mark.long
@pytest.mark.parametrize("workers", [2, 4])
def test_the_same_prices_bit_for_bit(workers: int):
    """One slot by three methods, 20 000 prosumers, feeders under a rating; then with two workers killed."""
    world = demo_day(1_000)
    feeder, slot = world.feeder, world.conditions(12)
    crowd = drawn_conditions(feeder, 20_000)
    with on_ray(workers) as many:
        for method in ("atc", "second-order", "three-levels"):
            for conditions in (slot, crowd):
                alone = AtcClearing(feeder, METHODS[method])(feeder, conditions)
                assert same(cleared(method, many, feeder, conditions), alone), method

        feeders, connection = drawn(4), Connection(60.0, 20.0, import_max_mw=11.0)
        spread, together = share(connection, feeders, many.hold), share(connection, feeders)
        assert spread.agreed.net_import_mw.tobytes() == together.agreed.net_import_mw.tobytes()

        dying = Killing(many)
        before = set(many.pids())  # type: ignore[attr-defined]
        assert same(cleared("atc", dying, feeder, crowd), AtcClearing(feeder)(feeder, crowd))  # type: ignore[arg-type]
        assert len(dying.killed) == 2 and set(dying.killed) <= before
        assert not set(dying.killed) & set(many.pids())  # type: ignore[attr-defined]


class Mortal(Prosumers):
    """Prosumers whose first process to answer a proximal step dies of it."""

    def __init__(self, devices: Devices, *, died: Path) -> None:
        super().__init__(devices)
        self._died = died

    def respond(self, target: Floats, weight: Floats) -> Response:
        """Dies in the middle of an answer, once."""
        if not self._died.exists():
            self._died.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().respond(target, weight)


@pytest.mark.long
def test_a_worker_that_dies_while_it_answers_is_asked_again(tmp_path: Path):
    world = demo_day(100)
    feeder, slot, died = world.feeder, world.conditions(12), tmp_path / "died"
    with on_ray(2) as many:
        levels = in_regions(REGIONS, feeder.buses, lambda make, of: many.hold(partial(Mortal, died=died), of))
        found = AtcClearing(feeder, lower_levels=levels)(feeder, slot)
        assert same(found, AtcClearing(feeder)(feeder, slot))
        assert int(died.read_text()) not in many.pids()  # type: ignore[attr-defined]


def import_mw(item: tuple[Feeder, Conditions]) -> float:
    """What a slot imports."""
    feeder, conditions = item
    return float(AtcClearing(feeder)(feeder, conditions).primal.net_import[0]) * feeder.base_mw


def refused(item: int) -> int:
    """Fails for one item."""
    if item == 3:
        raise ClearingFailed("item 3")
    return item


@pytest.mark.long
def test_a_sweep_has_the_same_results_in_order():
    world = demo_day(100)
    items = [(world.feeder, world.conditions(slot)) for slot in range(24)]
    with on_ray(2) as many:
        assert many.each(import_mw, items) == Alone().each(import_mw, items)
        with pytest.raises(PricingError, match="item 3"):
            many.each(refused, range(6))
        os.kill(many.pids()[0], signal.SIGKILL)  # type: ignore[attr-defined]
        assert many.each(import_mw, items[:4]) == Alone().each(import_mw, items[:4])


def test_this_process_alone_needs_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    world = demo_day(10)
    with crew(0) as alone:
        alone_found = cleared("atc", alone, world.feeder, world.conditions(12))
        assert alone.each(abs, [-1, 2]) == [1, 2]
    assert same(alone_found, AtcClearing(world.feeder)(world.feeder, world.conditions(12)))


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkersError, match=r"pip install 'wattbook\[ray\]'"), crew(2):
        pass


@pytest.mark.long
def test_the_command_prices_the_same_with_workers_and_names_what_has_none():
    pytest.importorskip("ray")
    from node.price import MethodError, clear
    from node.scenario.loading import load

    day = load("ieee33-day")
    alone, divided = clear(day, 12, "atc"), clear(day, 12, "atc", workers=2)
    assert divided.solution.duals.price.tobytes() == alone.solution.duals.price.tobytes()
    assert divided.table.certified
    with pytest.raises(MethodError, match="--workers 2: --method newton asks no prosumers"):
        clear(day, 12, "newton", workers=2)
