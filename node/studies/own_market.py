"""A study's own market on an embedded chain: opened, asked what it refuses, taken as an auditor's record."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.bundle import collect, decode, encode
from ledger.chain.embedded import EmbeddedChain
from ledger.chain.protocol import Reverted
from ledger.record import Record
from market.feeder.model import Feeder
from market.slots import Terms
from node.oracle.signers import Oracles
from node.simulate.run import genesis_of
from node.simulate.session import Cast, Session

SIGNERS, QUORUM = 3, 2
SETUP_SECONDS = 3_600
"""From the chain's first block until the first slot opens."""


def opened(seed: int, feeder: Feeder, terms: Terms, first_slot: int, prosumers: int) -> Session:
    """A deployed market of nobody yet, an hour before its first slot opens."""
    cast = Cast.from_seed(seed, SIGNERS, prosumers)
    chain = EmbeddedChain(genesis_timestamp=terms.opens(first_slot) - SETUP_SECONDS, funded=cast.payers)
    oracles = Oracles(feeder, cast.oracles, QUORUM, "newton")
    return Session.open(chain, cast, terms, oracles, quorum=QUORUM, token_decimals=6)


def embedded(session: Session) -> EmbeddedChain:
    """The chain of such a market, whose time can be moved on."""
    assert isinstance(session.chain, EmbeddedChain)
    return session.chain


def refusal(session: Session, transaction: bytes) -> str:
    """The rule by which a sent transaction reverted; nothing where it did not."""
    try:
        session.exchange.confirm(transaction)
    except Reverted as refused:
        return refused.reason
    return ""


def record_of(session: Session, scenario: str, seed: int) -> Record:
    """The market's record, taken from a bundle that was written out and read again."""
    return read(encoded(session, scenario, seed))


def encoded(session: Session, scenario: str, seed: int) -> dict[str, bytes]:
    """The files of the market's bundle."""
    bundle = collect(
        session.exchange,
        certificates=session.certificates.values(),
        inputs=session.inputs.values(),
        scenario=scenario,
        seed=seed,
        first_block=0,
        genesis=genesis_of(session.chain),
    )
    return encode(bundle)


def read(files: Mapping[str, bytes]) -> Record:
    """What an auditor reads in the files of a bundle."""
    return Record.of(decode(files), proves_itself=True)
