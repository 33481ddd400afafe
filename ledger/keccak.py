"""Keccak-256, the chain's hash, by the fastest implementation that is installed."""

from __future__ import annotations

import eth_hash.auto

try:
    from sha3 import keccak_256 as _keccak_256
except ImportError:  # only Linux has the C extension among the dependencies

    def keccak(data: bytes) -> bytes:
        """Keccak-256 of `data`, 32 bytes."""
        digest: bytes = eth_hash.auto.keccak(data)
        return digest

else:

    def keccak(data: bytes) -> bytes:
        """Keccak-256 of `data`, 32 bytes."""
        digest: bytes = _keccak_256(data).digest()
        return digest

    # Ethereum libraries hash through this one object, which prefers pycryptodome: eight times slower.
    eth_hash.auto.keccak.hasher = keccak
