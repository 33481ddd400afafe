"""An oracle's server: agents fetch questions and hand in answers, other oracles put proposals.

A body is read only up to the size its kind may have; whatever is refused leaves everything as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool

from ledger import eip712
from ledger.chain.protocol import ChainError
from ledger.eip712 import Domain
from ledger.keys import Key, Signature, recover
from market.atc.messages import Answer, Listening, Question
from market.orders import Address
from node.client.schemas import (
    ANSWER_MAX_BYTES,
    LISTENING_SCHEME,
    PROPOSAL_MAX_BYTES,
    AnswerBody,
    Body,
    HeardBody,
    MalformedError,
    ProposalBody,
    QuestionBody,
    RefusalBody,
    TakenBody,
    UnansweredBody,
    VoteBody,
    address,
    read,
    signature_of,
)
from node.oracle.rounds import AnswerRefusedError, OpenClearing
from node.oracle.verify import NotDueError, ObjectionError

WAIT_MAX_SECONDS = 30.0
INQUIRIES_AT_ONCE = 32
"""Each waits for agents: threads of their own, so that votes and proofs wait for none."""
BAD_REQUEST, UNAUTHORIZED, NOT_FOUND, CONFLICT, TOO_LARGE, NOTHING = 400, 401, 404, 409, 413, 204
UNAVAILABLE = 503


class _Bell:
    """Wakes those who wait on the server's loop; rung from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rung = asyncio.Event()

    def hang(self) -> None:
        """Belong to the loop that runs."""
        self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        """Wake everybody who waits now."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the server stops, and its loop is closed
                self._loop.call_soon_threadsafe(self._swing)

    def _swing(self) -> None:
        self._rung.set()
        self._rung = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Until it rings, or so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)


class Serves(Protocol):
    """What the server needs of an oracle."""

    on_round: Callable[[], None]

    @property
    def key(self) -> Key:
        """Its key."""
        ...

    @property
    def domain(self) -> Domain:
        """The market in which it signs."""
        ...

    @property
    def opened(self) -> OpenClearing | None:
        """The clearing that it coordinates."""
        ...

    def question(self, agent: Address) -> tuple[Question, Signature] | None:
        """What an agent is asked now, for itself or for another oracle."""
        ...

    def take(self, answer: Answer, signature: Signature) -> None:
        """Count an answer. Raises AnswerRefusedError."""
        ...

    def ask_too(self, body: UnansweredBody) -> HeardBody:
        """Ask who did not answer another oracle. Raises ObjectionError."""
        ...

    def vote(self, body: ProposalBody) -> VoteBody:
        """Its vote on another oracle's proposal."""
        ...

    def proof(self, kind: str, digest: bytes) -> bytes | None:
        """What it signed, by its hash."""
        ...


