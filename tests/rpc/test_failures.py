"""What fails leaves a chain as it was: a full disk, a damaged folder, a transaction that fits no block."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.evm import Account
from ledger.chain.lmdb import DamagedFolderError, UnwritableFolderError
from ledger.chain.protocol import ChainError, ChainUnavailable, DamagedChainError
from ledger.chain.store import Changes
from ledger.keys import Key
from node.rpc.engine import Engine
from node.rpc.params import call_request
from tests.rpc.asking import SOMEBODY, Ask, asking, coin, engine_of
from tests.rpc.serving import serving

INTERNAL = -32_603


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
