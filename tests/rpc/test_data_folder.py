"""The embedded chain's data folder: it resumes, survives a kill, and refuses what is not its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.encoding import decode_header
from ledger.chain.lmdb import DamagedFolderError, FolderInUseError, ForeignFolderError
from ledger.chain.pages import IncompleteFileError, check_whole
from ledger.chain.protocol import ChainError
from ledger.keys import Key, derive
from ledger.transactions import Transaction, sign_transaction

GENESIS = 1_700_000_000
PAGE = os.sysconf("SC_PAGE_SIZE")


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
    with pytest.raises(FolderInUseError, match="another process has it open"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_what_is_not_a_chains_folder_is_refused(tmp_path: Path) -> None:
    letters, future, file, damaged = (tmp_path / name for name in ("letters", "future", "file", "damaged"))
    letters.mkdir()
    (letters / "dear.txt").write_text("not a chain")
    with pytest.raises(ForeignFolderError, match=r"letters: not a chain's data folder, and not empty"):
        opened(letters)
    assert [path.name for path in letters.iterdir()] == ["dear.txt"]

    future.mkdir()
    (future / "FORMAT").write_text("wattbook chain 9\n")
    with pytest.raises(ForeignFolderError, match="'wattbook chain 9', this version reads 'wattbook chain 1'"):
        opened(future)

    file.write_text("a file")
    with pytest.raises(ForeignFolderError, match="cannot be used"):
        opened(file)

    opened(damaged).close()
    (damaged / "data.mdb").write_bytes(b"\xff" * 8_192)
    with pytest.raises(DamagedFolderError, match="damaged"):
        opened(damaged)


def test_another_chains_folder_is_refused(tmp_path: Path) -> None:
    opened(tmp_path, chain_id=5).close()
    with pytest.raises(ChainError, match="holds chain 5, not 31337"):
        opened(tmp_path)
    opened(tmp_path, chain_id=5).close()


# --- a database that was cut off ------------------------------------------------------------------

READER = """
import sys
from pathlib import Path
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.lmdb import DamagedFolderError
try:
    chain = EmbeddedChain(data=Path(sys.argv[1]))
    for number in range(chain.head() + 1):
        chain.block(number)
        chain.nonce_after(sys.argv[2], number)
    print("whole", chain.head())
except DamagedFolderError as refusal:
    print("refused", refusal)
"""
"""Reads all of a folder in a process of its own, which a missing page would end."""


def read_all(folder: Path) -> str:
    """What the reader says."""
    command = [sys.executable, "-c", READER, str(folder), derive(1, "owner").address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def long_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long") / "data"
    chain = opened(folder)
    for value in range(1, 41):
        pay(chain, derive(1, "owner"), value)
    chain.close()
    assert (folder / "data.mdb").stat().st_size > 20 * PAGE
    return folder


@pytest.mark.parametrize(
    ("length", "why"),
    [
        (lambda full: 0, "it ends within its first two pages"),
        (lambda full: 100, "it ends within its first two pages"),
        (lambda full: PAGE, "it ends within its first two pages"),
        (lambda full: 2 * PAGE, "it was cut off: {metas} bytes of {full}"),
        (lambda full: full // 2, "it was cut off: {half} bytes of {full}"),
        (lambda full: full - 1, "it was cut off: {last} bytes of {full}"),
    ],
    ids=["empty", "part of a page", "one page", "meta pages alone", "half", "a byte short"],
)
def test_a_database_that_was_cut_off_is_refused(
    long_database: Path, tmp_path: Path, length: Callable[[int], int], why: str
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(long_database, folder)
    assert read_all(folder) == "whole 40"
    database = folder / "data.mdb"
    full = database.stat().st_size
    os.truncate(database, length(full))
    before = database.read_bytes()
    why = why.format(full=full, metas=2 * PAGE, half=full // 2, last=full - 1)
    advice = "bring back a copy, or name another folder"
    assert read_all(folder) == f"refused {database}: damaged: {why}; {advice}"
    assert database.read_bytes() == before, "nothing of it is touched"


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (16, b"\0\0\0\0", "it is no LMDB file"),
        (20, b"\2\0\0\0", "its LMDB format is 2, this version reads 1"),
        (40, b"\1\0\0\0", "its page size is 1 bytes"),
    ],
)
def test_a_foreign_database_is_refused(
    long_database: Path, tmp_path: Path, place: int, value: bytes, why: str
) -> None:
    path = tmp_path / "data.mdb"
    content = bytearray((long_database / "data.mdb").read_bytes())
    content[place : place + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(IncompleteFileError, match=why):
        check_whole(path)


def test_a_database_may_end_before_its_last_page_if_that_is_free(tmp_path: Path) -> None:
    """LMDB leaves out pages that one transaction allotted and gave back: the length alone proves nothing."""
    draw, keys, shorter = random.Random(28), [], 0
    path = tmp_path / "data.mdb"
    with lmdb.open(str(tmp_path), map_size=1 << 28) as environment:
        for _ in range(30):
            with environment.begin(write=True) as transaction:
                for _ in range(draw.choice([1, 5, 50, 300])):
                    keys.append(draw.randbytes(32))
                    transaction.put(keys[-1], draw.randbytes(draw.choice([0, 30, 500, 5_000])))
                for _ in range(min(len(keys), draw.choice([0, 5, 100, 400]))):
                    transaction.delete(keys.pop(draw.randrange(len(keys))))
            check_whole(path)
            shorter += path.stat().st_size < (environment.info()["last_pgno"] + 1) * PAGE
    assert shorter > 0, "the case was met"
