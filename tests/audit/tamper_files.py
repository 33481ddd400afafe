"""Raw edits: files changed by hand, and seals that do not fit. All are found by `headers` or `checkpoint`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import rlp

from ledger import bundle as bundles
from ledger import events
from ledger.chain.encoding import decode_header
from ledger.checkpoint import SignerKey, decode
from ledger.keccak import keccak
from market.events import AccountSettled
from tests.audit.forge import (
    Place,
    RawLog,
    change_header,
    cut_short,
    edit_receipt,
    found,
    place_of,
    rebuilt,
    with_headers,
)
from tests.audit.tampering import Ground, Kind, Tampered, consistent, told_at

SEALS = ("manifest.json", "checkpoint")
NOTHING = b"nothing"
OF_NOBODY = f"{sha256(NOTHING).hexdigest()}.bin"
SIGNER = SignerKey("utility.example/market", bytes(range(32)))
FORGER = SignerKey("utility.example/market", bytes(32))

Files = dict[str, bytes]


def changed(content: bytes) -> bytes:
    """The last byte is another."""
    return content[:-1] + bytes([content[-1] ^ 1])


def raw(name: str, place: str, edit: Callable[[Ground, Files], Files]) -> Kind:
    """Files edited by hand, nothing made to fit."""

    def tamper(ground: Ground) -> Tampered:
        files = bundles.encode(ground.bundle)
        return Tampered(files | edit(ground, files), place)

    return Kind(name, "headers", tamper, raw=True)


def unfit(name: str, place: str, forge: Callable[[Ground], bundles.Bundle]) -> Kind:
    """Files that fit the manifest, and headers that are wrong."""
    return Kind(name, "headers", lambda ground: consistent(forge(ground), place), raw=True)


def first_of(files: Files, place: str) -> str:
    """The first file of a folder."""
    return min(name for name in files if name.startswith(f"{place}/"))


def swap(name: str, old: bytes, new: bytes) -> Callable[[Ground, Files], Files]:
    """Bytes in a file are others."""

    def edit(_: Ground, files: Files) -> Files:
        assert old in files[name]
        return {name: files[name].replace(old, new, 1)}

    return edit


def _of_folder(place: str, edit: Callable[[bytes], bytes]) -> Callable[[Ground, Files], Files]:
    return lambda _, files: {first_of(files, place): edit(files[first_of(files, place)])}


def _receipt(ground: Ground, files: Files) -> Files:
    _, settled = found(ground.record, AccountSettled, 2)
    _, data = events.encode(settled)
    return {"receipts.rlp": files["receipts.rlp"].replace(data, changed(data), 1)}


def _signature(ground: Ground, files: Files) -> Files:
    sent = next(sent for sent in ground.record.calls if type(sent.call).__name__ == "PlaceOrders")
    signature = sent.call.orders[0].signature.r  # type: ignore[union-attr]
    return {"transactions.rlp": files["transactions.rlp"].replace(signature, changed(signature), 1)}


def _dropped(name: str, block: int) -> Callable[[Ground, Files], Files]:
    """The first entry of a block is gone."""

    def edit(_: Ground, files: Files) -> Files:
        blocks = [list(entries) for entries in rlp.decode(files[name])]
        del blocks[block][0]
        return {name: rlp.encode(blocks)}

    return edit


def _swapped_transactions(_: Ground, files: Files) -> Files:
    blocks = [list(entries) for entries in rlp.decode(files["transactions.rlp"])]
    blocks[24].reverse()
    return {"transactions.rlp": rlp.encode(blocks)}


def _edited_header(_: Ground, files: Files) -> Files:
    header = rlp.decode(files["headers.rlp"])[5]
    return {"headers.rlp": files["headers.rlp"].replace(header, changed(header), 1)}


def _block_left_out(ground: Ground) -> bundles.Bundle:
    kept = [i for i in range(len(ground.bundle.headers)) if i != 13]
    parts = {
        name: tuple(getattr(ground.bundle, name)[i] for i in kept)
        for name in ("headers", "transactions", "receipts")
    }
    return replace(ground.bundle, **parts)


def _blocks_swapped(ground: Ground) -> bundles.Bundle:
    order = [*range(13), 14, 13, *range(15, len(ground.bundle.headers))]
    parts = {
        name: tuple(getattr(ground.bundle, name)[i] for i in order)
        for name in ("headers", "transactions", "receipts")
    }
    return replace(ground.bundle, **parts)


def _forged_state(ground: Ground) -> bundles.Bundle:
    """A state root that nobody computed, in the middle, and no header after it made to fit."""
    header = decode_header(ground.bundle.headers[20])
    forged = replace(header, state_root=keccak(b"another state")).encode()
    headers = (*ground.bundle.headers[:20], forged, *ground.bundle.headers[21:])
    return replace(ground.bundle, headers=headers)


def _receipt_missing(ground: Ground) -> bundles.Bundle:
    """The last receipt of a block is gone, its root rebuilt."""
    receipts = list(ground.bundle.receipts)
    receipts[16] = receipts[16][:-1]
    return rebuilt(replace(ground.bundle, receipts=tuple(receipts)), 16)


def _receipt_bloom(ground: Ground) -> bundles.Bundle:
    """A receipt whose filter leaves its logs out, root and header rebuilt."""
    status, gas, _, logs = rlp.decode(ground.bundle.receipts[13][0][1:])
    block = (ground.bundle.receipts[13][0][:1] + rlp.encode([status, gas, bytes(256), logs]),)
    receipts = (*ground.bundle.receipts[:13], block, *ground.bundle.receipts[14:])
    return rebuilt(replace(ground.bundle, receipts=receipts), 13)


def _receipt_type(ground: Ground) -> bundles.Bundle:
    """A receipt of another type than its transaction, root and header rebuilt."""
    receipts = list(ground.bundle.receipts)
    receipts[13] = (b"\x01" + receipts[13][0][1:], *receipts[13][1:])
    return rebuilt(replace(ground.bundle, receipts=tuple(receipts)), 13)


def _receipt_gas(ground: Ground) -> bundles.Bundle:
    """A transaction that cost nothing, the next one what both did, root and header rebuilt."""
    receipts, block = list(ground.bundle.receipts), 24
    status, _, *rest = rlp.decode(receipts[block][0][1:])
    receipts[block] = (receipts[block][0][:1] + rlp.encode([status, b"", *rest]), *receipts[block][1:])
    return rebuilt(replace(ground.bundle, receipts=tuple(receipts)), block)


def _log_longer(ground: Ground) -> Tampered:
    """An event with a word behind its values, root and header rebuilt."""
    logged, _ = found(ground.record, AccountSettled, 2)
    place = place_of(ground.record, logged)

    def edit(logs: list[RawLog]) -> list[RawLog]:
        address, topics, data = logs[place.log]
        return [*logs[: place.log], (address, topics, data + bytes(32)), *logs[place.log + 1 :]]

    return consistent(rebuilt(edit_receipt(ground.bundle, place, edit), place.block), told_at(logged))


def _log_of_another(ground: Ground) -> bundles.Bundle:
    """An event that another contract told, in the exchange's name, filter and root left as they were."""
    edited = edit_receipt(ground.bundle, Place(13, 0, 0), lambda logs: logs[:-1])
    return with_headers(edited, ground.bundle.headers)


