"""A small contract that does what chains must get right, and keys with coins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi import encode

from ledger.chain.embedded import EmbeddedChain
from ledger.keys import Key, derive, mnemonic_keys
from ledger.transactions import Transaction, sign_transaction
from node.rpc.engine import Engine
from tests.rpc.asking import GENESIS, Ask, asking, engine_of

PROBE_SOURCE = """
# pragma version 0.4.3

event Counted:
    who: indexed(address)
    total: uint256

count: public(uint256)
marks: HashMap[uint256, uint256]

@deploy
@payable
def __init__(start: uint256):
    self.count = start

@external
def add(amount: uint256):
    assert amount != 0, "probe: nothing to add"
    self.count += amount
    log Counted(who=msg.sender, total=self.count)

@external
def clear():
    self.count = 0

@external
def mark(first: uint256, length: uint256):
    for i: uint256 in range(length, bound=10_000):
        self.marks[first + i] = 1

@external
def relay(target: address, amount: uint256):
    extcall Probe(target).add(amount)

@external
@view
def clock() -> (uint256, uint256, bytes32):
    return block.timestamp, block.number, blockhash(block.number - 1)

interface Probe:
    def add(amount: uint256): nonpayable
"""

START = 5


@dataclass(frozen=True)
class Probe:
    """The compiled contract."""

    abi: list[dict[str, Any]]
    bytecode: bytes

    @property
    def creation(self) -> bytes:
        return self.bytecode + encode(["uint256"], [START])


@pytest.fixture(scope="session")
def probe() -> Probe:
    from vyper import compile_code

    compiled = compile_code(PROBE_SOURCE, output_formats=["abi", "bytecode"])
    return Probe(compiled["abi"], bytes.fromhex(compiled["bytecode"].removeprefix("0x")))


@pytest.fixture(scope="session")
def owner() -> Key:
    return derive(1, "owner")


@pytest.fixture(scope="session")
def stranger() -> Key:
    return derive(1, "stranger")


@pytest.fixture
def chain(owner: Key, stranger: Key) -> EmbeddedChain:
    return EmbeddedChain(genesis_timestamp=GENESIS, funded=(owner.address, stranger.address))


Send = Callable[..., bytes]


@pytest.fixture
def send(chain: EmbeddedChain, owner: Key) -> Send:
    """Sign and queue a transaction of the owner, with the next nonce unless one is given."""

    def queue(to: str | None, data: bytes = b"", *, key: Key = owner, **fields: Any) -> bytes:
        fields = {"nonce": chain.nonce(key.address), "gas": 2_000_000, "chain_id": chain.chain_id} | fields
        fields = {"max_fee_per_gas": 5 * 10**9, "max_priority_fee_per_gas": 10**9} | fields
        return chain.send(sign_transaction(key, Transaction(to=to, data=data, **fields)))

    return queue


@pytest.fixture
def deployed(chain: EmbeddedChain, send: Send, probe: Probe) -> str:
    """Address of the probe on the chain, in block 1."""
    contract = chain.receipt(send(None, probe.creation)).contract
    assert contract is not None
    return contract


@pytest.fixture(scope="module")
def keys() -> tuple[Key, ...]:
    """The first two accounts of the test mnemonic."""
    return mnemonic_keys(2)


@pytest.fixture
def engine(keys: tuple[Key, ...]) -> Engine:
    return engine_of(keys)


@pytest.fixture
def ask(engine: Engine) -> Ask:
    return asking(engine)
