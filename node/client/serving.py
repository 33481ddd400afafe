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

SHUTDOWN_SECONDS = 1
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


@contextmanager
def serving(app: FastAPI, taken: socket.socket) -> Iterator[str]:
    """Its URL, while the context lasts."""
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS
    )
    server = _Server(config)
    thread = Thread(target=lambda: server.run(sockets=[taken]), daemon=True)
    thread.start()
    try:
        server.listens.wait(STARTED_SECONDS)
        host, port = taken.getsockname()[:2]
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
