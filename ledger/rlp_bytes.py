"""RLP of what is already bytes (Yellow Paper, appendix B): no types to infer.

`decode` refuses what is not canonical and takes time by length. The `rlp` package, which decodes what is
small elsewhere, copies the rest of a list for each of its items. `read_strings` and `bounds` are for what is
known to be right.

RlpError   the bytes are no canonical RLP; the message says where
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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


class RlpError(ValueError):
    """The bytes are no canonical RLP."""


def decode(encoded: bytes) -> Any:
    """The string or list of canonical RLP, lists as Python lists. Raises RlpError, RecursionError."""
    item, end = _item(encoded, 0, len(encoded))
    if end != len(encoded):
        raise RlpError(f"malformed RLP: {len(encoded) - end} bytes behind its end")
    return item


def _item(encoded: bytes, at: int, end: int) -> tuple[Any, int]:
    """The item at a place, which must end by `end`, and where the next one begins."""
    if at >= end:
        raise RlpError(f"malformed RLP: nothing at byte {at}")
    first = encoded[at]
    if first < STRING:
        return encoded[at : at + 1], at + 1
    kind = LIST if first >= LIST else STRING
    start, stop = _checked_bounds(encoded, at, kind, end)
    if kind == STRING:
        if stop - start == 1 and encoded[start] < STRING:
            raise RlpError(f"malformed RLP: a byte with a prefix that it needs not at byte {at}")
        return encoded[start:stop], stop
    items = []
    while start < stop:
        item, start = _item(encoded, start, stop)
        items.append(item)
    return items, stop


def _checked_bounds(encoded: bytes, at: int, kind: int, end: int) -> tuple[int, int]:
    """`bounds` where the length is written in its shortest form and what it counts is there."""
    size = encoded[at] - kind - _SHORT
    length = encoded[at + 1 : at + 1 + size] if size > 0 else b""
    if size > 0 and (at + 1 + size > end or length[0] == 0 or int.from_bytes(length, "big") <= _SHORT):
        raise RlpError(f"malformed RLP: a length that is not in its shortest form at byte {at}")
    start, stop = bounds(encoded, at, kind)
    if stop > end:
        raise RlpError(f"malformed RLP: the item at byte {at} has {stop - end} bytes more than there are")
    return start, stop
