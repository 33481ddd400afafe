"""Orders a second through the embedded chain, beside the same work on other chains in the same run.

A run is all a node does with signed transactions: decoding, recovering senders, checking, executing,
roots and receipts, writing blocks. Signing is the traders' work and done before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import get_args

from ledger.chain.evm import Interpreter
from ledger.gas import ORDERS_PER_TRANSACTION
from market.orders import Order
from node.bench.nodes import ETH_TESTER_CHAIN_ID, Node, Rebuilt, Tester, node
from node.bench.open_slot import OpenSlot
from node.bench.row import Row, WrongWork
from node.bench.timing import Times, Trial, times

ORDERS, ACCOUNTS = 200, 60
BATCH = ORDERS_PER_TRANSACTION
RUNS = 5
TESTER_ORDERS = 40
"""eth-tester takes a second for a few; one run of it is enough."""
NODES = ("anvil", "hardhat")
WHY = "Python computes the words of the machine: some hundred translated runs an order, and what they call"
STOCK, TESTER = "py-evm's interpreter", "eth-tester"


@dataclass(frozen=True, slots=True)
class Flow:
    """The same orders, so many a transaction, and the goal for our chain in orders a second."""

    name: str
    batch: int
    goal: int


@dataclass(frozen=True, slots=True)
class Rate:
    """So many orders in the time of each run."""

    orders: int
    taken: Times

    @property
    def per_second(self) -> float:
        """Orders a second of the median run."""
        return self.orders / self.taken.median

    @property
    def runs(self) -> int:
        """How often it was timed."""
        return len(self.taken.seconds)

    def over(self, other: Rate) -> tuple[float, float]:
        """Least and greatest ratio to another chain's rate."""
        least, greatest = other.taken.over(self.taken)
        more = self.orders / other.orders
        return more * least, more * greatest


Found = Rate | str | None
"""A chain's rate; or how it ended without one, or None where it is not installed."""
ALONE = Flow("signed orders, a transaction each", 1, 500)
BATCHED = Flow(f"signed orders, {BATCH} a transaction", BATCH, 1_500)


def rows() -> Iterable[Row]:
    """Signed orders alone, then in batches; then batches beside what hardhat does with single ones."""
    fast, stock = (OpenSlot.create(ACCOUNTS, interpreter) for interpreter in get_args(Interpreter))
    orders = fast.mixed_flow(ACCOUNTS, ORDERS)
    rates: dict[tuple[Flow, str], Found] = {}
    with ExitStack() as running:
        others = {name: running.enter_context(node(name, fast.chain, fast.relayer.address)) for name in NODES}
        for flow in (ALONE, BATCHED):
            rates |= _side_by_side(flow, orders, (fast, stock), others)
    for flow in (ALONE, BATCHED):
        rates[flow, TESTER] = _tester_rate(flow)
        yield _row(flow.name, rates[flow, "ours"], STOCK, rates[flow, STOCK], flow.goal)
        for peer in (TESTER, *NODES):
            yield _row(f"{flow.name}, and {peer}", rates[flow, "ours"], peer, rates[flow, peer])
    single = rates[ALONE, "hardhat"]
    name = f"{BATCHED.name}, and hardhat's single ones"
    goal = single.per_second if isinstance(single, Rate) else None
    yield _row(name, rates[BATCHED, "ours"], "hardhat", single, goal)


def _row(name: str, ours: Found, peer: str, theirs: Found, goal: float | None = None) -> Row:
    """Our figure beside a peer's, or alone where that has none."""
    assert isinstance(ours, Rate), "our own chain is always there"
    rate = ours.per_second
    if not isinstance(theirs, Rate):
        who = None if theirs is None else f"{peer}, {theirs}"
        name = name if who else f"{name}, which is not installed"
        return Row(name, rate, "orders/s", who, better="more", runs=(ours.runs,))
    return Row(
        name,
        rate,
        "orders/s",
        f"{peer}, same run",
        theirs.per_second,
        goal,
        better="more",
        runs=(ours.runs, theirs.runs),
        spread=ours.over(theirs),
        why=WHY,
    )


def _side_by_side(
    flow: Flow, orders: Sequence[Order], ours: tuple[OpenSlot, OpenSlot], others: dict[str, Node | str | None]
) -> dict[tuple[Flow, str], Found]:
    """Rates of our chain with both interpreters, and of the nodes that are there."""
    for market in ours:
        market.reopen()
    transactions = [market.transactions(orders, flow.batch) for market in ours]
    trials = [trial(market, each) for market, each in zip(ours, transactions, strict=True)]
    there = {name: other for name, other in others.items() if isinstance(other, Node)}
    trials += [_node_trial(other, transactions[0]) for other in there.values()]
    taken = times(*trials, runs=RUNS)
    if ours[0].chain.block().hash != ours[1].chain.block().hash:
        raise WrongWork("the two interpreters built different blocks")
    rates = [Rate(len(orders), each) for each in taken]
    found: dict[tuple[Flow, str], Found] = {(flow, "ours"): rates[0], (flow, STOCK): rates[1]}
    for (name, other), rate in zip(there.items(), rates[2:], strict=True):
        found[flow, name] = other.ended or rate
    return {(flow, name): other for name, other in others.items() if not isinstance(other, Node)} | found


def _tester_rate(flow: Flow) -> Found:
    """Rate of eth-tester, on a market of its own chain id."""
    if find_spec("eth_tester") is None:
        return None
    market = OpenSlot.create(min(ACCOUNTS, TESTER_ORDERS), chain_id=ETH_TESTER_CHAIN_ID)
    orders = market.mixed_flow(len(market.traders), min(ORDERS, TESTER_ORDERS))
    transactions = market.transactions(orders, flow.batch)
    try:
        working = _node_trial(Tester(market.chain, market.relayer.address), transactions)
        return Rate(len(orders), times(working, runs=1, warm_ups=0)[0])
    except WrongWork as failure:
        return str(failure)


def trial(market: OpenSlot, transactions: Sequence[bytes]) -> Trial:
    """The same transactions on the same state, time after time."""
    chain = market.chain

    def execute() -> None:
        sent = [chain.send(raw) for raw in transactions]
        chain.mine()
        failed = sum(chain.receipt(transaction).status == 0 for transaction in sent)
        if failed:
            raise WrongWork(f"{failed} of {len(sent)} transactions failed")

    def prepare() -> Callable[[], object]:
        market.reopen()
        return execute

    return prepare


def _node_trial(other: Rebuilt, transactions: Sequence[bytes]) -> Trial:
    """The same on another chain."""

    def prepare() -> Callable[[], object]:
        other.reopen()
        return lambda: other.execute(transactions)

    return prepare
