"""A chain executed again from its genesis, by an interpreter of one's own choice, from recorded bytes alone.

Nothing that the record says about results is used: a block's transactions run on the state that those
before it left here, under the rules and the time that its header names.

CannotRerun   the record does not have what executing it takes; the message says what is missing
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, replace

from ledger.chain.archive import ANCESTORS
from ledger.chain.building import replay, sealed
from ledger.chain.encoding import Header
from ledger.chain.evm import Interpreter, Machine
from ledger.chain.genesis import Genesis, read_genesis
from ledger.chain.imported import Foreign
from ledger.chain.pool import conditions_of
from ledger.chain.protocol import ChainError
from ledger.chain.store import Memory, Store
from ledger.transactions import SignedTransaction


class CannotRerun(ChainError):  # noqa: N818 (it says what is so)
    """What is recorded is not enough to execute it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What executing a block came to: its header with computed roots, blooms and gas, and its receipts."""

    header: Header
    receipts: tuple[bytes, ...]


def genesis_of(content: bytes) -> Genesis:
    """The genesis in the bytes of a `genesis.json`. Raises CannotRerun."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise CannotRerun("genesis.json: not an object")
        return read_genesis(document)
    except (ValueError, ChainError, RecursionError) as refusal:
        raise CannotRerun(f"genesis.json: {refusal}") from None


class Rerun:
    """A chain's state as it is executed block by block, all of it in memory.

    `first` is the first block's header, with the state root that the genesis gives.
    """

    def __init__(self, genesis: Genesis, interpreter: Interpreter) -> None:
        self._genesis, self._interpreter = genesis, interpreter
        self._store = Store(Memory())
        self._ancestors: deque[bytes] = deque(maxlen=ANCESTORS)
        machine = self._machine(genesis.header)
        for address, account in genesis.accounts:
            machine.put(address, account)
        with self._store.together():
            self.first = replace(genesis.header, state_root=machine.persist())
        self._state_root = self.first.state_root

    def passed(self, block_hash: bytes) -> None:
        """Take in the hash of the newest block, which later ones may ask for (BLOCKHASH)."""
        self._ancestors.appendleft(block_hash)

    def execute(self, header: Header, transactions: tuple[SignedTransaction, ...]) -> Outcome:
        """Execute the next block, which has no withdrawals. Raises BlockRefused at what must not run."""
        machine = self._machine(replace(header, state_root=self._state_root))
        fork = self._genesis.schedule.at(header.timestamp)
        with self._store.together():
            machine.begin()
            conditions = conditions_of(header, fork, self._genesis.chain_id)
            content = replay(machine, conditions, Foreign(header, transactions, ()))
            computed = sealed(machine, header, content)
        self._state_root = computed.state_root
        return Outcome(computed, content.receipts)

    def _machine(self, header: Header) -> Machine:
        return Machine(
            self._store,
            self._genesis.chain_id,
            header,
            tuple(self._ancestors),
            interpreter=self._interpreter,
            fork=self._genesis.schedule.at(header.timestamp),
        )
