"""A whole chain as one string of bytes: to put it aside, and to go on from it elsewhere.

    "wattbook dump 1\\n" ‖ zlib of the RLP of [[key, value]…], keys ascending, as `archive.py` names them

DumpError   the bytes are no dump, or the chain in them is damaged
"""

from __future__ import annotations

import zlib

import rlp

from ledger.chain.check import faults
from ledger.chain.protocol import ChainError
from ledger.chain.store import Memory, Store
from ledger.keccak import keccak

MAGIC = b"wattbook dump 1\n"
HASH_BYTES = 32
DUMP_MAX_BYTES = 1 << 30
"""Bytes that a dump may take up when it is unpacked."""


class DumpError(ChainError):
    """The bytes are no dump of a whole chain."""


def dump(store: Store) -> bytes:
    """All that a store has committed."""
    items = sorted(store.committed().items())
    return MAGIC + zlib.compress(rlp.encode([[key, value] for key, value in items]))


def load(dumped: bytes, chain_id: int) -> dict[bytes, bytes]:
    """Values by key of a dump, all checked. Raises DumpError, also for the dump of another chain."""
    if not dumped.startswith(MAGIC):
        raise DumpError("dump: does not begin as one of this version does")
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(dumped[len(MAGIC) :], DUMP_MAX_BYTES)
        if not unpacking.eof:
            raise DumpError(f"dump: cut off, or unpacks to more than {DUMP_MAX_BYTES} bytes")
        items = {bytes(key): bytes(value) for key, value in rlp.decode(unpacked)}
    except zlib.error as failure:
        raise DumpError(f"dump: damaged: {failure}") from None
    except (rlp.exceptions.RLPException, ValueError, TypeError):
        raise DumpError("dump: damaged: what it holds are no keys with values") from None
    for key, value in items.items():
        if len(key) == HASH_BYTES and keccak(value) != key:  # also where no state reaches it
            raise DumpError(f"dump: damaged: 0x{key.hex()} is not the hash of what it names")
    memory = Memory()
    memory.write(items)
    try:
        found = faults(Store(memory), chain_id)
    except ChainError as another:
        raise DumpError(f"dump: {another}") from None
    if found:
        raise DumpError(f"dump: damaged: {found[0]}")
    return items
