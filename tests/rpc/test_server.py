"""The JSON-RPC server as web3.py and plain HTTP clients meet it, on a real socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError
from websockets.asyncio.client import connect

from ledger import eip712
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import ordered_root
from ledger.chain.protocol import ChainUnavailable, LogFilter, Reverted, TransactionRefused
from ledger.chain.rpc import RpcChain
from ledger.keccak import keccak
from ledger.keys import Key, mnemonic_keys
from ledger.transactions import LEGACY, Transaction, sign_transaction
from market.orders import Order, Side
from node.rpc.engine import Engine, wall_clock
from tests.rpc.serving import serving

GENESIS = 1_700_000_000
START = 5


@pytest.fixture(scope="module")
def accounts() -> tuple[Key, ...]:
    return mnemonic_keys(3)


@pytest.fixture
def engine(accounts: tuple[Key, ...]) -> Engine:
    chain = EmbeddedChain(genesis_timestamp=GENESIS, funded=[key.address for key in accounts])
    return Engine(chain, accounts)


@pytest.fixture
def url(engine: Engine) -> Iterator[str]:
    with serving(engine, body_max_bytes=100_000) as url:
        yield url


@pytest.fixture(scope="module")
def idle_url() -> Iterator[str]:
    """A server that only refuses, so that one is enough."""
    with serving(Engine(EmbeddedChain(genesis_timestamp=GENESIS)), body_max_bytes=100_000) as url:
        yield url


@pytest.fixture
def web3(url: str) -> Web3:
    return Web3(HTTPProvider(url))


@pytest.fixture
def contract(web3: Web3, probe: Any) -> Any:
    """The probe, deployed through web3.py by the first unlocked account."""
    factory = web3.eth.contract(abi=probe.abi, bytecode=probe.bytecode)
    deployed = factory.constructor(START).transact({"from": web3.eth.accounts[0]})
    receipt = web3.eth.wait_for_transaction_receipt(deployed)
    return web3.eth.contract(receipt["contractAddress"], abi=probe.abi)


Ask = Callable[..., Any]


@pytest.fixture
def ask(url: str) -> Ask:
    """Result of a method, or its error object."""

    def question(method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(url, json=body).json()
        return answer["result"] if "result" in answer else answer["error"]

    return question


# --- web3.py ------------------------------------------------------------------------------------


def test_web3_deploys_sends_waits_and_reads(web3: Web3, contract: Any, accounts: tuple[Key, ...]) -> None:
    assert (web3.eth.chain_id, web3.net.version, web3.client_version) == (31_337, "31337", "Wattbook/1")
    assert web3.eth.accounts == [key.address for key in accounts]
    sent = contract.functions.add(4).transact({"from": accounts[1].address})
    receipt = web3.eth.wait_for_transaction_receipt(sent)
    assert (receipt["status"], receipt["from"], receipt["blockNumber"]) == (1, accounts[1].address, 2)
    assert contract.functions.count().call() == START + 4
    assert contract.functions.count().call(block_identifier=1) == START
    (event,) = contract.events.Counted().process_receipt(receipt)
    assert event["args"] == {"who": accounts[1].address, "total": START + 4}
    block = web3.eth.get_block("latest", full_transactions=True)
    assert block["transactions"][0]["hash"] == sent
    assert web3.eth.get_transaction(sent)["input"] == HexBytes(contract.encode_abi("add", [4]))
    assert web3.eth.get_transaction_count(accounts[1].address) == 1
    assert web3.eth.get_balance(accounts[1].address) < 10_000 * 10**18
    assert len(web3.eth.get_code(contract.address)) > 100
    assert int.from_bytes(web3.eth.get_storage_at(contract.address, 0), "big") == START + 4
    assert web3.eth.get_block("pending")["number"] == 3


def test_web3_sends_what_eth_account_signed(web3: Web3, contract: Any, accounts: tuple[Key, ...]) -> None:
    account = Account.from_key(accounts[2].secret)
    transaction = contract.functions.add(1).build_transaction(
        {"from": account.address, "nonce": web3.eth.get_transaction_count(account.address)}
    )
    sent = web3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    receipt = web3.eth.wait_for_transaction_receipt(sent)
    assert receipt["gasUsed"] <= transaction["gas"]
    assert receipt["effectiveGasPrice"] <= transaction["maxFeePerGas"]


def test_web3_sees_why_a_contract_refuses(web3: Web3, contract: Any) -> None:
    with pytest.raises(ContractLogicError, match="probe: nothing to add"):
        contract.functions.add(0).call()
    with pytest.raises(ContractLogicError, match="probe: nothing to add"):
        contract.functions.add(0).transact({"from": web3.eth.accounts[0]})
    forced = contract.functions.add(0).transact({"from": web3.eth.accounts[0], "gas": 100_000})
    assert web3.eth.wait_for_transaction_receipt(forced)["status"] == 0


def test_web3_filters_logs_and_blocks(web3: Web3, contract: Any) -> None:
    blocks = web3.eth.filter("latest")
    events = contract.events.Counted.create_filter(from_block=0)
    for amount in (1, 2):
        contract.functions.add(amount).transact({"from": web3.eth.accounts[0]})
    assert [event["args"]["total"] for event in events.get_new_entries()] == [START + 1, START + 3]
    assert events.get_new_entries() == []
    assert len(events.get_all_entries()) == 2
    assert blocks.get_new_entries() == [web3.eth.get_block(number)["hash"] for number in (2, 3)]
    by_argument = contract.events.Counted().get_logs(
        from_block=0, argument_filters={"who": web3.eth.accounts[1]}
    )
    assert not by_argument
    assert len(web3.eth.get_logs({"fromBlock": 0, "address": contract.address})) == 2


def test_web3_asks_for_fees(web3: Web3, contract: Any) -> None:
    history = web3.eth.fee_history(2, "latest", [0, 50, 100])
    assert history["oldestBlock"] == 0
    assert history["baseFeePerGas"][:2] == [web3.eth.get_block(n)["baseFeePerGas"] for n in (0, 1)]
    assert history["reward"] == [[0, 0, 0], [10**9] * 3]
    assert web3.eth.gas_price == history["baseFeePerGas"][-1] + web3.eth.max_priority_fee
    assert contract.functions.add(1).estimate_gas() > 21_000


def test_wallets_sign_here(ask: Ask, accounts: tuple[Key, ...]) -> None:
    order = Order(accounts[0].address, 7, 1, Side.BID, 0, -5, 100)
    typed = eip712.typed_data(eip712.Domain(31_337, accounts[1].address), order)
    signed = ask("eth_signTypedData_v4", accounts[0].address, json.dumps(typed))
    assert Account.recover_message(encode_typed_data(full_message=typed), signature=signed) == order.trader
    plain = ask("eth_sign", accounts[0].address, "0x1234")
    assert Account.recover_message(encode_defunct(hexstr="0x1234"), signature=plain) == order.trader
    assert ask("personal_sign", "0x1234", accounts[0].address) == plain
    assert ask("eth_sign", "0x" + "11" * 20, "0x12")["code"] == -32_602
    assert ask("eth_signTypedData_v4", accounts[0].address, {"types": 3})["code"] == -32_602


# --- the node's own methods ---------------------------------------------------------------------


def test_raw_forms_hash_to_what_they_are(ask: Ask, contract: Any, web3: Web3) -> None:
    block = web3.eth.get_block(1)
    assert keccak(bytes.fromhex(ask("debug_getRawHeader", "0x1")[2:])) == block["hash"]
    receipts = [bytes.fromhex(raw[2:]) for raw in ask("debug_getRawReceipts", "0x1")]
    assert ordered_root(receipts) == block["receiptsRoot"]
    transaction_hash = "0x" + block["transactions"][0].hex()
    raw = ask("debug_getRawTransaction", transaction_hash)
    assert keccak(bytes.fromhex(raw[2:])) == block["transactions"][0]
    assert raw[2:] in ask("debug_getRawBlock", "0x1")
    assert len(bytes.fromhex(ask("debug_getRawBlock", "latest")[2:])) == block["size"]
    assert ask("debug_getRawHeader", "0x9")["code"] == -32_602


def test_time_and_mining_are_driven(ask: Ask, web3: Web3) -> None:
    ask("evm_setNextBlockTimestamp", GENESIS + 500)
    ask("evm_mine")
    assert web3.eth.get_block("latest")["timestamp"] == GENESIS + 500
    ask("evm_increaseTime", 100)
    ask("evm_mine", {"blocks": 2})
    assert (web3.eth.block_number, web3.eth.get_block(2)["timestamp"]) == (3, GENESIS + 601)
    ask("anvil_mine", "0x3", 60)
    assert [web3.eth.get_block(n)["timestamp"] - web3.eth.get_block(n - 1)["timestamp"] for n in (5, 6)] == [
        60,
        60,
    ]
    assert ask("evm_setNextBlockTimestamp", 5)["code"] == -32_602
    ask("evm_mine", GENESIS + 9_000)
    assert web3.eth.get_block("latest")["timestamp"] == GENESIS + 9_000


def test_snapshots_and_automine_off(ask: Ask, web3: Web3, contract: Any) -> None:
    add, sender = contract.functions.add(1), {"from": web3.eth.accounts[0], "gas": 100_000}
    before = ask("evm_snapshot")
    assert ask("evm_setAutomine", False)
    sent = add.transact(sender)
    assert ask("eth_getTransactionReceipt", "0x" + sent.hex()) is None
    assert ask("eth_getTransactionByHash", "0x" + sent.hex())["blockNumber"] is None
    assert ask("eth_getTransactionCount", web3.eth.accounts[0], "pending") == "0x2"
    assert ask("eth_getTransactionCount", web3.eth.accounts[0], "latest") == "0x1"
    assert ask("txpool_status")["pending"] == "0x1"
    assert ask("eth_getBlockByNumber", "pending", False)["transactions"] == ["0x" + sent.hex()]
    ask("evm_mine")
    assert web3.eth.get_transaction_receipt(sent)["status"] == 1
    assert ask("evm_revert", before) is True
    assert ask("evm_revert", before) is False
    assert contract.functions.count().call() == START
    assert ask("evm_setAutomine", True)
    add.transact(sender)
    assert contract.functions.count().call() == START + 1


def test_blocks_come_at_intervals(accounts: tuple[Key, ...]) -> None:
    chain = EmbeddedChain(
        genesis_timestamp=wall_clock(), funded=[accounts[0].address], time_source=wall_clock
    )
    with serving(Engine(chain, accounts, block_time_seconds=1)) as url:
        web3 = Web3(HTTPProvider(url))
        sent = web3.eth.send_transaction({"from": accounts[0].address, "to": accounts[1].address, "value": 3})
        assert web3.eth.block_number == 0
        receipt = web3.eth.wait_for_transaction_receipt(sent, timeout=10)
    assert receipt["blockNumber"] >= 1
    assert chain.balance(accounts[1].address) == 3
    head = chain.head()
    time.sleep(1.2)
    assert chain.head() == head  # the server is gone, and its blocks with it


def test_a_websocket_answers_the_same(url: str) -> None:
    async def talk() -> list[Any]:
        async with connect(url.replace("http", "ws")) as socket:
            answers = []
            for body in ('{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}', "no json"):
                await socket.send(body)
                answers.append(json.loads(await socket.recv()))
            return answers

    chain_id, refusal = asyncio.run(talk())
    assert chain_id == {"jsonrpc": "2.0", "id": 7, "result": "0x7a69"}
    assert refusal["error"]["code"] == -32_700


# --- what bad input gets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32_700),
        (b"{", -32_700),
        (b"\xff\xfe", -32_700),
        (b"[" * 50_000, -32_700),
        (b'{"a":' * 10_000, -32_700),
        (b"[]", -32_600),
        (b"3", -32_600),
        (b'{"method":"eth_chainId","id":1}', -32_600),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', -32_600),
        (b'{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}', -32_600),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_mineMeABitcoin"}', -32_601),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{"a":1}}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[1]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x12"]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["soon",false]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["0x0","yes"]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":["0x"]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"data":"0xabc"}]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"topics":"0x"}]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_getFilterChanges","params":["0x99"]}', -32_602),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x02c0"]}', -32_003),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x"]}', -32_003),
    ],
)
def test_malformed_requests_get_their_code(idle_url: str, body: bytes, code: int) -> None:
    answer = httpx.post(idle_url, content=body)
    assert answer.json()["error"]["code"] == code
    assert "Traceback" not in answer.text
    assert (
        httpx.post(idle_url, content=b'{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber"}').json()["result"]
        == "0x0"
    )


def test_batches_answer_each_request(idle_url: str) -> None:
    good = {"jsonrpc": "2.0", "method": "eth_chainId"}
    batch = [good | {"id": "a"}, 5, good, good | {"id": 2, "method": "nothing"}]
    answers = httpx.post(idle_url, json=batch).json()
    assert [answer.get("result", answer.get("error", {}).get("code")) for answer in answers] == [
        "0x7a69",
        -32_600,
        -32_601,
    ]
    assert [answer["id"] for answer in answers] == ["a", None, 2]
    assert httpx.post(idle_url, json=good).status_code == 204  # a notification
    assert httpx.post(idle_url, json=[good | {"id": 1}] * 1_001).json()["error"]["code"] == -32_600


def test_a_body_too_large_is_refused(idle_url: str) -> None:
    answer = httpx.post(idle_url, content=b"x" * 100_001)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, -32_600)


def test_a_client_that_goes_in_the_middle_of_its_body_is_nobodys_error(capfd: pytest.CaptureFixture[str]):
    """The server waits for the rest, and ends without a word in its log."""
    with (
        serving(Engine(EmbeddedChain(genesis_timestamp=GENESIS))) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100")  # it reads the body by now
    assert "Traceback" not in capfd.readouterr().err


def test_refusals_name_the_rule(ask: Ask, accounts: tuple[Key, ...]) -> None:
    def raw(**fields: Any) -> str:
        fields = {"max_fee_per_gas": 5 * 10**9} | fields
        return (
            "0x" + sign_transaction(accounts[0], Transaction(31_337, 0, accounts[1].address, **fields)).hex()
        )

    assert ask("eth_sendRawTransaction", raw(gas=100)) == {
        "code": -32_003,
        "message": "intrinsic gas too low: 100, needs 21000",
    }
    assert ask("eth_sendRawTransaction", raw(value=10**30))["code"] == -32_003
    assert len(ask("eth_sendRawTransaction", raw())) == 66
    assert "already known" in ask("eth_sendRawTransaction", raw())["message"]
    locked = {"from": "0x" + "11" * 20, "to": accounts[0].address}
    assert "not unlocked" in ask("eth_sendTransaction", locked)["message"]


def test_many_clients_at_once(url: str, web3: Web3, contract: Any) -> None:
    """One lock round the chain: nothing is lost when threads send and read together."""
    errors: list[Exception] = []

    def work(account: str) -> None:
        client = Web3(HTTPProvider(url))
        probe = client.eth.contract(contract.address, abi=contract.abi)
        try:
            for _ in range(5):
                sent = probe.functions.add(1).transact({"from": account})
                client.eth.wait_for_transaction_receipt(sent)
        except Exception as failure:  # reported below, since a thread cannot fail a test
            errors.append(failure)

    threads = [threading.Thread(target=work, args=[account]) for account in web3.eth.accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert contract.functions.count().call() == START + 15


# --- the same chain through JSON-RPC ------------------------------------------------------------


def test_rpc_chain_equals_the_embedded_one(
    url: str, engine: Engine, accounts: tuple[Key, ...], probe: Any
) -> None:
    remote, local, key = RpcChain(url), engine.chain, accounts[0]

    def send(to: str | None, data: bytes, **fields: Any) -> bytes:
        fields = {"gas": 2_000_000, "max_fee_per_gas": 5 * 10**9, "max_priority_fee_per_gas": 10**9} | fields
        nonce = remote.nonce(key.address)
        return remote.send(sign_transaction(key, Transaction(remote.chain_id, nonce, to, data, **fields)))

    contract = remote.receipt(send(None, probe.creation)).contract
    assert contract is not None
    engine.automine = False
    add = keccak(b"add(uint256)")[:4]
    hashes = [send(contract, add + amount.to_bytes(32, "big")) for amount in (1, 0, 2)]
    flat = {"max_priority_fee_per_gas": 5 * 10**9}
    hashes.append(send(accounts[1].address, b"", value=9, type=LEGACY, **flat))
    hashes.append(send(contract, b"", type=1, access_list=((contract, (bytes(32),)),), **flat))
    remote.advance_to(GENESIS + 1_000)
    assert (remote.now(), local.now()) == (GENESIS + 1_000, GENESIS + 1_000)
    assert remote.mine() == 2
    assert remote.mine() == 2  # nothing waits

    assert remote.block() == local.block()
    for number in range(3):
        assert remote.block(number) == local.block(number)
        assert remote.receipts(number) == local.receipts(number)
    for transaction_hash in hashes:
        assert remote.receipt(transaction_hash) == local.receipt(transaction_hash)
    assert [receipt.status for receipt in remote.receipts(2)] == [1, 0, 1, 1, 0]
    which = LogFilter(addresses=(contract,), topics=((keccak(b"Counted(address,uint256)"),),))
    assert list(remote.logs(which)) == list(local.logs(which)) != []
    assert remote.code(contract) == local.code(contract)
    assert remote.balance(key.address) == local.balance(key.address)
    assert remote.nonce(key.address) == local.nonce(key.address) == 6
    assert remote.head() == local.head() == 2
    count = keccak(b"count()")[:4]
    assert remote.call(contract, count) == local.call(contract, count)
    assert remote.call(contract, count, block=1) == local.call(contract, count, block=1)
    arguments = add + (1).to_bytes(32, "big")
    assert remote.estimate_gas(contract, arguments, sender=key.address) == local.estimate_gas(
        contract, arguments, sender=key.address
    )


def test_rpc_chain_raises_what_the_embedded_one_raises(
    url: str, engine: Engine, contract: Any, accounts: tuple[Key, ...]
) -> None:
    chain = RpcChain(url)
    nothing = keccak(b"add(uint256)")[:4] + bytes(32)
    with pytest.raises(Reverted, match=r"^probe: nothing to add$") as caught:
        chain.call(contract.address, nothing)
    assert caught.value.data.startswith(bytes.fromhex("08c379a0"))
    with pytest.raises(Reverted, match="probe: nothing to add"):
        chain.estimate_gas(contract.address, nothing, sender=accounts[0].address)
    with pytest.raises(Reverted, match=r"^reverted without a reason$"):
        chain.call(contract.address, b"\1\2\3\4")
    fields = {"max_fee_per_gas": 5 * 10**9}
    with pytest.raises(TransactionRefused, match="nonce too high"):
        chain.send(sign_transaction(accounts[0], Transaction(31_337, 99, None, gas=60_000, **fields)))
    for ask in (chain.block, chain.receipts):
        with pytest.raises(KeyError):
            ask(99)


def test_rpc_chain_waits_no_longer_than_its_patience(
    url: str, engine: Engine, accounts: tuple[Key, ...]
) -> None:
    engine.automine = False
    pauses: list[int] = []
    chain = RpcChain(url, patience_ms=100, pause_ms=pauses.append)
    fields = {"max_fee_per_gas": 5 * 10**9}
    sent = chain.send(sign_transaction(accounts[0], Transaction(31_337, 0, accounts[1].address, **fields)))
    with pytest.raises(ChainUnavailable, match="is in no block after"):
        chain.receipt(sent)
    assert pauses == [15, 30, 60]


def test_rpc_chain_without_a_node() -> None:
    with pytest.raises(ChainUnavailable, match="does not answer"):
        RpcChain("http://127.0.0.1:1")
