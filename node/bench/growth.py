"""How the time of each part grows with what it works on: curves with the power of the size that fits them.

The power is that of a straight line through logarithms, from the first size at which fixed costs no longer
count: a curve's first points show them, and the power leaves them out. So sizes lie closer together towards
the largest, for the line to rest on more than two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from ledger.audit import audit
from market.atc.clearing import AtcClearing
from market.atc.second_order import SECOND_ORDER
from market.feeder import load as load_feeder
from market.mechanisms.matching import matched
from market.orders import Order
from market.pricing.newton import NewtonClearing
from node.bench.chain import trial as chain_trial
from node.bench.drawn import drawn_conditions, drawn_feeder
from node.bench.fit import fit
from node.bench.matched_orders import drawn
from node.bench.matching import ACCOUNTS
from node.bench.open_slot import OpenSlot
from node.bench.row import Row, WrongWork
from node.bench.timing import Times, Trial, again, times
from node.scenario.loading import load
from node.scenario.world import build
from node.simulate.run import traded_on_chain
from node.studies.own_market import encoded, read

RUNS = 3
WARM_SECONDS = 1.0
"""Where a size took longer, nothing comes before the next one's runs to warm up."""
SCENARIO = "ieee33-day"
BUSES = (33, 100, 300, 907, 3_000, 10_453, 20_000, 30_000, 50_000, 100_000)
TO_TEN_MILLION = (1_000, 10_000, 100_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000)
PROSUMERS, ORDERS = TO_TEN_MILLION, TO_TEN_MILLION
CHAIN_ORDERS, CHAIN_BATCH = (64, 256, 1_024, 2_048, 4_096, 8_192, 16_384), 64
ORDERS_AN_ACCOUNT = 16
"""On the chain, at every size: so many rest on a side at most, and orders that are refused cost less."""
AUDITED_SLOTS, AUDITED_PROSUMERS = (1, 4, 12, 24, 48, 96), 60


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
    taken: list[Times] = []
    for size in curve.sizes:
        is_long = bool(taken) and taken[-1].median > WARM_SECONDS
        taken += times(curve.trial(size), runs=RUNS, warm_ups=0 if is_long else 1)
        name = f"{curve.name}: {size:,} {curve.of}"
        yield Row.timed(name, "s", taken[-1], curve=f"{curve.name}, by {curve.of}", size=size)
    if len(taken) > 1:
        found = fit(curve.sizes, taken)
        yield Row(
            f"{curve.name}: grows with {curve.of} to the power of",
            found.power,
            "1",
            runs=(RUNS,),
            spread=found.spread,
            points=found.points,
        )


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
    market, flow = chain_flow(orders)
    return chain_trial(market, market.transactions(flow, CHAIN_BATCH))


def chain_flow(orders: int) -> tuple[OpenSlot, Sequence[Order]]:
    """A market, and so many orders of which it refuses none."""
    accounts = ceil(orders / ORDERS_AN_ACCOUNT)
    market = OpenSlot.create(accounts)
    return market, market.mixed_flow(accounts, orders)


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
