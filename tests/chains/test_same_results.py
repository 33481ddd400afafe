"""Thousands of transactions, the same with the fast interpreter and on anvil, and with py-evm's own.

The sessions are random calls of an open slot, twenty a block, and random lives of every market that the
contract's twin is tested with, a block for each call. Blocks that others built (execution-apis) are held to
both interpreters in `tests/rpc/test_conformance.py`: their headers carry the results of another client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import Receipt
from ledger.chain.rpc import RpcChain
from ledger.exchange import Exchange
from market.orders import OrderPlaced, OrderRejected, OrdersFilled
from node.bench.open_slot import SLOT, TERMS
from tests.chains.random_calls import session
from tests.chains.rebuilt import compare_blocks, compare_on_stock, compare_views, on_anvil
from tests.twins.life import FIRST_SLOT_START
from tests.twins.lives import MARKETS, deployed, live

pytestmark = pytest.mark.needs("anvil")

FIRST_LIFE = 1_000_000
"""Numbers from here on are lived by no other test."""


@dataclass(frozen=True)
class Size:
    """How much is compared.

    rounds: blocks of the session; on_stock: of the one that py-evm's own interpreter runs too, which is slow;
    lives: of each market, on all three; transactions: how many that is at least.
    """

    rounds: int
    on_stock: int
    lives: int
    transactions: int


QUICK = Size(rounds=80, on_stock=8, lives=1, transactions=2_000)
FULL = Size(rounds=130, on_stock=130, lives=6, transactions=5_000)


@pytest.mark.parametrize(
    "size", [pytest.param(QUICK, id="quick"), pytest.param(FULL, id="5000", marks=pytest.mark.long)]
)
def test_results_are_the_same(size: Size, record_property: Callable[[str, object], None]) -> None:
    market = session(size.rounds)
    receipts = [receipt for n in range(market.chain.head() + 1) for receipt in market.chain.receipts(n)]
    events = market.events(*receipts)
    kinds = Counter(type(event) for event in events)
    assert kinds[OrderPlaced] >= 5 * size.rounds and kinds[OrdersFilled] >= 3 * size.rounds
    assert len({event.code for event in events if isinstance(event, OrderRejected)}) >= 3
    assert TERMS.end(SLOT) <= market.chain.block().timestamp  # it was settled

    traders = [trader.address for trader in market.traders]
    funded = [market.relayer.address]
    compare_on_stock(session(size.on_stock).chain, funded)
    statuses = compare(market.exchange, market.chain, funded, [SLOT], traders)
    for name in MARKETS:
        pair = deployed(name)
        first = FIRST_SLOT_START // pair.terms.slot_seconds
        for number in range(FIRST_LIFE, FIRST_LIFE + size.lives):
            live(name, number, viewing=0)
            accounts = [account.address for account in pair.twin.accounts]
            compare_on_stock(pair.chain, list(pair.people))
            statuses += compare(pair.exchange, pair.chain, list(pair.people), [first, first + 1], accounts)
    record_property("transactions", statuses.total())
    record_property("of them failed", statuses[0])
    assert statuses.total() >= size.transactions
    assert size.transactions / 10 <= statuses[0] <= statuses.total() / 2


def compare(
    exchange: Exchange, chain: EmbeddedChain, funded: list[str], slots: list[int], accounts: list[str]
) -> Counter[int]:
    """Build a chain again on anvil, compare, and count its transactions by status."""
    with on_anvil(chain, funded) as node:
        compare_blocks(chain, node)
        compare_views(exchange, Exchange(RpcChain(node.url), exchange.address), slots, accounts)
    return Counter(receipt.status for n in range(chain.head() + 1) for receipt in chain.receipts(n))


class OneMoreGas:
    """A chain that tells one unit of gas more for its last transaction."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._chain = chain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def receipts(self, number: int) -> Sequence[Receipt]:
        more = int(number == self._chain.head())
        receipts = self._chain.receipts(number)
        return tuple(replace(receipt, gas_used=receipt.gas_used + more) for receipt in receipts)


def test_one_unit_of_gas_is_found() -> None:
    """The comparison can fail. What another header meets on import is tested where blocks are imported."""
    market = session(1)
    chain, funded = market.chain, [market.relayer.address]
    with on_anvil(chain, funded) as node:
        compare_blocks(chain, node)
        with pytest.raises(AssertionError, match="gas_used"):
            compare_blocks(cast(EmbeddedChain, OneMoreGas(chain)), node)
