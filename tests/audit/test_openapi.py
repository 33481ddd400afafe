"""The API answers as its OpenAPI description says, whatever it is asked: no failure, no other answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ledger.record import Record
from node.api.app import create_api
from node.api.archive import Finished
from node.api.projection import Projection
from node.api.proofs import Proofs
from node.api.sources import RecordSource
from node.client.serving import listening, serving

schemathesis = pytest.importorskip("schemathesis", reason="no schemathesis")
CHECKS = (
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
)
EXAMPLES = 6
"""Of each operation; all of them take seconds."""


@pytest.fixture(scope="module")
def description(record: Record) -> Iterator[Any]:
    """The description of a server over the small market's record."""
    proofs = Proofs(record.bundle.inputs, record.bundle.certificates)
    source = RecordSource(record)
    site = {"exchange": source.exchange, "chain_id": source.chain_id}
    app = create_api(Projection(source), site, archive=Finished(record, "out/bundle"), proofs=proofs)
    with serving(app, listening("127.0.0.1", 0)) as url:
        found = schemathesis.openapi.from_url(f"{url}/openapi.json")
        yield found.exclude(path="/v1/events")  # it never ends; tests/audit/test_feed.py listens


def test_answers_are_as_described(description: Any):
    asked = 0
    for found in description.get_all_operations():
        operation = found.ok()

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answers_as_described(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        answers_as_described()
        asked += 1
    assert asked > 30
