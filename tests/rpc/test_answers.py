"""What clients are told: codes, bounds, reasons, test clients' methods; and who may ask."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ledger import sending
from ledger.chain.protocol import Receipt
from ledger.keys import Key
from ledger.transactions import ACCESS_LIST, LEGACY, Transaction, decode_transaction, sign_transaction
from node.rpc.dispatch import answer
from node.rpc.engine import Engine
from node.rpc.params import LOG_BLOCKS_MAX
from tests.rpc.asking import GENESIS, SOMEBODY, Ask, coin
from tests.rpc.serving import serving

REJECTED, INVALID, INTERNAL = -32_003, -32_602, -32_603


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
