"""`execution`, which runs on request: every transaction executed again by another engine than made the chain.

py-evm as it is, from the chain's genesis on: what each transaction came to against its receipt, what each
block left against the state root in its header. The embedded chain runs translated code over storage of its
own, and nodes run other programs, so that the same state by both is no error of one. Where a state differs,
later ones are bound to, so that only the first of a run of blocks is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ledger.audit.beginning import begun_so, first_hash
from ledger.audit.verdict import PASSED, Verdict, compare, text
from ledger.chain.encoding import make_block, read_receipts
from ledger.chain.protocol import ChainError, Log, Receipt
from ledger.chain.tries import EMPTY_ROOT
from ledger.keccak import keccak
from ledger.record import Record, RecordedBlock, Sent
from ledger.transactions import SignedTransaction
from market.findings import Finding

if TYPE_CHECKING:
    from ledger.chain.genesis import Genesis
    from ledger.chain.rerun import Rerun

NAME = "execution"
DESCRIPTION = "every block executed again by stock py-evm: receipts and state roots"
_NEXT = "execute the chain by a client of your own, from genesis.json on"


class CannotReplay(ValueError):  # noqa: N818 - named for what is so
    """The record has not what executing it takes; the message says what is missing."""


def beginning(record: Record) -> Genesis:
    """How the record's chain began. Raises CannotReplay where the record cannot be executed from there."""
    from ledger.chain.rerun import CannotRerun, genesis_of  # noqa: PLC0415 - py-evm loads slowly

    if not record.bundle.genesis:
        raise CannotReplay(
            "--replay: without the chain's genesis.json nothing can be executed (--genesis FILE)"
        )
    first = record.blocks[0].number
    if first > 1:
        raise CannotReplay(
            f"--replay: the record begins at block {first}, and what came before made its state"
        )
    for block in record.blocks:
        if block.header.withdrawals_root not in (None, EMPTY_ROOT):
            raise CannotReplay(f"--replay: block {block.number} has withdrawals, which no record holds")
    for sent in record.sent:
        if sent.signed is None:
            raise CannotReplay(f"--replay: {sent.where} is of a kind that is not read here: {sent.problem}")
    try:
        return genesis_of(record.bundle.genesis)
    except CannotRerun as refusal:
        raise CannotReplay(f"--replay: {refusal}") from None


def check(record: Record) -> Iterator[Verdict]:
    """Two verdicts on the genesis, one a transaction, and one a block. Raises CannotReplay."""
    from ledger.chain.rerun import Rerun  # noqa: PLC0415 - py-evm loads slowly

    genesis = beginning(record)
    rerun = Rerun(genesis, "stock")
    yield from begun_so(NAME, record, genesis.chain_id, rerun.first)
    first = keccak(rerun.first.encode())
    if first != first_hash(record):
        return
    rerun.passed(first)
    of_genesis = record.blocks[0].number == 0
    yield from _blocks(rerun, record.blocks[1:] if of_genesis else record.blocks)


def _blocks(rerun: Rerun, blocks: Sequence[RecordedBlock]) -> Iterator[Verdict]:
    differed = False
    for block in blocks:
        signed = tuple(sent.signed for sent in block.sent if sent.signed is not None)
        try:
            outcome = rerun.execute(block.header, signed)
        except ChainError as refusal:
            difference = "nothing after it was executed"
            yield Finding(NAME, f"block {block.number}", "what may run", str(refusal), difference, _NEXT)
            return
        yield from _receipts(block, signed, outcome.receipts)
        expected, found = outcome.header.state_root, block.header.state_root
        if expected == found or not differed:
            difference = "executing it leaves another state"
            yield compare(
                NAME, f"block {block.number} state root", expected, found, difference=difference, hint=_NEXT
            )
        differed = expected != found
        rerun.passed(block.hash)


def _receipts(
    block: RecordedBlock, signed: Sequence[SignedTransaction], receipts: Sequence[bytes]
) -> Iterator[Verdict]:
    made = make_block(block.header_rlp, block.raw_transactions)
    for sent, receipt in zip(block.sent, read_receipts(made, receipts, signed), strict=True):
        yield from _receipt(sent, receipt)


def _receipt(sent: Sent, receipt: Receipt) -> Iterator[Verdict]:
    """One verdict where all is as recorded, else one for each part that is not."""
    parts = (
        ("status", receipt.status, sent.status),
        ("gas used", receipt.gas_used, sent.gas_used),
        ("logs", len(receipt.logs), len(sent.logs)),
    )
    differing = [part for part in parts if part[1] != part[2]]
    yield from (compare(NAME, f"{sent.where} {what}", expected, found) for what, expected, found in differing)
    for executed, logged in zip(receipt.logs, sent.logs, strict=False):
        log = logged.log
        if (executed.address, executed.topics, executed.data) != (log.address, log.topics, log.data):
            where = f"{sent.where}, block {log.block_number} log {log.log_index}"
            yield Finding(NAME, where, _shown(executed), _shown(log), "another log", _NEXT)
            return
    if not differing:
        yield PASSED


def _shown(log: Log) -> str:
    """Everything of a log that execution decides."""
    topics = " ".join(map(text, log.topics))
    return f"{log.address} topics {topics or 'none'} data {text(log.data)}"
