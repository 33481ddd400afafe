"""Asks a server whatever it may be asked, and holds its answers to its OpenAPI description."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

EXAMPLES = 3
"""Of each operation, of what its description allows and of what it does not; all of them take seconds."""
ENDLESS = "/v1/events"
UNREADABLE = (b"a\xff", b"\x00", b"{", b"[" * 4_000, b'{"quantity_wh": %s}' % (b"9" * 5_000), b"NaN", b"")
IDS = ("", "1:2:3", "9" * 81, "1:2:00000000", "0:0:zzzzzzzz")
PROBLEM = "application/problem+json"


def answers_as_described(url: str, examples: int = EXAMPLES) -> int:
    """Ask for every operation; how many there are. Needs schemathesis."""
    import schemathesis

    checks = (
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.status_code_conformance,
        schemathesis.checks.content_type_conformance,
        schemathesis.checks.response_schema_conformance,
    )
    operations = schemathesis.openapi.from_url(f"{url}/openapi.json")
    asked, wrongly = 1, 0
    for found in operations.exclude(path=ENDLESS).get_all_operations():
        operation = found.ok()
        ask(operation, schemathesis.GenerationMode.POSITIVE, checks, examples)
        asked += 1
        with suppress(Unsatisfiable):  # it takes nothing, or any text
            ask(operation, schemathesis.GenerationMode.NEGATIVE, checks, examples)
            wrongly += 1
    assert wrongly > asked / 2
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    for path, methods in described.items():
        if "post" in methods:
            hand_in_what_cannot_be_read(url + path, methods["post"]["responses"])
    listen_from_nowhere(url + ENDLESS, described[ENDLESS]["get"]["responses"])
    return asked


def ask(operation: Any, mode: Any, checks: Any, examples: int) -> None:
    """Some examples of an operation."""

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), deadline=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.call_and_validate(checks=checks)

    answered()


def hand_in_what_cannot_be_read(url: str, described: Any) -> None:
    """Bodies that are no JSON, or none that a program can hold."""
    for body in UNREADABLE:
        answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"})
        assert str(answer.status_code) in described, (body[:20], answer.text)
        assert answer.status_code in (422, 429), (body[:20], answer.text)
        assert answer.headers["content-type"] == PROBLEM


def listen_from_nowhere(url: str, described: Any) -> None:
    """Events from ids that may be none; what is answered is looked at before it ends, which it does not."""
    for text in IDS:
        with httpx.stream("GET", url, headers={"Last-Event-ID": text}) as answer:
            told = described[str(answer.status_code)]["content"]
            assert answer.headers["content-type"].split(";")[0] in told, text
            if answer.status_code != 200:
                assert json.loads(answer.read())["status"] == answer.status_code == 422
