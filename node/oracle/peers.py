"""The other oracles, asked all at once: each on a thread of its own, which nobody waits for.

A request's own timeout is one of silence: a peer that says a byte now and then would keep it for ever. So
whoever asks stops waiting at a second of its own, and a peer that has not ended requests of before gets no
more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import BoundedSemaphore, Lock, Thread
from typing import TypeVar

from node.client.complaints import Complaints
from node.client.http import Client, UnreachableError

CALLS_AT_ONCE = 4
"""Requests to one peer that may be under way."""

T = TypeVar("T")


class Peers:
    """The other oracles by their URLs; which of them is away, and is there again, is told once each."""

    def __init__(self, urls: Sequence[str], tell: Callable[[str], None] = lambda line: None) -> None:
        self.urls = tuple(urls)
        self._calls = {url: BoundedSemaphore(CALLS_AT_ONCE) for url in self.urls}
        self._complaints = {url: Complaints(tell) for url in self.urls}
        self._telling = Lock()

    def ask(self, question: Callable[[Client], T], patience_seconds: float) -> list[Future[T]]:
        """What each answers to a question, or the ServiceError why it does not; maybe never."""
        return [self._begun(url, question, patience_seconds) for url in self.urls]

    def _begun(self, url: str, question: Callable[[Client], T], patience_seconds: float) -> Future[T]:
        answer: Future[T] = Future()
        calls = self._calls[url]
        if not calls.acquire(blocking=False):
            failed = UnreachableError(f"{url}: has not ended {CALLS_AT_ONCE} requests of before")
            self._away(url, failed)
            answer.set_exception(failed)
            return answer

        def call() -> None:
            try:
                found = question(Client(url, patience_seconds))
                self._there(url)
                answer.set_result(found)
            except UnreachableError as failure:
                self._away(url, failure)
                answer.set_exception(failure)
            except Exception as failure:  # whoever asked sees it
                self._there(url)
                answer.set_exception(failure)
            finally:
                calls.release()

        Thread(target=call, daemon=True).start()
        return answer

    def _away(self, url: str, failure: UnreachableError) -> None:
        with self._telling:
            self._complaints[url].wrong(f"oracle {failure}")

    def _there(self, url: str) -> None:
        with self._telling:
            self._complaints[url].well(f"oracle {url}: is there")
