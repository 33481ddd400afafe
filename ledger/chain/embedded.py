"""A chain inside the process: py-evm under Prague, whole blocks, nothing else to install or to run.

Blocks are built when asked for (`mine`, or `receipt` of a waiting transaction), and time is what
`advance_to` says, unless a time source is passed in: the same calls give the same head hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.chain.archive import Archive
from ledger.chain.encoding import Header, encode_receipt, ordered_root, receipt_bloom, union
from ledger.chain.evm import (
    Execution,
    Interpreter,
    Machine,
    blank_header,
    floor_gas,
    intrinsic_gas,
    next_base_fee,
)
from ledger.chain.pool import Pool, admit, unfit
from ledger.chain.protocol import (
    Block,
    ChainUnavailable,
    Log,
    LogFilter,
    Receipt,
    Reverted,
    TransactionRefused,
)
from ledger.chain.reverts import reverted
from ledger.chain.store import Backing, Memory, Store
from ledger.transactions import SignedTransaction, Transaction, TransactionFormatError, decode_transaction
from market.orders import NOBODY, Address

CHAIN_ID = 31_337
"""Chain id of local testnets."""
GAS_LIMIT = 30_000_000
GENESIS_BASE_FEE_WEI = 1_000_000_000
FUNDING_WEI = 10_000 * 10**18

_BLOCKS_WAITED = 256


@dataclass(frozen=True, slots=True)
class _Snapshot:
    head: int
    waiting: tuple[SignedTransaction, ...]
    not_before: int
    time_offset: int


@dataclass(frozen=True, slots=True)
class _Content:
    """What goes into a block: transactions, their receipts, the gas all of them used."""

    included: tuple[SignedTransaction, ...]
    receipts: tuple[bytes, ...]
    gas_used: int


class EmbeddedChain:
    """`Chain` and `Clock` over py-evm, in memory or in a data folder that it resumes from.

    `genesis_timestamp`, `gas_limit` and `funded` (addresses that start with `funding_wei`) make a new
    chain; a data folder that holds one keeps its own. `time_source` gives Unix seconds where chain time
    should follow a clock. `interpreter` is who executes: the results are the same, the time is not.
    Raises DataFolderError, and ChainError where the folder's chain has another id.
    """

    def __init__(
        self,
        *,
        genesis_timestamp: int = 0,
        funded: Iterable[Address] = (),
        funding_wei: int = FUNDING_WEI,
        chain_id: int = CHAIN_ID,
        gas_limit: int = GAS_LIMIT,
        data: Path | None = None,
        time_source: Callable[[], int] | None = None,
        interpreter: Interpreter = "fast",
    ) -> None:
        self._chain_id = chain_id
        self._interpreter = interpreter
        self._time_source = time_source
        self._time_offset = 0
        self._not_before = 0
        self._exact_timestamp: int | None = None
        self._pool = Pool()
        self._snapshots: dict[int, _Snapshot] = {}
        self._snapshots_taken = 0
        self._store = Store(_backing(data))
        try:
            self._archive = Archive(self._store, chain_id)
            if self._archive.head < 0:
                self._begin(genesis_timestamp, gas_limit, dict.fromkeys(funded, funding_wei))
            self._machine = self._machine_after(self._archive.head)
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Release the data folder; waiting transactions are lost."""
        self._store.close()

    # --- Clock ----------------------------------------------------------------------------------

    def now(self) -> int:
        """Unix second that the next block will carry at least."""
        if self._exact_timestamp is not None:
            return self._exact_timestamp
        clock = 0 if self._time_source is None else self._time_source() + self._time_offset
        return max(self._archive.at().header.timestamp + 1, self._not_before, clock)

    def advance_to(self, timestamp: int) -> None:
        """Let the next block carry at least `timestamp`."""
        self._not_before = max(self._not_before, timestamp)
        if self._exact_timestamp is not None and self._exact_timestamp < timestamp:
            self._exact_timestamp = None
        if self._time_source is not None:
            self._time_offset = max(self._time_offset, timestamp - self._time_source())

    def set_next_timestamp(self, timestamp: int) -> None:
        """Let the next block carry exactly `timestamp`, and time go on from there.

        Raises ValueError if it is not later than the head's.
        """
        head_timestamp = self._archive.at().header.timestamp
        if timestamp <= head_timestamp:
            raise ValueError(f"timestamp: {timestamp} is not later than the head's {head_timestamp}")
        self._exact_timestamp = timestamp
        self._not_before = 0
        if self._time_source is not None:
            self._time_offset = timestamp - self._time_source()

    # --- transactions ---------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """Chain id that transactions and signatures name."""
        return self._chain_id

    def send(self, raw_transaction: bytes) -> bytes:
        """Queue a signed transaction; returns its hash. Raises TransactionRefused naming the rule."""
        try:
            signed = decode_transaction(raw_transaction)
        except TransactionFormatError as refusal:
            raise TransactionRefused(str(refusal)) from None
        if self._pool.get(signed.hash) is not None or self._archive.find(signed.hash) is not None:
            raise TransactionRefused(f"already known: 0x{signed.hash.hex()}")
        admit(signed, self._pool, self._machine, self._archive.at().header, self._chain_id)
        self._pool.add(signed)
        return signed.hash

    def mine(self) -> int:
        """Build blocks until all is in that can be, one at least; returns the head's number."""
        while True:
            waiting = len(self._pool)
            self.mine_block()
            if not 0 < len(self._pool) < waiting:
                return self._archive.head

    def mine_block(self) -> Block:
        """Build one block of what waits and fits."""
        parent = self._archive.at().header
        header = blank_header(parent, self.now(), parent.gas_limit, next_base_fee(parent))
        machine = self._machine_for(header, self._archive.ancestors(parent.number))
        content = self._fill(machine, header)
        try:
            self._seal(machine, header, content)
        except BaseException:
            self._store.discard()
            raise
        for signed in content.included:
            self._pool.remove(signed)
        self._exact_timestamp = None
        self._machine = self._machine_after(self._archive.head)
        return self._archive.at().block

    def receipt(self, transaction_hash: bytes) -> Receipt:
        """Receipt of a transaction, mining while it waits.

        Raises TransactionRefused if it was dropped, KeyError if it was never sent, ChainUnavailable if
        its fee stays below the base fee.
        """
        for _ in range(_BLOCKS_WAITED):
            found = self.find_receipt(transaction_hash)
            if found is not None:
                return found
            if (fault := self._pool.why_dropped(transaction_hash)) is not None:
                raise TransactionRefused(fault)
            if self._pool.get(transaction_hash) is None:
                raise KeyError(f"no transaction 0x{transaction_hash.hex()}")
            self.mine_block()
        raise ChainUnavailable(f"transaction 0x{transaction_hash.hex()} pays less than the base fee")

    def waiting(self) -> tuple[SignedTransaction, ...]:
        """Transactions waiting for a block, in order."""
        return tuple(self._pool)

    def next_base_fee(self) -> int:
        """Base fee of the next block, wei per gas."""
        return next_base_fee(self._archive.at().header)

    # --- blocks ---------------------------------------------------------------------------------

    def head(self) -> int:
        """Number of the newest block."""
        return self._archive.head

    def block(self, number: int | None = None) -> Block:
        """Block by number, the head without one. Raises KeyError where there is none."""
        return self._archive.at(number).block

    def block_number(self, block_hash: bytes) -> int | None:
        """Number of the block with this hash, None for none."""
        return self._archive.number_of(block_hash)

    def receipts(self, number: int) -> Sequence[Receipt]:
        """All receipts of a block. Raises KeyError where there is none."""
        return self._archive.at(number).receipts

    def raw_receipts(self, number: int) -> Sequence[bytes]:
        """Consensus bytes of a block's receipts (EIP-2718). Raises KeyError where there is none."""
        return self._archive.at(number).raw_receipts

    def find_receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Receipt of a transaction that is in a block, None for others."""
        found = self._archive.find(transaction_hash)
        return None if found is None else self._archive.at(found[0]).receipts[found[1]]

    def logs(self, which: LogFilter) -> Sequence[Log]:
        """Logs in chain order."""
        last = self._archive.head if which.to_block is None else min(which.to_block, self._archive.head)
        return [
            log
            for number in range(which.from_block, last + 1)
            for receipt in self._archive.at(number).receipts
            for log in receipt.logs
            if matches(log, which)
        ]

    # --- state ----------------------------------------------------------------------------------

    def call(self, to: str, data: bytes, *, sender: str | None = None, block: int | None = None) -> bytes:
        """Execute without a transaction, after a block; without one, in the next block.

        Raises Reverted with the reason.
        """
        return self.execute(to, data, sender=sender, block=block).output

    def execute(
        self,
        to: str | None,
        data: bytes,
        *,
        sender: str | None = None,
        block: int | None = None,
        value: int = 0,
        gas: int | None = None,
    ) -> Execution:
        """Execute a call, or a creation where `to` is None, without a trace. Raises Reverted."""
        machine = self._costless(block)
        limit = self._archive.at(block).header.gas_limit
        transaction = Transaction(None, 0, to, data, value, min(gas or limit, limit))
        if transaction.gas < intrinsic_gas(transaction):
            raise Reverted(f"out of gas: {transaction.gas} is below the intrinsic cost")
        return _succeeded(machine.simulate(transaction, sender or NOBODY))

    def estimate_gas(self, to: str | None, data: bytes, *, sender: str, value: int = 0) -> int:
        """Gas limit under which a transaction succeeds in the next block. Raises Reverted."""
        machine = self._costless(None)
        limit = self._archive.at().header.gas_limit
        transaction = Transaction(None, 0, to, data, value, limit)
        execution = _succeeded(machine.simulate(transaction, sender))

        def suffices(gas: int) -> bool:
            return machine.simulate(replace(transaction, gas=gas), sender).error is None

        low = max(execution.gas_spent, floor_gas(transaction))
        if suffices(low):
            return low
        # a call keeps 1/64 of the gas back (EIP-150), so what is spent may not be enough to spend it
        high = min(low + low // 16, limit)
        if not suffices(high):
            low, high = high, limit
        while high - low > low // 64:
            middle = (low + high) // 2
            low, high = (low, middle) if suffices(middle) else (middle, high)
        return high

    def code(self, address: str, block: int | None = None) -> bytes:
        """Code at an address, empty for none."""
        return self._machine_after(block).code(address)

    def nonce(self, address: str) -> int:
        """Next transaction nonce, waiting ones counted."""
        return self._machine.nonce(address) + self._pool.count(address)

    def nonce_after(self, address: str, block: int | None = None) -> int:
        """Transactions an account has sent in the blocks up to `block`."""
        return self._machine_after(block).nonce(address)

    def balance(self, address: str, block: int | None = None) -> int:
        """Native coin, wei."""
        return self._machine_after(block).balance(address)

    def storage(self, address: str, slot: int, block: int | None = None) -> int:
        """Word of a contract's storage."""
        return self._machine_after(block).storage(address, slot)

    # --- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> int:
        """Remember the chain as it is; returns the number to go back with."""
        self._snapshots_taken += 1
        self._snapshots[self._snapshots_taken] = _Snapshot(
            self._archive.head, tuple(self._pool), self._not_before, self._time_offset
        )
        return self._snapshots_taken

    def revert(self, snapshot: int) -> bool:
        """Go back to a snapshot, which is used up with all later ones; False if there is none."""
        taken = self._snapshots.get(snapshot)
        if taken is None:
            return False
        self._snapshots = {number: kept for number, kept in self._snapshots.items() if number < snapshot}
        self._archive.rewind(taken.head)
        self._pool = Pool(taken.waiting)
        self._not_before, self._time_offset = taken.not_before, taken.time_offset
        self._exact_timestamp = None
        self._machine = self._machine_for(self._archive.at().header)
        return True

    # --- building blocks ------------------------------------------------------------------------

    def _begin(self, timestamp: int, gas_limit: int, balances_wei: dict[Address, int]) -> None:
        header = blank_header(None, timestamp, gas_limit, GENESIS_BASE_FEE_WEI)
        machine = self._machine_for(header)
        for address, balance_wei in balances_wei.items():
            machine.fund(address, balance_wei)
        self._archive.append(replace(header, state_root=machine.persist()), (), ())

    def _fill(self, machine: Machine, header: Header) -> _Content:
        """Execute what waits and fits, in order of arrival; what can no longer run is dropped."""
        included: list[SignedTransaction] = []
        receipts: list[bytes] = []
        gas_used = 0
        for signed, sender in self._affordable(header.base_fee or 0):
            transaction = signed.transaction
            if gas_used + transaction.gas > header.gas_limit:
                break
            if fault := unfit(transaction, sender, machine):
                self._pool.drop(signed, fault)
                continue
            execution = machine.apply(transaction, sender)
            gas_used += execution.gas_used
            status = int(execution.error is None)
            included.append(signed)
            receipts.append(encode_receipt(transaction.type, status, gas_used, execution.logs))
        return _Content(tuple(included), tuple(receipts), gas_used)

    def _affordable(self, base_fee: int) -> Iterator[tuple[SignedTransaction, Address]]:
        """Waiting transactions that pay the base fee, behind no other one of their sender that does not."""
        behind: set[Address] = set()
        for signed in tuple(self._pool):
            assert signed.sender is not None, "refused when it was sent"
            if signed.sender in behind or signed.transaction.max_fee_per_gas < base_fee:
                behind.add(signed.sender)
            else:
                yield signed, signed.sender

    def _seal(self, machine: Machine, header: Header, content: _Content) -> None:
        """Complete the header, and write the block with the state's changes in one transaction."""
        transactions = tuple(signed.raw for signed in content.included)
        sealed = replace(
            header,
            state_root=machine.persist(),
            transactions_root=ordered_root(transactions),
            receipts_root=ordered_root(content.receipts),
            logs_bloom=union(receipt_bloom(receipt) for receipt in content.receipts),
            gas_used=content.gas_used,
        )
        self._archive.append(sealed, transactions, content.receipts)

    # --- machines -------------------------------------------------------------------------------

    def _machine_for(self, header: Header, ancestors: Iterable[bytes] = ()) -> Machine:
        return Machine(self._store, self._chain_id, header, ancestors, interpreter=self._interpreter)

    def _machine_after(self, block: int | None) -> Machine:
        """Machine to read the state after a block with, the head's without one."""
        if block is None:
            return self._machine
        return self._machine_for(self._archive.at(block).header)

    def _costless(self, block: int | None) -> Machine:
        """Machine in which nobody pays for gas: in the next block, or after a past one."""
        stored = self._archive.at(block)
        if block is None:
            header = blank_header(stored.header, self.now(), stored.header.gas_limit, 0)
        else:
            header = replace(stored.header, base_fee=0)
        return self._machine_for(header, self._archive.ancestors(header.number - 1))


def matches(log: Log, which: LogFilter) -> bool:
    """Whether a log is of the addresses and topics asked for; its block is not looked at."""
    if which.addresses and log.address not in which.addresses:
        return False
    if len(which.topics) > len(log.topics):
        return False
    return all(
        wanted is None or topic in wanted for wanted, topic in zip(which.topics, log.topics, strict=False)
    )


def _backing(data: Path | None) -> Backing:
    if data is None:
        return Memory()
    from ledger.chain.lmdb import LmdbFolder  # noqa: PLC0415 (only for chains that are kept)

    return LmdbFolder(data)


def _succeeded(execution: Execution) -> Execution:
    """The execution itself. Raises Reverted if it failed."""
    if execution.error is None:
        return execution
    raise reverted(execution.output) if execution.reverted else Reverted(execution.error)
