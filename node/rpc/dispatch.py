"""JSON-RPC 2.0: from the bytes of a body to the bytes of an answer, single requests and batches."""

from __future__ import annotations

import inspect
import json
import logging
import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from ledger.chain.protocol import ChainError
from node.rpc import untrusted
from node.rpc.engine import Engine
from node.rpc.errors import (
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    MethodNotFoundError,
    ParseError,
    RpcError,
    of_chain,
)
from node.rpc.methods import METHODS, Method
from node.rpc.subscriptions import Subscriptions

BODY_MAX_BYTES = 10 * 1024 * 1024
BATCH_MAX = 1_000

_LOG = logging.getLogger("wattbook.rpc")
SUBSCRIBING: dict[str, Method] = {
    "eth_subscribe": Subscriptions.subscribe,
    "eth_unsubscribe": Subscriptions.unsubscribe,
}
"""Methods of a connection."""
_SIGNATURES = {name: inspect.signature(method) for name, method in (METHODS | SUBSCRIBING).items()}


@dataclass(frozen=True, slots=True)
class _Peer:
    engine: Engine
    subscriptions: Subscriptions | None


def answer(engine: Engine, body: bytes, subscriptions: Subscriptions | None = None) -> bytes | None:
    """Answer a request or a batch; None where all of it are notifications. Never raises.

    `subscriptions` are those of the connection, where it can have any.
    """
    try:
        response = _answer_any(_Peer(engine, subscriptions), _parsed(body))
    except RpcError as refusal:
        response = _response(None, refusal)
    return None if response is None else json.dumps(response, separators=(",", ":")).encode()


def refusal(error: RpcError) -> bytes:
    """Answer to a body that was not even read."""
    return json.dumps(_response(None, error), separators=(",", ":")).encode()


def _parsed(body: bytes) -> Any:
    try:
        return untrusted.parse(body)
    except ValueError:
        raise ParseError("the body is not JSON") from None


def _answer_any(peer: _Peer, request: Any) -> Any:
    if not isinstance(request, list):
        return _answer_one(peer, request)
    if not request:
        raise InvalidRequestError("the batch is empty")
    if len(request) > BATCH_MAX:
        raise InvalidRequestError(f"the batch has {len(request)} requests, more than {BATCH_MAX}")
    responses = [_answer_one(peer, each) for each in request]
    return [response for response in responses if response is not None] or None


def _answer_one(peer: _Peer, request: Any) -> dict[str, Any] | None:
    """Answer to one request, None to a notification."""
    identifier = request.get("id") if isinstance(request, dict) else None
    if not isinstance(identifier, str | int | float | None) or isinstance(identifier, bool):
        return _response(None, InvalidRequestError("the id is neither string, number nor null"))
    if isinstance(identifier, float) and not math.isfinite(identifier):  # 1e999, which JSON cannot say back
        return _response(None, InvalidRequestError("the id is beyond all numbers"))
    outcome = _outcome(peer, request)
    is_notification = isinstance(request, dict) and "id" not in request
    if is_notification and not isinstance(outcome, InvalidRequestError):
        return None
    return _response(identifier, outcome)


def _outcome(peer: _Peer, request: Any) -> Any:
    """Result of a request, or the RpcError it earns."""
    try:
        name, arguments = _checked(request)
        with peer.engine.lock:
            if name not in SUBSCRIBING:
                result = METHODS[name](peer.engine, *arguments)
            elif peer.subscriptions is None:
                raise MethodNotFoundError(f"the method {name} is for WebSocket connections only")
            else:
                result = SUBSCRIBING[name](peer.subscriptions, *arguments)
        return peer.engine.finished(result) if isinstance(result, Generator) else result
    except RpcError as refusal:
        return refusal
    except ChainError as failure:
        told = of_chain(failure)
        if isinstance(told, InternalError):
            _LOG.error("a request failed: %s", failure)
        return told
    except Exception:  # whatever it is, the client gets no traceback and the server goes on
        _LOG.exception("a request failed")
        return InternalError("internal error")


def _checked(request: Any) -> tuple[str, list[Any]]:
    """Method and parameters of a well-formed request."""
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
        raise InvalidRequestError("not a JSON-RPC 2.0 request")
    name, arguments = request.get("method"), request.get("params")
    arguments = [] if arguments is None else arguments
    if not isinstance(name, str):
        raise InvalidRequestError("the method is not a string")
    if name not in _SIGNATURES:
        raise MethodNotFoundError(f"the method {name[:80]} does not exist")
    if not isinstance(arguments, list):
        raise InvalidParamsError("params: not a list")
    try:
        _SIGNATURES[name].bind(None, *arguments)
    except TypeError:
        raise InvalidParamsError(f"params: {name} does not take {len(arguments)}") from None
    return name, arguments


def _response(identifier: Any, outcome: Any) -> dict[str, Any]:
    head = {"jsonrpc": "2.0", "id": identifier}
    return head | ({"error": outcome.answer()} if isinstance(outcome, RpcError) else {"result": outcome})
