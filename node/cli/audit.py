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

SHOWN_PAYMENTS = 5
HASH = re.compile(r"(0x)?[0-9a-fA-F]{64}")

Source = Annotated[str, typer.Argument(help="A bundle's folder, or the URL of a node.", metavar="BUNDLE|URL")]
ExchangeAddress = Annotated[
    str | None,
    typer.Option("--exchange", help="Which market of a node: its address, or a deployment file."),
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
    if not source:
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
        number = len(report.findings)
        typer.echo("clean" if report.ok else f"{number} finding{'s' if number > 1 else ''}")
    raise typer.Exit(CLEAN if report.ok else FAILED)


def explain(
    source: Source,
    payment: Annotated[
        str | None,
        typer.Argument(help="BLOCK:LOG of a settlement, or ACCOUNT@SLOT.", metavar="PAYMENT"),
    ] = None,
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
    try:
        if payment is None:
            stop(f"audit explain: name a payment as BLOCK:LOG or ACCOUNT@SLOT; {_payments(record)}", USAGE)
        account, at, slot = payment.partition("@")
        if at and not (slot.isascii() and slot.isdecimal()):
            stop(f"payment {payment}: the slot of ACCOUNT@SLOT is a number; {_payments(record)}", USAGE)
        owner = _address(account, f"payment {payment}") if at else None
        found = run(record, account=owner, slot=int(slot)) if at else run(record, payment)
    except ExplainError as refusal:
        stop(f"{refusal}; {_payments(record)}", USAGE)
    except NoHistory as failure:
        stop(f"{source}: {failure}", UNVERIFIABLE)
    typer.echo(json.dumps(found.to_json()) if as_json else str(found))


def _payments(record: Record) -> str:
    """Which payments a record has, the first few by their places."""
    from ledger.history import history  # noqa: PLC0415 - loads slowly

    places = [logged.where for slot in history(record) for logged, _ in slot.settled]
    shown = ", ".join(places[:SHOWN_PAYMENTS]) + (", ..." if len(places) > SHOWN_PAYMENTS else "")
    return f"its payments are {shown} ({len(places)} in all)" if places else "it has no payments"


def _address(text: str, where: str) -> str:
    """An account or contract in the one form that records know; leaves with 2 where it is none."""
    from ledger.address import address_bytes, checksummed  # noqa: PLC0415 - loads slowly

    try:
        return checksummed(address_bytes(text))
    except ValueError:
        stop(f"{where}: {text!r} is no address, which is 0x and 40 hexadecimal digits", USAGE)


def _wanted(exchange: str) -> str:
    """The address that is meant, or that a deployment file names; leaves with 2 where it is neither."""
    from ledger.deployment import DeploymentError, read_site  # noqa: PLC0415 - loads slowly

    if not Path(exchange).is_file():
        return _address(exchange, f"--exchange {exchange}")
    try:
        return read_site(Path(exchange)).exchange
    except DeploymentError as refusal:
        stop(f"--exchange {refusal}", USAGE)


def _read(source: str, exchange: str | None) -> Record:
    """Read a bundle or a node; leaves with 2 for a wrong path and with 3 for what cannot be read."""
    from ledger.bundle import BundleError, BundleNotFoundError  # noqa: PLC0415 - loads slowly
    from ledger.chain.protocol import ChainError  # noqa: PLC0415
    from ledger.record import Record, RecordError  # noqa: PLC0415

    if not source:
        stop("name a bundle's folder or a node's URL", USAGE)
    wanted = None if exchange is None else _wanted(exchange)
    try:
        if source.startswith(("http://", "https://")):
            return Record.from_url(source, wanted)
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
    return record
