"""What an oracle signed, kept: without the bytes nobody can audit it, nor complete it on the chain."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ledger.bundle import CERTIFICATES, INPUTS
from market.atc.messages import Purpose
from node.oracle.signers import Brought

KINDS = (CERTIFICATES, INPUTS)
"""Proofs, and the folders that hold them."""


class Kept:
    """What was brought, by clearing, and its proofs by SHA-256; these under `folder` too, if there is one."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._brought: dict[tuple[int, Purpose], list[Brought]] = {}
        self._proofs: dict[tuple[str, bytes], bytes] = {}

    def keep(self, slot: int, purpose: Purpose, brought: Brought) -> None:
        """Keep what a clearing brought."""
        self._brought.setdefault((slot, purpose), []).append(brought)
        digests = brought.certificate_hash, brought.input_hash
        for kind, digest, content in zip(KINDS, digests, (brought.certificate, brought.inputs), strict=True):
            self._proofs[kind, digest] = content
            if self._folder is not None:
                (self._folder / kind).mkdir(parents=True, exist_ok=True)
                self._path(self._folder, kind, digest).write_bytes(content)

    def of(self, slot: int, purpose: Purpose) -> Sequence[Brought]:
        """What a clearing brought, the first first: in our turn, or by others as far as we signed it."""
        return tuple(self._brought.get((slot, purpose), ()))

    def proof(self, kind: str, digest: bytes) -> bytes | None:
        """A certificate or inputs by their SHA-256, also from before a restart."""
        found = self._proofs.get((kind, digest))
        if found is None and self._folder is not None and kind in KINDS:
            with suppress(OSError):
                found = self._path(self._folder, kind, digest).read_bytes()
        return found

    @staticmethod
    def _path(folder: Path, kind: str, digest: bytes) -> Path:
        return folder / kind / f"{digest.hex()}.bin"
