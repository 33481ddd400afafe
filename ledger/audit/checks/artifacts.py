"""`artifacts`: the exchange that ran is this version's source, set up as its events say."""

from __future__ import annotations

from collections.abc import Iterator

import contracts
from ledger import bundle as bundles
from ledger.audit.verdict import PASSED, Verdict, compare
from ledger.keccak import keccak
from ledger.record import Record
from market.findings import Finding

NAME = "artifacts"


def check(record: Record) -> Iterator[Verdict]:
    """The creation code, its arguments, the artifacts in the bundle, and logs that are no event of ours."""
    creation = record.creation
    if creation is None or creation.signed is None:
        yield Finding(
            NAME, f"exchange {record.exchange}", "its creation in the record", "none", "the code is not known"
        )
        return
    code = contracts.load("Exchange").bytecode
    found = creation.signed.transaction.data[: len(code)]
    difference = "other code was deployed"
    yield compare(NAME, f"{creation.where} code", keccak(code), keccak(found), difference=difference)
    manifest = record.bundle.manifest
    yield compare(NAME, "manifest, deployment block", creation.block, manifest.deployment_block)
    if record.deployment is not None:
        yield compare(NAME, "manifest, token", record.deployment.token, manifest.token)
    for name in contracts.NAMES:
        kept = record.bundle.artifacts.get(name, b"")
        where = f"{bundles.ARTIFACTS}/{name}.json"
        expected = keccak(bundles.artifact_bytes(name))
        yield compare(NAME, where, expected, keccak(kept), difference="not the artifact of this version")
    for logged in record.logged:
        if logged.event is None:
            where = f"block {logged.log.block_number} log {logged.log.log_index}"
            yield Finding(NAME, where, "an event of the exchange", "unreadable", logged.problem)
        else:
            yield PASSED
