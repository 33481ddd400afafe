"""How the time of each part grows with what it works on: curves with the power of the size that fits them.

The power is that of a straight line through logarithms, from the first size at which fixed costs no longer
count: a curve's first points show them, and the power leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ledger.audit import audit
from market.atc.clearing import AtcClearing
from market.atc.second_order import SECOND_ORDER
from market.feeder import load as load_feeder
from market.mechanisms.matching import matched
from market.pricing.newton import NewtonClearing
from node.bench.chain import trial as chain_trial
from node.bench.drawn import drawn_conditions, drawn_feeder
from node.bench.fit import power
from node.bench.matched_orders import drawn
from node.bench.matching import ACCOUNTS
from node.bench.open_slot import OpenSlot
from node.bench.row import Row, WrongWork
from node.bench.timing import Trial, again, times
from node.scenario.loading import load
from node.scenario.world import build
from node.simulate.run import traded_on_chain
from node.studies.own_market import encoded, read

RUNS = 3
LONG_SECONDS = 5.0
"""Where a size took longer, the next ones run once."""
SCENARIO = "ieee33-day"
BUSES = (33, 100, 300, 907, 3_000, 10_453, 30_000, 100_000)
PROSUMERS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
ORDERS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CHAIN_ORDERS, CHAIN_ACCOUNTS, CHAIN_BATCH = (64, 256, 1_024, 4_096, 16_384), 256, 64
AUDITED_SLOTS, AUDITED_PROSUMERS = (1, 4, 12, 24, 96), 60


@dataclass(frozen=True, slots=True)
class Curve:
    """One part: its name, what its size counts, the sizes, and what is timed at one."""

    name: str
    of: str
    sizes: tuple[int, ...]
    trial: Callable[[int], Trial]


def rows() -> Iterable[Row]:
    """Every curve: its points, then its power."""
    for curve in curves():
        yield from measured(curve)


def curves() -> tuple[Curve, ...]:
    """All of them."""
    return (
        Curve("prices by Newton, cold", "buses", BUSES, _prices),
        Curve("ATC by slopes, 33 buses", "prosumers", PROSUMERS, _atc),
        Curve("continuous auction over arrays", "orders", ORDERS, _matching),
        Curve("embedded chain, batches", "orders", CHAIN_ORDERS, _chain),
        Curve(f"audit of {AUDITED_PROSUMERS} prosumers", "slots", AUDITED_SLOTS, _audit),
    )


def measured(curve: Curve) -> Iterator[Row]:
    """A point a size, and the power that fits them."""
    seconds: list[float] = []
    for size in curve.sizes:
        once = bool(seconds) and seconds[-1] > LONG_SECONDS
        (taken,) = times(curve.trial(size), runs=1 if once else RUNS, warm_ups=0 if once else 1)
        seconds.append(taken.median)
        name = f"{curve.name}: {size:,} {curve.of}"
        yield Row.timed(name, "s", taken, curve=f"{curve.name}, by {curve.of}", size=size)
    if len(seconds) > 1:
        yield Row(f"{curve.name}: grows with {curve.of} to the power of", power(curve.sizes, seconds), "1")


def _prices(buses: int) -> Trial:
    feeder = drawn_feeder(buses)
    conditions, newton = drawn_conditions(feeder, buses), NewtonClearing(feeder)
    return again(lambda: newton(feeder, conditions))


def _atc(prosumers: int) -> Trial:
    feeder = load_feeder("ieee33")
    conditions, clearing = drawn_conditions(feeder, prosumers), AtcClearing(feeder, SECOND_ORDER)
    return again(lambda: clearing(feeder, conditions))


def _matching(orders: int) -> Trial:
    book = drawn(orders, ACCOUNTS)
    return again(lambda: matched(book))


def _chain(orders: int) -> Trial:
    market = OpenSlot.create(CHAIN_ACCOUNTS)
    flow = market.mixed_flow(CHAIN_ACCOUNTS, orders)
    return chain_trial(market, market.transactions(flow, CHAIN_BATCH))


def _audit(slots: int) -> Trial:
    settings = {
        "slots.count": str(slots),
        "prosumers.count": str(AUDITED_PROSUMERS),
        "oracle.method": "newton",
    }
    scenario = load(SCENARIO, settings)
    _, session, _ = traded_on_chain(build(scenario))
    bundle = encoded(session, scenario.name, scenario.seed)

    def prepare() -> Callable[[], object]:
        record = read(bundle)

        def judge() -> None:
            if not audit(record).ok:
                raise WrongWork("findings in a sound record")

        return judge

    return prepare
