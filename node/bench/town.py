"""A town of feeders, each a market with a chain of its own: traded in one process and on workers of Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.audit import audit
from node.bench.needs import activity_of
from node.bench.row import Row, WrongWork
from node.bench.timing import timed
from node.scenario.loading import load
from node.scenario.world import build
from node.simulate.run import traded_on_chain
from node.studies.own_market import encoded, read
from node.workers.crew import Alone, Crew, WorkersError, crew

FEEDERS = 20
SCENARIO = "ieee33-day"
NETWORKS = "ieee33", "ieee69"
"""In turn; people, weather and forecasts differ by seed."""
SESSION = {"slots.count": "2", "prosumers.count": "30", "oracle.method": "newton"}
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Traded:
    """What one feeder's session left: where its chain ended, what it took, and what the formula says."""

    head: bytes
    orders: int
    gas: int
    formula_gas: float


def rows() -> Iterator[Row]:
    """Orders and gas of the town beside the formula's, and its time on workers where Ray is installed."""
    here, alone = timed(lambda: traded(Alone()))
    what = f"{FEEDERS} feeders, {SESSION['slots.count']} slots, {SESSION['prosumers.count']} prosumers each"
    yield Row(f"{what}: orders", sum(each.orders for each in here), "orders")
    formula = sum(each.formula_gas for each in here)
    yield Row(f"{what}: gas", sum(each.gas for each in here), "gas", "the formula of SCALING.md", formula)
    try:
        with crew(WORKERS) as many:
            traded(many, WORKERS)  # processes load what they need
            spread, there = timed(lambda: traded(many))
    except WorkersError:
        yield Row.timed(f"{what}: time to trade and audit them", "s", alone)
        return
    if spread != here:
        raise WrongWork("feeders on workers end with other chains than in one process")
    name = f"{what}: time to trade and audit them, {WORKERS} workers of Ray"
    yield Row.timed(name, "s", there, "in one process, same run", alone)


def traded(by: Crew, feeders: int = FEEDERS) -> list[Traded]:
    """Every feeder's session."""
    return by.each(session, range(feeders))


def session(number: int) -> Traded:
    """One feeder's, traded on a chain and audited. Raises WrongWork where the audit finds anything."""
    settings = SESSION | {"feeder.name": NETWORKS[number % len(NETWORKS)], "seed": str(1 + number)}
    scenario = load(SCENARIO, settings)
    _, market, _ = traded_on_chain(build(scenario))
    record = read(encoded(market, scenario.name, scenario.seed))
    report = audit(record)
    if not report.ok:
        raise WrongWork(f"feeder {number}: {report}")
    activity = activity_of(record)
    return Traded(
        head=record.blocks[-1].hash,
        orders=activity.orders,
        gas=sum(sent.gas_used for sent in record.sent),
        formula_gas=activity.gas + activity.setup_gas,
    )
