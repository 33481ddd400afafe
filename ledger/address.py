"""Addresses: 20 bytes on the chain, EIP-55 checksummed strings everywhere above it."""

from __future__ import annotations

import re
from functools import lru_cache

from ledger.keccak import keccak
from market.orders import Address

_PATTERN = re.compile(r"0x[0-9a-fA-F]{40}\Z")


@lru_cache(maxsize=65_536)
def address_bytes(address: Address) -> bytes:
    """20 bytes of a hexadecimal address in any capitals. Raises ValueError if it is not one."""
    if not _PATTERN.match(address):
        raise ValueError(f"not an address: {address!r}")
    return bytes.fromhex(address[2:])


@lru_cache(maxsize=65_536)
def checksummed(address: bytes) -> Address:
    """EIP-55 form of 20 bytes. Raises ValueError on another length."""
    if len(address) != 20:
        raise ValueError(f"not an address: {len(address)} bytes instead of 20")
    digits = address.hex()
    marks = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit for digit, mark in zip(digits, marks, strict=False)
    )
