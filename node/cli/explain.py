"""`wattbook audit explain`: one payment taken apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.errors import UNVERIFIABLE, USAGE, stop
from node.cli.options import Json
from node.cli.records import ExchangeAddress, Source, address_of, read_record

if TYPE_CHECKING:
    from ledger.record import Record

SHOWN_PAYMENTS = 5


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

    record = read_record(source, exchange)
    try:
        if payment is None:
            stop(f"audit explain: name a payment as BLOCK:LOG or ACCOUNT@SLOT; {_payments(record)}", USAGE)
        account, at, slot = payment.partition("@")
        if at and not (slot.isascii() and slot.isdecimal()):
            stop(f"payment {payment}: the slot of ACCOUNT@SLOT is a number; {_payments(record)}", USAGE)
        owner = address_of(account, f"payment {payment}") if at else None
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
