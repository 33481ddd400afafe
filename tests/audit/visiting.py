"""Visits of a market's server: its application over a source, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from node.api.app import create_api
from node.api.archive import Archive, Finished
from node.api.projection import Projection
from node.api.proofs import Proofs
from node.api.sources import Source
from node.client.serving import listening, serving


def application(source: Source, archive: Archive | None = None) -> FastAPI:
    """What serves a source; of a record with the proofs of its bundle."""
    site = {"exchange": source.exchange, "chain_id": source.chain_id}
    bundle = archive.record.bundle if isinstance(archive, Finished) else None
    proofs = Proofs() if bundle is None else Proofs(bundle.inputs, bundle.certificates)
    return create_api(Projection(source), site, archive=archive, proofs=proofs)


@contextmanager
def visiting(source: Source, archive: Archive | None = None) -> Iterator[httpx.Client]:
    """A visitor of a server over a source."""
    app = application(source, archive)
    with serving(app, listening("127.0.0.1", 0)) as url, httpx.Client(base_url=url) as visitor:
        yield visitor


def get(api: httpx.Client, path: str) -> Any:
    """The JSON of a path, which is answered."""
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def items(api: httpx.Client, path: str, limit: int = 500) -> Iterator[Any]:
    """All items of a list, piece by piece."""
    after = ""
    while True:
        found = get(api, f"{path}{'&' if '?' in path else '?'}limit={limit}{after}")
        assert len(found["items"]) <= limit
        yield from found["items"]
        if found["next"] is None:
            return
        after = f"&after={found['next']}"
