"""The pages of an LMDB file, read before it is mapped: a page that is missing would end the process (SIGBUS).

A file may end before the last page that was ever allotted: LMDB leaves out what a transaction allotted and
gave back. So the length alone decides nothing where it falls short; then every page that the newest state
reaches must lie within the file. The layout is that of LMDB 0.9 (mdb.c: MDB_page, MDB_meta, MDB_node).

IncompleteFileError   the file is no LMDB database, or pages of it are missing
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = 0xBEEFC0DE
VERSION = 1
PAGE_BYTES_MIN, PAGE_BYTES_MAX = 256, 65_536

_HEADER = struct.Struct("@NHHHH")
"""mp_pgno, mp_pad, mp_flags, mp_lower, mp_upper."""
_OVERFLOW_PAGES = struct.Struct("@I")
"""pb_pages, in the place of mp_lower and mp_upper."""
_META = struct.Struct("@IIPN" + 2 * "IHHNNNNN" + "NN")
"""mm_magic, mm_version, mm_address, mm_mapsize, mm_dbs (free pages, then ours), mm_last_pg, mm_txnid."""
_FREE_PAD, _FREE_ROOT, _MAIN_ROOT, _LAST_PAGE, _TRANSACTION = 4, 11, 19, 20, 21
"""Places in a meta page's tuple; the free pages' md_pad holds the page size."""
_NODE = struct.Struct("@HHHH")
"""mn_lo, mn_hi, mn_flags, mn_ksize; a branch's child is their first 48 bits."""
_POINTER = struct.Struct("@H")
_NUMBER = struct.Struct("@N")

_BRANCH, _LEAF, _META_PAGE = 0x01, 0x02, 0x08
_BIG_DATA = 0x01
_NO_PAGE = 2 ** (8 * _NUMBER.size) - 1


class IncompleteFileError(ValueError):
    """The file is not a whole LMDB database."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the newest of the two meta pages says: the page size, the last page allotted, the trees' roots."""

    page_bytes: int
    last_page: int
    roots: tuple[int, int]


def check_whole(path: Path) -> None:
    """Check that all pages of the newest state lie within the file. Raises IncompleteFileError, OSError."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        meta = _newest_meta(file)
        wanted = (meta.last_page + 1) * meta.page_bytes
        if length >= wanted:
            return
        pages = length // meta.page_bytes
        if any(number >= pages for number in _reached(file, meta, pages)):
            raise IncompleteFileError(f"it was cut off: {length} bytes of {wanted}")


def _newest_meta(file: BinaryIO) -> Meta:
    first = _meta(file, 0)
    page_bytes = first[_FREE_PAD]
    if page_bytes & (page_bytes - 1) or not PAGE_BYTES_MIN <= page_bytes <= PAGE_BYTES_MAX:
        raise IncompleteFileError(f"its page size is {page_bytes} bytes")
    newest = max(first, _meta(file, page_bytes), key=lambda meta: meta[_TRANSACTION])
    return Meta(page_bytes, newest[_LAST_PAGE], (newest[_FREE_ROOT], newest[_MAIN_ROOT]))


def _meta(file: BinaryIO, offset: int) -> tuple[int, ...]:
    """The fields of a meta page."""
    file.seek(offset)
    read = file.read(_HEADER.size + _META.size)
    if len(read) < _HEADER.size + _META.size:
        raise IncompleteFileError("it ends within its first two pages")
    flags, meta = _HEADER.unpack_from(read)[2], _META.unpack_from(read, _HEADER.size)
    if not flags & _META_PAGE or meta[0] != MAGIC:
        raise IncompleteFileError("it is no LMDB file")
    if meta[1] != VERSION:
        raise IncompleteFileError(f"its LMDB format is {meta[1]}, this version reads {VERSION}")
    return meta


def _reached(file: BinaryIO, meta: Meta, pages: int) -> Iterator[int]:
    """Pages that the trees refer to; those beyond `pages` are named and not followed."""
    waiting = [root for root in meta.roots if root != _NO_PAGE]
    seen: set[int] = set()
    while waiting:
        number = waiting.pop()
        yield number
        if number >= pages or number in seen:
            continue
        seen.add(number)
        file.seek(number * meta.page_bytes)
        page = file.read(meta.page_bytes)
        try:
            children, values = _references(page)
        except struct.error:
            raise IncompleteFileError(f"page {number} is damaged") from None
        waiting.extend(children)
        for value in values:
            yield from _overflow(file, meta, value, pages)


def _references(page: bytes) -> tuple[list[int], list[int]]:
    """Child pages of a branch, and first overflow pages of a leaf's values."""
    _, _, flags, lower, _ = _HEADER.unpack_from(page)
    children: list[int] = []
    values: list[int] = []
    for place in range(_HEADER.size, min(lower, len(page)), _POINTER.size):
        (at,) = _POINTER.unpack_from(page, place)
        low, high, node_flags, key_bytes = _NODE.unpack_from(page, at)
        if flags & _BRANCH:
            children.append(low | high << 16 | node_flags << 32)
        elif flags & _LEAF and node_flags & _BIG_DATA:
            values.append(_NUMBER.unpack_from(page, at + _NODE.size + key_bytes)[0])
    return children, values


def _overflow(file: BinaryIO, meta: Meta, first: int, pages: int) -> Iterator[int]:
    """First and last page of a value too long for a leaf."""
    yield first
    if first < pages:
        file.seek(first * meta.page_bytes + _HEADER.size - _OVERFLOW_PAGES.size)
        yield first + _OVERFLOW_PAGES.unpack(file.read(_OVERFLOW_PAGES.size))[0] - 1