def _renamed(_: Ground, files: Files) -> Files:
    """A proof under a name that is not its hash; the manifest is made to fit, the checkpoint too."""
    name = first_of(files, "certificates")
    bundle = bundles.decode(files)
    certificates = dict(bundle.certificates)
    certificates[bytes(32)] = certificates.pop(bytes.fromhex(name[len("certificates/") : -len(".bin")]))
    forged = bundles.encode(replace(bundle, certificates=certificates))
    files.pop(name)
    return forged


def sealed(name: str, check: str, place: str, added: Callable[[Ground, Files], Files]) -> Kind:
    """Files more than the format knows or the market posted; manifest and checkpoint are made to fit."""

    def tamper(ground: Ground) -> Tampered:
        files = bundles.encode(ground.bundle)
        files |= added(ground, files)
        listed = ((name, sha256(files[name]).hexdigest()) for name in sorted(files) if name not in SEALS)
        manifest = replace(ground.bundle.manifest, files=tuple(listed))
        files["manifest.json"] = bundles.encode_manifest(manifest)
        digest = sha256(files["manifest.json"]).hexdigest()
        files["checkpoint"] = replace(ground.bundle.checkpoint, manifest_sha256=digest).encode()
        return Tampered(files, place)

    return Kind(name, check, tamper, raw=check == "headers")


