"""Proofs of clearings that others have: folders of oracles, servers of oracles or of a market."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from node.client.http import Client, ServiceError

RETRY_SECONDS = 30.0
"""What nobody had is not asked for again before."""


class ProofsElsewhere(Mapping[bytes, bytes]):
    """Files of one kind by their SHA-256, asked for when somebody needs one and kept from then on.

    `kind` is `certificates` or `inputs`. What is not of the SHA-256 asked for is left where it is. Its length
    counts what is here.
    """

    def __init__(
        self,
        kind: str,
        folders: Sequence[Path],
        services: Sequence[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kind, self._folders, self._services, self._monotonic = kind, folders, services, monotonic
        self._found: dict[bytes, bytes] = {}
        self._missed: dict[bytes, float] = {}

    def __getitem__(self, digest: bytes) -> bytes:
        if digest in self._found:
            return self._found[digest]
        now = self._monotonic()
        if now < self._missed.get(digest, now):
            raise KeyError(digest)
        for content in self._offered(digest):
            if sha256(content).digest() == digest:
                self._missed.pop(digest, None)
                self._found[digest] = content
                return content
        self._missed[digest] = now + RETRY_SECONDS
        raise KeyError(digest)

    def __iter__(self) -> Iterator[bytes]:
        return iter(tuple(self._found))

    def __len__(self) -> int:
        return len(self._found)

    def _offered(self, digest: bytes) -> Iterator[bytes]:
        """What each place has under this name, one after the other; who is gone has nothing."""
        for folder in self._folders:
            with suppress(OSError):
                yield (folder / self._kind / f"{digest.hex()}.bin").read_bytes()
        for url in self._services:
            with suppress(ServiceError):
                yield Client(url).proof(self._kind, digest)
