"""What a market needs of a chain: the formula of SCALING.md beside a session that is traded for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import rlp
from trie import HexaryTrie
from trie.iter import NodeIterator

from ledger.calls import Deposit, PostCharges, RegisterAccount
from ledger.chain.dump import load as undumped
from ledger.chain.embedded import EmbeddedChain
from ledger.keccak import keccak
from ledger.record import Record
from node.bench import town
from node.bench.needs import ENROLMENT_WORDS, Activity, activity_of
from node.bench.row import Row
from node.scenario.loading import load
from node.scenario.world import build
from node.simulate.run import traded_on_chain
from node.studies.own_market import encoded, read

SCENARIO = "ieee33-day"
SESSION = {"slots.count": "2", "prosumers.count": "30", "oracle.method": "newton", "seed": "5"}
"""Another session than those that the units were fitted to."""
SETTING_UP = (type(None), RegisterAccount, Deposit)
"""What is asked of the exchange before the first slot; deploying asks it nothing."""


def rows() -> Iterable[Row]:
    """A session beside the formula, then a town of them."""
    yield from one()
    yield from town.rows()


def one() -> Iterator[Row]:
    """A session's gas, bytes and words as they are, beside the formula's."""
    record, words = traded()
    activity = activity_of(record)
    yield from compared(record, activity)
    found = words - ENROLMENT_WORDS * activity.accounts
    name = "words of storage of a session's slots, as the state has them"
    yield Row(name, found, "words", *_formula(activity.words))


def traded() -> tuple[Record, int]:
    """What an auditor reads of the session, and the words of storage that the exchange has at its end."""
    scenario = load(SCENARIO, SESSION)
    _, session, _ = traded_on_chain(build(scenario))
    record = read(encoded(session, scenario.name, scenario.seed))
    assert isinstance(session.chain, EmbeddedChain)
    return record, words_of(session.chain, record)


def compared(record: Record, activity: Activity) -> Iterator[Row]:
    """Gas and bytes of a record beside the formula's."""
    slots = [sent for sent in record.sent if not isinstance(sent.call, SETTING_UP)]
    gas = sum(sent.gas_used for sent in slots)
    once = sum(sent.gas_used for sent in record.sent) - gas
    yield Row("gas of a session, as its receipts have it", gas, "gas", *_formula(activity.gas))
    yield Row("gas of its setting up, likewise", once, "gas", *_formula(activity.setup_gas))
    sent_bytes = sum(len(sent.raw) for sent in slots)
    yield Row("bytes of its transactions, as they are", sent_bytes, "bytes", *_formula(activity.sent_bytes))
    kept = sum(map(len, _bytes(record)))
    yield Row("bytes of its bundle, as they are", kept, "bytes", *_formula(activity.bundle_bytes))


def _bytes(record: Record) -> Iterator[bytes]:
    """What the slots put into a bundle: what set the market up, and the contract's artifacts, left out."""
    first = next(sent.block for sent in record.sent if isinstance(sent.call, PostCharges))
    for block in record.blocks:
        if block.number >= first:
            yield from (block.header_rlp, *block.raw_transactions, *block.raw_receipts)
    yield from record.bundle.certificates.values()
    yield from record.bundle.inputs.values()


def words_of(chain: EmbeddedChain, record: Record) -> int:
    """Words of storage that the exchange has in the newest state."""
    nodes = undumped(chain.dump(), chain.chain_id)
    accounts = HexaryTrie(nodes, record.blocks[-1].header.state_root)
    _, _, storage_root, _ = rlp.decode(accounts[keccak(bytes.fromhex(record.exchange[2:]))])
    return sum(1 for _ in NodeIterator(HexaryTrie(nodes, storage_root)).values())


def _formula(value: float) -> tuple[str, float]:
    return "the formula of SCALING.md", value
