"""`wattbook audit`: verify a record."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.errors import CLEAN, FAILED, UNVERIFIABLE, USAGE, complain, stop
from node.cli.options import Json
from node.cli.records import ExchangeAddress, ProofPlaces, read_record
from node.cli.sheet import listed

if TYPE_CHECKING:
    from ledger.checkpoint import VerifierKey
    from ledger.record import Record

HASH = re.compile(r"(0x)?[0-9a-fA-F]{64}")


def audit(
    source: Annotated[
        str | None, typer.Argument(help="A bundle's folder, or the URL of a node.", metavar="BUNDLE|URL")
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option("--check", metavar="NAME", help="Only this check; may be repeated."),
    ] = None,
    list_checks: Annotated[bool, typer.Option("--list", help="List the checks and what they do.")] = False,
    head: Annotated[
        str | None, typer.Option(metavar="HASH", help="The head's hash as you know it from elsewhere.")
    ] = None,
    checkpoint_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Who must have signed the checkpoint: a key, or a file with it."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Execute every block again, by another engine, and compare.")
    ] = False,
    genesis: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The chain's genesis.json, for --replay of what brings none, and for --out to keep.",
        ),
    ] = None,
    exchange: ExchangeAddress = None,
    proofs: ProofPlaces = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep what a node's URL told, as a bundle in a new folder."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a record: exit status 0 clean, 1 findings, 2 wrong usage, 3 could not verify.

    Example: wattbook audit out/demo/bundle
    One payment, line by line: wattbook audit explain out/demo/bundle 103:2
    """
    from ledger.audit import CannotReplay, UnknownCheckError, checks  # noqa: PLC0415 - loads slowly
    from ledger.audit import audit as run  # noqa: PLC0415

    if list_checks:
        typer.echo("\n".join(listed(checks())))
        return
    if not source:
        stop("audit: name a bundle's folder or a node's URL", USAGE)
    if head is not None and not HASH.fullmatch(head):
        stop(f"--head {head}: a block hash has 32 bytes, as 0x followed by 64 hexadecimal digits", USAGE)
    expected_head = None if head is None else bytes.fromhex(head.removeprefix("0x"))
    keys = [_verifier(text) for text in checkpoint_key or ()]
    record = read_record(source, exchange, proofs or (), _genesis(genesis, wanted=replay or out is not None))
    if out is not None:
        _keep(record, source, out)
    try:
        report = run(record, check or None, expected_head, keys, execute=replay)
    except UnknownCheckError as refusal:
        stop(refusal, USAGE)
    except CannotReplay as missing:
        stop(missing, UNVERIFIABLE)
    if as_json:
        typer.echo(json.dumps(_identity(record) | report.to_json()))
    else:
        typer.echo(str(report).replace("BUNDLE", source))
        typer.echo(f"kept: {out}\n{report.conclusion}" if out is not None else report.conclusion)
    raise typer.Exit((CLEAN if report.items else UNVERIFIABLE) if report.ok else FAILED)


def _identity(record: Record) -> dict[str, Any]:
    """Which record was verified, up to where, by which version: what a report on file must name."""
    head = record.blocks[-1]
    return {
        "version": version("wattbook"),
        "chain_id": record.domain.chain_id,
        "exchange": record.exchange,
        "head_block": head.number,
        "head_hash": "0x" + head.hash.hex(),
    }


def _keep(record: Record, source: str, out: Path) -> None:
    """Write the bundle that a node's answers make; leaves with 2 where it cannot be, or is one already."""
    from ledger import bundle  # noqa: PLC0415 - loads slowly

    if record.proves_itself and Path(source).is_dir():
        stop(f"--out {out}: {source} is a bundle already", USAGE)
    try:
        bundle.write(record.bundle, out)
    except OSError as refusal:
        stop(f"--out {refusal}", USAGE)
    if missing := len(record.proofs_missing):
        lacking = f"{missing} proofs of charges and prices are missing, which an audit of it will find"
        complain(f"--out {out}: {lacking}; --proofs says who has them", kind="note")


def _genesis(path: Path | None, *, wanted: bool) -> bytes:
    """The genesis that the auditor brings; leaves with 2 where it cannot be read, or is for nothing."""
    if path is None:
        return b""
    if not wanted:
        stop(f"--genesis {path}: goes with --replay, or with --out to keep it", USAGE)
    try:
        return path.read_bytes()
    except OSError as refusal:
        stop(f"--genesis {refusal}", USAGE)


def _verifier(text: str) -> VerifierKey:
    """A key as it is told, or a file that holds one; leaves with 2 where it is neither."""
    from ledger.checkpoint import NoteKeyError, VerifierKey  # noqa: PLC0415 - loads slowly

    path = Path(text)
    try:
        return VerifierKey.parse(path.read_text().strip() if path.is_file() else text)
    except (NoteKeyError, OSError, ValueError) as refusal:
        stop(f"--checkpoint-key {refusal}", USAGE)
