"""What fails leaves a chain as it was: a full disk, a damaged folder, a lost node; and who is told what."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import lmdb
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ledger import sending
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.evm import Account
from ledger.chain.following import Follower, Step
from ledger.chain.lmdb import DamagedFolderError, UnwritableFolderError
from ledger.chain.protocol import (
    Block,
    Chain,
    ChainError,
    ChainUnavailable,
    DamagedChainError,
    Log,
    LogFilter,
    Receipt,
)
from ledger.chain.store import Changes
from ledger.keys import Key
from ledger.transactions import ACCESS_LIST, LEGACY, Transaction, decode_transaction, sign_transaction
from node.rpc.dispatch import answer
from node.rpc.engine import Engine
from node.rpc.params import LOG_BLOCKS_MAX, call_request
from tests.rpc.asking import GENESIS, SOMEBODY, Ask, asking, engine_of
from tests.rpc.serving import serving

REJECTED, INVALID, INTERNAL = -32_003, -32_602, -32_603


def coin(key: Key, **fields: Any) -> dict[str, Any]:
    return {"from": key.address, "to": SOMEBODY, "value": "0x1"} | fields


def fill_disk(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let every write fail; returns what makes room again."""
    full = True
    backing = engine.chain._store._backing
    write = backing.write

    def write_if_there_is_room(changes: Changes) -> None:
        if full:
            raise UnwritableFolderError("data: cannot be written: No space left on device")
        write(changes)

    def make_room() -> None:
        nonlocal full
        full = False

    monkeypatch.setattr(backing, "write", write_if_there_is_room)
    return make_room


