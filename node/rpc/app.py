"""The server: JSON-RPC by HTTP POST and by WebSocket on the same path."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request, Response, WebSocket, WebSocketDisconnect
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnected

from ledger.chain.protocol import ChainError
from node.rpc.dispatch import BODY_MAX_BYTES, answer, refusal
from node.rpc.engine import Engine
from node.rpc.errors import InvalidRequestError
from node.rpc.origins import admit
from node.rpc.subscriptions import Subscriptions

_LOG = logging.getLogger("wattbook.rpc")
_JSON = "application/json"
LOOK_SECONDS = 0.1
"""How often it is looked whether a block is due."""


def create_app(
    engine: Engine, *, origins: Sequence[str] = (), body_max_bytes: int = BODY_MAX_BYTES
) -> FastAPI:
    """The JSON-RPC application over an engine. `origins` are web pages that may call it too.

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
    admit(app, origins)

    @app.post("/")
    async def post(request: Request) -> Response:
        try:
            body = await _read(request, body_max_bytes)
        except ClientDisconnect:  # nobody's error, and nobody is left to read an answer
            return Response(status_code=204)
        if body is None:
            return Response(refusal(_too_long(body_max_bytes)), status_code=413, media_type=_JSON)
        answered = await run_in_threadpool(answer, engine, body)
        return Response(status_code=204) if answered is None else Response(answered, media_type=_JSON)

    @app.websocket("/")
    async def websocket(socket: WebSocket) -> None:
        await _Connection(engine, socket, body_max_bytes).serve()

    return app


class _Connection:
    """A WebSocket: requests are answered one after another, and notifications sent in between."""

    def __init__(self, engine: Engine, socket: WebSocket, body_max_bytes: int) -> None:
        self._engine = engine
        self._socket = socket
        self._body_max_bytes = body_max_bytes
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._subscriptions = Subscriptions(engine, self._wake)
        self._turn = asyncio.Lock()

    def _wake(self) -> None:
        """Let `_tell` look; called from the threads that change the chain."""
        with suppress(RuntimeError):  # the server stops, and its loop is closed
            self._loop.call_soon_threadsafe(self._news.set)

    async def serve(self) -> None:
        """Until the client is gone."""
        await self._socket.accept()
        telling = asyncio.create_task(self._tell())
        try:
            with suppress(WebSocketDisconnect, WebSocketDisconnected):
                while (body := await self._request()) is not None:
                    await self._answer(body)
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            await run_in_threadpool(self._subscriptions.close)

    async def _request(self) -> bytes | None:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        return message.get("bytes") or (message.get("text") or "").encode()

    async def _answer(self, body: bytes) -> None:
        async with self._turn:  # no notification of a subscription goes out before its name does
            if len(body) > self._body_max_bytes:
                answered: bytes | None = refusal(_too_long(self._body_max_bytes))
            else:
                answered = await run_in_threadpool(answer, self._engine, body, self._subscriptions)
            if answered is not None:
                await self._socket.send_text(answered.decode())

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            with suppress(WebSocketDisconnect, RuntimeError):  # the client is gone, which `serve` finds
                async with self._turn:
                    for notification in await run_in_threadpool(self._subscriptions.notifications):
                        await self._socket.send_text(notification)
            if await run_in_threadpool(self._subscriptions.is_behind):
                self._news.set()


def _too_long(limit: int) -> InvalidRequestError:
    return InvalidRequestError(f"the body has more than {limit} bytes")


async def _read(request: Request, limit: int) -> bytes | None:
    """The body, None as soon as it exceeds the limit."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)


async def _mine_at_intervals(engine: Engine) -> None:
    """Build blocks while the engine has a block time, which clients may set, change and end."""
    waited = 0.0
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        waited += LOOK_SECONDS
        if engine.block_time_seconds is None:
            waited = 0.0
        elif waited >= engine.block_time_seconds:
            waited = 0.0
            await run_in_threadpool(_mine, engine)


def _mine(engine: Engine) -> None:
    """Build a block; where it fails, the log says so, and the next one is tried in its time."""
    try:
        engine.mine_waiting()
    except ChainError as failure:
        _LOG.error("no block: %s", failure)
    except Exception:  # whatever it is, the blocks after it come
        _LOG.exception("no block")
