"""Reading and writing the binary formats of CERTIFICATE.md: little-endian, no padding, one way to write."""

from __future__ import annotations

import math
import struct
import sys

import numpy as np

from market.units import Floats, Ints

LARGEST_FLOAT = sys.float_info.max
NEGATIVE_ZERO = np.uint64(1 << 63)


class FormatError(ValueError):
    """Bytes that are not what they should be, the message says at which offset; or values that have none."""


class Writer:
    """Appends values in canonical form; begins with what the format is, if anything."""

    def __init__(self, magic: bytes = b"", version: int | None = None) -> None:
        self._parts = [magic, b"" if version is None else struct.pack("<H", version)]

    def counts(self, *values: int) -> None:
        """Unsigned 32 bits each. Raises FormatError on what does not fit."""
        if not all(0 <= value < 2**32 for value in values):
            raise FormatError(f"{values} are not all counts of 32 bits")
        self._parts.append(struct.pack(f"<{len(values)}I", *values))

    def text(self, value: str) -> None:
        """UTF-8 with its length in bytes before it."""
        encoded = value.encode()
        self.counts(len(encoded))
        self._parts.append(encoded)

    def raw(self, value: bytes) -> None:
        """Bytes as they are."""
        self._parts.append(value)

    def floats(self, *arrays: Floats | float) -> None:
        """Float64, array by array and row by row. Raises FormatError on NaN; −0 is written as 0."""
        flat = [np.asarray(array, dtype=np.float64).ravel() for array in arrays]
        values = np.concatenate(flat)
        values += 0.0
        if np.isnan(values).any():
            raise FormatError("NaN has no canonical form")
        self._parts.append(values.astype("<f8", copy=False).tobytes())

    def ints(self, values: Ints) -> None:
        """Int64."""
        self._parts.append(np.asarray(values, dtype="<i8").tobytes())

    def bytes(self) -> bytes:
        """Everything written so far."""
        return b"".join(self._parts)


class Reader:
    """Takes values in the order they were written. Raises FormatError."""

    def __init__(self, data: bytes, magic: bytes, version: int) -> None:
        self._data = data
        self._at = 0
        if self.raw(len(magic)) != magic:
            raise FormatError(f"does not start with {magic!r}")
        (found,) = struct.unpack("<H", self.raw(2))
        if found != version:
            raise FormatError(f"format version {found}, known: {version}")

    def raw(self, length: int) -> bytes:
        """The next bytes."""
        start = self._at
        self._skip(length)
        return self._data[start : self._at]

    def _skip(self, length: int) -> None:
        if self._at + length > len(self._data):
            raise FormatError(f"ends at byte {len(self._data)}, {length} more expected at {self._at}")
        self._at += length

    def counts(self, length: int) -> tuple[int, ...]:
        """Unsigned 32 bits each."""
        return struct.unpack(f"<{length}I", self.raw(4 * length))

    def text(self) -> str:
        """UTF-8."""
        start = self._at
        try:
            return self.raw(*self.counts(1)).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"text at byte {start} is not UTF-8") from error

    def floats(self, *shape: int, finite: bool = True, largest: float = LARGEST_FLOAT) -> Floats:
        """Float64 of a shape. Refused: NaN, −0, and what is beyond `largest` unless infinity means "none"."""
        start = self._at
        size = math.prod(shape)
        self._skip(8 * size)
        raw = np.frombuffer(self._data, dtype="<f8", count=size, offset=start)
        values = raw.astype(np.float64, copy=False)
        if finite and values.size and not np.abs(values).max() <= largest:
            wrong = f"a number beyond ±{largest:g}" if np.isfinite(values).all() else "NaN or infinity"
            raise FormatError(f"{wrong} in the block at byte {start}")
        if not finite and np.isnan(values).any():
            raise FormatError(f"NaN in the block at byte {start}")
        if (raw.view("<u8") == NEGATIVE_ZERO).any():
            raise FormatError(f"-0, which is written as 0, in the block at byte {start}")
        return values.reshape(shape)

    def ints(self, length: int) -> Ints:
        """Int64."""
        return np.frombuffer(self.raw(8 * length), dtype="<i8").astype(np.int64)

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise FormatError(f"{len(self._data) - self._at} bytes too many after byte {self._at}")
