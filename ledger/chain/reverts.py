"""What a revert says: `Error(string)` of require, `Panic(uint256)` of checked code, or raw data."""

from __future__ import annotations

from ledger.chain.protocol import Reverted

_ERROR_SELECTOR = bytes.fromhex("08c379a0")
_PANIC_SELECTOR = bytes.fromhex("4e487b71")

_PANICS = {
    0x00: "generic",
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "not a member of the enumeration",
    0x22: "badly encoded storage",
    0x31: "pop from an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
    0x51: "call of an uninitialised function",
}
"""Panic codes of the Solidity ABI, which Vyper shares."""


def decode_revert(data: bytes) -> str:
    """Reason in revert data: the string, the panic's meaning, or the data in hexadecimal."""
    if not data:
        return "reverted without a reason"
    if data.startswith(_ERROR_SELECTOR):
        reason = _abi_string(data[4:])
        if reason is not None:
            return reason
    if data.startswith(_PANIC_SELECTOR) and len(data) == 36:
        code = int.from_bytes(data[4:], "big")
        return f"panic 0x{code:02x}: {_PANICS.get(code, 'unknown')}"
    return f"reverted with 0x{data.hex()}"


def reverted(data: bytes) -> Reverted:
    """The exception for revert data."""
    return Reverted(decode_revert(data), data)


def _abi_string(encoded: bytes) -> str | None:
    """The one string of ABI-encoded arguments, None where it is not one."""
    if len(encoded) < 64 or int.from_bytes(encoded[:32], "big") != 32:
        return None
    length = int.from_bytes(encoded[32:64], "big")
    if 64 + length > len(encoded):
        return None
    try:
        return encoded[64 : 64 + length].decode()
    except UnicodeDecodeError:
        return None
