"""Reading and writing the binary formats of CERTIFICATE.md: little-endian, no padding, one way to write."""

from __future__ import annotations

import struct

import numpy as np

from market.units import Floats, Ints


class FormatError(ValueError):
    """Bytes that are not what they should be; the message says at which offset."""


class Writer:
    """Appends values in canonical form."""

    def __init__(self, magic: bytes, version: int) -> None:
        self._parts = [magic, struct.pack("<H", version)]

    def count(self, value: int) -> None:
        """Unsigned 32 bits."""
        self._parts.append(struct.pack("<I", value))

    def text(self, value: str) -> None:
        """UTF-8 with its length in bytes before it."""
        encoded = value.encode()
        self.count(len(encoded))
        self._parts.append(encoded)

    def raw(self, value: bytes) -> None:
        """Bytes as they are."""
        self._parts.append(value)

    def floats(self, values: Floats | float) -> None:
        """Float64, row by row. Raises ValueError on NaN; −0 is written as 0."""
        array = np.asarray(values, dtype="<f8")
        if np.any(np.isnan(array)):
            raise ValueError("NaN has no canonical form")
        self._parts.append((array + 0.0).astype("<f8").tobytes())

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
        if self._at + length > len(self._data):
            raise FormatError(f"ends at byte {len(self._data)}, {length} more expected at {self._at}")
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken

    def count(self) -> int:
        """Unsigned 32 bits."""
        (value,) = struct.unpack("<I", self.raw(4))
        return int(value)

    def text(self) -> str:
        """UTF-8."""
        start = self._at
        try:
            return self.raw(self.count()).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"text at byte {start} is not UTF-8") from error

    def floats(self, *shape: int, finite: bool = True) -> Floats:
        """Float64 of a shape; NaN is refused, and infinity unless it means "no limit"."""
        start = self._at
        size = int(np.prod(shape, dtype=object))
        values = np.frombuffer(self.raw(8 * size), dtype="<f8").astype(np.float64).reshape(shape)
        if np.any(np.isnan(values)) or (finite and np.any(np.isinf(values))):
            raise FormatError(f"NaN or infinity in the block at byte {start}")
        return values

    def ints(self, length: int) -> Ints:
        """Int64."""
        return np.frombuffer(self.raw(8 * length), dtype="<i8").astype(np.int64)

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise FormatError(f"{len(self._data) - self._at} bytes too many after byte {self._at}")
