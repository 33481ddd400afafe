"""A study's own market as its record: what an auditor gets of it."""

from __future__ import annotations

from ledger.bundle import canonical_json, collect, decode, encode
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.genesis import genesis_document
from ledger.record import Record
from node.simulate.session import Session


def record_of(session: Session, scenario: str, seed: int) -> Record:
    """The record of an embedded chain, taken from a bundle that was written out and read again."""
    chain = session.chain
    assert isinstance(chain, EmbeddedChain) and chain.begun is not None
    bundle = collect(
        session.exchange,
        certificates=session.certificates.values(),
        inputs=session.inputs.values(),
        scenario=scenario,
        seed=seed,
        first_block=0,
        genesis=canonical_json(genesis_document(chain.begun)),
    )
    return Record.of(decode(encode(bundle)), proves_itself=True)
