"""The API answers as its OpenAPI description says, whatever it is asked: no failure, no other answer."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI

from ledger.record import Record
from node.api.archive import Finished
from node.api.openapi import UNITS, WORDS
from node.api.sources import RecordSource
from node.client.serving import listening, serving
from tests.audit.described import answers_as_described
from tests.audit.visiting import application, get


@pytest.fixture(scope="module")
def app(source: RecordSource, record: Record) -> FastAPI:
    return application(source, Finished(record, "out/bundle"))


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
    said = {
        member.get("description")
        for schema in schemas.values()
        for member in schema.get("properties", {}).values()
    }
    said |= {each["description"] for told in operations for each in told.get("parameters", ())}
    assert said >= {*WORDS.values(), *UNITS.values()}, "no word stands there for nothing"
    assert len({told["operationId"] for told in operations}) == len(operations)
    assert {told["tags"][0] for told in operations} == {tag["name"] for tag in document["tags"]}


def test_every_number_of_the_description_has_its_unit_or_is_a_count(api: httpx.Client):
    units = ("_wh", "_ueur_per_kwh", "_neur", "_seconds", "_units")
    counts = {
        *("chain_id", "head_block", "buses", "bus", "id", "slot", "orders", "fills", "nonce", "energy_class"),
        *("block", "log", "item", "maker_nonce", "taker_nonce", "meter_epoch", "status", "items", "parent"),
    }
    schemas = get(api, "/openapi.json")["components"]["schemas"]
    for name, schema in schemas.items():
        for member, kind in schema.get("properties", {}).items():
            kinds = {each.get("type") for each in kind.get("anyOf", [kind])}
            assert "integer" not in kinds or member in counts or member.endswith(units), (name, member)


def test_every_resource_is_described_with_its_answers(api: httpx.Client):
    document = get(api, "/openapi.json")
    for path, operations in document["paths"].items():
        if not path.startswith("/v1/") or path == "/v1/events":  # a stream: described by its media type
            continue
        for operation in operations.values():
            assert operation["description"]
            assert operation["tags"]
            for status, answer in operation["responses"].items():
                if status in {"200", "201"}:
                    assert "$ref" in str(answer["content"]["application/json"]["schema"]), path
                else:
                    assert list(answer["content"]) == ["application/problem+json"]
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description"), name


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
