"""The bundle: a folder that proves a market offline. Its format is BUNDLE.md.

    collect(chain, exchange)   → Bundle     from any chain
    write(bundle, folder)      → None
    read(folder)               → Bundle     what the files say, right or wrong
    encode, decode             the same with files in memory

Reading judges nothing that it can still parse: a wrong digest, root or count is for the audit to find.

BundleError                 the bundle cannot be read, so nothing can be verified
├── BundleNotFoundError     the path is no folder
├── BundleIncompleteError   a file is missing that belongs to it
└── BundleFormatError       a file is not in its format: truncated, not canonical, of another version
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import contracts
from ledger import checkpoint as checkpoints
from ledger import events, rlp_bytes
from ledger.address import address_bytes, checksummed
from ledger.chain.encoding import raw_receipt
from ledger.chain.protocol import Block, Chain, LogFilter, Receipt
from ledger.checkpoint import Checkpoint, SignerKey, VerifierKey
from ledger.exchange import Exchange
from market.events import ChargesPosted, OraclesRotated, PricesPosted
from market.orders import Address

FORMAT = "wattbook-bundle"
VERSION = 2

MANIFEST, HEADERS, TRANSACTIONS, RECEIPTS, CHECKPOINT = (
    "manifest.json",
    "headers.rlp",
    "transactions.rlp",
    "receipts.rlp",
    "checkpoint",
)
ARTIFACTS, CERTIFICATES, INPUTS = "artifacts", "certificates", "inputs"
GENESIS, NOTICE = "genesis.json", "NOTICE"

_Parsed = TypeVar("_Parsed")


class BundleError(Exception):
    """The bundle cannot be read; the message names the file."""


class BundleNotFoundError(BundleError):
    """The path is no folder."""


class BundleIncompleteError(BundleError):
    """A file is missing that every bundle has, or that the manifest lists."""


class BundleFormatError(BundleError):
    """A file cannot be parsed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the bundle is about.

    `files` has the SHA-256 of every file but manifest and checkpoint, as the manifest claims it;
    `checkpoint_key` is whose signature the checkpoint bears, None where nobody signed it.
    """

    chain_id: int
    exchange: Address
    token: Address
    deployment_block: int
    first_block: int
    scenario: str | None = None
    seed: int | None = None
    files: tuple[tuple[str, str], ...] = ()
    checkpoint_key: VerifierKey | None = None


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory: one entry a block in `headers`, `transactions` and `receipts`.

    Headers are RLP; transactions and receipts EIP-2718 bytes. Certificates and inputs are kept under
    the SHA-256 that names them. `digests` are the files' own SHA-256 as they were found, empty where
    the bundle comes from a chain and not from files. `genesis` is how the chain began, as `genesis.json`,
    empty where that is not known; `notice` what the licences of its data ask to be told, empty where they
    ask nothing.
    """

    manifest: Manifest
    headers: tuple[bytes, ...]
    transactions: tuple[tuple[bytes, ...], ...]
    receipts: tuple[tuple[bytes, ...], ...]
    artifacts: Mapping[str, bytes]
    certificates: Mapping[bytes, bytes]
    inputs: Mapping[bytes, bytes]
    checkpoint: Checkpoint
    digests: Mapping[str, str]
    genesis: bytes = b""
    notice: bytes = b""


# --- from a chain -------------------------------------------------------------------------------


