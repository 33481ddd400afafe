"""What happens, as it happens: server-sent events of every event of the market, resumable by their ids.

An id is block, log and the first bytes of the block's hash, as `184:7:9f3c01ab`. Who comes back with the last
one it saw gets all that came after it, also from a server that was started anew. Where the chain is no longer
the one that the id is of, `reset` says so, and what was known is to be asked for again.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from threading import Event as Flag
from threading import Lock
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from node.api.paging import CursorError
from node.api.projection import Projection
from node.api.sources import Source, Told

EVENT_STREAM = "text/event-stream"
POLL_SECONDS = 0.25
QUIET_POLLS = 60
"""Polls without news after which a comment keeps the connection from being taken for dead."""
BLOCKS_AT_ONCE = 100
BLOCKS_KEPT = 512
LISTENERS_MAX = 500
LISTENERS_A_VISITOR = 250
"""So that one visitor cannot keep all others out."""
MARK_BYTES = 4
END_OF_BLOCK = 2**31
"""A log number behind every log of a block."""
SAFE_INTEGER = 2**53
"""Whole numbers from here on are text, since JavaScript would round them (RFC 8259 §6)."""
_ID = re.compile(r"([0-9]{1,10}):([0-9]{1,10}):([0-9a-f]{8})", re.ASCII)


class TooManyListenersError(Exception):
    """As many listen as the server can serve."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A place on one chain: all up to this log of this block was told. `mark` begins the block's hash."""

    block: int
    log: int
    mark: str

    @classmethod
    def parse(cls, text: str) -> Moment:
        """The moment of an id. Raises CursorError."""
        if not (found := _ID.fullmatch(text)):
            raise CursorError(f"Last-Event-ID: {text[:80]!r} is no id of these events")
        return cls(int(found[1]), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.block}:{self.log}:{self.mark}"


class Feed:
    """Events of a source for any number of listeners; each block is read and written as text once."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._blocks: OrderedDict[tuple[int, str], tuple[tuple[Moment, bytes], ...]] = OrderedDict()
        self._lock = Lock()
        self._listeners: Counter[str] = Counter()
        self._look: asyncio.Task[Moment] | None = None

    def enter(self, visitor: str) -> None:
        """One more listens, until it leaves; for the one thread of the event loop.

        Raises TooManyListenersError where nobody else can be served, or nobody else of this visitor's.
        """
        if self._listeners.total() >= LISTENERS_MAX:
            raise TooManyListenersError(f"{LISTENERS_MAX} listen already: come back later")
        if self._listeners[visitor] >= LISTENERS_A_VISITOR:
            raise TooManyListenersError(f"{LISTENERS_A_VISITOR} listen from {visitor} already")
        self._listeners[visitor] += 1

    def leave(self, visitor: str) -> None:
        """One that entered listens no more."""
        self._listeners[visitor] -= 1
        if not self._listeners[visitor]:
            del self._listeners[visitor]

    @property
    def _source(self) -> Source:
        return self._projection.source

    def now(self) -> Moment:
        """The end of the newest block."""
        head = self._source.head()
        return Moment(head, END_OF_BLOCK, self._mark(head))

    async def next_look(self) -> Moment:
        """The end of the newest block, some time from now: one look serves all who wait for it."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_later())
        return await asyncio.shield(self._look)  # a listener that leaves takes it from nobody else

    async def _look_later(self) -> Moment:
        await asyncio.sleep(POLL_SECONDS)
        return await run_in_threadpool(self.now)

    def holds(self, moment: Moment) -> bool:
        """Whether the chain is still the one that a moment is of."""
        if not self._source.first_block - 1 <= moment.block <= self._source.head():
            return False
        try:
            return self._mark(moment.block) == moment.mark
        except KeyError:  # the chain went back in between
            return False

    def after(self, moment: Moment) -> tuple[Moment, list[bytes]]:
        """What came after a moment that holds, as messages, and the moment that they lead to.

        Raises KeyError where the chain goes back meanwhile.
        """
        last = min(self._source.head(), moment.block + BLOCKS_AT_ONCE)
        told = [
            text
            for block in range(moment.block, last + 1)
            for place, text in self._of_block(block)
            if (place.block, place.log) > (moment.block, moment.log)
        ]
        return Moment(last, END_OF_BLOCK, self._mark(last)), told

    def _mark(self, block: int) -> str:
        return self._source.block_hash(block)[:MARK_BYTES].hex()

    def _of_block(self, block: int) -> tuple[tuple[Moment, bytes], ...]:
        if block < self._source.first_block:
            return ()
        key = block, self._mark(block)
        with self._lock:
            if key not in self._blocks:
                time = self._source.block_time(block)
                self._blocks[key] = tuple(
                    (place := Moment(block, told.log, key[1]), message(place, told, time))
                    for told in self._source.events(block, block)
                )
            self._blocks.move_to_end(key)
            while len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
            return self._blocks[key]


async def messages(feed: Feed, since: Moment | None, ending: Flag) -> AsyncIterator[bytes]:
    """What a listener is sent until `ending`: first where it stands, then every event behind it."""
    if since is None:
        at = await run_in_threadpool(feed.now)
        yield _message("begin", at, {})
    else:
        at = since
    quiet = 0
    while not ending.is_set():
        if not await run_in_threadpool(feed.holds, at):
            at = await run_in_threadpool(feed.now)
            yield _message("reset", at, {})
        try:
            at, told = await run_in_threadpool(feed.after, at)
        except KeyError:
            continue  # the chain went back: the moment holds no more
        if told:
            quiet = 0
            yield b"".join(told)
        while not ending.is_set() and await feed.next_look() == at:
            quiet += 1
            if quiet % QUIET_POLLS == 0:
                yield b": nothing new\n\n"


class Listening(StreamingResponse):
    """The answer to a listener who has entered, and who leaves with its end, whoever ends it."""

    media_type = EVENT_STREAM

    def __init__(self, feed: Feed, visitor: str, content: AsyncIterator[bytes]) -> None:
        super().__init__(content)
        self._feed, self._visitor = feed, visitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer (ASGI)."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.leave(self._visitor)


def message(place: Moment, told: Told, timestamp: int) -> bytes:
    """An event of the contract: its name, where and when, and its members as the contract names them."""
    members = {name: _plain(value) for name, value in asdict(told.event).items()}
    return _message(
        type(told.event).__name__,
        place,
        {"block": told.block, "log": told.log, "timestamp_unix_seconds": timestamp, "members": members},
    )


def _message(kind: str, place: Moment, data: dict[str, Any]) -> bytes:
    """A server-sent event (WHATWG HTML §9.2)."""
    return f"id: {place}\nevent: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, int) and not -SAFE_INTEGER < value < SAFE_INTEGER:
        return str(value)
    return value
