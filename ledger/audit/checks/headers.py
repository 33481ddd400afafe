"""`headers`: every byte of the bundle is what its headers commit to, and the headers are one chain.

Files against names and digests in the manifest, blocks against their parents, transactions, receipts, blooms
against the roots in the headers, gas and fees against what block and sender allow, checkpoint against head
and manifest, its signature against the key that the manifest names, and genesis.json against the first block.
Other blocks' state roots are for `execution`.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from ledger import bundle as bundles
from ledger import rlp_bytes
from ledger.address import address_bytes
from ledger.audit.beginning import begun_so, first_hash
from ledger.audit.verdict import PASSED, Verdict, compare, text
from ledger.chain.encoding import bloom, envelope_type, ordered_root, union
from ledger.chain.rules import EMPTY_UNCLES_HASH, GAS_PER_BLOB, GAS_TRANSACTION
from ledger.record import NO_RECEIPT, Record, RecordedBlock
from market.findings import Finding

NAME = "headers"
_NEXT = "take the bundle again from a node you trust"
_REMOVE = "remove it: it is no part of the bundle"


def check(record: Record) -> Iterator[Verdict]:
    """One verdict a file, and several a block."""
    yield from _files(record)
    yield from _lengths(record)
    previous: RecordedBlock | None = None
    for block in record.blocks:
        yield from _link(record, previous, block)
        yield from _content(block)
        previous = block
    yield from _checkpoint(record)
    yield from _genesis(record)


def _files(record: Record) -> Iterator[Verdict]:
    """Digests of files, names of certificates and inputs; nothing to compare where there are no files."""
    bundle = record.bundle
    if record.proves_itself:
        claimed = dict(bundle.manifest.files)
        claimed[bundles.MANIFEST] = sha256(bundles.encode_manifest(bundle.manifest)).hexdigest()
        for name in sorted((claimed.keys() | bundle.digests.keys()) - {bundles.CHECKPOINT}):
            found = bundle.digests.get(name, "no such file")
            if name in claimed:
                yield compare(NAME, name, claimed[name], found, difference="SHA-256 differs", hint=_NEXT)
            else:
                yield Finding(
                    NAME, name, "no file that the manifest does not list", found, "not listed", _REMOVE
                )
        for name in sorted(claimed.keys() - bundles.file_names(bundle)):
            yield Finding(NAME, name, "a file of the format", "another name, or nothing in it", "no meaning")
    for place, contents in ((bundles.CERTIFICATES, bundle.certificates), (bundles.INPUTS, bundle.inputs)):
        for digest, content in contents.items():
            where = f"{place}/{digest.hex()}.bin"
            yield compare(
                NAME, where, digest, sha256(content).digest(), difference="not the hash it is named by"
            )


def _lengths(record: Record) -> Iterator[Verdict]:
    bundle = record.bundle
    blocks = len(bundle.headers)
    for name, entries in ((bundles.TRANSACTIONS, bundle.transactions), (bundles.RECEIPTS, bundle.receipts)):
        yield compare(NAME, f"{name}: blocks", blocks, len(entries), hint=_NEXT)


def _link(record: Record, previous: RecordedBlock | None, block: RecordedBlock) -> Iterator[Verdict]:
    where = f"block {block.number}"
    if previous is None:
        yield compare(NAME, f"{where} number", record.bundle.manifest.first_block, block.number)
        return
    yield compare(NAME, f"{where} number", previous.number + 1, block.number)
    yield compare(
        NAME,
        f"{where} parent hash",
        previous.hash,
        block.header.parent_hash,
        difference=f"block {previous.number} is not its parent",
        hint=_NEXT,
    )
    fields, before = (len(rlp_bytes.decode(each.header_rlp)) for each in (block, previous))
    if fields < before:
        yield Finding(
            NAME, f"{where} fields", f"{before} or more", f"{fields}", "forks only add fields", _NEXT
        )
    # Local clients give several blocks of one second the same time; none goes back.
    if block.header.timestamp < previous.header.timestamp:
        yield compare(
            NAME, f"{where} time", f"{text(previous.header.timestamp)} or later", block.header.timestamp
        )


def _content(block: RecordedBlock) -> Iterator[Verdict]:
    where, header = f"block {block.number}", block.header
    yield compare(
        NAME,
        f"{where} transactions",
        header.transactions_root,
        ordered_root(block.raw_transactions),
        difference="root differs: a transaction was changed, added or dropped",
        hint=_NEXT,
    )
    yield compare(
        NAME,
        f"{where} receipts",
        header.receipts_root,
        ordered_root(block.raw_receipts),
        difference="root differs: a receipt was changed, added or dropped",
        hint=_NEXT,
    )
    difference = "uncles are in no block since the merge"
    yield compare(NAME, f"{where} uncles", EMPTY_UNCLES_HASH, header.uncles_hash, difference=difference)
    yield compare(NAME, f"{where} number of receipts", len(block.raw_transactions), len(block.raw_receipts))
    for sent, *raws in zip(block.sent, block.raw_transactions, block.raw_receipts, strict=False):
        expected, found = map(envelope_type, raws)
        yield compare(
            NAME, f"{sent.where} receipt's type", expected, found, difference="not the transaction's"
        )
    yield from _gas(block)
    for sent in block.sent:
        logs = [logged.log for logged in sent.logs]
        filter_bytes = bloom(value for log in logs for value in (address_bytes(log.address), *log.topics))
        yield compare(NAME, f"{sent.where} logs bloom", filter_bytes, sent.bloom, difference="bloom differs")
    blooms = [sent.bloom for sent in block.sent]
    yield compare(NAME, f"{where} logs bloom", union(blooms), header.logs_bloom, difference="bloom differs")


def _gas(block: RecordedBlock) -> Iterator[Verdict]:
    """What a block used in all, and each transaction by what its sender offered (EIP-1559)."""
    where, header = f"block {block.number}", block.header
    yield compare(NAME, f"{where} gas used", header.gas_used, sum(sent.gas_used for sent in block.sent))
    yield _within(f"{where} gas used", header.gas_used, 0, header.gas_limit)
    offers = [sent.signed.transaction for sent in block.sent if sent.signed is not None]
    blobs = sum(len(offered.blob_hashes) for offered in offers)
    yield compare(NAME, f"{where} blob gas used", blobs * GAS_PER_BLOB, header.blob_gas_used or 0)
    for sent in block.sent:
        if sent.signed is not None and sent.problem != NO_RECEIPT:
            offered = sent.signed.transaction
            yield _within(f"{sent.where} gas used", sent.gas_used, GAS_TRANSACTION, offered.gas)
            yield _within(f"{sent.where} base fee, wei", header.base_fee or 0, 0, offered.max_fee_per_gas)


def _within(where: str, found: int, least: int, most: int) -> Verdict:
    if least <= found <= most:
        return PASSED
    return Finding(NAME, where, f"{least:,} to {most:,}", f"{found:,}", "out of range", _NEXT)


def _checkpoint(record: Record) -> Iterator[Verdict]:
    """What seals the bundle: its head, its market, its manifest, and who says so."""
    head, checkpoint, manifest = record.blocks[-1], record.bundle.checkpoint, record.bundle.manifest
    yield compare(NAME, "checkpoint number", head.number, checkpoint.number)
    yield compare(
        NAME, "checkpoint hash", head.hash, checkpoint.hash, difference="not the last header's hash"
    )
    yield compare(NAME, "checkpoint chain", manifest.chain_id, checkpoint.chain_id)
    yield compare(NAME, "checkpoint exchange", manifest.exchange, checkpoint.exchange)
    if not record.proves_itself:
        return
    found = record.bundle.digests[bundles.MANIFEST]
    yield compare(
        NAME,
        "checkpoint manifest",
        checkpoint.manifest_sha256,
        found,
        difference="SHA-256 differs",
        hint=_NEXT,
    )
    yield from _signatures(record)


def _signatures(record: Record) -> Iterator[Verdict]:
    """The signature of the key that the manifest names, and none of a key that nobody names."""
    checkpoint, key = record.bundle.checkpoint, record.bundle.manifest.checkpoint_key
    named = (*record.known_keys, *(() if key is None else (key,)))
    if key is not None and not any(each.is_of(key) for each in checkpoint.signatures):
        yield Finding(NAME, "checkpoint signature", f"one of {key.name}", "none", "not signed", _NEXT)
    for each in checkpoint.signatures:
        where = f"checkpoint signature of {each.name}"
        signer = next((known for known in named if each.is_of(known)), None)
        if signer is None:
            yield Finding(
                NAME, where, "a key that the manifest or --checkpoint-key names", "another", "unknown"
            )
        elif signer.verifies(checkpoint.text, each.signature):
            yield PASSED
        else:
            yield Finding(NAME, where, "a signature of this text", "none", "does not verify", _NEXT)


def _genesis(record: Record) -> Iterator[Verdict]:
    """genesis.json against the first block; nothing where one of the two is not in the record."""
    if not record.bundle.genesis or first_hash(record) is None:
        return
    from ledger.chain.genesis import genesis_document  # noqa: PLC0415 - py-evm loads slowly
    from ledger.chain.rerun import CannotRerun, Rerun, genesis_of  # noqa: PLC0415

    try:
        genesis = genesis_of(record.bundle.genesis)
    except CannotRerun as refusal:
        yield Finding(NAME, bundles.GENESIS, "a genesis that can be read", str(refusal), "unreadable", _NEXT)
        return
    found = sha256(record.bundle.genesis)
    if record.bundle.digests.get(bundles.GENESIS) == found.hexdigest():  # what an auditor brings has any form
        expected = sha256(bundles.canonical_json(genesis_document(genesis))).digest()
        where, difference = f"{bundles.GENESIS} form", "members without meaning, or another form of the same"
        yield compare(NAME, where, expected, found.digest(), difference=difference, hint=_NEXT)
    yield from begun_so(NAME, record, genesis.chain_id, Rerun(genesis, "stock").first)
