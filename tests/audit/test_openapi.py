"""The API answers as its OpenAPI description says, whatever it is asked: no failure, no other answer."""

from __future__ import annotations

import pytest

from ledger.record import Record
from node.api.app import create_api
from node.api.archive import Finished
from node.api.projection import Projection
from node.api.proofs import Proofs
from node.api.sources import RecordSource
from node.client.serving import listening, serving
from tests.audit.described import answers_as_described


@pytest.mark.needs("schemathesis")
def test_a_finished_market_answers_as_described(record: Record):
    proofs = Proofs(record.bundle.inputs, record.bundle.certificates)
    source = RecordSource(record)
    site = {"exchange": source.exchange, "chain_id": source.chain_id}
    app = create_api(Projection(source), site, archive=Finished(record, "out/bundle"), proofs=proofs)
    with serving(app, listening("127.0.0.1", 0)) as url:
        assert answers_as_described(url) > 30
