"""RLP of what is already bytes (Yellow Paper, appendix B): no types to infer, nothing to check.

What comes from outside is decoded by the `rlp` package, which refuses what is not canonical.
"""

from __future__ import annotations

from collections.abc import Sequence

Item = bytes | Sequence["Item"]
"""A string, or a list of items."""

STRING, LIST = 0x80, 0xC0
"""Where the first bytes of strings and of lists begin."""
_SHORT = 55
"""Longest string or list whose prefix is one byte."""


def encode(item: Item) -> bytes:
    """RLP of strings in lists."""
    if isinstance(item, bytes):
        return string(item)
    payload = b"".join([encode(each) for each in item])
    return prefix(LIST, len(payload)) + payload


def string(value: bytes) -> bytes:
    """RLP of a string."""
    if len(value) == 1 and value[0] < STRING:
        return value
    return prefix(STRING, len(value)) + value


def number(value: int) -> bytes:
    """RLP of a number, which is that of its bytes without leading zeros."""
    return string(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def prefix(kind: int, length: int) -> bytes:
    """What goes before the payload of a string or a list."""
    if length <= _SHORT:
        return bytes((kind + length,))
    size = (length.bit_length() + 7) // 8
    return bytes((kind + _SHORT + size,)) + length.to_bytes(size, "big")


def read_strings(encoded: bytes) -> list[bytes]:
    """The strings of an encoded list of strings, which is known to be one."""
    at, end = bounds(encoded, 0, LIST)
    strings = []
    while at < end:
        if encoded[at] < STRING:
            start, at = at, at + 1
        else:
            start, at = bounds(encoded, at, STRING)
        strings.append(encoded[start:at])
    return strings


def bounds(encoded: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where the payload of a string (`kind` STRING) or list begins and ends."""
    length = encoded[at] - kind
    if length <= _SHORT:
        return at + 1, at + 1 + length
    start = at + 1 + length - _SHORT
    return start, start + int.from_bytes(encoded[at + 1 : start], "big")
