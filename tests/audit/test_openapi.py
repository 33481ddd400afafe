"""The API answers as its OpenAPI description says, whatever it is asked: no failure, no other answer."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI

from ledger.record import Record
from node.api.app import create_api
from node.api.archive import Finished
from node.api.projection import Projection
from node.api.proofs import Proofs
from node.api.sources import RecordSource
from node.client.serving import listening, serving
from tests.audit.described import answers_as_described


@pytest.fixture(scope="module")
def app(record: Record) -> FastAPI:
    proofs = Proofs(record.bundle.inputs, record.bundle.certificates)
    source = RecordSource(record)
    site = {"exchange": source.exchange, "chain_id": source.chain_id}
    return create_api(Projection(source), site, archive=Finished(record, "out/bundle"), proofs=proofs)


def test_everything_is_described_in_words(app: FastAPI):
    document = app.openapi()
    schemas = document["components"]["schemas"]
    silent = [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, told in schema.get("properties", {}).items()
        if not told.get("description")
    ]
    operations = [told for methods in document["paths"].values() for told in methods.values()]
    silent += [
        f"{told['operationId']}: {each['name']}"
        for told in operations
        for each in told.get("parameters", ())
        if not each.get("description")
    ]
    assert silent == []
    assert len({told["operationId"] for told in operations}) == len(operations)
    assert {told["tags"][0] for told in operations} == {tag["name"] for tag in document["tags"]}


def test_docs_have_every_operation_and_schema(app: FastAPI):
    document = app.openapi()
    with serving(app, listening("127.0.0.1", 0)) as url:
        page = httpx.get(f"{url}/docs").text
        assert 'href="/docs"' in httpx.get(url).text
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            assert f'id="{told["operationId"]}"' in page
    linked = set(re.findall(r'href="#(\w+)"', page))
    assert linked <= set(re.findall(r'id="(\w+)"', page))
    assert {"OrderBody", "SlotsView", "Problem"} <= linked


@pytest.mark.needs("schemathesis")
def test_a_finished_market_answers_as_described(app: FastAPI):
    with serving(app, listening("127.0.0.1", 0)) as url:
        assert answers_as_described(url) > 30
