"""What pages tell a visitor to type in order to check them: names that hold where the visitor is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from node.api.archive import Archive, Finished
from node.api.projection import Projection
from node.api.proofs import Proofs

SOME_NODE = "URL"


def addressed(url: str, visited: str) -> str:
    """A URL of this machine as a visitor reaches it, who found the server at the URL `visited`.

    Where something listens at every address of a machine, its own URL names none of them.
    """
    parts = urlsplit(url)
    try:
        everywhere = ip_address(parts.hostname or "").is_unspecified
    except ValueError:
        everywhere = False
    if not everywhere:
        return url
    name = urlsplit(visited).hostname or ""
    host = f"[{name}]" if ":" in name else name
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host))


@dataclass(frozen=True, eq=False)
class Commands:
    """Commands on the market of a deployment; `proofs` are those that this server hands out."""

    deployment: Mapping[str, Any]
    projection: Projection
    archive: Archive | None
    proofs: Proofs

    def audit(self, visited: str) -> str:
        """Verifies everything that can be verified; the head's hash is for the visitor to know.

        `visited` is the server's URL as the visitor reached it.
        """
        served = not self._finished and (self.proofs.inputs or self.proofs.certificates)
        proofs = f" --proofs {shlex.quote(visited)}" if served else ""
        return f"wattbook audit {self._source(visited)}{proofs}"

    def explain(self, visited: str, place: str) -> str:
        """Takes the payment at a place apart."""
        return f"wattbook audit explain {self._source(visited)} {place}"

    @property
    def _finished(self) -> bool:
        return isinstance(self.archive, Finished)

    def _source(self, visited: str) -> str:
        """A bundle's folder, or a node and the exchange on it."""
        if isinstance(self.archive, Finished):
            return shlex.quote(self.archive.name)
        node = addressed(str(self.deployment.get("rpc_url", SOME_NODE)), visited)
        return f"{shlex.quote(node)} --exchange {self.projection.source.exchange}"
