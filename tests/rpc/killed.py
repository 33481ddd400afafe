"""Chains that are killed: a process that forks writers, each of which dies at a point that a seed chose.

Reads lines `seed folder engine` and answers each with `done` once the writer is dead. A writer goes on with
the chain in the folder, block after block. It writes down what it is about to send (`sent`), and what was
acknowledged (`acknowledged`: the receipt was there), beside the folder, as its client would know it.

The points: before a block is written; within its write transaction, after some of the keys; while LMDB
commits, some microseconds after the last key; after the commit, before the client is told.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ledger.chain import lmdb as folders
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.store import Changes
from ledger.keys import derive
from ledger.transactions import Transaction, sign_transaction

OWNER = derive(1, "owner")
GENESIS = 1_700_000_000
BLOCKS = 6
POINTS = ("before", "within", "committing", "after")
COMMIT_SECONDS_MAX = 0.004


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


class Dying(dict[bytes, bytes | None]):
    """Changes that kill who goes through them: after some keys, or a moment after the last."""

    def __init__(self, changes: Changes, after_keys: int, seconds: float) -> None:
        super().__init__(changes)
        self._after_keys = after_keys
        self._seconds = seconds

    def items(self) -> Any:
        return self._dying()

    def _dying(self) -> Iterator[tuple[bytes, bytes | None]]:
        for place, item in enumerate(super().items()):
            if place == self._after_keys:
                die()
            yield item
        threading.Thread(target=self._die_soon, daemon=True).start()

    def _die_soon(self) -> None:
        until = time.perf_counter() + self._seconds
        while time.perf_counter() < until:
            pass
        die()


class KeyByKey(folders.LmdbFolder):
    """A backing that commits each key by itself, as py-evm's AtomicDB does."""

    def write(self, changes: Changes) -> None:
        for key, value in changes.items():
            super().write({key: value})


def opened(folder: Path, engine: str) -> EmbeddedChain:
    """The chain in a folder, over LMDB's transactions or `key by key`."""
    backing = folders.LmdbFolder
    if engine != "whole":
        folders.LmdbFolder = KeyByKey  # type: ignore[misc]
    try:
        return EmbeddedChain(genesis_timestamp=GENESIS, funded=(OWNER.address,), data=folder)
    finally:
        folders.LmdbFolder = backing  # type: ignore[misc]


def write(seed: int, folder: Path, engine: str) -> None:
    """Go on with the chain until death."""
    draw = random.Random(seed)
    point, last = draw.choice(POINTS), draw.randrange(1, BLOCKS)
    chain = opened(folder, engine)
    backing = cast(Any, chain)._store._backing
    writing = backing.write

    def write_and_die(changes: Changes) -> None:
        if point == "before":
            die()
        keys = draw.randrange(len(changes)) if point == "within" else len(changes)
        seconds = draw.uniform(0, COMMIT_SECONDS_MAX) if point == "committing" else 60
        writing(Dying(changes, keys, seconds))
        if point == "committing":
            time.sleep(60)
        die()

    for number in range(BLOCKS):
        nonce = chain.nonce(OWNER.address)
        raw = [payment(nonce + ahead, draw) for ahead in range(draw.randrange(1, 4))]
        note(folder, "sent", raw)
        hashes = [chain.send(each) for each in raw]
        if number == last:
            backing.write = write_and_die
        chain.mine()
        for each in hashes:
            chain.receipt(each)
        note(folder, "acknowledged", hashes)


def payment(nonce: int, draw: random.Random) -> bytes:
    to = derive(draw.randrange(10**9), "recipient").address
    return sign_transaction(OWNER, Transaction(31_337, nonce, to, value=1, max_fee_per_gas=10**10))


def note(folder: Path, name: str, lines: list[bytes]) -> None:
    """Append to a file in one system call, so that a kill leaves all of it or nothing."""
    descriptor = os.open(folder.with_suffix("." + name), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b"".join(line.hex().encode() + b"\n" for line in lines))
    os.close(descriptor)


def main() -> None:
    for line in sys.stdin:
        seed, folder, engine = line.split()
        writer = os.fork()
        if not writer:
            write(int(seed), Path(folder), engine)
            os._exit(3)  # it should have died
        _, status = os.waitpid(writer, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("done" if killed else status, flush=True)


if __name__ == "__main__":
    main()
