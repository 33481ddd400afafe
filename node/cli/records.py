"""Reading the record that a command is about: a bundle's folder or a node, and which market of it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import UNVERIFIABLE, USAGE, complain, stop

if TYPE_CHECKING:
    from ledger.record import Record

Source = Annotated[str, typer.Argument(help="A bundle's folder, or the URL of a node.", metavar="BUNDLE|URL")]
ExchangeAddress = Annotated[
    str | None,
    typer.Option("--exchange", help="Which market of a node: its address, or a deployment file."),
]

ProofPlaces = Annotated[
    list[str] | None,
    typer.Option(
        "--proofs",
        metavar="DIR|URL",
        help="Who has a node's proofs: folder of an oracle's --data, a bundle, or the URL of an oracle or"
        " of the market's API; may be repeated.",
    ),
]


def address_of(text: str, where: str) -> str:
    """An account or contract in the one form that records know; leaves with 2 where it is none."""
    from ledger.address import address_bytes, checksummed  # noqa: PLC0415 - loads slowly

    try:
        return checksummed(address_bytes(text))
    except ValueError:
        stop(f"{where}: {text!r} is no address, which is 0x and 40 hexadecimal digits", USAGE)


def wanted_exchange(exchange: str | None) -> str | None:
    """The address that is meant, or that a deployment file names; leaves with 2 where it is neither."""
    from ledger.deployment import DeploymentError, read_site  # noqa: PLC0415 - loads slowly

    if exchange is None:
        return None
    if not Path(exchange).is_file():
        return address_of(exchange, f"--exchange {exchange}")
    try:
        return read_site(Path(exchange)).exchange
    except DeploymentError as refusal:
        stop(f"--exchange {refusal}", USAGE)


def read_record(
    source: str, exchange: str | None, proofs: Sequence[str] = (), genesis: bytes = b""
) -> Record:
    """Read a bundle or a node, with what the auditor brings of it: proofs, the genesis.

    Leaves with 2 for a wrong path and with 3 for what cannot be read.
    """
    from ledger.bundle import BundleError, BundleNotFoundError  # noqa: PLC0415 - loads slowly
    from ledger.chain.protocol import ChainError  # noqa: PLC0415
    from ledger.record import Record, RecordError  # noqa: PLC0415

    if not source:
        stop("name a bundle's folder or a node's URL", USAGE)
    wanted = wanted_exchange(exchange)
    remote = is_url(source)
    folders, services = proof_places(source, proofs)
    try:
        if remote:
            return _with_fetched(Record.from_url(source, wanted, folders, genesis), services)
        record = Record.from_bundle(Path(source))
    except BundleNotFoundError as refusal:
        stop(refusal, USAGE)
    except BundleError as failure:
        if (Path(source) / "bundle").is_dir():
            stop(f"{source}: a result folder; its bundle is {Path(source) / 'bundle'}", USAGE)
        stop(failure, UNVERIFIABLE)
    except RecordError as failure:
        stop(f"{source}: {failure} (--exchange ADDRESS)", UNVERIFIABLE)
    except (ChainError, OSError) as failure:
        stop(failure, UNVERIFIABLE)
    except RecursionError:
        stop(f"{source}: a file is nested too deeply to be a bundle's", UNVERIFIABLE)
    if wanted not in (None, record.exchange):
        stop(f"--exchange {wanted}: {source} is the record of {record.exchange}", USAGE)
    return record.begun_by(genesis) if genesis else record


def proof_places(source: str, proofs: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Folders and servers that have a node's proofs; leaves with 2 for no folder, and for a bundle."""
    remote = is_url(source)
    services = [each for each in proofs if is_url(each)]
    folders = [Path(each) for each in proofs if not is_url(each)]
    for each in proofs if not remote else [folder for folder in folders if not folder.is_dir()]:
        reason = "no such folder" if remote else "goes with a node's URL; a bundle has its own"
        stop(f"--proofs {each}: {reason}", USAGE)
    return folders, services


def verified_amounts(record: Record, source: str) -> tuple[bool, str]:
    """Whether the amounts that a command tells are right, and what was verified; stderr says if not."""
    from ledger.audit import MONEY, money_findings  # noqa: PLC0415 - loads slowly
    from ledger.audit.verdict import counted  # noqa: PLC0415

    checks, number = " and ".join(MONEY), len(money_findings(record))
    if not number:
        return True, f"verified: {checks}, nothing else (wattbook audit)"
    said = f"nothing was verified: {counted(number, 'finding')} of {checks}"
    complain(f"{source}: {said} (wattbook audit {source})")
    return False, said


def refuse_inside(source: str, option: str, path: Path) -> None:
    """Leave with 2 where something would be written into the bundle that is read: it is evidence."""
    if not is_url(source) and path.resolve().is_relative_to(Path(source).resolve()):
        stop(f"{option} {path}: lies in {source}, which is evidence; name another place", USAGE)


def is_url(text: str) -> bool:
    """Whether a node is meant, and not a folder."""
    return text.startswith(("http://", "https://"))


def _with_fetched(record: Record, services: Sequence[str]) -> Record:
    """The record with the proofs that servers of oracles or of the market hand out.

    What is not of the SHA-256 that the chain has is left where it came from. Leaves with 3 where
    nobody answers.
    """
    from node.client.http import Client, RefusedError, ServiceError  # noqa: PLC0415 - loads slowly

    for url in services:
        client, found = Client(url), {}
        for kind, digest in record.proofs_missing:
            try:
                content = client.proof(kind, digest)
            except RefusedError:
                continue  # the next service may have it; what nobody has is told by the report
            except ServiceError as failure:
                stop(f"--proofs {failure}", UNVERIFIABLE)
            if sha256(content).digest() == digest:
                found[kind, digest] = content
        record = record.with_proofs(found)
    return record
