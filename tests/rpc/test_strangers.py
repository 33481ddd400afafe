"""Ten thousand random requests: each gets an answer of the documented kinds, and the node goes on."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from ledger.keys import Key
from node.rpc.dispatch import answer
from node.rpc.engine import Engine
from node.rpc.subscriptions import Subscriptions
from tests.rpc.asking import engine_of
from tests.rpc.serving import serving
from tests.rpc.strangers import NAMES, Stranger

CODES = {-32_700, -32_600, -32_601, -32_602, -32_003, 3}
"""The codes that a client may get; -32603, a fault of the server, is none of them."""
FLAT_BYTES = 24 * 2**20
"""Memory may grow by so much while 100 000 requests are answered: caches that were not full yet."""


def stranger(seed: int, engine: Engine, keys: tuple[Key, ...]) -> Stranger:
    block = engine.chain.block()
    known = (keys[0].address, keys[1].address, "0x" + block.hash.hex(), "0x0", "0x1", "latest", "newHeads")
    return Stranger(seed, keys[1], (*known, "logs"))


def outcomes(answered: bytes | str | None) -> list[str]:
    """How the requests of a body ended; fails where one ended as none may."""
    if not answered:
        return []
    parsed = json.loads(answered)
    found = []
    for each in parsed if isinstance(parsed, list) else [parsed]:
        if "method" in each:  # a notification
            continue
        assert each["jsonrpc"] == "2.0"
        assert ("error" in each) != ("result" in each)
        if "error" in each:
            assert each["error"]["code"] in CODES, each
            assert "Traceback" not in each["error"]["message"]
            assert len(each["error"]["message"]) < 1_000, each
        found.append(str(each["error"]["code"]) if "error" in each else "result")
    return found


def test_random_requests_are_answered(keys: tuple[Key, ...], caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_of(keys)
    draws, subscriptions = stranger(1, engine, keys), Subscriptions(engine, lambda: None)
    seen: Counter[str] = Counter()
    with caplog.at_level(logging.WARNING):
        for _ in range(9_000):
            seen.update(outcomes(answer(engine, draws.body(), subscriptions)))
    assert not caplog.records
    assert set(seen) == {"result", *map(str, CODES)}, seen
    assert seen["result"] > 1_500, seen
    assert engine.chain.head() > 50
    assert engine.chain.faults() == []


def test_random_requests_over_sockets(keys: tuple[Key, ...]) -> None:
    engine = engine_of(keys)
    draws = stranger(2, engine, keys)

    async def by_websocket(url: str) -> None:
        async with connect(url) as socket:
            for _ in range(500):
                await socket.send(draws.body().decode(errors="replace"))
            last = {"jsonrpc": "2.0", "id": "last", "method": "eth_chainId"}
            await socket.send(json.dumps(last))
            while '"id":"last"' not in (message := str(await asyncio.wait_for(socket.recv(), 60))):
                outcomes(message)

    with serving(engine) as url, httpx.Client(timeout=60) as client:
        for _ in range(500):
            outcomes(client.post(url, content=draws.body()).content)
        asyncio.run(by_websocket(url.replace("http", "ws")))
        alive = client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"})
        assert alive.json()["result"] == "0x7a69"


def test_every_method_refuses_what_it_cannot_use(keys: tuple[Key, ...]) -> None:
    engine = engine_of(keys)
    subscriptions = Subscriptions(engine, lambda: None)
    for name in NAMES:
        for params in (
            [],
            [None],
            [{}],
            [[]],
            ["0x"],
            [-1],
            [{}, {}],
            ["x", "y", "z"],
            4 * [2**300],
            {"a": 1},
        ):
            body = {"jsonrpc": "2.0", "id": 1, "method": name, "params": params}
            outcomes(answer(engine, json.dumps(body).encode(), subscriptions))


@pytest.mark.long
def test_memory_is_flat(
    keys: tuple[Key, ...], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A hundred thousand requests on a chain in a folder, after so many that the caches are full."""
    engine = engine_of(keys, data=tmp_path)
    draws, subscriptions = stranger(3, engine, keys), Subscriptions(engine, lambda: None)

    def ask(count: int) -> None:
        for _ in range(count):
            outcomes(answer(engine, draws.body(), subscriptions))
            subscriptions.notifications()

    ask(30_000)
    before = _anonymous_bytes()
    ask(100_000)
    grown = _anonymous_bytes() - before
    engine.chain.close()
    record_property("requests", 100_000)
    record_property("bytes by which memory grew", grown)
    assert grown < FLAT_BYTES, f"{grown:,} bytes"


def _anonymous_bytes() -> int:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1_024 for line in lines if line.startswith("Anonymous:"))
