"""Blocks as the embedded chain keeps them: header, transactions and receipts in the bytes that hash.

"head"            number of the newest block, 8 bytes
"chain id"        32 bytes
"forks"           seconds from which Shanghai, Cancun, Prague are in force, 9 bytes each, ff…ff for never;
                  missing where all are from the first block
"b" ‖ number      RLP of [header, [transaction…], [receipt…]], each in its consensus bytes; a fourth item
                  where there are withdrawals, each in RLP
"h" ‖ block hash  number
"t" ‖ hash        number and index of a transaction
node or code hash the state, as py-evm writes it
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import rlp

from ledger import rlp_bytes
from ledger.chain.encoding import Header, decode_header, make_block, read_receipts
from ledger.chain.protocol import Block, ChainError, DamagedChainError, Receipt
from ledger.chain.rules import Schedule
from ledger.chain.store import Store
from ledger.transactions import SignedTransaction

ANCESTORS = 256
"""Blocks that BLOCKHASH reaches back."""

_BLOCKS_CACHED = 512
"""Each new block looks at the hashes of 256; one of five orders takes 12 kB."""
_BLOOMS_CACHED = 65_536
_HEAD = b"head"
_CHAIN_ID = b"chain id"
_FORKS = b"forks"
_NEVER = b"\xff" * 9


@dataclass(frozen=True, slots=True)
class Stored:
    """A block as it is kept, and what it decodes to."""

    header: Header
    block: Block
    raw_receipts: tuple[bytes, ...]
    receipts: tuple[Receipt, ...]


class Archive:
    """The blocks of one chain in a store; `head` is -1 while there is none.

    Raises ChainError where the store holds a chain of another id, DamagedChainError for damaged blocks.
    """

    def __init__(self, store: Store, chain_id: int) -> None:
        self._store = store
        self._cache: OrderedDict[int, Stored] = OrderedDict()
        self._blooms: dict[int, bytes] = {}
        self.schedule = self._kept_schedule()
        self.head = -1
        known_id, head = store.get(_CHAIN_ID), store.get(_HEAD)
        if known_id is None or head is None:
            store[_CHAIN_ID] = chain_id.to_bytes(32, "big")
        elif (found := int.from_bytes(known_id, "big")) != chain_id:
            raise ChainError(f"chain id: the data folder holds chain {found}, not {chain_id}")
        else:
            self.head = int.from_bytes(head, "big")

    def append(
        self,
        header: Header,
        signed: Sequence[SignedTransaction],
        raw_receipts: Sequence[bytes],
        withdrawals: Sequence[bytes] = (),
    ) -> None:
        """Keep the block after the head, and commit it together with the state's changes."""
        transactions = [each.raw for each in signed]
        block = make_block(header.encode(), transactions, withdrawals)
        receipts = read_receipts(block, raw_receipts, signed)
        number = header.number.to_bytes(8, "big")
        record: list[rlp_bytes.Item] = [block.header_rlp, transactions, list(raw_receipts)]
        with self._store.together():
            self._store[_block_key(header.number)] = rlp_bytes.encode(
                [*record, list(withdrawals)] if withdrawals else record
            )
            self._store[b"h" + block.hash] = number
            for index, transaction_hash in enumerate(block.transaction_hashes):
                self._store[b"t" + transaction_hash] = number + index.to_bytes(4, "big")
            self._store[_HEAD] = number
        self.head = header.number
        self._remember(Stored(header, block, tuple(raw_receipts), receipts))

    def _kept_schedule(self) -> Schedule:
        kept = self._store.get(_FORKS)
        if kept is None:
            return Schedule()
        seconds = [kept[start : start + 9] for start in range(0, 27, 9)]
        return Schedule(*(None if each == _NEVER else int.from_bytes(each, "big") for each in seconds))

    def keep_schedule(self, schedule: Schedule) -> None:
        """Set when forks come into force, before the first block; it stays."""
        seconds = (schedule.shanghai, schedule.cancun, schedule.prague)
        self._store[_FORKS] = b"".join(
            _NEVER if each is None else each.to_bytes(9, "big") for each in seconds
        )
        self.schedule = schedule

    def rewind(self, number: int) -> None:
        """Forget the blocks after `number`; their states stay, unreachable."""
        with self._store.together():
            for gone in range(number + 1, self.head + 1):
                block = self.at(gone).block
                del self._store[_block_key(gone)]
                del self._store[b"h" + block.hash]
                for transaction_hash in block.transaction_hashes:
                    del self._store[b"t" + transaction_hash]
            self._store[_HEAD] = number.to_bytes(8, "big")
        self._blooms = {kept: bloom for kept, bloom in self._blooms.items() if kept <= number}
        self._cache = OrderedDict((kept, stored) for kept, stored in self._cache.items() if kept <= number)
        self.head = number

    def at(self, number: int | None = None) -> Stored:
        """Block by number, the head without one. Raises KeyError where there is none, DamagedChainError."""
        wanted = self.head if number is None else number
        if wanted in self._cache:
            return self._cache[wanted]
        record = self._store.get(_block_key(wanted)) if 0 <= wanted <= self.head else None
        if record is None:
            raise KeyError(f"no block {wanted}")
        try:
            stored = _decoded(record)
        except Exception as failure:  # damaged bytes provoke whatever they provoke
            raise DamagedChainError(f"block {wanted} is damaged: {failure}") from None
        if self.number_of(stored.block.hash) != wanted:
            raise DamagedChainError(f"block {wanted} is damaged: it is not found by its hash")
        self._remember(stored)
        return stored

    def has(self, number: int) -> bool:
        """Whether a block of this number is kept, the head or not."""
        return self._store.get(_block_key(number)) is not None

    def bloom(self, number: int) -> bytes:
        """Bloom filter of a block's logs. Raises KeyError where there is none."""
        if number not in self._blooms:
            if len(self._blooms) >= _BLOOMS_CACHED:
                self._blooms.clear()
            self._blooms[number] = self.at(number).header.logs_bloom
        return self._blooms[number]

    def number_of(self, block_hash: bytes) -> int | None:
        """Number of the block with this hash, None for none."""
        found = self._store.get(b"h" + block_hash)
        return None if found is None else int.from_bytes(found, "big")

    def find(self, transaction_hash: bytes) -> tuple[int, int] | None:
        """Block number and index of a transaction, None for none."""
        found = self._store.get(b"t" + transaction_hash)
        return None if found is None else (int.from_bytes(found[:8], "big"), int.from_bytes(found[8:], "big"))

    def ancestors(self, number: int) -> Iterator[bytes]:
        """Hashes of block `number` and those before it that BLOCKHASH reaches."""
        for ancestor in range(number, max(number - ANCESTORS, -1), -1):
            yield self.at(ancestor).block.hash

    def _remember(self, stored: Stored) -> None:
        self._cache[stored.header.number] = stored
        if len(self._cache) > _BLOCKS_CACHED:
            self._cache.popitem(last=False)


def _decoded(record: bytes) -> Stored:
    header_rlp, transactions, raw_receipts, *withdrawals = rlp.decode(record)
    block = make_block(header_rlp, transactions, *withdrawals)
    return Stored(decode_header(header_rlp), block, tuple(raw_receipts), read_receipts(block, raw_receipts))


def _block_key(number: int) -> bytes:
    return b"b" + number.to_bytes(8, "big")
