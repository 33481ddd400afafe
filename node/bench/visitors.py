"""Who looks at a busy market: listeners to its events, and browsers that ask for a page again and again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Thread
from urllib.parse import urlsplit

import requests

from node.bench.timing import now_seconds

PIECE_BYTES = 65_536
END_OF_MESSAGE = b"\n\n"


@dataclass(eq=False)
class Listener:
    """What one listener heard: events by block, and when it heard of each block first."""

    events: Counter[int] = field(default_factory=Counter)
    heard_at: dict[int, float] = field(default_factory=dict)

    def hear(self, messages: bytes) -> None:
        """Whole messages of the stream, by their ids."""
        at = now_seconds()
        for line in messages.split(b"\n"):
            if line.startswith(b"id: "):
                block = int(line[4:].split(b":")[0])
                self.events[block] += 1
                self.heard_at.setdefault(block, at)


@contextmanager
def listening(url: str, number: int) -> Iterator[list[Listener]]:
    """So many listeners at `/v1/events` on a thread of their own, each told where it stands already."""
    listeners = [Listener() for _ in range(number)]
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def listen() -> None:
        listens = [loop.create_task(_listen(url, each)) for each in listeners]
        await stop.wait()
        for each in listens:
            each.cancel()
        await asyncio.gather(*listens, return_exceptions=True)

    thread = Thread(target=lambda: loop.run_until_complete(listen()), daemon=True)
    thread.start()
    try:
        yield listeners
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _listen(url: str, listener: Listener) -> None:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    rest = b""
    try:
        while piece := await reader.read(PIECE_BYTES):
            whole, _, rest = (rest + piece).rpartition(END_OF_MESSAGE)
            listener.hear(whole)
    finally:
        writer.close()


@contextmanager
def visiting(url: str, number: int, every_seconds: float) -> Iterator[list[float]]:
    """So many visitors who ask for a page every so often; the seconds of each answer."""
    taken: list[float] = []
    stop = Flag()

    def visit() -> None:
        with requests.Session() as session:
            while not stop.wait(every_seconds):
                begun = now_seconds()
                session.get(url).raise_for_status()
                taken.append(now_seconds() - begun)

    threads = [Thread(target=visit, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield taken
    finally:
        stop.set()
        for thread in threads:
            thread.join()
