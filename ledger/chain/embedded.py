"""A chain inside the process: py-evm, whole blocks, nothing else to install or to run.

Blocks are built when asked for (`mine`, or `receipt` of a waiting transaction), and time is what
`advance_to` says, unless a time source is passed in: the same calls give the same head hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.address import address_bytes
from ledger.chain.archive import Archive
from ledger.chain.blobs import check_blobs
from ledger.chain.building import Content, fill, replay, sealed
from ledger.chain.check import faults
from ledger.chain.dump import dump, load
from ledger.chain.encoding import Header
from ledger.chain.evm import Account, Interpreter
from ledger.chain.genesis import Genesis, development
from ledger.chain.imported import check_header, check_run, decode_block
from ledger.chain.pool import Conditions, Pool, admit, conditions_after, conditions_of
from ledger.chain.protocol import (
    TRANSACTION_GAS_MAX,
    Block,
    ChainError,
    ChainUnavailable,
    Receipt,
    TransactionRefused,
)
from ledger.chain.reading import Reading
from ledger.chain.rules import (
    Fork,
    Schedule,
    blank_header,
    blob_base_fee,
    next_base_fee,
)
from ledger.chain.store import Store, backing_of
from ledger.chain.upcoming import Upcoming
from ledger.chain.watching import Watchers
from ledger.transactions import (
    SignedTransaction,
    TransactionFormatError,
    decode_transaction,
)
from market.orders import Address

CHAIN_ID = 31_337
"""Chain id of local testnets."""
GAS_LIMIT = 30_000_000
SNAPSHOTS_MAX = 10_000
"""Snapshots that are remembered; the oldest give way."""
BLOCKS_CHECKED = 1_024
"""Newest blocks that are checked as a folder is opened, at a third of a millisecond each."""
FUNDING_WEI = 10_000 * 10**18

_BLOCKS_WAITED = 256


@dataclass(frozen=True, slots=True)
class _Snapshot:
    head: int
    waiting: tuple[SignedTransaction, ...]
    upcoming: Upcoming


class EmbeddedChain(Reading):
    """`Chain` and `Clock` over py-evm, in memory or in a data folder that it resumes from.

    `genesis_timestamp`, `gas_limit` and `funded` (addresses that start with `funding_wei`) make a new
    chain; a data folder that holds one keeps its own. `time_source` gives Unix seconds where chain time
    should follow a clock. `interpreter` is who executes: the results are the same, the time is not.
    `genesis` is the beginning of another chain, in the place of `genesis_timestamp`, `funded`,
    `funding_wei`, `chain_id` and `gas_limit`. Raises DataFolderError, and ChainError where the folder
    holds another chain. `transaction_gas_max` is what senders are told, as a network with such a cap would.

    `begun` is how the chain began, None for one that was resumed and keeps no more of it than its state.
    """

    begun: Genesis | None

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
        genesis: Genesis | None = None,
        transaction_gas_max: int = TRANSACTION_GAS_MAX,
    ) -> None:
        self.transaction_gas_max = transaction_gas_max
        begun = genesis or development(chain_id, genesis_timestamp, gas_limit, funded, funding_wei)
        self._chain_id = begun.chain_id
        self._interpreter = interpreter
        self._time_source = time_source
        self._upcoming = Upcoming()
        self._pool = Pool()
        self.watchers = Watchers()
        self._snapshots: dict[int, _Snapshot] = {}
        self._snapshots_taken = 0
        self._store = Store(backing_of(data))
        try:
            self._archive = Archive(self._store, self._chain_id)
            if data is not None:
                self._check_kept(data)
            self.begun = begun if self._archive.head < 0 or genesis is not None else None
            self._begin(begun, must_match=genesis is not None)
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
        return self._upcoming.timestamp(self._archive.at().header.timestamp, self._clock())

    def advance_to(self, timestamp: int) -> None:
        """Let the next block carry at least `timestamp`."""
        self._upcoming = self._upcoming.advanced_to(timestamp, self._clock())

    def set_next_timestamp(self, timestamp: int) -> None:
        """Let the next block carry exactly `timestamp`, and time go on from there.

        Raises ValueError if it is not later than the head's.
        """
        head_timestamp = self._archive.at().header.timestamp
        if timestamp <= head_timestamp:
            raise ValueError(f"timestamp: {timestamp} is not later than the head's {head_timestamp}")
        self._upcoming = self._upcoming.exactly_at(timestamp, self._clock())

    def set_timestamp_interval(self, seconds: int | None) -> bool:
        """Let blocks be so many seconds apart, with None as far as they come; whether they were before."""
        before = self._upcoming
        self._upcoming = replace(before, timestamp_interval=seconds)
        return before.timestamp_interval is not None

    def _clock(self) -> int | None:
        return None if self._time_source is None else self._time_source()

    # --- transactions ---------------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """Chain id that transactions and signatures name."""
        return self._chain_id

    def send(self, raw_transaction: bytes) -> bytes:
        """Queue a signed transaction; returns its hash. Raises TransactionRefused naming the rule.

        A transaction with blobs comes with them (EIP-4844), and only their hashes are kept.
        """
        try:
            signed = decode_transaction(check_blobs(raw_transaction))
        except TransactionFormatError as refusal:
            raise TransactionRefused(str(refusal)) from None
        if self._pool.get(signed.hash) is not None or self._archive.find(signed.hash) is not None:
            raise TransactionRefused(f"already known: 0x{signed.hash.hex()}")
        admit(signed, self._pool, self._machine, self._next_conditions())
        self._pool.add(signed)
        self.watchers.queued(signed.hash)
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
        return self._mine({})

    def put(self, accounts: Mapping[Address, Account]) -> Block:
        """Set parts of accounts, as no transaction could, in a block of its own without transactions."""
        return self._mine(accounts)

    def _mine(self, accounts: Mapping[Address, Account]) -> Block:
        header = self._next_header()
        machine = self._machine_for(header, self._archive.ancestors(header.number - 1))
        with self._store.together():
            machine.begin()
            for address, account in accounts.items():
                machine.put(address, account)
            candidates = () if accounts else self._pool.ready(machine.nonce)
            content = fill(machine, self._conditions(header), candidates, self._pool.drop)
            self._append(sealed(machine, header, content), content)
        self._upcoming = self._upcoming.after_block()
        return self._archive.at().block

    def set_next_block(
        self, *, gas_limit: int | None = None, base_fee: int | None = None, coinbase: Address | None = None
    ) -> None:
        """Let the next block carry a base fee, and all further ones a gas limit or a coinbase."""
        before = self._upcoming
        self._upcoming = replace(
            before,
            gas_limit=gas_limit or before.gas_limit,
            base_fee=before.base_fee if base_fee is None else base_fee,
            coinbase=before.coinbase if coinbase is None else address_bytes(coinbase),
        )

    def drop(self, transaction_hash: bytes) -> bool:
        """Let a waiting transaction wait no longer; False if it does not wait."""
        signed = self._pool.get(transaction_hash)
        if signed is not None:
            self._pool.drop(signed, "dropped on request")
        return signed is not None

    def import_block(self, encoded: bytes) -> Block:
        """Execute the RLP of a block that somebody else built, and keep it as the head.

        Raises BlockRefused where it breaks a rule, or does not say what executing it comes to.
        """
        foreign = decode_block(encoded)
        header, parent = foreign.header, self._archive.at().header
        check_header(header, parent, self._archive.schedule.at(header.timestamp))
        before = replace(header, state_root=parent.state_root)
        machine = self._machine_for(before, self._archive.ancestors(parent.number))
        with self._store.together():
            machine.begin()
            content = replay(machine, self._conditions(header), foreign)
            check_run(header, sealed(machine, header, content, foreign.withdrawals))
            self._append(header, content, [withdrawal.encode() for withdrawal in foreign.withdrawals])
        return self._archive.at().block

    def receipt(self, transaction_hash: bytes) -> Receipt:
        """Receipt of a transaction, mining while it waits.

        Raises TransactionRefused if it was dropped, KeyError if it was never sent, ChainUnavailable if
        it waits for an earlier nonce or a higher gas limit, or its fee stays below the base fee.
        """
        for _ in range(_BLOCKS_WAITED):
            found = self.find_receipt(transaction_hash)
            if found is not None:
                return found
            if (fault := self._pool.why_dropped(transaction_hash)) is not None:
                raise TransactionRefused(fault)
            signed = self._pool.get(transaction_hash)
            if signed is None:
                raise KeyError(f"no transaction 0x{transaction_hash.hex()}")
            if obstacle := self._obstacle(signed):
                raise ChainUnavailable(f"transaction 0x{transaction_hash.hex()} waits for {obstacle}")
            self.mine_block()
        raise ChainUnavailable(f"transaction 0x{transaction_hash.hex()} pays less than the base fee")

    def _obstacle(self, signed: SignedTransaction) -> str | None:
        """What keeps a waiting transaction out of all blocks to come, None where they may take it."""
        before = [
            each
            for each in self.ready()
            if each.sender == signed.sender and each.transaction.nonce <= signed.transaction.nonce
        ]
        if signed not in before:
            return "an earlier nonce"
        gas, limit = max(each.transaction.gas for each in before), self._next_conditions().gas_limit
        return f"a block of {gas} gas, and the limit is {limit}" if gas > limit else None

    def waiting(self) -> tuple[SignedTransaction, ...]:
        """Transactions waiting for a block, in order."""
        return tuple(self._pool)

    def ready(self) -> tuple[SignedTransaction, ...]:
        """Those of them that wait for no other one to be sent first, in the order in which they run."""
        return tuple(self._pool.ready(self._machine.nonce))

    def next_base_fee(self) -> int:
        """Base fee of the next block, wei per gas."""
        settled = self._upcoming.base_fee
        return next_base_fee(self._archive.at().header) if settled is None else settled

    def blob_base_fee(self, block: int | None = None) -> int:
        """Price of blob gas in a block, or in the next one, wei per gas. Raises KeyError."""
        header = self._next_header() if block is None else self._archive.at(block).header
        return blob_base_fee(header.excess_blob_gas or 0, self._fork(header))

    def nonce(self, address: str) -> int:
        """Next transaction nonce, waiting ones counted."""
        return self._pool.next_nonce(address, self._machine.nonce(address))

    # --- snapshots ------------------------------------------------------------------------------

    def snapshot(self) -> int:
        """Remember the chain as it is; returns the number to go back with."""
        self._snapshots_taken += 1
        self._snapshots[self._snapshots_taken] = _Snapshot(
            self._archive.head, tuple(self._pool), self._upcoming
        )
        self._snapshots.pop(self._snapshots_taken - SNAPSHOTS_MAX, None)
        return self._snapshots_taken

    def snapshots(self) -> Mapping[int, Block]:
        """The newest blocks of the snapshots that are remembered."""
        return {number: self._archive.at(kept.head).block for number, kept in self._snapshots.items()}

    def revert(self, snapshot: int) -> bool:
        """Go back to a snapshot, which is used up with all later ones; False if there is none."""
        taken = self._snapshots.get(snapshot)
        if taken is None:
            return False
        self._go_back(taken.head)
        self._snapshots = {number: kept for number, kept in self._snapshots.items() if number < snapshot}
        self._pool, self._upcoming = Pool(taken.waiting), taken.upcoming
        return True

    def roll_back(self, blocks: int) -> None:
        """Take back the last blocks, with their transactions. Raises ValueError beyond the first block."""
        to = self._archive.head - blocks
        if to < 0:
            raise ValueError(f"blocks: {blocks} are more than the {self._archive.head} after the first one")
        self._go_back(to)
        self._snapshots = {number: kept for number, kept in self._snapshots.items() if kept.head <= to}
        self._upcoming = replace(self._upcoming, exact_timestamp=None)

    def _go_back(self, number: int) -> None:
        # who watches reads the blocks while they are there; where the write fails, they come again
        self.watchers.going_back(number)
        self._archive.rewind(number)
        self._machine = self._machine_after(number)

    def dump(self) -> bytes:
        """The whole chain as bytes that `load` takes; what waits is not in it."""
        return dump(self._store)

    def load(self, dumped: bytes) -> None:
        """Be the chain that was dumped, which is checked as a whole. Raises DumpError, ChainError."""
        values = load(dumped, self._chain_id)
        self.watchers.going_back(0)
        self._store.replace(values)
        self._archive = Archive(self._store, self._chain_id)
        self._machine = self._machine_for(self._archive.at().header)
        self._pool, self._snapshots, self._upcoming = Pool(), {}, self._upcoming.after_block()
        self.watchers.appended()

    def faults(self) -> list[str]:
        """What is wrong with the chain as it is kept: blocks, ways to find them, every state."""
        return faults(self._store, self._chain_id)

    def _check_kept(self, data: Path) -> None:
        """Refuse a folder whose newest blocks or state are damaged. Raises DamagedFolderError.

        What lies deeper is checked as it is read: nodes and code by their hashes, blocks by theirs.
        """
        from ledger.chain.lmdb import DamagedFolderError  # noqa: PLC0415 (only for chains that are kept)

        if self._archive.head < 0:
            return
        if found := faults(self._store, self._chain_id, blocks=BLOCKS_CHECKED, states=1):
            raise DamagedFolderError(
                f"{data}: damaged: {found[0]}; bring back a copy, or name another folder"
            )

    # --- building blocks ------------------------------------------------------------------------

    def _begin(self, genesis: Genesis, *, must_match: bool) -> None:
        """Build the first block of a new chain, or compare it with that of one that is kept."""
        if self._archive.head >= 0:
            kept = self._archive.at(0).header
            if must_match and self._archive.schedule != genesis.schedule:
                raise ChainError("genesis: the data folder holds a chain with other forks")
            if must_match and replace(genesis.header, state_root=kept.state_root) != kept:
                raise ChainError("genesis: the data folder holds a chain with another first block")
            return
        if genesis.schedule != Schedule():
            self._archive.keep_schedule(genesis.schedule)
        machine = self._machine_for(genesis.header)
        for address, account in genesis.accounts:
            machine.put(address, account)
        self._archive.append(replace(genesis.header, state_root=machine.persist()), (), ())

    def _append(self, header: Header, content: Content, withdrawals: Sequence[bytes] = ()) -> None:
        """Write a block with the state's changes in one transaction; what is in it waits no longer."""
        self._archive.append(header, content.included, content.receipts, withdrawals)
        self._machine = self._machine_after(self._archive.head)
        for signed in content.included:
            if self._pool.get(signed.hash) is not None:
                self._pool.remove(signed)
        self.watchers.appended()

    def _next_header(self) -> Header:
        parent = self._archive.at().header
        now, gas_limit = self.now(), self._upcoming.gas_limit or parent.gas_limit
        header = blank_header(parent, now, gas_limit, self.next_base_fee(), self._archive.schedule.at(now))
        return replace(header, coinbase=self._upcoming.coinbase)

    def fork(self) -> Fork:
        """The fork that the next block is in."""
        return self._fork(self._next_header())

    def _next_conditions(self) -> Conditions:
        """Those of the next block, without its header, which costs a hash."""
        parent, fork = self._archive.at().header, self._archive.schedule.at(self.now())
        gas_limit = self._upcoming.gas_limit or parent.gas_limit
        return conditions_after(parent, fork, self._chain_id, gas_limit, self.next_base_fee())

    def _conditions(self, header: Header) -> Conditions:
        return conditions_of(header, self._fork(header), self._chain_id)
