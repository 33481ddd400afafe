"""Rules that change from fork to fork: who is in force when, gas before any code runs, fees, headers.

Forks before the merge have other rules of consensus and are not known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256

from ledger.chain.encoding import Header
from ledger.chain.tries import EMPTY_ROOT
from ledger.keccak import keccak
from ledger.transactions import BLOB, Transaction

GAS_TRANSACTION = 21_000
GAS_CREATION = 32_000
GAS_ZERO_BYTE = 4
GAS_NONZERO_BYTE = 16
GAS_FLOOR_PER_TOKEN = 10
GAS_ACCESS_ADDRESS = 2_400
GAS_ACCESS_KEY = 1_900
GAS_INITCODE_WORD = 2
INITCODE_MAX_BYTES = 49_152
GAS_PER_BLOB = 131_072

BASE_FEE_CHANGE_DENOMINATOR = 8
ELASTICITY = 2
GAS_LIMIT_CHANGE_DENOMINATOR = 1_024
GAS_LIMIT_MIN = 5_000
EXTRA_DATA_MAX_BYTES = 32

EMPTY_REQUESTS_HASH = sha256().digest()
"""Requests hash of a block without requests (EIP-7685)."""
EMPTY_UNCLES_HASH = keccak(b"\xc0")


class Fork(IntEnum):
    """Forks from the merge on, oldest first."""

    PARIS = 1
    SHANGHAI = 2
    CANCUN = 3
    PRAGUE = 4


@dataclass(frozen=True, slots=True)
class Schedule:
    """From which Unix second each fork is in force, None for never."""

    shanghai: int | None = 0
    cancun: int | None = 0
    prague: int | None = 0

    def at(self, timestamp: int) -> Fork:
        """The fork of a block."""
        begun = ((Fork.PRAGUE, self.prague), (Fork.CANCUN, self.cancun), (Fork.SHANGHAI, self.shanghai))
        return next((fork for fork, since in begun if since is not None and since <= timestamp), Fork.PARIS)


@dataclass(frozen=True, slots=True)
class BlobRules:
    """How many blobs a block aims at and takes, as gas, and how fast their price moves (EIP-4844, 7691)."""

    target_gas: int
    max_gas: int
    update_fraction: int


_BLOBS = {
    Fork.CANCUN: BlobRules(3 * GAS_PER_BLOB, 6 * GAS_PER_BLOB, 3_338_477),
    Fork.PRAGUE: BlobRules(6 * GAS_PER_BLOB, 9 * GAS_PER_BLOB, 5_007_716),
}


def blob_rules(fork: Fork) -> BlobRules:
    """Rules of a fork for blobs; before Cancun no block has any."""
    return _BLOBS.get(fork, BlobRules(0, 0, 1))


# --- gas ----------------------------------------------------------------------------------------


def intrinsic_gas(transaction: Transaction, fork: Fork = Fork.PRAGUE) -> int:
    """Gas a transaction costs before any code runs (EIP-2028, 2930, 3860)."""
    zeros = transaction.data.count(0)
    cost = GAS_TRANSACTION + zeros * GAS_ZERO_BYTE + (len(transaction.data) - zeros) * GAS_NONZERO_BYTE
    if transaction.to is None:
        cost += GAS_CREATION + initcode_gas(transaction, fork)
    for _, keys in transaction.access_list:
        cost += GAS_ACCESS_ADDRESS + GAS_ACCESS_KEY * len(keys)
    return cost


def floor_gas(transaction: Transaction, fork: Fork = Fork.PRAGUE) -> int:
    """Gas a transaction pays at least, for its calldata (EIP-7623)."""
    if fork < Fork.PRAGUE:
        return GAS_TRANSACTION
    zeros = transaction.data.count(0)
    return GAS_TRANSACTION + GAS_FLOOR_PER_TOKEN * (zeros + 4 * (len(transaction.data) - zeros))


def initcode_gas(transaction: Transaction, fork: Fork) -> int:
    """The part of the intrinsic gas that is for the words of initcode (EIP-3860)."""
    if transaction.to is not None or fork < Fork.SHANGHAI:
        return 0
    return GAS_INITCODE_WORD * -(-len(transaction.data) // 32)


def blob_gas(transaction: Transaction) -> int:
    """Gas of a transaction's blobs, which has a price of its own."""
    return GAS_PER_BLOB * len(transaction.blob_hashes) if transaction.type == BLOB else 0


# --- fees ---------------------------------------------------------------------------------------


def next_base_fee(parent: Header) -> int:
    """Base fee of the block after `parent`, wei per gas (EIP-1559)."""
    base_fee, target = parent.base_fee or 0, parent.gas_limit // ELASTICITY
    change = base_fee * abs(parent.gas_used - target) // target // BASE_FEE_CHANGE_DENOMINATOR
    if parent.gas_used > target:
        return base_fee + max(change, 1)
    return base_fee - change


def next_excess_blob_gas(parent: Header | None, fork: Fork) -> int:
    """Excess blob gas of the block after `parent`, which is in `fork` (EIP-4844)."""
    if parent is None or parent.excess_blob_gas is None:
        return 0
    return max(parent.excess_blob_gas + (parent.blob_gas_used or 0) - blob_rules(fork).target_gas, 0)


def blob_base_fee(excess: int, fork: Fork) -> int:
    """Price of blob gas, wei per gas, at an excess: e^(excess / fraction) by Taylor's series (EIP-4844)."""
    fraction = blob_rules(fork).update_fraction
    total, term, step = 0, fraction, 1
    while term > 0:
        total += term
        term = term * excess // (fraction * step)
        step += 1
    return total // fraction


# --- headers ------------------------------------------------------------------------------------


def blank_header(
    parent: Header | None, timestamp: int, gas_limit: int, base_fee: int, fork: Fork = Fork.PRAGUE
) -> Header:
    """Header of a block before execution, with the constants of proof of stake (EIP-3675, 4399)."""
    return Header(
        parent_hash=bytes(32) if parent is None else keccak(parent.encode()),
        uncles_hash=EMPTY_UNCLES_HASH,
        coinbase=bytes(20),
        state_root=EMPTY_ROOT if parent is None else parent.state_root,
        transactions_root=EMPTY_ROOT,
        receipts_root=EMPTY_ROOT,
        logs_bloom=bytes(256),
        difficulty=0,
        number=0 if parent is None else parent.number + 1,
        gas_limit=gas_limit,
        gas_used=0,
        timestamp=timestamp,
        extra_data=b"",
        mix_hash=bytes(32),
        nonce=bytes(8),
        base_fee=base_fee,
        withdrawals_root=EMPTY_ROOT if fork >= Fork.SHANGHAI else None,
        blob_gas_used=0 if fork >= Fork.CANCUN else None,
        excess_blob_gas=next_excess_blob_gas(parent, fork) if fork >= Fork.CANCUN else None,
        parent_beacon_root=bytes(32) if fork >= Fork.CANCUN else None,
        requests_hash=EMPTY_REQUESTS_HASH if fork >= Fork.PRAGUE else None,
    )
