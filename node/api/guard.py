"""What every request must pass before anything reads it, and what every answer carries.

A page of somebody else's that is open in a browser can reach this machine's ports. So requests must name
this server by its address (a name that was rebound to it is refused), pages of other origins may change
nothing, and bodies are small and not too many. Answers let a browser load nothing from elsewhere, run nothing
that is written into a page, and show no page in a frame.
"""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from ipaddress import ip_address

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.api.limits import Buckets
from node.api.problems import problem_answer

BODY_BYTES_MAX = 8_192
"""An order is a tenth of that."""
POSTS_PER_SECOND, POSTS_AT_ONCE = 10.0, 40
READING = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "; ".join(POLICY),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:[0-9]{1,5})?")


class RefusedRequest(Exception):  # noqa: N818 (an answer, not a failure)
    """A request that is not read: the HTTP status and why."""

    def __init__(self, status: HTTPStatus, detail: str, retry_seconds: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {} if retry_seconds is None else {"Retry-After": str(retry_seconds)}


def guard(app: FastAPI, host: str, posts: Buckets | None = None) -> None:
    """Let every request pass the guard of a server at `host`, a name or an address of this machine."""
    app.add_middleware(_Guard, host=host.lower(), posts=posts or Buckets(POSTS_PER_SECOND, POSTS_AT_ONCE))


class _Guard:
    def __init__(self, app: ASGIApp, host: str, posts: Buckets) -> None:
        self._app, self._host, self._posts = app, host, posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                _secure(MutableHeaders(scope=message))
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check_host(headers)
            if scope["method"] not in READING:
                _check_origin(headers)
                self._check_rate(scope)
                receive = await _whole(headers, receive)
        except RefusedRequest as refused:
            answer = problem_answer(refused.status, refused.detail, refused.headers)
            await answer(scope, receive, send_secured)
        else:
            await self._app(scope, receive, send_secured)

    def _check_host(self, headers: Headers) -> None:
        """The server is named by an address, as localhost, or as it was told: names can be rebound."""
        name = _host_name(headers.get("host", ""))
        if name not in {"localhost", self._host} and not _is_address(name):
            raise RefusedRequest(
                HTTPStatus.MISDIRECTED_REQUEST, f"this server is not {name[:80]!r}: use its address"
            )

    def _check_rate(self, scope: Scope) -> None:
        visitor = (scope.get("client") or ("",))[0]
        if wait := self._posts.take(visitor):
            raise RefusedRequest(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"at most {POSTS_PER_SECOND:g} requests a second that change something",
                math.ceil(wait),
            )


def _host_name(host: str) -> str:
    found = _HOST.fullmatch(host)
    return found["name"].lower().strip("[]") if found else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _check_origin(headers: Headers) -> None:
    """Pages of other origins may not post; programs send no origin."""
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        raise RefusedRequest(HTTPStatus.FORBIDDEN, f"pages of {origin[:80]!r} may not post here")


async def _whole(headers: Headers, receive: Receive) -> Receive:
    """The body read to its end, as one message. Raises RefusedRequest where it is too large."""
    too_large = RefusedRequest(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {BODY_BYTES_MAX} bytes"
    )
    told = headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > BODY_BYTES_MAX:
        raise too_large
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_BYTES_MAX:
            raise too_large
    waiting = [{"type": "http.request", "body": bytes(body), "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _secure(headers: MutableHeaders) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