def collect(
    exchange: Exchange,
    *,
    certificates: Iterable[bytes] = (),
    inputs: Iterable[bytes] = (),
    scenario: str | None = None,
    seed: int | None = None,
    first_block: int | None = None,
    genesis: bytes = b"",
) -> Bundle:
    """Take everything about an exchange from its chain, from `first_block` (its deployment) to the head.

    Of certificates and inputs those are kept that charges or prices name.
    Raises ChainError, BundleIncompleteError where the chain knows no such exchange.
    """
    chain = exchange.chain
    deployed = deployment_block(chain, exchange.address)
    first = deployed if first_block is None else min(first_block, deployed)
    blocks = [chain.block(number) for number in range(first, chain.head() + 1)]
    head = blocks[-1]
    named = _proofs_named(chain, exchange.address, head.number)
    kept_certificates, kept_inputs = (
        {digest: content for content in contents if (digest := sha256(content).digest()) in named}
        for contents in (certificates, inputs)
    )
    return Bundle(
        manifest=Manifest(
            chain_id=chain.chain_id,
            exchange=exchange.address,
            token=exchange.token().address,
            deployment_block=deployed,
            first_block=first,
            scenario=scenario,
            seed=seed,
        ),
        headers=tuple(block.header_rlp for block in blocks),
        transactions=tuple(block.transactions for block in blocks),
        receipts=tuple(
            tuple(raw_receipt(receipt) for receipt in _receipts(chain, block)) for block in blocks
        ),
        artifacts={name: artifact_bytes(name) for name in contracts.NAMES},
        certificates=kept_certificates,
        inputs=kept_inputs,
        checkpoint=Checkpoint(chain.chain_id, exchange.address, head.number, head.hash),
        digests={},
        genesis=genesis,
    )


def _proofs_named(chain: Chain, exchange: Address, head: int) -> set[bytes]:
    """SHA-256 of the certificates and inputs of an exchange's charges and prices, up to a block.

    The chain may have gone on since, and what later blocks name is named by nothing in the bundle.
    """
    topics = tuple(events.topic(kind) for kind in (ChargesPosted, PricesPosted))
    filtered = LogFilter(to_block=head, addresses=(exchange,), topics=(topics,))
    posted = [events.decode(log.topics, log.data) for log in chain.logs(filtered)]
    return {
        digest
        for each in posted
        if isinstance(each, ChargesPosted | PricesPosted)
        for digest in (each.certificate_hash, each.input_hash)
    }


def _receipts(chain: Chain, block: Block) -> Sequence[Receipt]:
    return chain.receipts(block.number) if block.transactions else ()


def deployment_block(chain: Chain, exchange: Address) -> int:
    """Block in which an exchange was made: the one of its first event, which its constructor emits.

    Raises BundleIncompleteError where there is none.
    """
    which = LogFilter(addresses=(exchange,), topics=((events.topic(OraclesRotated),),))
    logs = chain.logs(which)
    if not logs:
        raise BundleIncompleteError(f"chain {chain.chain_id}: no exchange at {exchange}")
    return logs[0].block_number


def artifact_bytes(name: str) -> bytes:
    """What a bundle keeps of a contract: ABI, creation bytecode, source hash, as canonical JSON."""
    artifact = contracts.load(name)
    return canonical_json(
        {
            "abi": list(artifact.abi),
            "bytecode": "0x" + artifact.bytecode.hex(),
            "compiler": artifact.compiler,
            "name": artifact.name,
            "source_sha256": artifact.source_sha256,
        }
    )


def artifact_bytecode(bundle: Bundle, name: str) -> bytes:
    """Creation bytecode of a contract as the bundle has it; nothing where it cannot be read."""
    try:
        return bytes.fromhex(json.loads(bundle.artifacts[name])["bytecode"].removeprefix("0x"))
    except (KeyError, ValueError, TypeError, AttributeError):
        return b""


# --- writing ------------------------------------------------------------------------------------


def write_bundle(
    chain: Chain,
    exchange: Exchange,
    folder: Path,
    *,
    certificates: Iterable[bytes] = (),
    inputs: Iterable[bytes] = (),
    scenario: str | None = None,
    seed: int | None = None,
    first_block: int | None = None,
    genesis: bytes = b"",
    notice: str = "",
    signer: SignerKey | None = None,
) -> Bundle:
    """Collect an exchange's bundle and write it, its checkpoint signed where there is a key for it.

    Raises ChainError, BundleError, OSError.
    """
    bundle = collect(
        Exchange(chain, exchange.address),
        certificates=certificates,
        inputs=inputs,
        scenario=scenario,
        seed=seed,
        first_block=first_block,
        genesis=genesis,
    )
    bundle = replace(bundle, notice=notice.encode())
    write(bundle, folder, signer)
    return bundle