# --- a full disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["evm_revert", "anvil_loadState", "anvil_rollback"])
def test_what_goes_back_in_vain_leaves_the_chain_whole(
    method: str, keys: tuple[Key, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(keys, data=tmp_path)
    ask = asking(engine)
    taken, dumped = ask("evm_snapshot"), ask("anvil_dumpState")
    sent = [ask("eth_sendTransaction", coin(keys[0])) for _ in range(3)]
    make_room = fill_disk(engine, monkeypatch)
    argument = {"evm_revert": taken, "anvil_loadState": dumped, "anvil_rollback": "0x2"}[method]
    refused = ask(method, argument)
    assert (refused["code"], "No space left" in refused["message"]) == (INTERNAL, True)
    make_room()
    sent.append(ask("eth_sendTransaction", coin(keys[0])))
    assert engine.chain.head() == 4
    assert [ask("eth_getTransactionReceipt", each)["status"] for each in sent] == 4 * ["0x1"]
    assert engine.chain.faults() == []
    assert ask(method, argument) in (True, None)  # what it goes back with was not used up
    engine.chain.close()
    reopened = engine_of(keys, data=tmp_path)
    assert reopened.chain.head() == (2 if method == "anvil_rollback" else 0)
    reopened.chain.close()


def test_a_transaction_whose_block_was_not_written_does_not_wait(
    keys: tuple[Key, ...], engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room = fill_disk(engine, monkeypatch)
    refused = ask("eth_sendTransaction", coin(keys[0]))
    assert (refused["code"], "No space left" in refused["message"]) == (INTERNAL, True)
    assert ask("txpool_status") == {"pending": "0x0", "queued": "0x0"}
    assert ask("eth_getBalance", SOMEBODY) == "0x0"
    make_room()
    accepted = ask("eth_sendTransaction", coin(keys[0]))  # the same bytes, which are not known already
    assert ask("eth_getTransactionReceipt", accepted)["blockNumber"] == "0x1"


def test_a_failed_block_leaves_nothing_behind(
    keys: tuple[Key, ...], engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_room = fill_disk(engine, monkeypatch)
    with pytest.raises(ChainError):
        engine.chain.put({SOMEBODY: Account(balance_wei=5)})
    assert engine.chain._store._changes == {}
    make_room()
    engine.chain.mine_block()
    assert (engine.chain.head(), engine.chain.balance(SOMEBODY)) == (1, 0)
    assert engine.chain.faults() == []


def test_blocks_come_at_intervals_after_one_that_failed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_room = fill_disk(engine, monkeypatch)
    engine.block_time_seconds = 1
    with serving(engine):
        _wait_until(lambda: "no block: data: cannot be written" in caplog.text)
        make_room()
        _wait_until(lambda: engine.chain.head() > 0)


def _wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that in 15 s")


# --- a damaged folder -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(keys: tuple[Key, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of 20 blocks, each with a payment."""
    data = tmp_path_factory.mktemp("whole") / "data"
    engine = engine_of(keys, data=data)
    for _ in range(20):
        engine.chain.send(engine.signed(_request(keys[0])))
        engine.chain.mine_block()
    engine.chain.close()
    return data


def _request(key: Key) -> Any:
    return call_request(coin(key))


def damage(folder: Path, key: bytes, change: Callable[[bytes], bytes | None]) -> None:
    """Change what is kept under a key, without the chain's knowledge."""
    with lmdb.open(str(folder), map_size=1 << 30) as environment, environment.begin(write=True) as writing:
        changed = change(writing.get(key))
        assert writing.delete(key) if changed is None else writing.put(key, changed)


def _flipped(value: bytes) -> bytes:
    place = random.Random(7).randrange(len(value) // 2, len(value))
    return value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


@pytest.mark.parametrize("what", ["block", "lookup", "state"])
def test_damage_is_named_as_the_folder_is_opened(
    what: str, keys: tuple[Key, ...], folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    chain = EmbeddedChain(data=data)
    block, root = chain.block(12), chain._archive.at(20).header.state_root
    chain.close()
    key = {
        "block": b"b" + (12).to_bytes(8, "big"),
        "lookup": b"t" + block.transaction_hashes[0],
        "state": root,
    }[what]
    damage(data, key, (lambda _: None) if what == "lookup" else _flipped)
    with pytest.raises(DamagedFolderError, match=r"damaged: block .*bring back a copy, or name another"):
        EmbeddedChain(data=data)


@pytest.mark.parametrize("change", [_flipped, lambda _: None])
def test_damage_deeper_down_is_named_as_it_is_read(
    change: Callable[[bytes], bytes | None],
    keys: tuple[Key, ...],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A state before the newest, which opening does not walk."""
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    chain = EmbeddedChain(data=data)
    root = chain._archive.at(3).header.state_root
    chain.close()
    damage(data, root, change)
    engine = Engine(EmbeddedChain(data=data), keys)
    with pytest.raises(DamagedChainError, match="of the state"):
        engine.chain.balance(SOMEBODY, 3)
    told = asking(engine)("eth_getBalance", SOMEBODY, "0x3")
    assert (told["code"], "of the state" in told["message"]) == (INTERNAL, True)
    assert asking(engine)("eth_getBalance", SOMEBODY, "0x4") == "0x4"
    engine.chain.close()


# --- transactions that fit no block ---------------------------------------------------------------


def test_nobody_waits_behind_what_fits_no_block(keys: tuple[Key, ...], engine: Engine, ask: Ask) -> None:
    ask("evm_setAutomine", False)
    large = ask("eth_sendTransaction", coin(keys[0], gas=hex(5_000_000)))
    behind = ask("eth_sendTransaction", coin(keys[0], gas=hex(21_000)))
    ask("evm_setBlockGasLimit", hex(1_000_000))
    ask("evm_setAutomine", True)
    other = ask("eth_sendTransaction", coin(keys[1]))
    assert ask("eth_getTransactionReceipt", other)["status"] == "0x1"
    head = engine.chain.head()
    for each in (large, behind):
        with pytest.raises(ChainUnavailable, match="a block of 5000000 gas, and the limit is 1000000"):
            engine.chain.receipt(bytes.fromhex(each[2:]))
    assert engine.chain.head() == head  # no empty blocks in vain
    ask("evm_setBlockGasLimit", hex(30_000_000))
    ask("evm_mine")
    assert ask("eth_getTransactionReceipt", behind)["status"] == "0x1"


# --- a chain that changes while it is followed ----------------------------------------------------


@dataclass
class Changing:
    """A chain of block names, each with a log; `meanwhile` happens as logs were read."""

    names: list[bytes]
    meanwhile: Callable[[], None] = field(default=lambda: None)

    def head(self) -> int:
        return len(self.names) - 1

    def block(self, number: int) -> Block:
        if number > self.head():
            raise KeyError(number)
        return Block(number, self.names[number], b"", 0, 0, 0, 0, b"", (), ())

    def logs(self, which: LogFilter) -> tuple[Log, ...]:
        assert which.to_block is not None
        found = tuple(
            Log("", (), b"", number, self.names[number], b"", 0, 0)
            for number in range(which.from_block, which.to_block + 1)
        )
        happens, self.meanwhile = self.meanwhile, lambda: None
        happens()
        return found


def followed(changing: Changing) -> tuple[Follower, list[bytes], Callable[[Step], None]]:
    """A follower, what its reader holds, and how the reader takes a step."""
    held: list[bytes] = []

    def take(step: Step) -> None:
        if step.rewound_to is not None:
            del held[step.rewound_to + 1 :]
        held.extend(log.block_hash for log in step.logs)

    return Follower(cast(Chain, changing), LogFilter()), held, take


def names(first: int, letter: bytes, end: int) -> list[bytes]:
    return [letter + bytes([number]) for number in range(first, end)]


def test_a_rewind_is_told_after_the_node_was_gone() -> None:
    changing = Changing(names(0, b"a", 11))
    follower, held, take = followed(changing)
    take(follower.poll())
    changing.names[6:] = names(6, b"b", 12)

    def gone() -> None:
        raise ChainUnavailable("gone for a moment")

    changing.meanwhile = gone
    with pytest.raises(ChainUnavailable):
        follower.poll()
    step = follower.poll()
    take(step)
    assert (step.rewound_to, held) == (5, changing.names)


@pytest.mark.parametrize("second", [9, 3])
def test_a_rewind_is_told_where_the_chain_changes_again_meanwhile(second: int) -> None:
    changing = Changing(names(0, b"a", 11))
    follower, held, take = followed(changing)
    take(follower.poll())
    changing.names[6:] = names(6, b"b", 12)

    def again() -> None:
        changing.names[second:] = names(second, b"c", 13)

    changing.meanwhile = again
    take(follower.poll())
    assert held == changing.names
    take(follower.poll())
    assert held == changing.names


def test_blocks_that_change_while_they_are_read_are_read_again() -> None:
    changing = Changing(names(0, b"a", 11))
    follower, held, take = followed(changing)

    def change() -> None:
        changing.names[8:] = names(8, b"b", 11)

    changing.meanwhile = change
    take(follower.poll())
    assert held == changing.names


# --- what clients are told ------------------------------------------------------------------------


def test_code_3_is_for_contracts_that_refuse(keys: tuple[Key, ...], ask: Ask) -> None:
    poor = {"from": SOMEBODY, "to": keys[0].address}
    for method in ("eth_call", "eth_estimateGas", "eth_createAccessList"):
        refused = ask(method, poor | {"value": "0x1"})
        assert (refused["code"], "insufficient funds" in refused["message"]) == (REJECTED, True), method
    for request, words in (
        ({**poor, "gas": "0x1"}, "intrinsic gas too low"),
        ({**poor, "maxFeePerGas": "0x1"}, "is less than block base fee"),
        ({"data": "0xfe"}, "EVM error: invalid instruction"),
        ({"data": "0x5b600056", "gas": hex(60_000)}, "EVM error: out of gas"),
    ):
        refused = ask("eth_call", request)
        assert (refused["code"], words in refused["message"]) == (REJECTED, True), refused
        assert "data" not in refused
    assert ask("eth_call", {"data": "0x60006000fd"}) == {
        "code": 3,
        "message": "execution reverted: reverted without a reason",
        "data": "0x",
    }


def test_ids_and_numbers_that_json_does_not_have_are_refused(engine: Engine) -> None:
    for identifier, code in (("1e999", -32_600), ("NaN", -32_700), ("-Infinity", -32_700)):
        body = f'{{"jsonrpc":"2.0","id":{identifier},"method":"eth_chainId","params":null}}'.encode()
        answered = answer(engine, body) or b""
        assert json.loads(answered, parse_constant=pytest.fail)["error"]["code"] == code
    no_params = answer(engine, b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":null}') or b""
    assert json.loads(no_params)["result"] == "0x7a69"


def test_unlocked_accounts_send_what_was_asked_for(keys: tuple[Key, ...], engine: Engine, ask: Ask) -> None:
    def sent(**fields: Any) -> Transaction:
        raw = ask("eth_signTransaction", coin(keys[0], **fields))["raw"]
        return decode_transaction(bytes.fromhex(raw[2:])).transaction

    listed = [{"address": SOMEBODY, "storageKeys": ["0x" + "00" * 32]}]
    access = ((sent().to, (bytes(32),)),)
    assert sent(accessList=listed).access_list == access
    named = sent(type="0x1", accessList=listed)
    assert (named.type, named.access_list) == (ACCESS_LIST, access)
    assert sent(type="0x0").type == LEGACY
    assert sent(gasPrice=hex(10**10), accessList=listed).type == ACCESS_LIST
    fees = {"maxFeePerGas": hex(10**10), "maxPriorityFeePerGas": hex(10**11)}
    refused = ask("eth_sendTransaction", coin(keys[0], **fees))
    assert (refused["code"], "priority fee is above" in refused["message"]) == (REJECTED, True)
    for fields in (
        {"type": "0x3"},
        {"type": "0x0", "accessList": listed},
        {"type": "0x2", "gasPrice": "0x1"},
        {"type": "0x1", "maxFeePerGas": "0x1"},
        {"authorizationList": []},
    ):
        assert ask("eth_sendTransaction", coin(keys[0], **fields))["code"] == INVALID, fields
    assert "eth_accounts" in ask("eth_sendTransaction", {"to": SOMEBODY})["message"]
    assert "None" not in ask("eth_sendTransaction", {"to": SOMEBODY})["message"]


def test_questions_for_logs_are_bounded(engine: Engine, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ask("eth_newFilter", {"fromBlock": "0x0"})
    monkeypatch.setattr(engine.chain, "head", lambda: LOG_BLOCKS_MAX - 1)
    monkeypatch.setattr(engine.chain, "logs", lambda _: [])
    for method, argument in (("eth_getLogs", {"fromBlock": "0x0"}), ("eth_getFilterLogs", whole)):
        assert ask(method, argument) == []
    monkeypatch.setattr(engine.chain, "head", lambda: LOG_BLOCKS_MAX)
    for method, argument in (("eth_getLogs", {"fromBlock": "0x0"}), ("eth_getFilterLogs", whole)):
        assert ask(method, argument)["code"] == INVALID, method


def test_going_back_restores_what_was_settled_of_blocks_to_come(engine: Engine, ask: Ask) -> None:
    taken = ask("evm_snapshot")
    ask("anvil_setCoinbase", SOMEBODY)
    ask("evm_setBlockGasLimit", hex(2_000_000))
    ask("anvil_setNextBlockBaseFeePerGas", "0x7")
    ask("anvil_setBlockTimestampInterval", 60)
    assert ask("evm_revert", taken) is True
    ask("evm_mine")
    mined = ask("eth_getBlockByNumber", "latest", False)
    assert (mined["miner"], mined["gasLimit"]) == ("0x" + "00" * 20, hex(30_000_000))
    assert int(mined["baseFeePerGas"], 16) > 7
    assert int(mined["timestamp"], 16) == GENESIS + 1


# --- the methods of anvil's clients ---------------------------------------------------------------


def test_methods_of_test_clients(keys: tuple[Key, ...], engine: Engine, ask: Ask) -> None:
    assert ask("anvil_setBlockTimestampInterval", 60) is None
    mined = ask("evm_mine_detailed", {"blocks": 2})
    assert [int(block["timestamp"], 16) for block in mined] == [GENESIS + 60, GENESIS + 120]
    assert [ask("anvil_removeBlockTimestampInterval") for _ in range(2)] == [True, False]
    assert ask("anvil_addBalance", SOMEBODY, "0x5") is True
    assert ask("anvil_addBalance", SOMEBODY, "0x6") is True
    assert ask("eth_getBalance", SOMEBODY) == "0xb"
    assert ask("anvil_rollback") is None
    assert (ask("eth_blockNumber"), ask("eth_getBalance", SOMEBODY)) == ("0x3", "0x5")
    assert ask("anvil_rollback", "0x4")["code"] == INVALID
    taken = ask("evm_snapshot")
    told = ask("anvil_metadata")
    assert (told["latestBlockNumber"], told["snapshots"][taken]["blockNumber"]) == (3, 3)
    ask("evm_setAutomine", False)
    for key in keys:
        ask("eth_sendTransaction", coin(key, gas="0x5208", gasPrice=hex(10**10)))
    inspected = ask("txpool_inspect")["pending"]
    assert inspected[keys[0].address.lower()]["0"] == f"{SOMEBODY}: 1 wei + 21000 gas × 10000000000 wei"
    ask("anvil_removePoolTransactions", keys[0].address)
    assert list(ask("txpool_inspect")["pending"]) == [keys[1].address.lower()]
    assert (ask("anvil_setLoggingEnabled", False), engine.narrated) == (None, False)
    assert ask("evm_increaseTime", "0x5") == 5
    assert "evm_snapshot" in ask("anvil_reset", {"forking": {}})["message"]
    for method in ("eth_simulateV1", "eth_fillTransaction", "anvil_reorg", "anvil_setMinGasPrice"):
        assert ask(method, {})["code"] == -32_601
        assert "no " in ask(method, {})["message"]


def test_a_call_may_find_its_block_otherwise(ask: Ask) -> None:
    timestamp_and_number = {"data": "0x425f524360205260405ff3"}
    found = ask("eth_call", timestamp_and_number, "latest", {}, {"time": "0x77777777", "number": "0x99"})
    assert found == "0x" + (0x77777777).to_bytes(32, "big").hex() + (0x99).to_bytes(32, "big").hex()
    assert ask("eth_call", timestamp_and_number, "latest", None, {"moon": "0x1"})["code"] == INVALID


# --- the console's reasons ------------------------------------------------------------------------


def test_the_reason_of_a_failure_is_asked_for_as_it_was_sent(keys: tuple[Key, ...], engine: Engine) -> None:
    chain = engine.chain

    def receipt(to: str | None, data: bytes = b"", **fields: Any) -> Receipt:
        fields = {"gas": 200_000, "max_fee_per_gas": 10**10} | fields
        transaction = Transaction(31_337, chain.nonce(keys[0].address), to, data, **fields)
        return chain.receipt(chain.send(sign_transaction(keys[0], transaction)))

    def why(*arguments: Any, **fields: Any) -> str:
        return str(sending.why(chain, receipt(*arguments, **fields)))

    def deployed(code: str) -> str:
        contract = receipt(None, bytes.fromhex(f"60{len(code) // 2:02x}8060095f395ff3{code}")).contract
        assert contract is not None
        return contract

    words = [(32).to_bytes(32, "big"), (2).to_bytes(32, "big"), b"no".ljust(32, b"\0")]
    refuses = "6064600c5f3960645ffd5b5b" + "08c379a0" + b"".join(words).hex()
    assert why(deployed("34600557005b5f5ffd"), value=1) == "reverted without a reason"
    assert why(deployed("fe")) == "invalid instruction"
    assert why(deployed("5b5f56"), gas=30_000) == "out of gas"
    assert why(None, bytes.fromhex(refuses)) == "no"


def test_a_replacement_pays_an_eighth_more() -> None:
    assert [sending.raised(fee) for fee in (0, 1, 8, 1_000)] == [0, 2, 9, 1_125]


# --- long work, and who may ask -------------------------------------------------------------------


def test_others_are_answered_while_many_blocks_are_mined(engine: Engine) -> None:
    def body(method: str, *params: Any) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()

    async def ask_meanwhile(url: str) -> tuple[int, dict[str, Any]]:
        async with httpx.AsyncClient(timeout=60) as client:
            mining = asyncio.create_task(client.post(url, content=body("anvil_mine", "0x2710")))
            seen = 0
            while seen == 0:  # it was begun, and goes on while this is answered
                seen = int((await client.post(url, content=body("eth_blockNumber"))).json()["result"], 16)
            engine.stopping.set()
            return seen, (await mining).json()

    with serving(engine) as url:
        seen, ended = asyncio.run(ask_meanwhile(url))
    assert 0 < seen < 10_000
    assert ended["error"] == {"code": INTERNAL, "message": "the node is being stopped"}
    assert engine.chain.head() < 10_000
    assert engine.chain.faults() == []


def test_pages_of_strangers_may_not_call(engine: Engine) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}
    stranger, own, allowed = "https://evil.example", "http://127.0.0.1:8000", "https://good.example"
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    async def by_websocket(url: str, origin: Any) -> str:
        async with connect(url.replace("http", "ws"), origin=origin) as socket:
            await socket.send(json.dumps(body))
            return str(await socket.recv())

    with serving(engine, origins=(allowed,)) as url:
        for origin, status in ((stranger, 403), ("null", 403), (own, 200), (allowed, 200)):
            assert httpx.post(url, json=body, headers={"Origin": origin}).status_code == status
            preflight = httpx.options(url, headers={"Origin": origin} | asks)
            assert preflight.status_code == status
            if status == 200:
                assert preflight.headers["access-control-allow-origin"] == origin
                assert "0x7a69" in asyncio.run(by_websocket(url, origin))
            else:
                with pytest.raises(InvalidStatus):
                    asyncio.run(by_websocket(url, origin))
        assert httpx.post(url, json=body).status_code == 200
    with serving(engine, origins=("*",)) as url:
        assert "0x7a69" in asyncio.run(by_websocket(url, stranger))
