"""Subscriptions of one WebSocket (`eth_subscribe`): feeds, and who is woken when there may be news.

Notifications of a subscription come in the chain's order, after the answer that names it. A client that
lost its connection subscribes again and asks eth_getLogs from the last block it saw: what came in between
is there, and what comes twice has the same block hash and log index.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

from node.rpc import params
from node.rpc.engine import Engine
from node.rpc.errors import InvalidParamsError
from node.rpc.feeds import Feed, Kind

SUBSCRIPTIONS_MAX = 100
_KINDS: tuple[Kind, ...] = get_args(Kind)


class Subscriptions:
    """The subscriptions of one connection; `wake` is called from any thread when there may be news."""

    def __init__(self, engine: Engine, wake: Callable[[], None]) -> None:
        self._engine = engine
        self._wake = wake
        self._feeds: dict[str, Feed] = {}
        self._made = 0
        with engine.lock:
            engine.chain.watchers.add(self)

    def close(self) -> None:
        """End all of them."""
        with self._engine.lock:
            self._engine.chain.watchers.remove(self)
            for feed in self._feeds.values():
                feed.close()
            self._feeds.clear()

    # --- methods --------------------------------------------------------------------------------

    def subscribe(self, kind: Any, which: Any = None) -> str:
        """Begin to tell of new heads, of logs that match, or of waiting transactions."""
        if kind not in _KINDS:
            raise InvalidParamsError(f"eth_subscribe: {str(kind)[:40]} is none of {', '.join(_KINDS)}")
        if len(self._feeds) >= SUBSCRIPTIONS_MAX:
            raise InvalidParamsError(f"eth_subscribe: no more than {SUBSCRIPTIONS_MAX} a connection")
        logs = params.subscribed_logs(which) if kind == "logs" else None
        self._made += 1
        identifier = hex(self._made)
        self._feeds[identifier] = Feed(self._engine.chain, kind, logs)
        return identifier

    def unsubscribe(self, identifier: Any) -> bool:
        """End a subscription; false where there is none."""
        feed = self._feeds.pop(identifier, None) if isinstance(identifier, str) else None
        if feed is not None:
            feed.close()
        return feed is not None

    # --- telling --------------------------------------------------------------------------------

    def notifications(self) -> list[str]:
        """What is to be sent now, as JSON; to be asked again until there is none."""
        with self._engine.lock:
            return [
                json.dumps(
                    {
                        "jsonrpc": "2.0",
                        "method": "eth_subscription",
                        "params": {"subscription": identifier, "result": result},
                    },
                    separators=(",", ":"),
                )
                for identifier, feed in self._feeds.items()
                for result in feed.news()
            ]

    def is_behind(self) -> bool:
        """Whether there is more to tell."""
        with self._engine.lock:
            return any(feed.is_behind() for feed in self._feeds.values())

    def queued(self, transaction_hash: bytes) -> None:
        """A transaction waits."""
        self._wake()

    def appended(self) -> None:
        """A block was appended."""
        self._wake()

    def going_back(self, number: int) -> None:
        """Blocks are about to go."""
        self._wake()
