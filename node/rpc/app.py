"""The server: JSON-RPC by HTTP POST and by WebSocket on the same path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from node.rpc.dispatch import BODY_MAX_BYTES, answer, refusal
from node.rpc.engine import Engine
from node.rpc.errors import InvalidRequestError

_JSON = "application/json"


def create_app(
    engine: Engine, *, origins: Sequence[str] = (), body_max_bytes: int = BODY_MAX_BYTES
) -> FastAPI:
    """The JSON-RPC application over an engine. `origins` are web pages that may call it.

    Where the engine has a block time, blocks are built at that interval while the server runs.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        mining = asyncio.create_task(_mine_at_intervals(engine))
        yield
        mining.cancel()
        with suppress(asyncio.CancelledError):
            await mining

    app = FastAPI(title="Wattbook JSON-RPC", lifespan=lifespan, openapi_url=None)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["POST"], allow_headers=["*"]
        )

    @app.post("/")
    async def post(request: Request) -> Response:
        body = await _read(request, body_max_bytes)
        if body is None:
            message = f"the body has more than {body_max_bytes} bytes"
            return Response(refusal(InvalidRequestError(message)), status_code=413, media_type=_JSON)
        answered = await run_in_threadpool(answer, engine, body)
        return Response(status_code=204) if answered is None else Response(answered, media_type=_JSON)

    @app.websocket("/")
    async def websocket(socket: WebSocket) -> None:
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                body = message.get("bytes") or (message.get("text") or "").encode()
                answered = await run_in_threadpool(answer, engine, body)
                if answered is not None:
                    await socket.send_text(answered.decode())

    return app


async def _read(request: Request, limit: int) -> bytes | None:
    """The body, None as soon as it exceeds the limit."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)


async def _mine_at_intervals(engine: Engine) -> None:
    while engine.block_time_seconds is not None:
        await asyncio.sleep(engine.block_time_seconds)
        await run_in_threadpool(engine.mine_waiting)
