"""The embedded chain's data folder: it resumes, survives a kill, and refuses what is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.lmdb import DataFolderError
from ledger.chain.protocol import ChainError
from ledger.keys import Key, derive
from ledger.transactions import Transaction, sign_transaction

GENESIS = 1_700_000_000


def opened(folder: Path | None, **options: Any) -> EmbeddedChain:
    return EmbeddedChain(
        genesis_timestamp=GENESIS, funded=(derive(1, "owner").address,), data=folder, **options
    )


def pay(chain: EmbeddedChain, key: Key, value: int) -> None:
    fields = {"value": value, "max_fee_per_gas": 5 * 10**9}
    transaction = Transaction(31_337, chain.nonce(key.address), derive(1, "stranger").address, **fields)
    chain.send(sign_transaction(key, transaction))
    chain.mine()


def test_a_folder_resumes_at_its_head(tmp_path: Path, owner: Key) -> None:
    memory, kept = opened(None), opened(tmp_path / "data")
    for value in (1, 2):
        pay(memory, owner, value)
        pay(kept, owner, value)
    kept.close()
    kept = opened(tmp_path / "data")
    assert kept.head() == 2
    pay(memory, owner, 3)
    pay(kept, owner, 3)
    assert [kept.block(number) for number in range(4)] == [memory.block(number) for number in range(4)]
    assert [kept.receipts(number) for number in range(4)] == [memory.receipts(number) for number in range(4)]
    assert kept.balance(derive(1, "stranger").address) == 6
    kept.close()
    kept.close()


def test_a_snapshot_goes_back_in_a_folder(tmp_path: Path, owner: Key) -> None:
    chain = opened(tmp_path)
    taken, head = chain.snapshot(), chain.block()
    pay(chain, owner, 1)
    assert chain.revert(taken)
    chain.close()
    chain = opened(tmp_path)
    assert chain.block() == head
    with pytest.raises(KeyError):
        chain.block(1)
    chain.close()


KILLED = """
import sys
from pathlib import Path
from ledger.chain.embedded import EmbeddedChain
from ledger.keys import derive
from ledger.transactions import Transaction, sign_transaction
owner = derive(1, "owner")
chain = EmbeddedChain(genesis_timestamp=1_700_000_000, funded=(owner.address,), data=Path(sys.argv[1]))
while True:
    nonce = chain.nonce(owner.address)
    to = derive(nonce, "recipient").address
    raw = sign_transaction(owner, Transaction(31_337, nonce, to, value=1, max_fee_per_gas=5 * 10**9))
    chain.send(raw)
    chain.mine()
    print(chain.head(), flush=True)
"""


@pytest.mark.parametrize("blocks", [1, 7, 20])
def test_a_killed_process_leaves_whole_blocks(tmp_path: Path, owner: Key, blocks: int) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < blocks:
            pass
        os.kill(process.pid, signal.SIGKILL)
    chain = opened(tmp_path)
    head = chain.head()
    assert head >= blocks
    assert chain.nonce(owner.address) == head
    for number in range(1, head + 1):
        assert chain.block(number).parent_hash == chain.block(number - 1).hash
        assert chain.balance(derive(number - 1, "recipient").address, number) == 1
    pay(chain, owner, 1)
    assert decode_header(chain.block().header_rlp).number == head + 1
    chain.close()


def test_two_writers_are_refused(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(DataFolderError, match="another process has it open"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_what_is_not_a_chains_folder_is_refused(tmp_path: Path) -> None:
    letters, future, file, damaged = (tmp_path / name for name in ("letters", "future", "file", "damaged"))
    letters.mkdir()
    (letters / "dear.txt").write_text("not a chain")
    with pytest.raises(DataFolderError, match=r"letters: not a chain's data folder, and not empty"):
        opened(letters)
    assert [path.name for path in letters.iterdir()] == ["dear.txt"]

    future.mkdir()
    (future / "FORMAT").write_text("wattbook chain 9\n")
    with pytest.raises(DataFolderError, match="'wattbook chain 9', this version reads 'wattbook chain 1'"):
        opened(future)

    file.write_text("a file")
    with pytest.raises(DataFolderError, match="cannot be used"):
        opened(file)

    opened(damaged).close()
    (damaged / "data.mdb").write_bytes(b"\xff" * 8_192)
    with pytest.raises(DataFolderError, match="damaged"):
        opened(damaged)


def test_another_chains_folder_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, chain_id=5).close()
    with pytest.raises(ChainError, match="holds chain 5, not 31337"):
        opened(tmp_path)
    opened(tmp_path, chain_id=5).close()
