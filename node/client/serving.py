"""A server on a thread of its own, on a socket that was taken beforehand.

PortTakenError   nothing can listen there
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Flag
from threading import Thread

import uvicorn
from fastapi import FastAPI

SHUTDOWN_SECONDS = 3
STARTED_SECONDS = 30.0


class PortTakenError(Exception):
    """Nothing can listen at this address."""


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to the command."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = Flag()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self.listens.set()


def listening(host: str, port: int, option: str = "--port") -> socket.socket:
    """A socket that listens there; a refusal names the option. Raises PortTakenError."""
    try:
        return socket.create_server((host, port))
    except OSError as failure:
        reason = (failure.strerror or "cannot be used").lower()
        raise PortTakenError(f"{option} {port}: {reason} at {host}; name another one") from None


def ending(app: FastAPI) -> Flag:
    """Set when the application's server stops: answers without an end watch it, or they would be cut off."""
    if not hasattr(app.state, "ending"):
        app.state.ending = Flag()
    found: Flag = app.state.ending
    return found


@contextmanager
def serving(app: FastAPI, taken: socket.socket, log_level: str = "critical") -> Iterator[str]:
    """Its URL, while the context lasts."""
    config = uvicorn.Config(
        app,
        log_level=log_level,
        access_log=False,
        ws="websockets-sansio",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config)
    thread = Thread(target=lambda: server.run(sockets=[taken]), daemon=True)
    thread.start()
    try:
        server.listens.wait(STARTED_SECONDS)
        yield url_of(taken)
    finally:
        ending(app).set()
        server.should_exit = True
        thread.join()


def url_of(taken: socket.socket) -> str:
    """Where a socket listens."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
