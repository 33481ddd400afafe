"""Orders a second through the embedded chain, beside the same chain run by py-evm's own interpreter.

A run is all a node does with signed transactions: decoding, recovering senders, checking, executing,
roots and receipts, writing blocks. Signing is the traders' work and done before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from ledger.chain.evm import Interpreter
from node.bench.open_slot import OpenSlot
from node.bench.row import Row, WrongWork
from node.bench.timing import Trial, medians_seconds

ORDERS, ACCOUNTS = 200, 60
BATCH = 100
RUNS = 3
STOCK = "py-evm's interpreter, same run"


def rows() -> Iterable[Row]:
    """Signed orders in transactions of their own, then in batches."""
    fast, stock = (OpenSlot.create(ACCOUNTS, interpreter) for interpreter in get_args(Interpreter))
    orders = fast.mixed_flow(ACCOUNTS, ORDERS)
    for name, batch, goal in (
        ("signed orders, a transaction each", 1, 500),
        (f"signed orders, {BATCH} a transaction", BATCH, 1_500),
    ):
        for market in (fast, stock):
            market.reopen()
        ours, theirs = medians_seconds(
            *(_trial(market, market.transactions(orders, batch)) for market in (fast, stock)), runs=RUNS
        )
        if fast.chain.block().hash != stock.chain.block().hash:
            raise WrongWork("the two interpreters built different blocks")
        yield Row(name, ORDERS / ours, "orders/s", STOCK, ORDERS / theirs, goal, "more")


def _trial(market: OpenSlot, transactions: Sequence[bytes]) -> Trial:
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
