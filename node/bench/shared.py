"""Feeders behind one connection: rounds between the levels, beside one conic problem of all of them.

That problem has every feeder's network and devices and the connection's own columns and row, for Clarabel. An
interior point leaves its last digits open where the optimum is flat, so there is another check: Clarabel's
answers of single feeders, polished, and bisection on the one price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import clarabel
import numpy as np
import scipy.sparse as sp

from market.atc.extended import USABLE
from market.atc.feeders import Case, Connection, PricedFeeder, share
from market.feeder.model import Feeder
from market.pricing import direct
from market.pricing.branchflow import NetworkProblem
from market.pricing.central import assembled
from market.pricing.conditions import Clearing, Conditions, Hub
from market.units import Floats
from node.bench.drawn import drawn_conditions, drawn_feeder
from node.bench.row import Row, WrongWork
from node.bench.timing import again, times
from node.workers.crew import WorkersError, crew

FEEDERS, PROSUMERS = 50, 40
BUSES_LEAST = 20
"""Of the first feeder; each of the others has one bus more."""
LOADS = 1.0, 0.0
"""Shares of the drawn firm load, in turn."""
CONNECTIONS = {
    "import rated": Connection(60.0, 20.0, import_max_mw=2.8 * FEEDERS),
    "price that rises": Connection(40.0, 20.0, slope=10.0 / FEEDERS),
    "export rated": Connection(300.0, 160.0, export_max_mw=0.01 * FEEDERS),
}
"""€/MWh and MW: half of what the feeders would take; a slope; nearly nothing given back."""
GOAL = 1e-6
RUNS = 3
WORKERS = 2


@dataclass(frozen=True, eq=False)
class Central:
    """Price of the connection, €/MWh, and what each feeder takes, MW."""

    price: float
    net_import_mw: Floats


def rows() -> Iterable[Row]:
    """Rounds, errors and times of every connection; then the same on workers."""
    cases = drawn(FEEDERS)
    for name, connection in CONNECTIONS.items():
        yield from _compared(f"{FEEDERS} feeders, {name}", connection, cases)
    yield from _on_workers(cases)


def _compared(name: str, connection: Connection, cases: Sequence[Case]) -> Iterator[Row]:
    found = share(connection, cases)
    price = found.agreed.price
    peer = central(connection, cases, price)
    ours, theirs = times(
        again(lambda: share(connection, cases)),
        again(lambda: central(connection, cases, price)),
        runs=RUNS,
        warm_ups=0,  # both were run above
    )
    yield Row(f"{name}: rounds", len(found.rounds), "rounds")
    yield Row.timed(f"{name}: time", "s", ours, "one conic problem of all, Clarabel", theirs)
    # no goal: it ends where an interior point of this size makes no more progress
    yield Row(f"{name}: price, to that problem's", abs(peer.price / price - 1.0), "relative")
    apart = abs(bisected(connection, cases, price) / price - 1.0)
    yield Row(f"{name}: price, to bisection's over polished conic answers", apart, "relative", goal=GOAL)


def _on_workers(cases: Sequence[Case]) -> Iterator[Row]:
    """Feeders as parts that actors of Ray hold; nothing where the extra is not installed."""
    connection = CONNECTIONS["import rated"]
    alone = share(connection, cases)
    try:
        with crew(WORKERS) as many:
            spread = share(connection, cases, many.hold)  # processes load what they need
            there, here = times(
                again(lambda: share(connection, cases, many.hold)),
                again(lambda: share(connection, cases)),
                runs=RUNS,
                warm_ups=0,
            )
    except WorkersError:
        return
    if spread.agreed.net_import_mw.tobytes() != alone.agreed.net_import_mw.tobytes():
        raise WrongWork("feeders on workers take other powers than in one process")
    name = f"{FEEDERS} feeders, import rated: time on {WORKERS} workers of Ray"
    yield Row.timed(name, "s", there, "in one process, same run", here)


def drawn(feeders: int) -> list[Case]:
    """So many drawn feeders, no two alike, every second without firm load: it has energy to spare."""
    networks = [drawn_feeder(BUSES_LEAST + number) for number in range(feeders)]
    cases = [(feeder, drawn_conditions(feeder, PROSUMERS)) for feeder in networks]
    return [(feeder, _with_load(conditions, LOADS[i % 2])) for i, (feeder, conditions) in enumerate(cases)]


def _with_load(conditions: Conditions, part: float) -> Conditions:
    return replace(conditions, fixed_p=part * conditions.fixed_p, fixed_q=part * conditions.fixed_q)


def bisected(connection: Connection, cases: Sequence[Case], near: float, width: float = 1e-6) -> float:
    """The price at which feeders, each by polished Clarabel, take what is supplied: bisection near a price.

    To a tenth of `width`, relative. Raises WrongWork where the price is not so near.
    """
    feeders = [PricedFeeder(_polished, case) for case in cases]

    def excess_mw(price: float) -> float:
        taken = sum(feeder.net_import_mw(price) for feeder in feeders)
        return taken - float(np.clip(taken, *connection.supply_mw(price)))

    low, high = near * (1.0 - width), near * (1.0 + width)
    if not excess_mw(low) > 0 > excess_mw(high):
        raise WrongWork(f"no price within {width:g} of {near:g} €/MWh at which feeders take what is supplied")
    while high - low > 0.1 * width * near:
        middle = (low + high) / 2.0
        low, high = (middle, high) if excess_mw(middle) > 0 else (low, middle)
    return (low + high) / 2.0


def _polished(feeder: Feeder) -> Clearing:
    return direct.clear


def central(connection: Connection, cases: Sequence[Case], centre: float) -> Central:
    """One conic problem of all feeders and what is above them, tie-breaks centred on a price.

    Raises WrongWork where Clarabel finds no answer.
    """
    parts = [_Part(feeder, conditions, centre) for feeder, conditions in cases]
    width = sum(len(part.linear) for part in parts)
    starts = np.cumsum([0, *(len(part.linear) for part in parts)])[:-1]
    imports = starts + [part.net_import for part in parts]
    base_mw = np.array([feeder.base_mw for feeder, _ in cases])
    rated = np.array([connection.import_max_mw, connection.export_max_mw])
    finite = np.isfinite(rated)
    # import less export is what the feeders take; both are above 0 and within ratings
    crossing = sp.csc_array(np.vstack([[-1.0, 1.0], -np.eye(2), np.eye(2)[finite]]))
    taken = sp.csc_array((base_mw, (np.zeros_like(imports), imports)), shape=(crossing.shape[0], width))
    matrix = sp.block_array([[sp.block_diag([part.matrix for part in parts]), None], [taken, crossing]])
    rows = matrix.shape[0] - crossing.shape[0]
    answer = clarabel.DefaultSolver(
        sp.csc_array(sp.block_diag([*(part.hessian for part in parts), connection.slope * np.eye(2)])),
        np.r_[*(part.linear for part in parts), connection.import_price, -connection.export_price],
        sp.csc_array(matrix),
        np.r_[*(part.bound for part in parts), np.zeros(3), rated[finite]],
        [
            *(cone for part in parts for cone in part.cones),
            clarabel.ZeroConeT(1),
            clarabel.NonnegativeConeT(crossing.shape[0] - 1),
        ],
        NetworkProblem.settings(),
    ).solve()
    if str(answer.status) not in USABLE:
        raise WrongWork(f"one problem of {len(cases)} feeders: solver says {answer.status}")
    return Central(float(np.asarray(answer.z)[rows]), base_mw * np.asarray(answer.x)[imports])


class _Part:
    """One feeder's columns and rows, its cost in €/h and without a hub's."""

    def __init__(self, feeder: Feeder, conditions: Conditions, centre: float) -> None:
        hub = Hub(np.array([centre]), np.array([centre]))
        problem = NetworkProblem(feeder, conditions.devices.bus)
        data, self.cones = assembled(problem, replace(conditions, hub=hub), 0)
        self.net_import = problem.layout.net_import.start
        self.matrix, self.bound = data.matrix, data.bound
        self.hessian = feeder.base_mw * data.hessian
        self.linear = feeder.base_mw * data.linear
        self.linear[self.net_import] = 0.0