def write(bundle: Bundle, folder: Path, signer: SignerKey | None = None) -> None:
    """Write the files: the manifest has the digests of the others, the checkpoint the manifest's.

    Raises OSError, FileExistsError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder}: a bundle needs an empty folder")
    files = encode(bundle, signer)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def encode(bundle: Bundle, signer: SignerKey | None = None) -> dict[str, bytes]:
    """Every file of the bundle by its name, the manifest and what seals it last."""
    files: dict[str, bytes] = {
        HEADERS: _rlp(list(bundle.headers)),
        TRANSACTIONS: _rlp([list(block) for block in bundle.transactions]),
        RECEIPTS: _rlp([list(block) for block in bundle.receipts]),
    }
    files |= {f"{ARTIFACTS}/{name}.json": content for name, content in sorted(bundle.artifacts.items())}
    for place, contents in ((CERTIFICATES, bundle.certificates), (INPUTS, bundle.inputs)):
        files |= {f"{place}/{name.hex()}.bin": content for name, content in sorted(contents.items())}
    files |= {name: held for name, held in ((GENESIS, bundle.genesis), (NOTICE, bundle.notice)) if held}
    listed = tuple(sorted((name, sha256(content).hexdigest()) for name, content in files.items()))
    key = None if signer is None else signer.verifier
    files[MANIFEST] = encode_manifest(replace(bundle.manifest, files=listed, checkpoint_key=key))
    digest = sha256(files[MANIFEST]).hexdigest()
    checkpoint = replace(bundle.checkpoint, manifest_sha256=digest, signatures=())
    signatures = () if signer is None else (signer.sign(checkpoint.text),)
    files[CHECKPOINT] = replace(checkpoint, signatures=signatures).encode()
    return files


def file_names(bundle: Bundle) -> set[str]:
    """Names of the files that hold what this bundle has; a file of another name is read by nobody."""
    names = {MANIFEST, CHECKPOINT, HEADERS, TRANSACTIONS, RECEIPTS}
    names |= {f"{ARTIFACTS}/{name}.json" for name in contracts.NAMES}
    for place, contents in ((CERTIFICATES, bundle.certificates), (INPUTS, bundle.inputs)):
        names |= {f"{place}/{digest.hex()}.bin" for digest in contents}
    return names | {name for name, held in ((GENESIS, bundle.genesis), (NOTICE, bundle.notice)) if held}


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as canonical JSON."""
    return canonical_json(
        {
            "chain_id": manifest.chain_id,
            "checkpoint_key": None if manifest.checkpoint_key is None else str(manifest.checkpoint_key),
            "deployment_block": manifest.deployment_block,
            "exchange": manifest.exchange,
            "files": dict(manifest.files),
            "first_block": manifest.first_block,
            "format": FORMAT,
            "scenario": manifest.scenario,
            "seed": manifest.seed,
            "token": manifest.token,
            "version": VERSION,
        }
    )


def canonical_json(value: Any) -> bytes:
    """JSON with one form for each value: sorted keys, two spaces of indent, ASCII, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=True) + "\n").encode()


def _rlp(value: Any) -> bytes:
    return rlp_bytes.encode(value)


# --- reading ------------------------------------------------------------------------------------


def read(folder: Path) -> Bundle:
    """Read a bundle's files. Raises BundleError."""
    if not folder.is_dir():
        raise BundleNotFoundError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return decode({path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}, str(folder))


