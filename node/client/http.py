"""The one HTTP client of commands, agents and oracles.

ServiceError
├── UnreachableError    nobody answers there, or not in time
├── RefusedError        the service took the message for wrong; `rule` and reason are its own words
└── AnswerError         what it answered is no message of ours
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests

from ledger.keys import Signature
from market.orders import Address
from node.client.schemas import (
    LISTENING_SCHEME,
    PROPOSAL_MAX_BYTES,
    AnswerBody,
    B,
    HeardBody,
    MalformedError,
    OutlookBody,
    ProposalBody,
    QuestionBody,
    RefusalBody,
    SignedCancelBody,
    SignedOrderBody,
    TakenBody,
    UnansweredBody,
    VoteBody,
    read,
    signature_text,
)

CONNECT_SECONDS = 3.0
QUIET_SECONDS = 60.0
"""A stream that says nothing for longer is dead: the market sends a comment every 15 seconds."""
PIECE_BYTES = 65_536
NOTHING = 204
SHOWN_CHARACTERS = 200


class ServiceError(Exception):
    """A service could not be used; the message names it."""


class UnreachableError(ServiceError):
    """Nobody answers at this address."""


class RefusedError(ServiceError):
    """The service refused the message."""

    def __init__(self, url: str, rule: str, reason: str) -> None:
        super().__init__(f"{url}: {rule}: {reason}")
        self.rule = rule
        self.reason = reason


class AnswerError(ServiceError):
    """The service answered what nobody can read."""


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """One event of the market; `id` is what a listener goes on from, `kind` the contract's name of it."""

    id: str
    kind: str
    data: dict[str, Any]


