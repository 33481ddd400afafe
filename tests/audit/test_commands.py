"""The commands that pages tell: names that hold where the visitor is, and nothing taken on trust."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ledger.audit import audit
from ledger.record import Record
from node.api.app import create_api
from node.api.archive import Archive, Finished, Growing
from node.api.commands import Commands, addressed
from node.api.projection import Projection
from node.api.proofs import NO_PROOFS, Proofs
from node.api.sources import RecordSource
from node.api.verification import Verified
from node.api.views import audit_resource
from node.client.serving import listening, serving

EVERYWHERE = "http://0.0.0.0:8545"
PROOFS = Proofs({b"": b""}, {b"": b""})


@pytest.mark.parametrize(
    ("url", "visited", "found"),
    [
        (EVERYWHERE, "http://192.0.2.7:8000", "http://192.0.2.7:8545"),
        (EVERYWHERE, "http://localhost:8000", "http://localhost:8545"),
        ("http://[::]:8545", "http://[2001:db8::1]:8000", "http://[2001:db8::1]:8545"),
        ("http://127.0.0.1:8545", "http://192.0.2.7:8000", "http://127.0.0.1:8545"),
        ("http://node.example", "http://192.0.2.7:8000", "http://node.example"),
        ("URL", "http://192.0.2.7:8000", "URL"),
    ],
)
def test_what_listens_everywhere_is_named_as_it_was_reached(url: str, visited: str, found: str):
    assert addressed(url, visited) == found


def commands(record: Record, archive: Archive, proofs: Proofs = NO_PROOFS) -> Commands:
    return Commands({"rpc_url": EVERYWHERE}, Projection(RecordSource(record)), archive, proofs)


def test_command_on_a_node_brings_the_proofs_that_are_served(record: Record):
    archive = Growing(RecordSource(record), lambda: record)
    visited = "http://192.0.2.7:8000"
    on_node = f"http://192.0.2.7:8545 --exchange {record.exchange}"
    assert commands(record, archive).audit(visited) == f"wattbook audit {on_node}"
    assert commands(record, archive, PROOFS).audit(visited) == f"wattbook audit {on_node} --proofs {visited}"
    assert commands(record, archive).explain(visited, "1:2") == f"wattbook audit explain {on_node} 1:2"


def test_command_on_a_bundle_names_no_head_of_its_own(record: Record):
    told = commands(record, Finished(record, "out/a b"), PROOFS)
    assert told.audit("http://localhost") == "wattbook audit 'out/a b'"
    assert told.explain("http://localhost", "1:2") == "wattbook audit explain 'out/a b' 1:2"


def test_deployment_names_its_urls_as_the_visitor_found_it(record: Record):
    site: dict[str, Any] = {"rpc_url": EVERYWHERE, "api_url": "http://0.0.0.0:8000", "chain_id": 1}
    app = create_api(Projection(RecordSource(record)), site)
    with serving(app, listening("127.0.0.1", 0)) as url:
        told = httpx.get(f"{url}/deployment.json", headers={"Host": "192.0.2.7:80"}).json()
        refused = httpx.get(f"{url}/deployment.json", headers={"Host": "evil.example"})
    assert told == {"rpc_url": "http://192.0.2.7:8545", "api_url": "http://192.0.2.7:8000", "chain_id": 1}
    assert refused.status_code == 421


def test_a_check_that_looked_at_nothing_does_not_pass(record: Record):
    told = audit_resource(Verified(audit(record, ["checkpoint", "signatures"]), 1))
    checkpoint, signatures = told.checks
    assert (checkpoint.items, checkpoint.ok, checkpoint.status) == (0, None, "nothing")
    assert (signatures.ok, signatures.status) == (True, "ok")
    assert (told.ok, told.conclusion) == (True, "clean")
