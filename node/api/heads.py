"""HEAD is answered wherever GET is, with the same headers and no body (RFC 9110 §9.3.2)."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def answer_heads(app: FastAPI) -> None:
    """Let an application answer HEAD as it would GET."""
    app.add_middleware(_Heads)


class _Heads:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif message.get("more_body", False):
                raise OSError("nobody wants the body")  # which ends one that has no end

        try:
            await self._app({**scope, "method": "GET"}, receive, send_head)
        except ClientDisconnect:  # what Starlette makes of it
            return
