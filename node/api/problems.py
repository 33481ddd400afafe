"""What the API answers where it cannot do what it was asked: problem details (RFC 9457), one kind a rule.

`type` names the kind for programs, `title` says it for people, `detail` what was wrong this time. Input is
never echoed beyond its first 80 characters. Browsers that ask for a page are told the same on one.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from ledger.chain.protocol import ChainUnavailable
from node.api.bills import UnknownPaymentError
from node.api.desk import (
    BusyError,
    NoCoinsError,
    NoNonceError,
    NoTestAccountError,
    OrderRefusedError,
    ReadOnlyError,
    SignatureError,
)
from node.api.feed import TooManyListenersError
from node.api.flows import UnknownFlowsError
from node.api.paging import CursorError
from node.api.proofs import UnknownProofError
from node.api.resources import UnknownSlotError
from node.api.sources import UnknownAccountError
from node.web.pages import render

MEDIA_TYPE = "application/problem+json"
PAGE = "text/html"
BLANK = "about:blank"
"""The type of a problem that its HTTP status says all of (RFC 9457 §4.2.1)."""
URN = "urn:wattbook:problem:"
SHOWN_CHARACTERS = 200


class Fault(BaseModel):
    """One input that breaks a rule."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    where: str
    """Part of the request and name, as `query.limit`."""
    problem: str
    """What was allowed."""


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str
    """The kind of problem: `about:blank`, or a name under `urn:wattbook:problem:`."""
    title: str
    """The kind, in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What was wrong this time."""
    faults: list[Fault] = []
    """Each input that breaks a rule, for `urn:wattbook:problem:input`."""


KINDS: Mapping[type[Exception], tuple[str, str, int]] = {
    UnknownSlotError: ("unknown-slot", "The market has no such slot", 404),
    UnknownAccountError: ("unknown-account", "The address is not registered", 404),
    UnknownFlowsError: ("unknown-flows", "No clearing of the slot is at hand", 404),
    UnknownProofError: ("unknown-proof", "No such proof is here", 404),
    UnknownPaymentError: ("unknown-payment", "Nothing was paid there", 404),
    CursorError: ("cursor", "No place in a list", 422),
    ReadOnlyError: ("read-only", "No orders are taken here", 403),
    NoTestAccountError: ("no-test-account", "Nobody signs here for the address", 403),
    SignatureError: ("signature", "The signature is not the trader's", 422),
    OrderRefusedError: ("order-refused", "The contract refuses the order", 409),
    NoNonceError: ("no-nonce", "Every nonce of the slot is used", 409),
    TooManyListenersError: ("listeners", "No room for another listener", 503),
    NoCoinsError: ("no-coins", "Nobody can pay for the order's gas", 503),
    BusyError: ("busy", "The order could not be relayed now", 503),
    ChainUnavailable: ("chain", "The chain does not answer", 503),
}
"""Name, title and status of each exception that is an answer."""

WHY: Mapping[int, str] = {
    403: "Not from here, or not by this server.",
    404: "There is no such thing.",
    409: "The market does not allow it now.",
    413: "The body is too large.",
    421: "The request names this server by a name that is not its own.",
    422: "An input breaks a rule.",
    429: "Too many requests; Retry-After says when to come back.",
    503: "Not now.",
}
"""What a status of a refusal says, for the OpenAPI description."""


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI description of routes that can refuse with these."""
    return {status: {"model": Problem, "description": WHY[status]} for status in statuses}


DESCRIBED = described(404, 422)
"""How a route that only reads may refuse."""


def answer_with_problems(app: FastAPI) -> None:
    """Let every refusal of an application be a problem document."""
    for kind in KINDS:
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(HTTPException, _by_status)
    app.add_exception_handler(RequestValidationError, _invalid)


def problem_answer(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A refusal of which the status says all."""
    return _document(Problem(type=BLANK, title=status.phrase, status=status, detail=detail), headers)


def _document(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(problem.model_dump(exclude_defaults=True), problem.status, headers, MEDIA_TYPE)


def _answer(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A page for who asked for a page where there are pages, else the document."""
    path = request.url.path
    of_data = path.startswith("/v1/") or path.endswith(".json")
    if not of_data and PAGE in request.headers.get("accept", ""):
        return HTMLResponse(render("problem.html", problem=problem), problem.status, headers)
    return _document(problem, headers)


def _refused(request: Request, failure: Exception) -> Response:
    name, title, status = KINDS[type(failure)]
    detail = str(failure.args[0])[:SHOWN_CHARACTERS]
    return _answer(request, Problem(type=URN + name, title=title, status=status, detail=detail))


def _by_status(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, HTTPException)
    if failure.status_code == HTTPStatus.BAD_REQUEST:  # only what cannot be read as JSON at all is called so
        return _answer(request, _of_faults([Fault(where="body", problem="is no JSON that can be read")]))
    status, detail = HTTPStatus(failure.status_code), str(failure.detail)
    if detail == status.phrase:
        detail = status.description
    problem = Problem(type=BLANK, title=status.phrase, status=status.value, detail=detail)
    return _answer(request, problem, failure.headers)


def _invalid(request: Request, failure: Exception) -> Response:
    assert isinstance(failure, RequestValidationError)
    faults = [
        Fault(where=".".join(str(part)[:80] for part in each["loc"]), problem=each["msg"])
        for each in failure.errors()
    ]
    return _answer(request, _of_faults(faults))


def _of_faults(faults: list[Fault]) -> Problem:
    detail = "; ".join(f"{fault.where}: {fault.problem}" for fault in faults)
    return Problem(
        type=URN + "input", title="An input breaks a rule", status=422, detail=detail, faults=faults
    )
