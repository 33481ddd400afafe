"""Subscriptions and filters: every head and log once, in order, across reconnects and snapshots."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from ledger.chain.embedded import EmbeddedChain
from ledger.keys import Key, mnemonic_keys
from ledger.transactions import Transaction, sign_transaction
from node.rpc.dispatch import answer
from node.rpc.engine import Engine
from node.rpc.subscriptions import SUBSCRIPTIONS_MAX
from tests.rpc.serving import serving

GENESIS = 1_700_000_000


@pytest.fixture(scope="module")
def owner() -> Key:
    return mnemonic_keys(1)[0]


@pytest.fixture
def engine(owner: Key) -> Engine:
    return Engine(EmbeddedChain(genesis_timestamp=GENESIS, funded=[owner.address]), [owner])


@pytest.fixture
def socket_url(engine: Engine) -> Iterator[str]:
    with serving(engine, body_max_bytes=10_000) as url:
        yield url.replace("http", "ws")


class Client:
    """A WebSocket client that keeps notifications apart from answers."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.told: list[dict[str, Any]] = []

    async def ask(self, method: str, *params: Any) -> Any:
        await self.connection.send(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        )
        while "id" not in (message := await self._next()):
            self.told.append(message["params"])
        return message.get("result", message.get("error"))

    async def hear(self, count: int) -> list[dict[str, Any]]:
        while len(self.told) < count:
            self.told.append((await self._next())["params"])
        return self.told

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(self.connection.recv(), 20))
        return message


def emitting() -> bytes:
    """Creation code of a contract that logs its caller's word, with topic 1 or topic 2 by its first bit."""
    body = bytes.fromhex("60003560005260003560011660010160206000a100")
    return bytes.fromhex(f"60{len(body):02x}600c60003960{len(body):02x}6000f3") + body


def emit(engine: Engine, owner: Key, contract: str, word: int) -> None:
    chain = engine.chain
    fields = {"gas": 100_000, "max_fee_per_gas": 10**11}
    transaction = Transaction(
        31_337, chain.nonce(owner.address), contract, word.to_bytes(32, "big"), **fields
    )
    with engine.lock:
        engine.send_raw(sign_transaction(owner, transaction))


@pytest.fixture
def contract(engine: Engine, owner: Key) -> str:
    fields = {"gas": 200_000, "max_fee_per_gas": 10**11}
    created = Transaction(31_337, 0, None, emitting(), **fields)
    made = engine.chain.receipt(engine.send_raw(sign_transaction(owner, created))).contract
    assert made is not None
    return made


def word(log: dict[str, Any]) -> int:
    return int(log["data"], 16)


def test_heads_and_logs_come_in_order(engine: Engine, socket_url: str, owner: Key, contract: str) -> None:
    async def scene() -> None:
        async with connect(socket_url) as connection:
            client = Client(connection)
            heads = await client.ask("eth_subscribe", "newHeads")
            every = await client.ask("eth_subscribe", "logs", {"address": contract})
            odd = await client.ask("eth_subscribe", "logs", {"topics": ["0x" + "00" * 31 + "02"]})
            waiting = await client.ask("eth_subscribe", "newPendingTransactions")
            assert len({heads, every, odd, waiting}) == 4
            for number in range(6):
                await asyncio.to_thread(emit, engine, owner, contract, number)
            told = await client.hear(6 + 6 + 3 + 6)
            of = {
                name: [each["result"] for each in told if each["subscription"] == name]
                for name in (heads, every, odd, waiting)
            }
            blocks = [engine.chain.block(number) for number in range(2, 8)]
            assert [head["hash"] for head in of[heads]] == ["0x" + block.hash.hex() for block in blocks]
            assert [head["parentHash"] for head in of[heads]][1:] == [head["hash"] for head in of[heads]][:-1]
            assert [word(log) for log in of[every]] == list(range(6))
            assert [word(log) for log in of[odd]] == [1, 3, 5]
            assert of[waiting] == ["0x" + block.transaction_hashes[0].hex() for block in blocks]
            assert await client.ask("eth_unsubscribe", heads) is True
            assert await client.ask("eth_unsubscribe", heads) is False
            await asyncio.to_thread(emit, engine, owner, contract, 6)
            assert heads not in {each["subscription"] for each in (await client.hear(21 + 2))[21:]}

    asyncio.run(scene())