def create_app(oracle: Serves) -> FastAPI:
    """The application over an oracle."""
    bell, inquiries = _Bell(), ThreadPoolExecutor(INQUIRIES_AT_ONCE)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        bell.hang()
        oracle.on_round = bell.ring
        yield
        inquiries.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(title="Wattbook oracle", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.exception_handler(MalformedError)
    def malformed(_request: object, failure: Exception) -> Response:
        return _refusal("malformed", str(failure), BAD_REQUEST)

    @app.exception_handler(RequestValidationError)
    def invalid(_request: object, failure: Exception) -> Response:
        first = failure.errors()[0] if isinstance(failure, RequestValidationError) else {}
        where = ".".join(str(part) for part in first.get("loc", ()))
        return _refusal("malformed", f"{where}: {first.get('msg', '')}", BAD_REQUEST)

    @app.exception_handler(OversizedError)
    def oversized(_request: object, failure: Exception) -> Response:
        return _refusal("oversized", str(failure), TOO_LARGE)

    @app.exception_handler(StrangerError)
    def stranger(_request: object, failure: Exception) -> Response:
        answer = _refusal("not-the-agent", str(failure), UNAUTHORIZED)
        answer.headers["WWW-Authenticate"] = LISTENING_SCHEME
        return answer

    @app.exception_handler(AnswerRefusedError)
    def refused(_request: object, failure: Exception) -> Response:
        rule = failure.rule if isinstance(failure, AnswerRefusedError) else ""
        return _refusal(rule, str(failure), CONFLICT)

    @app.exception_handler(ObjectionError)
    def objects(_request: object, failure: Exception) -> Response:
        rule = "not-due" if isinstance(failure, NotDueError) else "not-an-oracle"
        return _refusal(rule, str(failure), CONFLICT)

    @app.exception_handler(ChainError)
    def without_chain(_request: object, failure: Exception) -> Response:
        return _refusal("no-chain", str(failure), UNAVAILABLE)

    @app.get("/health")
    def health() -> dict[str, Any]:
        """Who this is, and which clearing it coordinates."""
        opened = oracle.opened
        clearing = None if opened is None else {"slot": opened.slot, "purpose": opened.purpose}
        return {"ok": True, "address": oracle.key.address, "clearing": clearing}

    @app.get("/question/{agent}")
    async def question(
        agent: str,
        wait: Annotated[float, Query(ge=0, le=WAIT_MAX_SECONDS)] = 0.0,
        authorization: Annotated[str, Header()] = "",
    ) -> Response:
        """What an agent is asked, waited for, until its answer is taken; 204 where it is asked nothing."""
        who = _listener(agent, authorization, oracle.domain)
        ends = asyncio.get_running_loop().time() + wait
        while True:
            found = oracle.question(who)
            if found is not None:
                return _json(QuestionBody.of(*found))
            left = ends - asyncio.get_running_loop().time()
            if left <= 0:
                return Response(status_code=NOTHING)
            try:
                await bell.wait(left)
            except asyncio.CancelledError:  # the server stops, and asks nothing any more
                return Response(status_code=NOTHING)

    @app.post("/answer")
    async def answer(request: Request) -> Response:
        """Take an answer, or say which rule it breaks."""
        receive(oracle, await _read(request, ANSWER_MAX_BYTES))
        return _json(TakenBody(taken=True))

    @app.post("/unanswered")
    async def unanswered(request: Request) -> Response:
        """Ask who did not answer another oracle, and hand on what they answer."""
        body = read(UnansweredBody, await _read(request, PROPOSAL_MAX_BYTES))
        return _json(await asyncio.get_running_loop().run_in_executor(inquiries, oracle.ask_too, body))

    @app.post("/proposal")
    async def proposal(request: Request) -> Response:
        """Vote on another oracle's proposal."""
        body = read(ProposalBody, await _read(request, PROPOSAL_MAX_BYTES))
        return _json(await run_in_threadpool(oracle.vote, body))

    @app.get("/{kind}/{digest}")
    def proof(kind: str, digest: str) -> Response:
        """A certificate or inputs that this oracle signed."""
        with suppress(ValueError):
            found = oracle.proof(kind, bytes.fromhex(digest))
            if found is not None:
                return Response(found, media_type="application/octet-stream")
        return _refusal("unknown", "no such proof was signed here", NOT_FOUND)

    return app


class OversizedError(Exception):
    """A body is longer than its kind may be."""


class StrangerError(Exception):
    """Who asks for an account's questions has not shown that it has the account's key."""


class Takes(Protocol):
    """Whoever counts answers: a clearing, or an oracle."""

    def take(self, answer: Answer, signature: Signature) -> None:
        """Count an answer. Raises AnswerRefusedError."""
        ...


def receive(by: Takes, data: bytes) -> None:
    """Take the answer in a body. Raises OversizedError, MalformedError, AnswerRefusedError."""
    if len(data) > ANSWER_MAX_BYTES:
        raise OversizedError(f"the body has more than {ANSWER_MAX_BYTES} bytes")
    body = read(AnswerBody, data)
    by.take(body.record(), signature_of(body.signature))


def _listener(agent: str, authorization: str, domain: Domain) -> Address:
    """The account that asks for its questions. Raises MalformedError, StrangerError."""
    try:
        who = address(agent)
    except ValueError:
        raise MalformedError(f"{agent[:80]}: not an address") from None
    scheme, _, told = authorization.partition(" ")
    try:
        signature = signature_of(told)
    except ValueError:
        signature = None
    if scheme != LISTENING_SCHEME or signature is None:
        raise StrangerError(
            f"no `Authorization: {LISTENING_SCHEME} SIGNATURE`, {eip712.LISTENING_TYPE} signed"
        )
    if recover(eip712.digest(domain, Listening(who)), signature) != who:
        raise StrangerError(f"not signed by {who}")
    return who


async def _read(request: Request, limit: int) -> bytes:
    """A body, no further than it may be long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise OversizedError(f"the body has more than {limit} bytes")
    return bytes(body)


def _json(body: Body, status: int = 200) -> Response:
    return Response(body.model_dump_json(), status_code=status, media_type="application/json")


def _refusal(rule: str, reason: str, status: int) -> Response:
    return _json(RefusalBody(refusal=rule, reason=reason), status)
