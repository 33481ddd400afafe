"""A market on a node elsewhere: seen as it goes on, asked seldom, and told when the node is gone."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import httpx
from typer.testing import CliRunner

from ledger.chain.protocol import Block
from ledger.chain.rpc import RpcChain
from ledger.exchange import Exchange
from node.api.app import create_api
from node.api.projection import Projection
from node.api.watching import GLANCE_SECONDS, WatchedSource
from node.cli.app import app
from node.client.serving import listening, serving
from node.rpc.engine import Engine
from tests.audit.small_market import SmallMarket
from tests.rpc.serving import serving as node_of


class Counting:
    """A chain that counts how often it is asked for a block, and may go back."""

    def __init__(self, chain: Any) -> None:
        self.chain, self.asked, self.branch = chain, 0, b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chain, name)

    def block(self, number: int | None = None) -> Block:
        self.asked += 1
        found: Block = self.chain.block(number)
        return replace(found, hash=self.branch + found.hash)


def test_a_chain_is_asked_once_a_glance_and_anew_where_it_went_back(traded_market: SmallMarket):
    seconds = [0.0]
    chain = Counting(traded_market.chain)
    source = WatchedSource(chain, Exchange(chain, traded_market.exchange.address), lambda: seconds[0])
    head = source.head()
    known = source.block_hash(head - 1)
    for _ in range(5):
        assert (source.head(), source.block_hash(head - 1)) == (head, known)
        assert source.now() > source.block_time(head), "the next block's second"
    assert chain.asked == 2, "the newest block, and the one before"
    seconds[0] += GLANCE_SECONDS
    assert source.block_hash(head - 1) == known
    assert chain.asked == 3, "the newest alone: it is the same"
    chain.branch = b"other"
    assert source.block_hash(head - 1) == known, "until the next glance"
    seconds[0] += GLANCE_SECONDS
    assert source.block_hash(head - 1) == b"other" + known


def test_a_node_that_is_gone_is_told(traded_market: SmallMarket):
    seconds = map(float, count())
    with node_of(Engine(traded_market.chain)) as node:
        chain = RpcChain(node, outage_ms=0)
        source = WatchedSource(chain, Exchange(chain, traded_market.exchange.address), seconds.__next__)
        api = create_api(Projection(source), {"rpc_url": node})
        other = CliRunner().invoke(app, ["serve", node, "--exchange", "0x" + "11" * 20])
    with serving(api, listening("127.0.0.1", 0)) as url:
        told = httpx.get(f"{url}/v1/slots")
    assert (told.status_code, told.json()["type"]) == (503, "urn:wattbook:problem:chain")
    assert other.exit_code == 3
    assert "is none of the 1 exchanges found" in other.stderr
    gone = CliRunner().invoke(app, ["serve", node])
    assert gone.exit_code == 3
    assert "does not answer" in gone.stderr