class Client:
    """Talks to one service. For one thread; `patience_seconds` is how long it waits for an answer."""

    def __init__(self, url: str, patience_seconds: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._patience_seconds = patience_seconds
        self._session = requests.Session()

    # --- the market's own server ----------------------------------------------------------------

    def deployment(self) -> dict[str, Any]:
        """The document that says where the market is."""
        return self._document("/deployment.json")

    def outlook(self, slot: int, purpose: int) -> OutlookBody:
        """What the utility publishes for a clearing."""
        return self._get(OutlookBody, f"/outlook/{slot}/{purpose}.json")

    def devices(self, account: int) -> dict[str, Any]:
        """What a testnet's account has, by its number. Raises RefusedError."""
        return self._document(f"/devices/{account}.json")

    # --- resources, version 1 -------------------------------------------------------------------

    def resource(self, path: str, **query: str | int | bool) -> dict[str, Any]:
        """A resource by its path under the version, as `slots/7/book`. Raises ServiceError."""
        return self._document(_path(path, query))

    def items(self, path: str, **query: str | int | bool) -> Iterator[dict[str, Any]]:
        """Every item of a list, as `orders`, piece by piece while they are asked for. Raises ServiceError."""
        while True:
            found = self.resource(path, **query)
            yield from found["items"]
            if found["next"] is None:
                return
            query["after"] = found["next"]

    def place(self, order: SignedOrderBody) -> dict[str, Any]:
        """Hand in a signed order; what became of it. Raises RefusedError."""
        return self._document(_path("orders", {}), order.model_dump_json().encode())

    def cancel(self, cancel: SignedCancelBody) -> dict[str, Any]:
        """Hand in a signed cancel; what became of the order. Raises RefusedError."""
        return self._document(_path("cancels", {}), cancel.model_dump_json().encode())

    def events(self, since: str = "") -> Iterator[HeardEvent]:
        """The market's events as they happen, from now or from an id on; ends where the connection does.

        Raises ServiceError.
        """
        url = self.url + _path("events", {})
        headers = {"Last-Event-ID": since} if since else {}
        try:
            with self._session.get(
                url, headers=headers, timeout=(CONNECT_SECONDS, QUIET_SECONDS), stream=True
            ) as answer:
                if not answer.ok:
                    raise self._refused(url, answer.status_code, _body(answer, url))
                yield from heard(answer.iter_lines(1))
        except requests.RequestException as failure:
            raise UnreachableError(f"{self.url}: does not answer: {_why(failure)}") from None

    # --- oracles --------------------------------------------------------------------------------

    def question(self, agent: Address, listening: Signature, wait_seconds: float) -> QuestionBody | None:
        """The question that waits for an agent's answer; None if none comes. `listening` says who asks."""
        data = self._send(
            "GET",
            f"/question/{agent}?wait={wait_seconds:g}",
            patience_seconds=wait_seconds + self._patience_seconds,
            headers={"Authorization": f"{LISTENING_SCHEME} {signature_text(listening)}"},
        )
        return None if data is None else self._read(QuestionBody, data)

    def answer(self, body: AnswerBody) -> None:
        """Hand an answer in. Raises RefusedError."""
        self._post(TakenBody, "/answer", body)

    def vote(self, body: ProposalBody) -> VoteBody:
        """Put a proposal before another oracle."""
        return self._post(VoteBody, "/proposal", body)

    def ask_too(self, body: UnansweredBody) -> HeardBody:
        """Have another oracle ask who did not answer."""
        return self._post(HeardBody, "/unanswered", body)

    def proof(self, kind: str, digest: bytes) -> bytes:
        """A certificate, or its inputs, by the SHA-256 that the chain has of it."""
        data = self._send("GET", f"/{kind}/{digest.hex()}")
        return b"" if data is None else data

    # --- inside ---------------------------------------------------------------------------------

    def _document(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        data = self._send("GET" if body is None else "POST", path, body)
        try:
            document = json.loads(data or b"")
        except ValueError:
            raise AnswerError(f"{self.url}{path}: answered no JSON") from None
        if not isinstance(document, dict):
            raise AnswerError(f"{self.url}{path}: answered no object")
        return document

    def _get(self, kind: type[B], path: str) -> B:
        return self._read(kind, self._send("GET", path) or b"")

    def _post(self, kind: type[B], path: str, body: Any) -> B:
        return self._read(kind, self._send("POST", path, body.model_dump_json().encode()) or b"")

    def _read(self, kind: type[B], data: bytes) -> B:
        try:
            return read(kind, data)
        except MalformedError as failure:
            raise AnswerError(f"{self.url}: answered {failure}") from None

    def _send(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        *,
        patience_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes | None:
        """One exchange; None where there is nothing to say. Raises ServiceError."""
        url = self.url + path
        patience = self._patience_seconds if patience_seconds is None else patience_seconds
        headers = {**(headers or {}), **({} if data is None else {"Content-Type": "application/json"})}
        try:
            with self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                timeout=(CONNECT_SECONDS, patience),
                stream=True,
                allow_redirects=False,
            ) as answer:
                found = _body(answer, url)
        except (requests.RequestException, UnicodeError) as failure:
            raise UnreachableError(f"{self.url}: does not answer: {_why(failure)}") from None
        if answer.status_code == NOTHING:
            return None
        if answer.is_redirect:
            raise AnswerError(f"{url}: sends elsewhere; name the server itself")
        if not answer.ok:
            raise self._refused(url, answer.status_code, found)
        return found

    def _refused(self, url: str, status: int, found: bytes) -> RefusedError:
        try:
            refusal = read(RefusalBody, found)
        except MalformedError:
            return _problem(url, status, found)
        return RefusedError(url, refusal.refusal, refusal.reason)


def _path(path: str, query: Mapping[str, str | int | bool]) -> str:
    told = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return f"/v1/{path}" + (f"?{urlencode(told)}" if told else "")


def heard(lines: Iterable[bytes]) -> Iterator[HeardEvent]:
    """Events from the lines of a stream (WHATWG HTML §9.2), as the market sends them. Raises AnswerError."""
    members: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode(errors="replace").partition(": ")
        if line:
            members[name] = value
            continue
        if members.keys() >= {"id", "event", "data"}:
            try:
                yield HeardEvent(members["id"], members["event"], json.loads(members["data"]))
            except ValueError:
                raise AnswerError(f"event {members['id'][:80]}: no JSON") from None
        members = {}


def _problem(url: str, status: int, found: bytes) -> RefusedError:
    """A refusal as a problem document (RFC 9457) tells it, or what was answered in its place."""
    try:
        problem = json.loads(found)
        title, detail = problem["title"], problem["detail"]
    except (ValueError, LookupError, TypeError, RecursionError):
        title, detail = f"status {status}", found.decode(errors="replace")
    return RefusedError(url, str(title)[:SHOWN_CHARACTERS], str(detail)[:SHOWN_CHARACTERS])


def _body(answer: requests.Response, url: str) -> bytes:
    """The body of an answer, no longer than any message of ours."""
    found = bytearray()
    for piece in answer.iter_content(PIECE_BYTES):
        found += piece
        if len(found) > PROPOSAL_MAX_BYTES:
            raise AnswerError(f"{url}: answered more than {PROPOSAL_MAX_BYTES} bytes")
    return bytes(found)


def _why(failure: Exception) -> str:
    if isinstance(failure, requests.Timeout):
        return "no answer in time"
    return "no connection" if isinstance(failure, requests.ConnectionError) else type(failure).__name__
