"""JSON-RPC by HTTP POST: one question, one answer. Nothing is judged, and nothing asked again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from threading import local
from typing import Any

TIMEOUT_SECONDS = 60


class HttpTransport:
    """Asks one URL, over a connection that each thread keeps for itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count(1)
        self._kept = local()

    def ask(self, method: str, params: Sequence[Any]) -> Mapping[str, Any]:
        """The answer's object, `result` or `error` in it. Raises what requests raises, and ValueError."""
        question = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": next(self._numbers)}
        answer = self._session().post(
            self._url,
            data=json.dumps(question),
            headers={"Content-Type": "application/json"},
            timeout=TIMEOUT_SECONDS,
        )
        answer.raise_for_status()
        found = json.loads(answer.content)
        if not isinstance(found, dict):
            raise ValueError(f"{method}: the answer is no object")
        return found

    def _session(self) -> Any:
        if not hasattr(self._kept, "session"):
            from requests import Session  # noqa: PLC0415 - loads slowly

            self._kept.session = Session()
        return self._kept.session