def _in_capitals(_: Ground, files: Files) -> Files:
    """A proof once more, under its hash in capitals."""
    name = first_of(files, "certificates")
    return {f"certificates/{name[len('certificates/') : -len('.bin')].upper()}.bin": files[name]}


def _checkpoint(**other: object) -> Callable[[Ground, Files], Files]:
    """A checkpoint that says something else of the same files."""

    def edit(_: Ground, files: Files) -> Files:
        return {"checkpoint": replace(decode(files["checkpoint"]), **other).encode()}  # type: ignore[arg-type]

    return edit


def _signed(edit: Callable[[Files], Files]) -> Callable[[Ground, Files], Files]:
    """The bundle signed by the utility, then edited."""

    def sign(ground: Ground, _: Files) -> Files:
        files = bundles.encode(ground.bundle, SIGNER)
        return files | edit(files)

    return sign


def _bad_signature(files: Files) -> Files:
    note = decode(files["checkpoint"])
    bad = replace(note.signatures[0], signature=changed(note.signatures[0].signature))
    return {"checkpoint": replace(note, signatures=(bad,)).encode()}


def _stranger(files: Files) -> Files:
    note = decode(files["checkpoint"])
    signatures = (*note.signatures, SignerKey("somebody", bytes(32)).sign(note.text))
    return {"checkpoint": replace(note, signatures=signatures).encode()}


def _unsigned(files: Files) -> Files:
    return {"checkpoint": replace(decode(files["checkpoint"]), signatures=()).encode()}


RAW = (
    raw("file-receipt-byte", "block 24 receipts", _receipt),
    raw("file-signature-byte", "block 10 transactions", _signature),
    raw("file-transaction-dropped", "block 11 transactions", _dropped("transactions.rlp", 11)),
    raw("file-receipt-dropped", "block 11 receipts", _dropped("receipts.rlp", 11)),
    raw("file-transactions-swapped", "block 24 transactions", _swapped_transactions),
    raw("file-header-byte", "block 6 parent hash", _edited_header),
    raw("file-certificate-byte", "certificates/", _of_folder("certificates", changed)),
    raw("file-inputs-byte", "inputs/", _of_folder("inputs", changed)),
    raw("file-artifact-byte", "artifacts/Clearinghouse.json", _of_folder("artifacts", changed)),
    raw("file-certificate-renamed", "certificates/" + "00" * 32, _renamed),
    raw("file-unlisted", "notes.txt", lambda *_: {"notes.txt": b"nothing"}),
    raw("manifest-scenario", "checkpoint manifest", swap("manifest.json", b'"small"', b'"Small"')),
    raw("manifest-form", "manifest.json", swap("manifest.json", b'  "seed": 7', b'   "seed":7')),
    raw("manifest-first-block", "block 0 number", swap("manifest.json", b'_block": 0', b'_block": 1')),
    raw("manifest-chain", "checkpoint chain", swap("manifest.json", b": 31337", b": 31338")),
    raw("checkpoint-hash", "checkpoint hash", _checkpoint(hash=bytes(32))),
    raw("checkpoint-number", "checkpoint number", _checkpoint(number=41)),
    raw("checkpoint-chain", "checkpoint chain", _checkpoint(chain_id=1)),
    raw("checkpoint-exchange", "checkpoint exchange", _checkpoint(exchange="0x" + "11" * 20)),
    raw("checkpoint-manifest", "checkpoint manifest", _checkpoint(manifest_sha256="00" * 32)),
    raw("checkpoint-signature", "checkpoint signature of utility", _signed(_bad_signature)),
    raw("checkpoint-unsigned", "checkpoint signature", _signed(_unsigned)),
    raw("checkpoint-stranger", "checkpoint signature of somebody", _signed(_stranger)),
)
"""Files changed by hand."""


