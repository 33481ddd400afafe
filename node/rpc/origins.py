"""Which web pages may call: a browser says whose page a request comes from, and strangers' are refused.

The accounts of a testnet are unlocked, and a page that somebody has open can reach this machine's ports.
Other programs send no `Origin` and are answered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastapi import FastAPI, Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from node.rpc.dispatch import refusal
from node.rpc.errors import InvalidRequestError

LOOPBACK = r"https?://(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?"
"""Pages of this machine, which may always call."""
ANY = "*"
POLICY_VIOLATION = 1_008
"""Code by which a WebSocket is closed (RFC 6455, section 7.4.1)."""


def admit(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of this machine and of `origins` call the application, and no others; "*" is all pages."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_origin_regex=LOOPBACK,
        allow_methods=["POST"],
        allow_headers=["*"],
    )
    app.add_middleware(_Guard, origins=frozenset(origins))


class _Guard:
    """Refuses requests and WebSockets of other pages before anything reads them."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse (ASGI)."""
        origin = Headers(scope=scope).get("origin") if scope["type"] in ("http", "websocket") else None
        if origin is None or self._may_call(origin):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(POLICY_VIOLATION)(scope, receive, send)
        else:
            fault = InvalidRequestError(f"pages of {origin[:80]} may not call: start with --allow-origin")
            answer = Response(refusal(fault), status_code=403, media_type="application/json")
            await answer(scope, receive, send)

    def _may_call(self, origin: str) -> bool:
        known = ANY in self._origins or origin in self._origins
        return known or re.fullmatch(LOOPBACK, origin) is not None
