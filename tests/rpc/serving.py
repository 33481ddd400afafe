"""The JSON-RPC server on a real socket, while a test lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from node.rpc.app import create_app
from node.rpc.engine import Engine


@contextmanager
def serving(engine: Engine, **options: Any) -> Iterator[str]:
    """URL of a server over the engine, on a port that the system chose."""
    config = uvicorn.Config(
        create_app(engine, **options), port=0, log_level="warning", ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