def _genesis(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Ground], bundles.Bundle]:
    """A genesis.json that says something else, and every digest made to fit."""

    def forge(ground: Ground) -> bundles.Bundle:
        document = bundles.canonical_json(edit(json.loads(ground.bundle.genesis)))
        return replace(ground.bundle, genesis=document)

    return forge


def _misspelt(told: dict[str, Any]) -> dict[str, Any]:
    """A member whose absence means what it said, under a name that nobody reads."""
    return {"dgfficulty" if name == "difficulty" else name: value for name, value in told.items()}


UNFIT = (
    unfit(
        "genesis-of-others",
        "genesis.json block 0",
        _genesis(lambda told: told | {"alloc": dict(list(told["alloc"].items())[1:])}),
    ),
    unfit(
        "genesis-of-another-chain",
        "genesis.json chain",
        _genesis(lambda told: told | {"config": told["config"] | {"chainId": 1}}),
    ),
    unfit(
        "genesis-with-a-note",
        "genesis.json form",
        _genesis(lambda told: told | {"config": told["config"] | {"note": "of no meaning"}}),
    ),
    unfit(
        "genesis-of-another-second",
        "genesis.json form",
        _genesis(lambda told: told | {"config": told["config"] | {"cancunTime": 8}}),
    ),
    unfit("genesis-misspelt", "genesis.json form", _genesis(_misspelt)),
    unfit("genesis-unreadable", "genesis.json", _genesis(lambda told: told | {"alloc": 1})),
    unfit("header-block-left-out", "block 14 number", _block_left_out),
    unfit("header-blocks-swapped", "block 14 parent hash", _blocks_swapped),
    unfit("header-state-root", "block 21 parent hash", _forged_state),
    unfit("header-gas", "block 13 gas used", lambda ground: change_header(ground.bundle, 13, gas_used=1)),
    unfit(
        "header-bloom",
        "block 13 logs bloom",
        lambda ground: change_header(ground.bundle, 13, logs_bloom=bytes(256)),
    ),
    unfit(
        "header-transactions-root",
        "block 13 transactions",
        lambda ground: change_header(ground.bundle, 13, transactions_root=bytes(32)),
    ),
    unfit(
        "header-receipts-root",
        "block 13 receipts",
        lambda ground: change_header(ground.bundle, 13, receipts_root=bytes(32)),
    ),
    unfit("header-time", "block 14 time", lambda ground: change_header(ground.bundle, 13, timestamp=2**33)),
    unfit("header-number", "block 99 number", lambda ground: change_header(ground.bundle, 13, number=99)),
    unfit(
        "header-gas-limit", "block 13 gas used", lambda ground: change_header(ground.bundle, 13, gas_limit=1)
    ),
    unfit(
        "header-base-fee",
        "block 13 transaction 0 base fee",
        lambda ground: change_header(ground.bundle, 13, base_fee=2**64),
    ),
    unfit(
        "header-uncles",
        "block 13 uncles",
        lambda ground: change_header(ground.bundle, 13, uncles_hash=keccak(b"an uncle")),
    ),
    unfit(
        "header-blobs",
        "block 13 blob gas used",
        lambda ground: change_header(ground.bundle, 13, blob_gas_used=131_072),
    ),
    unfit(
        "header-of-an-older-fork",
        "block 13 fields",
        lambda ground: change_header(ground.bundle, 13, requests_hash=None),
    ),
    unfit("receipt-type", "block 13 transaction 0 receipt's type", _receipt_type),
    unfit("receipt-gas", "block 24 transaction 0 gas used", _receipt_gas),
    unfit("receipt-missing", "block 16 number of receipts", _receipt_missing),
    unfit("receipt-bloom", "block 13 transaction 0 logs bloom", _receipt_bloom),
    unfit("receipt-log-dropped", "block 13 receipts", _log_of_another),
    unfit(
        "lists-cut",
        "transactions.rlp: blocks",
        lambda ground: replace(ground.bundle, transactions=ground.bundle.transactions[:-1]),
    ),
    unfit(
        "receipts-cut",
        "receipts.rlp: blocks",
        lambda ground: replace(ground.bundle, receipts=ground.bundle.receipts[:-1]),
    ),
)
"""Headers that are no chain, or commit to something else."""


