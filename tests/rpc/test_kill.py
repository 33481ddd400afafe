"""kill -9 at seeded points, inside the commit included: what reopens is whole, nothing acknowledged is lost.

One folder is killed ten times over, so that what a recovery leaves is killed in turn. An engine that commits
key by key fails the same checks, which is kept as proof that they can fail.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import ChainError, TransactionRefused
from ledger.keccak import keccak
from ledger.transactions import decode_transaction
from tests.programs import ROOT
from tests.rpc.killed import OWNER, opened

KILLS_A_FOLDER = 10

Kill = Callable[[int, Path, str], None]


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    """Let a writer work on a folder until the point that the seed chose."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rpc.killed"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as nursery:
        assert nursery.stdin is not None and nursery.stdout is not None
        stdin, stdout = nursery.stdin, nursery.stdout

        def kill_at(seed: int, folder: Path, engine: str) -> None:
            print(seed, folder, engine, file=stdin, flush=True)
            assert stdout.readline() == "done\n", f"seed {seed}: the writer was not killed"

        yield kill_at
        stdin.close()


def noted(folder: Path, name: str) -> list[bytes]:
    file = folder.with_suffix("." + name)
    return [bytes.fromhex(line) for line in file.read_text().splitlines()] if file.exists() else []


def losses(folder: Path, engine: str = "whole") -> list[str]:
    """What a kill did to a chain and to those who trusted it; nothing where all is well."""
    try:
        chain = opened(folder, engine)
    except (ChainError, KeyError) as failure:
        return [f"it does not open: {failure}"]
    found: list[str] = []
    try:
        found += chain.faults()
        found += _unsendable(chain, folder)
        for transaction_hash in noted(folder, "acknowledged"):
            receipt = chain.find_receipt(transaction_hash)
            if receipt is None:
                found.append(f"0x{transaction_hash.hex()} was acknowledged, and is lost")
            elif chain.block(receipt.block_number).hash != receipt.block_hash:
                found.append(f"0x{transaction_hash.hex()} is in a block that is not its own")
        known = sum(chain.find_receipt(keccak(raw)) is not None for raw in noted(folder, "sent"))
        if known != chain.nonce_after(OWNER.address):
            found.append(f"{known} transactions are found, of {chain.nonce_after(OWNER.address)} that ran")
        return found
    except (ChainError, KeyError) as failure:
        return [*found, f"a lookup fails: {failure}"]
    finally:
        chain.close()


def _unsendable(chain: EmbeddedChain, folder: Path) -> list[str]:
    """Transactions that are not in the chain, and that their sender cannot send again either."""
    expected = chain.nonce_after(OWNER.address)
    latest = {decode_transaction(raw).transaction.nonce: raw for raw in noted(folder, "sent")}
    found = []
    for nonce in range(expected, max(latest, default=-1) + 1):
        try:
            chain.send(latest[nonce])
        except TransactionRefused as refusal:
            found.append(f"the transaction of nonce {nonce} cannot be sent again: {refusal}")
    return found


def kill_often(kill: Kill, folder: Path, seeds: range) -> None:
    for seed in seeds:
        kill(seed, folder, "whole")
        assert losses(folder) == [], f"seed {seed}"


@pytest.mark.parametrize("first", range(0, 20, KILLS_A_FOLDER))
def test_a_killed_chain_is_whole(kill: Kill, tmp_path: Path, first: int) -> None:
    kill_often(kill, tmp_path / "chain", range(first, first + KILLS_A_FOLDER))


@pytest.mark.long
@pytest.mark.parametrize("first", range(1_000, 2_000, 100))
def test_a_chain_killed_a_thousand_times_is_whole(
    kill: Kill, tmp_path: Path, first: int, record_property: Callable[[str, object], None]
) -> None:
    record_property("kills", 100)
    for begin in range(first, first + 100, KILLS_A_FOLDER):
        kill_often(kill, tmp_path / f"chain{begin}", range(begin, begin + KILLS_A_FOLDER))


def test_an_engine_that_commits_key_by_key_fails(
    kill: Kill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / f"chain{seed}" for seed in range(20)]
    for seed, folder in enumerate(folders):
        kill(seed, folder, "keys")
    found = [loss for folder in folders for loss in losses(folder, "keys")]
    assert any("damaged: there is a block after the head" in loss for loss in found), found
    # and what there is to lose where a folder is not checked as it is opened
    monkeypatch.setattr(EmbeddedChain, "_check_kept", lambda self, data: None)
    torn = [loss for folder in folders for loss in losses(folder, "keys")]
    assert any("cannot be sent again" in loss for loss in torn), torn
    assert any("there is a block after the head" in loss for loss in torn), torn
    assert any("a lookup fails" in loss for loss in torn), torn
