"""What anvil and hardhat let clients set: accounts, the next block, mining, the pool, the whole chain."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import rlp

from ledger.chain.dump import MAGIC
from ledger.chain.encoding import decode_header
from ledger.keys import Key
from ledger.transactions import Transaction, sign_transaction
from node.rpc.engine import Engine
from tests.rpc.asking import GENESIS, SOMEBODY, Ask, asking, engine_of
from tests.rpc.serving import serving

RETURNS_WORD_0 = "0x60005460005260206000f3"


def pay(key: Key, nonce: int, **fields: Any) -> str:
    values = {"value": 1, "max_fee_per_gas": 10**10, "max_priority_fee_per_gas": 10**9} | fields
    return "0x" + sign_transaction(key, Transaction(31_337, nonce, SOMEBODY, **values)).hex()


@pytest.mark.parametrize("who", ["anvil", "hardhat"])
def test_accounts_are_set_and_kept(keys: tuple[Key, ...], tmp_path: Path, who: str) -> None:
    engine = engine_of(keys, data=tmp_path)
    ask = asking(engine)
    assert ask(f"{who}_setBalance", SOMEBODY, hex(10**18)) is True
    assert ask(f"{who}_setNonce", SOMEBODY, "0x7") is True
    assert ask(f"{who}_setCode", SOMEBODY, RETURNS_WORD_0) is True
    assert ask(f"{who}_setStorageAt", SOMEBODY, "0x0", "0x" + "00" * 31 + "2a") is True

    def check(ask: Ask) -> None:
        assert ask("eth_getBalance", SOMEBODY, "latest") == hex(10**18)
        assert ask("eth_getTransactionCount", SOMEBODY, "latest") == "0x7"
        assert ask("eth_getCode", SOMEBODY) == RETURNS_WORD_0
        assert int(ask("eth_call", {"to": SOMEBODY}, "latest"), 16) == 42
        assert ask("eth_getBalance", SOMEBODY, "0x0") == "0x0"
        assert ask("eth_blockNumber") == "0x4"

    check(ask)
    proved = ask("eth_getProof", SOMEBODY, ["0x0"], "latest")
    assert (proved["nonce"], proved["storageProof"][0]["value"]) == ("0x7", "0x2a")
    engine.chain.close()
    reopened = engine_of(keys, data=tmp_path)
    check(asking(reopened))
    reopened.chain.close()


def test_the_next_block_is_set(engine: Engine, ask: Ask, keys: tuple[Key, ...]) -> None:
    assert ask("evm_setBlockGasLimit", hex(20_000_000)) is True
    assert ask("anvil_setNextBlockBaseFeePerGas", hex(5 * 10**9)) is None
    assert ask("anvil_setCoinbase", SOMEBODY) is None
    ask("eth_sendRawTransaction", pay(keys[0], 0))
    header = decode_header(engine.chain.block().header_rlp)
    assert (header.gas_limit, header.base_fee, header.coinbase.hex()) == (20_000_000, 5 * 10**9, "5b" * 20)
    assert int(ask("eth_getBalance", SOMEBODY), 16) == 1 + 21_000 * 10**9  # the payment, and the tip
    ask("evm_mine")
    following = decode_header(engine.chain.block().header_rlp)
    assert (following.gas_limit, following.base_fee) == (20_000_000, engine.chain.block(2).base_fee)
    assert (following.base_fee or 0) < 5 * 10**9
    ahead = ask("evm_setTime", GENESIS + 5_000)
    ask("anvil_mine", "0x1")
    assert engine.chain.block().timestamp == GENESIS + 5_000
    assert ahead > 4_000


def test_mining_by_interval_and_by_hand(keys: tuple[Key, ...]) -> None:
    engine = engine_of(keys)
    ask = asking(engine)
    with serving(engine):
        assert ask("anvil_getIntervalMining") is None
        ask("evm_setIntervalMining", 1)
        assert (ask("anvil_getIntervalMining"), ask("anvil_getAutomine")) == (1, False)
        ask("eth_sendRawTransaction", pay(keys[0], 0))
        assert ask("txpool_status") == {"pending": "0x1", "queued": "0x0"}
        for _ in range(100):
            if engine.chain.head():
                break
            time.sleep(0.1)
        assert engine.chain.head() >= 1
        assert ask("txpool_status") == {"pending": "0x0", "queued": "0x0"}
        ask("evm_setIntervalMining", 0)
    stopped = engine.chain.head()
    ask("eth_sendRawTransaction", pay(keys[0], 1))
    assert engine.chain.head() == stopped
    ask("evm_mine")
    assert len(engine.chain.block().transactions) == 1


def test_transactions_wait_for_earlier_ones_and_are_replaced(
    engine: Engine, ask: Ask, keys: tuple[Key, ...]
) -> None:
    ask("evm_setAutomine", False)
    third, first = pay(keys[0], 2), pay(keys[0], 0)
    late = ask("eth_sendRawTransaction", third)
    ask("eth_sendRawTransaction", first)
    assert ask("txpool_status") == {"pending": "0x1", "queued": "0x1"}
    assert list(ask("txpool_content")["queued"][keys[0].address.lower()]) == ["2"]
    assert ask("eth_getTransactionCount", keys[0].address, "pending") == "0x1"
    ask("evm_mine")
    assert engine.chain.nonce_after(keys[0].address) == 1
    slow = ask("eth_sendRawTransaction", pay(keys[0], 1))
    refused = ask("eth_sendRawTransaction", pay(keys[0], 1, max_fee_per_gas=10**10 + 1))
    assert refused["code"] == -32_003
    assert refused["message"].startswith("replacement transaction underpriced: max_fee_per_gas 10000000001")
    fast = ask(
        "eth_sendRawTransaction",
        pay(keys[0], 1, max_fee_per_gas=11 * 10**9, max_priority_fee_per_gas=11 * 10**8),
    )
    assert ask("eth_getTransactionByHash", slow) is None
    assert ask("eth_getTransactionCount", keys[0].address, "pending") == "0x3"
    ask("evm_mine")
    hashes = ["0x" + each.hex() for each in engine.chain.block().transaction_hashes]
    assert hashes == [fast, late]
    assert ask("eth_getTransactionReceipt", slow) is None
    ask("eth_sendRawTransaction", pay(keys[0], 3))
    dropped = ask("eth_sendRawTransaction", pay(keys[0], 4))
    assert ask("anvil_dropTransaction", dropped) == dropped
    assert ask("anvil_dropTransaction", dropped) is None
    ask("anvil_dropAllTransactions")
    assert ask("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_automine_mines_no_empty_block_for_a_transaction_that_waits_for_others(
    engine: Engine, ask: Ask, keys: tuple[Key, ...]
) -> None:
    ask("eth_sendRawTransaction", pay(keys[0], 1))
    assert engine.chain.head() == 0
    ask("eth_sendRawTransaction", pay(keys[0], 0))
    assert (engine.chain.head(), len(engine.chain.block().transactions)) == (1, 2)


def test_a_call_may_find_accounts_otherwise(ask: Ask) -> None:
    call = {"to": SOMEBODY}
    assert ask("eth_call", call, "latest") == "0x"
    overrides = {SOMEBODY: {"code": RETURNS_WORD_0, "stateDiff": {"0x" + "00" * 32: "0x" + "00" * 31 + "07"}}}
    assert int(ask("eth_call", call, "latest", overrides), 16) == 7
    assert ask("eth_call", call, "latest") == "0x"
    broke = {"from": SOMEBODY, "to": SOMEBODY, "value": "0x1"}
    assert "insufficient funds" in ask("eth_call", broke, "latest")["message"]
    assert ask("eth_call", broke, "latest", {SOMEBODY: {"balance": "0x1"}}) == "0x"
    assert ask("eth_call", call, "latest", {SOMEBODY: {"colour": 1}})["code"] == -32_602


def test_a_chain_is_dumped_and_loaded(
    engine: Engine, ask: Ask, keys: tuple[Key, ...], tmp_path: Path
) -> None:
    for nonce in range(3):
        ask("eth_sendRawTransaction", pay(keys[0], nonce))
    ask("anvil_setCode", SOMEBODY, RETURNS_WORD_0)
    dumped = ask("anvil_dumpState")
    other = engine_of(keys[1:], data=tmp_path)
    elsewhere = asking(other)
    elsewhere("evm_mine")
    assert elsewhere("anvil_loadState", dumped) is True
    assert [other.chain.block(n) for n in range(5)] == [engine.chain.block(n) for n in range(5)]
    assert elsewhere("eth_getBalance", SOMEBODY, "0x2") == "0x2"
    elsewhere("eth_sendRawTransaction", pay(keys[0], 3))
    assert other.chain.head() == 5
    other.chain.close()
    reopened = engine_of(keys, data=tmp_path)
    assert reopened.chain.head() == 5
    assert reopened.chain.faults() == []
    reopened.chain.close()


def test_a_dump_that_was_tampered_with_is_refused(engine: Engine, ask: Ask, keys: tuple[Key, ...]) -> None:
    ask("eth_sendRawTransaction", pay(keys[0], 0))
    dumped = bytes.fromhex(ask("anvil_dumpState")[2:])
    items = rlp.decode(zlib.decompress(dumped[len(MAGIC) :]))
    for place, (key, value) in enumerate(items):
        changed = [list(item) for item in items]
        changed[place] = [key, value[:-1] + bytes([value[-1] ^ 1])]
        edited = MAGIC + zlib.compress(rlp.encode(changed))
        refused = ask("anvil_loadState", "0x" + edited.hex())
        assert refused["code"] == -32_602, key
    for wrong in (b"", b"x" * 40, dumped[:-5], MAGIC + zlib.compress(b"nothing")):
        assert ask("anvil_loadState", "0x" + wrong.hex())["code"] == -32_602
    assert engine.chain.head() == 1


def test_what_cannot_be_done_is_refused_with_what_to_do_instead(ask: Ask) -> None:
    forking = ask("anvil_reset", {"forking": {"jsonRpcUrl": "http://localhost"}})
    assert (forking["code"], "run `anvil --fork-url URL`" in forking["message"]) == (-32_601, True)
    assert "evm_snapshot" in ask("hardhat_reset")["message"]
    assert "anvil_setBalance" in ask("anvil_impersonateAccount", SOMEBODY)["message"]
    traced = ask("debug_traceTransaction", "0x" + "00" * 32, {})
    assert (traced["code"], "eth_createAccessList" in traced["message"]) == (-32_601, True)
    delegating = ask("eth_sendRawTransaction", "0x04c0")
    assert (delegating["code"], "anvil_setCode" in delegating["message"]) == (-32_003, True)
    for method, *params in (
        ("anvil_mine", "0x2711"),
        ("evm_mine", {"blocks": 2**200}),
        ("evm_increaseTime", 2**60),
        ("evm_setNextBlockTimestamp", 2**60),
        ("evm_setBlockGasLimit", 1),
        ("evm_setIntervalMining", 10**9),
        ("anvil_setNonce", SOMEBODY, hex(2**64)),
        ("anvil_setCode", SOMEBODY, "0x" + "00" * 24_577),
        ("anvil_setStorageAt", SOMEBODY, "0xzz", "0x1"),
        ("eth_getLogs", {"topics": [None] * 5}),
        ("eth_getLogs", {"address": [SOMEBODY] * 1_001}),
    ):
        assert ask(method, *params)["code"] == -32_602, method
    assert ask("anvil_nodeInfo")["hardFork"] == "prague"