def _cut(ground: Ground) -> Tampered:
    shorter = consistent(cut_short(ground.bundle, 2), "head, block 40")
    return replace(shorter, head=ground.bundle.checkpoint.hash)


def _another_chain(ground: Ground) -> Tampered:
    forged = change_header(ground.bundle, 42, state_root=bytes(32))
    return replace(consistent(forged, "head, block 42"), head=ground.bundle.checkpoint.hash)


def _forged_and_signed(ground: Ground) -> Tampered:
    """A tail is left out, and the forger signs what is left with a key of the same name."""
    files = bundles.encode(cut_short(ground.bundle, 2), FORGER)
    return Tampered(files, "checkpoint", keys=(SIGNER.verifier,))


def _kept_signature(ground: Ground) -> Tampered:
    """A tail is left out, and the honest signature kept."""
    honest = decode(bundles.encode(ground.bundle, SIGNER)["checkpoint"])
    files = bundles.encode(cut_short(ground.bundle, 2), SIGNER)
    forged = replace(decode(files["checkpoint"]), signatures=honest.signatures)
    return Tampered(files | {"checkpoint": forged.encode()}, "checkpoint", keys=(SIGNER.verifier,))


def _nobody_signed(ground: Ground) -> Tampered:
    return Tampered(bundles.encode(ground.bundle), "checkpoint", keys=(SIGNER.verifier,))


HEADS = (
    Kind("head-that-nobody-signed", "checkpoint", _nobody_signed),
    Kind("tail-left-out", "checkpoint", _cut),
    Kind("head-of-another-chain", "checkpoint", _another_chain),
    Kind("tail-left-out-other-key", "checkpoint", _forged_and_signed),
    Kind("tail-left-out-old-signature", "checkpoint", _kept_signature, raw=True),
)
"""What only somebody who knows the head, or who signed it, can find."""


def _of_nobody(folder: str) -> Kind:
    """A proof under its hash, to which nothing refers."""
    place = f"{folder}/{OF_NOBODY}"
    return sealed(f"{folder}-of-nobody", "charges", place, lambda *_: {place: NOTHING})


MEANINGLESS = (
    sealed("file-of-no-meaning", "headers", "notes.txt", lambda *_: {"notes.txt": NOTHING}),
    sealed("file-empty", "headers", "NOTICE", lambda *_: {"NOTICE": b""}),
    sealed("file-certificate-in-capitals", "headers", "certificates/", _in_capitals),
    _of_nobody("certificates"),
    _of_nobody("inputs"),
    Kind("log-longer", "artifacts", _log_longer),
)
"""Files under the manifest, and bytes under the roots, that say nothing."""

KINDS = (*RAW, *UNFIT, *HEADS, *MEANINGLESS)