def decode(files: Mapping[str, bytes], folder: str = "bundle") -> Bundle:
    """What a bundle's files say; `folder` is what messages call it. Raises BundleError."""

    def parsed(name: str, parse: Callable[[bytes], _Parsed]) -> _Parsed:
        if name not in files:
            raise BundleIncompleteError(f"{folder}/{name}: missing")
        try:
            return parse(files[name])
        except (ValueError, KeyError, TypeError) as error:
            raise BundleFormatError(f"{folder}/{name}: {error}") from None

    manifest = parsed(MANIFEST, _decode_manifest)
    for name, _ in manifest.files:
        if name not in files:
            raise BundleIncompleteError(f"{folder}/{name}: missing, though the manifest lists it")
    return Bundle(
        manifest=manifest,
        headers=parsed(HEADERS, _decode_list),
        transactions=parsed(TRANSACTIONS, _decode_lists),
        receipts=parsed(RECEIPTS, _decode_lists),
        artifacts={stem: files[name] for name, stem in _within(files, ARTIFACTS, ".json")},
        certificates=_by_hash(files, CERTIFICATES, folder),
        inputs=_by_hash(files, INPUTS, folder),
        checkpoint=parsed(CHECKPOINT, checkpoints.decode),
        digests={name: sha256(content).hexdigest() for name, content in files.items()},
        genesis=parsed(GENESIS, _canonical) if GENESIS in files else b"",
        notice=files.get(NOTICE, b""),
    )


def _within(files: Iterable[str], place: str, ending: str) -> list[tuple[str, str]]:
    """Files of this ending directly in a folder of the bundle: names, and what they are called there."""
    found = []
    for name in sorted(files):
        parent, _, last = name.rpartition("/")
        if parent == place and last.endswith(ending):
            found.append((name, last.removesuffix(ending)))
    return found


def _decode_manifest(content: bytes) -> Manifest:
    fields = json.loads(content)
    if fields["format"] != FORMAT or fields["version"] != VERSION:
        raise ValueError(f"not a {FORMAT} of version {VERSION}")
    scenario, seed, files = fields["scenario"], fields["seed"], fields["files"]
    if not isinstance(scenario, str | None) or type(seed) not in (int, type(None)):
        raise ValueError(f"scenario {scenario!r}, seed {seed!r}: not a text and a whole number, or null")
    if not isinstance(files, dict) or not all(
        isinstance(item, str) for entry in files.items() for item in entry
    ):
        raise ValueError("files: not names and digests")
    if any(name.startswith("/") or ".." in name.split("/") for name in files):
        raise ValueError("files: a name leads out of the folder")
    key = fields["checkpoint_key"]
    return Manifest(
        chain_id=_whole(fields, "chain_id"),
        exchange=checksummed(address_bytes(fields["exchange"])),
        token=checksummed(address_bytes(fields["token"])),
        deployment_block=_whole(fields, "deployment_block"),
        first_block=_whole(fields, "first_block"),
        scenario=scenario,
        seed=seed,
        files=tuple(sorted(files.items())),
        checkpoint_key=None if key is None else VerifierKey.parse(str(key)),
    )


def _whole(fields: Mapping[str, Any], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name}: {value!r} is not a whole number")
    return value


def _canonical(content: bytes) -> bytes:
    if content and canonical_json(json.loads(content)) != content:
        raise ValueError("not canonical JSON")
    return content


def _decode_rlp(content: bytes) -> list[Any]:
    value = rlp_bytes.decode(content)
    if not isinstance(value, list):
        raise ValueError("not an RLP list")
    return value


def _decode_list(content: bytes) -> tuple[bytes, ...]:
    items = _decode_rlp(content)
    if not all(isinstance(item, bytes) for item in items):
        raise ValueError("not a list of byte strings")
    return tuple(items)


def _decode_lists(content: bytes) -> tuple[tuple[bytes, ...], ...]:
    blocks = _decode_rlp(content)
    if not all(
        isinstance(block, list) and all(isinstance(item, bytes) for item in block) for block in blocks
    ):
        raise ValueError("not a list of lists of byte strings")
    return tuple(tuple(block) for block in blocks)


def _by_hash(files: Mapping[str, bytes], place: str, folder: str) -> dict[bytes, bytes]:
    try:
        return {bytes.fromhex(stem): files[name] for name, stem in _within(files, place, ".bin")}
    except ValueError:
        raise BundleFormatError(f"{folder}/{place}: a file is not named by its SHA-256") from None