def test_a_subscriber_misses_nothing_across_a_reconnect(
    engine: Engine, socket_url: str, owner: Key, contract: str
) -> None:
    """Subscribe again, then ask for logs from the last block seen: what overlaps has the same place."""
    seen: dict[tuple[str, str], int] = {}

    def note(logs: list[dict[str, Any]]) -> None:
        seen.update({(log["blockHash"], log["logIndex"]): word(log) for log in logs})

    async def listen(last_seen: int, count: int) -> int:
        async with connect(socket_url) as connection:
            client = Client(connection)
            await client.ask("eth_subscribe", "logs", {"address": contract})
            since = {"address": contract, "fromBlock": hex(last_seen)}
            note(await client.ask("eth_getLogs", since))
            emitting = asyncio.create_task(asyncio.to_thread(emit_many, count))
            told = await client.hear(count // 2)  # and the connection breaks in the middle
            note([each["result"] for each in told])
            connection.transport.abort()
            await emitting
            return max(int(each["result"]["blockNumber"], 16) for each in told)

    sent = iter(range(10_000))

    def emit_many(count: int) -> None:
        for _ in range(count):
            emit(engine, owner, contract, next(sent))

    async def scene() -> None:
        last_seen = 0
        for _ in range(4):
            emit_many(3)  # while nobody listens
            last_seen = await listen(last_seen, 10)
        await listen(last_seen, 2)

    asyncio.run(scene())
    total = next(sent)
    assert total == 4 * 13 + 2
    assert list(seen.values()).count(0) == 1
    missed = set(range(total)) - set(seen.values())
    assert missed <= {total - 1}  # the connection broke before the last one, and nobody came back for it


def test_going_back_to_a_snapshot_is_told(engine: Engine, socket_url: str, owner: Key, contract: str) -> None:
    async def scene() -> None:
        async with connect(socket_url) as connection:
            client = Client(connection)
            await client.ask("eth_subscribe", "logs", {})
            heads = await client.ask("eth_subscribe", "newHeads")
            snapshot = await client.ask("evm_snapshot")
            await asyncio.to_thread(emit, engine, owner, contract, 1)
            await asyncio.to_thread(emit, engine, owner, contract, 2)
            await client.hear(4)
            assert await client.ask("evm_revert", snapshot)
            await asyncio.to_thread(emit, engine, owner, contract, 3)
            told = (await client.hear(4 + 2 + 2))[4:]
            logs = [each["result"] for each in told if each["subscription"] != heads]
            assert [(word(log), log["removed"]) for log in logs] == [(2, True), (1, True), (3, False)]
            (head,) = (each["result"] for each in told if each["subscription"] == heads)
            assert head["hash"] == "0x" + engine.chain.block(2).hash.hex()

    asyncio.run(scene())


def test_what_a_connection_may_not_ask(engine: Engine, socket_url: str) -> None:
    async def scene() -> None:
        async with connect(socket_url) as connection:
            client = Client(connection)
            for params in (["blocks"], [], [3], ["newHeads", 1, 2], ["logs", {"address": "0x1"}], [["logs"]]):
                assert (await client.ask("eth_subscribe", *params))["code"] == -32_602, params
            for _ in range(SUBSCRIPTIONS_MAX):
                await client.ask("eth_subscribe", "newHeads")
            assert "no more than 100" in (await client.ask("eth_subscribe", "newHeads"))["message"]
            await connection.send("x" * 10_001)
            assert json.loads(await connection.recv())["error"]["code"] == -32_600
            assert await client.ask("eth_unsubscribe", {"a": 1}) is False
            assert await client.ask("eth_chainId") == "0x7a69"

    asyncio.run(scene())
    assert json.loads(
        answer(engine, b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}') or b""
    )["error"] == {"code": -32_601, "message": "the method eth_subscribe is for WebSocket connections only"}


def test_connections_that_end_leave_nothing_behind(engine: Engine, socket_url: str) -> None:
    async def scene() -> None:
        for _ in range(5):
            async with connect(socket_url) as connection:
                await Client(connection).ask("eth_subscribe", "newHeads")
        for _ in range(200):
            if not engine.chain.watchers.count():
                return
            await asyncio.sleep(0.02)

    asyncio.run(scene())
    assert engine.chain.watchers.count() == 0


def test_filters_follow_snapshots_and_waiting_transactions(engine: Engine, owner: Key, contract: str) -> None:
    def ask(method: str, *params: Any) -> Any:
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answered = json.loads(answer(engine, json.dumps(question).encode()) or b"")
        return answered.get("result", answered.get("error"))

    logs = ask("eth_newFilter", {"address": contract})
    heads, waiting = ask("eth_newBlockFilter"), ask("eth_newPendingTransactionFilter")
    snapshot = ask("evm_snapshot")
    emit(engine, owner, contract, 1)
    assert [word(log) for log in ask("eth_getFilterChanges", logs)] == [1]
    assert ask("eth_getFilterChanges", waiting) == ["0x" + engine.chain.block().transaction_hashes[0].hex()]
    assert ask("eth_getFilterChanges", heads) == ["0x" + engine.chain.block().hash.hex()]
    ask("evm_revert", snapshot)
    emit(engine, owner, contract, 2)
    assert [(word(log), log["removed"]) for log in ask("eth_getFilterChanges", logs)] == [
        (1, True),
        (2, False),
    ]
    assert ask("eth_getFilterChanges", heads) == ["0x" + engine.chain.block().hash.hex()]
    assert ask("eth_uninstallFilter", logs) is True
    assert ask("eth_getFilterChanges", logs)["code"] == -32_602
    assert ask("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(10**9)}) != []
