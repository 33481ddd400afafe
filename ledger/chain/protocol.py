"""What the rest of Wattbook may ask of a chain: embedded or behind JSON-RPC, nothing above can tell.

Addresses are EIP-55 checksummed strings, hashes and data are bytes, numbers are ints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

TRANSACTION_GAS_MAX = 28_000_000
"""Most gas that a transaction asks for where its network has no lower cap: it fits a block of 30 million."""


class ChainError(Exception):
    """Root of what a chain can answer wrongly.

    ChainError
    ├── TransactionRefused   the chain did not take it (nonce, funds, encoding)
    ├── Reverted             the contract refused; `reason` is its revert string
    │   └── Halted           the machine stopped it: no gas left, no such opcode
    ├── ChainUnavailable     the node does not answer
    └── DamagedChainError    what is kept of the chain is not what was written
    """


class TransactionRefused(ChainError):  # noqa: N818 (it says what happened)
    """The chain did not take the transaction; the message says which rule it broke."""


class Reverted(ChainError):  # noqa: N818 (it says what happened)
    """A call or transaction reverted. `reason` is the decoded string or custom data, `data` the raw bytes."""

    def __init__(self, reason: str, data: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.data = data


class Halted(Reverted):
    """The machine stopped an execution: no gas left, no such opcode. `reason` is the rule in words."""


class ChainUnavailable(ChainError):  # noqa: N818 (it says what happened)
    """The node does not answer, or answers what is no answer."""


class DamagedChainError(ChainError):
    """What is kept of the chain is not what was written: a part is missing, or hashes to something else."""


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the chain recorded it."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    transaction_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction. `status` 1 is success; `contract` the address it created."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    transaction_index: int
    sender: str
    to: str | None
    contract: str | None
    status: int
    gas_used: int
    cumulative_gas_used: int
    logs_bloom: bytes
    logs: tuple[Log, ...]
    type: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block: header fields people ask for, its RLP header and the raw transactions (EIP-2718 bytes).

    `withdrawals` are in RLP; only a chain that was imported has any.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    gas_limit: int
    gas_used: int
    base_fee: int
    header_rlp: bytes
    transactions: tuple[bytes, ...]
    transaction_hashes: tuple[bytes, ...]
    withdrawals: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs: block range inclusive, addresses (empty: any), topics by position (None: any)."""

    from_block: int = 0
    to_block: int | None = None
    addresses: tuple[str, ...] = ()
    topics: tuple[tuple[bytes, ...] | None, ...] = ()


class Chain(Protocol):
    """A chain to send to and read from. `block=None` means the head."""

    @property
    def chain_id(self) -> int:
        """Chain id that transactions and signatures name."""

    @property
    def transaction_gas_max(self) -> int:
        """Most gas that one transaction may ask for; batches are cut by it."""

    def send(self, raw_transaction: bytes) -> bytes:
        """Hand over a signed transaction; returns its hash. Raises TransactionRefused."""

    def receipt(self, transaction_hash: bytes) -> Receipt:
        """Receipt of a transaction, waiting until it is in a block. Raises ChainUnavailable on time-out."""

    def call(
        self,
        to: str | None,
        data: bytes,
        *,
        sender: str | None = None,
        block: int | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> bytes:
        """Execute without a transaction, a creation where `to` is None.

        Raises Reverted with the reason, TransactionRefused where it cannot even begin.
        """

    def estimate_gas(self, to: str | None, data: bytes, *, sender: str, value: int = 0) -> int:
        """Gas a transaction would need. Raises Reverted."""

    def logs(self, which: LogFilter) -> Sequence[Log]:
        """Logs in chain order."""

    def block(self, number: int | None = None) -> Block:
        """Block by number. Raises KeyError where there is none."""

    def receipts(self, number: int) -> Sequence[Receipt]:
        """All receipts of a block."""

    def head(self) -> int:
        """Number of the newest block."""

    def code(self, address: str) -> bytes:
        """Code at an address, empty for none."""

    def nonce(self, address: str) -> int:
        """Next transaction nonce, pending ones counted."""

    def balance(self, address: str) -> int:
        """Native coin, wei."""

    def mine(self) -> int:
        """Put what is pending into a block where the chain lets us; returns the head's number."""


class Clock(Protocol):
    """Chain time, apart from Chain because public networks can only wait."""

    def now(self) -> int:
        """Unix second that the next block will carry at least."""

    def advance_to(self, timestamp: int) -> None:
        """Return once the next block's timestamp is at least `timestamp`."""


class TimedChain(Chain, Clock, Protocol):
    """A chain that also tells the time, as both forms do."""
