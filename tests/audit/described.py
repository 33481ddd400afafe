"""Asks a server whatever its OpenAPI description allows, and holds its answers to it."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings

EXAMPLES = 6
"""Of each operation; all of them take seconds."""
ENDLESS = "/v1/events"


def answers_as_described(url: str) -> int:
    """Ask for every operation but the events, which never end; how many there are. Needs schemathesis."""
    import schemathesis

    checks = (
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.status_code_conformance,
        schemathesis.checks.content_type_conformance,
        schemathesis.checks.response_schema_conformance,
    )
    operations = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path=ENDLESS)
    asked = 0
    for found in operations.get_all_operations():
        ask(found.ok(), checks)
        asked += 1
    return asked


def ask(operation: Any, checks: Any) -> None:
    """Some examples of an operation."""

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None)
    @given(case=operation.as_strategy())
    def answered(case: Any) -> None:
        case.call_and_validate(checks=checks)

    answered()
