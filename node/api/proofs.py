"""Proofs of clearings that the market's server has, by the SHA-256 that the chain has of each.

UnknownProofError   there is no file of that SHA-256 here
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class UnknownProofError(LookupError):
    """There is no such file here."""


@dataclass(frozen=True, slots=True)
class Proofs:
    """Inputs and certificates of clearings by their SHA-256; they may grow."""

    inputs: Mapping[bytes, bytes] = field(default_factory=dict)
    certificates: Mapping[bytes, bytes] = field(default_factory=dict)


NO_PROOFS = Proofs()


def file_of(files: Mapping[bytes, bytes], digest: str) -> bytes:
    """The file with a SHA-256 in hexadecimal. Raises UnknownProofError."""
    content = files.get(bytes.fromhex(digest))
    if content is None:
        raise UnknownProofError(f"no file of SHA-256 {digest} is here")
    return content
