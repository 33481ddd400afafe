"""`wattbook audit` and `wattbook audit explain`: verify a record, and take one payment apart."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import CLEAN, FAILED, UNVERIFIABLE, USAGE, stop
from node.cli.options import Json

if TYPE_CHECKING:
    from ledger.record import Record

HASH = re.compile(r"(0x)?[0-9a-fA-F]{64}")

Source = Annotated[str, typer.Argument(help="A bundle's folder, or the URL of a node.", metavar="BUNDLE|URL")]
ExchangeAddress = Annotated[
    str | None, typer.Option("--exchange", help="Which market of a node, where it has several.")
]


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
    exchange: ExchangeAddress = None,
    as_json: Json = False,
) -> None:
    """Verify a record: exit status 0 clean, 1 findings, 2 wrong usage, 3 could not verify.

    Example: wattbook audit out/demo/bundle
    One payment, line by line: wattbook audit explain out/demo/bundle 184:7
    """
    from ledger.audit import UnknownCheckError, checks  # noqa: PLC0415 - loads slowly
    from ledger.audit import audit as run  # noqa: PLC0415

    if list_checks:
        width = max(len(name) for name, _ in checks())
        for name, description in checks():
            typer.echo(f"{name:<{width}}  {description}")
        return
    if source is None:
        stop("audit: name a bundle's folder or a node's URL", USAGE)
    if head is not None and not HASH.fullmatch(head):
        stop(f"--head {head}: a block hash has 32 bytes, as 0x followed by 64 hexadecimal digits", USAGE)
    expected_head = None if head is None else bytes.fromhex(head.removeprefix("0x"))
    record = _read(source, exchange)
    try:
        report = run(record, check or None, expected_head)
    except UnknownCheckError as refusal:
        stop(refusal, USAGE)
    typer.echo(json.dumps(report.to_json()) if as_json else str(report).replace("BUNDLE", source))
    if not as_json:
        typer.echo("clean" if report.ok else f"{len(report.findings)} findings")
    raise typer.Exit(CLEAN if report.ok else FAILED)


def explain(
    source: Source,
    payment: Annotated[
        str, typer.Argument(help="BLOCK:LOG of a settlement, or ACCOUNT@SLOT.", metavar="PAYMENT")
    ],
    exchange: ExchangeAddress = None,
    as_json: Json = False,
) -> None:
    """Take one payment apart: a line for each fill and rule, with its place on the chain.

    Example: wattbook audit explain out/demo/bundle 184:7
    """
    from ledger.audit.explain import ExplainError  # noqa: PLC0415 - loads slowly
    from ledger.audit.explain import explain as run  # noqa: PLC0415
    from ledger.history import NoHistory  # noqa: PLC0415

    record = _read(source, exchange)
    account, at, slot = payment.partition("@")
    if at and not slot.isdecimal():
        stop(f"{payment}: a payment is BLOCK:LOG, or ACCOUNT@SLOT with the slot's number", USAGE)
    try:
        found = run(record, account=account, slot=int(slot)) if at else run(record, payment)
    except ExplainError as refusal:
        stop(refusal, USAGE)
    except NoHistory as failure:
        stop(failure, UNVERIFIABLE)
    typer.echo(json.dumps(found.to_json()) if as_json else str(found))


def _read(source: str, exchange: str | None) -> Record:
    """Read a bundle or a node; leaves with 2 for a wrong path and with 3 for what cannot be read."""
    from ledger.bundle import BundleError, BundleNotFoundError  # noqa: PLC0415 - loads slowly
    from ledger.chain.protocol import ChainError  # noqa: PLC0415
    from ledger.record import Record, RecordError  # noqa: PLC0415

    try:
        if source.startswith(("http://", "https://")):
            return Record.from_url(source, exchange)
        return Record.from_bundle(Path(source))
    except BundleNotFoundError as refusal:
        stop(refusal, USAGE)
    except (BundleError, RecordError, ChainError) as failure:
        stop(failure, UNVERIFIABLE)
